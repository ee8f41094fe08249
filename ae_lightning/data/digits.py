"""The 8×8 digits that come with scikit-learn: the default data, since they need no download."""

from __future__ import annotations

import torch

from ae_lightning.data.base import AutoencoderDataModule, Sets
from ae_lightning.data.binarized import binarized, require_probabilities
from ae_lightning.data.in_memory import InMemoryDataset
from ae_lightning.data.normalization import Normalize, scale_and_shift
from ae_lightning.data.split import check_fraction, split_train_val

MAXIMUM = 16
# Mean and standard deviation over all pixels of all 1,797 images, divided by 16.
STANDARD = (0.3053, 0.3760)


class DigitsDataModule(AutoencoderDataModule):
    """scikit-learn's ``load_digits``: 1,797 images of 8×8 pixels with values from 0 to 16, in ten classes.

    Args:
        normalize: ``unit`` for pixels in [0, 1], ``standard`` for mean 0 and standard deviation 1 over all
            images, or [mean, std] in units of [0, 1] pixels.
        test_fraction: Part of all images that is held out for testing, equally of each class.
        batch_size: Images in a training batch, per device.
        eval_batch_size: Images in a validation or test batch, per device.
        val_fraction: Part of the remaining images that is held out for validation.
        seed: Seed of both splits, not of the training order.
        drop_last: Whether to leave out the last training batch of an epoch if it is smaller.
        device_resident: Whether to keep the images on the training device, which saves a copy per batch.
        binarize: Whether pixels are 1 with their gray value as probability and else 0: those of training drawn anew in
            each epoch, all others once. It needs the normalization ``unit``.

    Raises:
        ConfigError: If an option is out of range.

    Source: Alpaydin and Kaynak (1998), Optical Recognition of Handwritten Digits, UCI (its test part).
    """

    def __init__(
        self,
        normalize: Normalize = "unit",
        test_fraction: float = 0.2,
        batch_size: int = 256,
        eval_batch_size: int = 1024,
        val_fraction: float = 0.1,
        seed: int = 0,
        drop_last: bool = False,
        device_resident: bool = False,
        binarize: bool = False,
    ) -> None:
        super().__init__(batch_size, eval_batch_size, val_fraction, seed, drop_last, device_resident)
        check_fraction("test_fraction", test_fraction)
        self.test_fraction = test_fraction
        self.scale, self.shift = scale_and_shift(normalize, MAXIMUM, STANDARD)
        self.binarize = binarize
        if binarize:
            require_probabilities(self.value_range)

    @property
    def input_shape(self) -> tuple[int, ...]:
        """(1, 8, 8): channel, row, column."""
        return (1, 8, 8)

    @property
    def value_range(self) -> tuple[float, float]:
        """What a black and a white pixel become."""
        return self.shift, MAXIMUM * self.scale + self.shift

    @property
    def num_classes(self) -> int:
        """Ten digits."""
        return 10

    def make_sets(self) -> Sets:
        """Load the images and split them, first for testing and then for validation."""
        from sklearn.datasets import load_digits  # takes a second, which `--help` need not wait for
        from sklearn.model_selection import train_test_split

        bunch = load_digits()
        x = torch.from_numpy(bunch.images).to(torch.uint8)
        y = torch.from_numpy(bunch.target).long()
        parts = train_test_split(
            range(len(y)), test_size=self.test_fraction, stratify=bunch.target, random_state=self.seed
        )
        rest, test = (torch.tensor(sorted(part)) for part in parts)
        train, val = (rest[rows] for rows in split_train_val(len(rest), self.val_fraction, self.seed))
        images = InMemoryDataset(x, y, scale=self.scale, shift=self.shift, sample_shape=self.input_shape)
        if self.binarize:
            images = binarized(images, self.seed)
        return images.subset(train), images.subset(val), images.subset(test)

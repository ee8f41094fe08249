"""Which figures show what a trained model makes of its data, and how each of them is made."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property

import torch
from matplotlib.figure import Figure
from torch import Tensor

from ae_lightning.analysis.coder import ByIndices, Coder, DiscreteCoder, single
from ae_lightning.analysis.examples import pairs_of_classes, triple_of_classes
from ae_lightning.analysis.latent_space import (
    Plane,
    arithmetic,
    code_plane,
    encode_dataset,
    grid,
    interpolate,
    sample,
)
from ae_lightning.analysis.sampler_choice import chosen_sampler
from ae_lightning.analysis.sampler_names import COMPONENTS
from ae_lightning.analysis.samplers import Sampler
from ae_lightning.data.base import AutoencoderDataModule
from ae_lightning.data.in_memory import InMemoryDataset
from ae_lightning.errors import ConfigError
from ae_lightning.metrics.sparsity import has_silent_latents
from ae_lightning.models.base import Autoencoder
from ae_lightning.nn.modes import evaluation_mode
from ae_lightning.nn.precision import like_weights
from ae_lightning.plots.latent_space import (
    arithmetic_strip,
    image_grid,
    interpolation_strips,
    plane_grid,
)
from ae_lightning.plots.layers import feature_maps, layer_activations
from ae_lightning.plots.profiles import vector_reconstructions
from ae_lightning.plots.reconstructions import reconstruction_strip
from ae_lightning.plots.scatter import code_scatter
from ae_lightning.plots.tiles import is_picture, viewable_shape

MOST_CODES = 10_000
"""How many samples are encoded at most, of the training and of the test set, to say how codes are distributed."""

# Of wide codes fewer are kept: 128 MB of them.
_MOST_NUMBERS = 1 << 25

STEPS = 9
GRID_SIZE = 15
_STRIPS = 5
_SAMPLES = 64
_RECONSTRUCTIONS = 10
_VECTORS = 1000
_CODES_LOOKED_AT = 256
_ACTIVATION_ROWS = 100


class Gallery:
    """The figures of one model and its data, made when asked for.

    Samples are named by their index in the test set. What is drawn or spanned follows the codes of the first 10,000
    training samples, which are encoded once. With instances the first one is shown, on its own samples where each has
    some. The model may train on: it is
    used in evaluation mode without gradients and left as it was, and no global random number is drawn.

    Args:
        model: A variant, on any device.
        data: The data module, which is set up here if it is not yet.
    """

    def __init__(self, model: Autoencoder, data: AutoencoderDataModule) -> None:
        data.setup()
        self.model = model
        self.data = data
        self._coder = single(model)

    @cached_property
    def train_set(self) -> InMemoryDataset:
        """The training samples of the instance that is shown."""
        return _of_first_instance(self.data, self.data.train_set)

    @cached_property
    def test_set(self) -> InMemoryDataset:
        """The test samples of the instance that is shown."""
        return _of_first_instance(self.data, self.data.test_set)

    def fitting(self) -> dict[str, Callable[[], Figure]]:
        """The drawable figures that tell something of this variant and these data, by name.

        Decoded codes are drawn where they are pictures. Codes drawn from a normal, and a plane of codes, are decoded
        where training codes may lie there: of a sparse code they would be negative, and active in most latents. In the
        plane of discrete codes there are hardly any.
        """
        figures = self.drawable()
        left_out = {"grid"} if self._is_sparse or self._is_discrete else set()
        if self._is_sparse and self.default_sampler == "normal":
            left_out.add("samples")
        if not is_picture(self.model.input_shape) or self.model.needs_targets:
            left_out = {"interpolation", "arithmetic", "samples", "grid"}
        return {name: draw for name, draw in figures.items() if name not in left_out}

    def drawable(self) -> dict[str, Callable[[], Figure]]:
        """The figures that can be drawn of this variant and these data, by name, each with choices that suit most.

        Interpolations run between the first samples of different classes. The sum of codes is a + b − c with a and c
        of one class and b of another, so that what is decoded should be of b's class.
        """
        figures: dict[str, Callable[[], Figure]] = {"reconstructions": self.reconstructions}
        count = len(self.test_set)
        if count >= 2:
            figures["interpolation"] = lambda: self.interpolation(pairs_of_classes(self._classes(), count, _STRIPS))
        if count >= 3:
            figures["arithmetic"] = lambda: self.arithmetic(*triple_of_classes(self._classes()))
        if len(self.train_set) >= 2:
            figures |= {"samples": self.samples, "grid": self.grid, "scatter": self.scatter}
        if self._has_layers():
            figures["layers"] = self.layers
        return figures

    def reconstructions(self, n: int = _RECONSTRUCTIONS) -> Figure:
        """The first n test samples, their reconstructions, and the error; of vectors, the first 1,000 by entry.

        Where the data have targets they stand in place of samples. A model that mends corrupted samples is shown these
        beside them.
        """
        pictures = is_picture(self.model.output_shape)
        batch = self.test_set.take(n if pictures else _VECTORS)
        x, target = self.model.pair(batch)
        with evaluation_mode(self.model):
            x = like_weights(self.model, x)
            read = self.model.as_read(x)
            x_hat = self.model(read).x_hat
        x_hat = x_hat if self.model.instances is None else x_hat[0]
        if not pictures:
            return vector_reconstructions(target.flatten(1), x_hat.flatten(1))
        shape = viewable_shape(self.model.output_shape)
        known_range = self._value_range if len(batch) == 2 else None
        corrupted = None if read is x else read.reshape(-1, *viewable_shape(self.model.input_shape))
        return reconstruction_strip(target.reshape(-1, *shape), x_hat.reshape(-1, *shape), known_range, n, corrupted)

    def interpolation(self, pairs: Sequence[tuple[int, int]], steps: int = STEPS) -> Figure:
        """A row for each pair of test samples: the straight line between their codes, decoded at so many steps.

        Raises:
            ConfigError: A sample is not in the test set, or there are fewer than 2 steps.
        """
        if steps < 2:
            raise ConfigError(f"an interpolation has at least 2 steps, its two ends, not {steps}")
        ends = [(self.sample(i), self.sample(j)) for i, j in pairs]
        rows = [interpolate(self._coder, start, end, steps) for start, end in ends]
        labels = [f"#{i} → #{j}" for i, j in pairs]
        pictures = torch.stack([torch.stack(pair) for pair in ends])
        return interpolation_strips(torch.stack(rows), self._decoded_range, pictures, labels)

    def arithmetic(self, a: int, b: int, c: int) -> Figure:
        """Three test samples, and the decoded code of a, plus that of b, minus that of c.

        Raises:
            ConfigError: A sample is not in the test set.
        """
        x_a, x_b, x_c = (self.sample(i) for i in (a, b, c))
        result = arithmetic(self._coder, x_a, x_b, x_c)
        return arithmetic_strip(x_a, x_b, x_c, result, self._decoded_range, (f"#{a}", f"#{b}", f"#{c}"))

    def samples(self, n: int = _SAMPLES, sampler: Sampler | None = None, seed: int = 0) -> Figure:
        """Decoded random codes.

        Args:
            n: How many.
            sampler: What draws the codes, by default the one that suits the model; see `sampler`.
            seed: Seed of the draws.

        Raises:
            ConfigError: `n` is less than 1.
        """
        if n < 1:
            raise ConfigError(f"there must be at least 1 sample to draw, not {n}")
        images = sample(self.generator, n, sampler or self.sampler(), seed)
        return image_grid(images, None, self._decoded_range, "random codes, decoded")

    def sampler(self, name: str | None = None, components: int = COMPONENTS) -> Sampler:
        """What draws random codes for `generator` to decode.

        Args:
            name: prior, normal, gmm or empirical, see `SAMPLERS`; None is `default_sampler`.
            components: Gaussians of the mixture gmm.

        Raises:
            ConfigError: There is no such sampler, or it does not fit the model or its codes.
        """
        model, name = type(self.model).__name__, name or self.default_sampler
        return chosen_sampler(name, model, self.model.prior, self._drawn_from, self._is_discrete, components)

    @property
    def default_sampler(self) -> str:
        """Name of the sampler that suits the model: its prior, else empirical for discrete codes, else normal."""
        if self.model.prior is not None:
            return "prior"
        return "empirical" if self._is_discrete else "normal"

    @cached_property
    def generator(self) -> Coder:
        """What decodes codes of a `sampler`: the model or its first instance, by indices where codes are discrete."""
        return ByIndices(self.model) if isinstance(self.model, DiscreteCoder) else self._coder

    def grid(self, size: int = GRID_SIZE) -> Figure:
        """Codes on a regular grid, decoded, over the plane where the training codes lie.

        Raises:
            ConfigError: `size` is less than 2.
        """
        if size < 2:
            raise ConfigError(f"a grid has at least 2 rows and columns, not {size}")
        images, axes = grid(self._coder, self._training_codes, size, self._plane)
        title = (
            "decoded codes in the plane of two principal components" if self._plane.is_projection else "decoded codes"
        )
        return plane_grid(images, axes, self._plane.axis_labels, self._decoded_range, title)

    def scatter(self) -> Figure:
        """Codes of the first 10,000 test samples by class; of wide codes, their first two principal components.

        The components are those of the training codes, as in the grid.
        """
        codes, y = encode_dataset(self._coder, self._first(self.test_set))
        labels = y if self.data.num_classes is not None else None
        title = f"codes of {len(codes):,} test samples"
        return code_scatter(self._plane.coordinates(codes), labels, self._plane.axis_labels, title)

    def layers(self) -> Figure:
        """What the encoder's layers give, the code last.

        Of a convolutional encoder the feature maps of the first test sample; of another the activations of the first
        100 test samples, those of a class together.

        Raises:
            ConfigError: The encoder has no hidden layers and its code is a vector.
        """
        if not self._has_layers():
            raise ConfigError(f"{type(self.model).__name__} has no hidden layers to show")
        if self._has_maps():
            maps = [(name, value[0]) for name, value in self._outputs(self.test_set.take(1)[0]) if value.ndim == 4]
            return feature_maps([value for _, value in maps], [name for name, _ in maps], title="test sample #0")
        x, y, *_ = self.test_set.take(_ACTIVATION_ROWS)
        title = f"first {len(x)} test samples"
        if self.data.num_classes is not None:
            x = x[self.data.classes_of(y).argsort(stable=True)]
            title += ", sorted by class"
        rows = [(name, value) for name, value in self._outputs(x) if value.ndim == 2]
        return layer_activations([value for _, value in rows], [name for name, _ in rows], title)

    def sample(self, index: int) -> Tensor:
        """One sample of the test set.

        Raises:
            ConfigError: There is none of this index.
        """
        count = len(self.test_set)
        if not 0 <= index < count:
            raise ConfigError(f"sample {index} is not in the test set, which has {count} (0 to {count - 1})")
        return self.test_set[index][0]

    # --- details -----------------------------------------------------------------------------------------------

    @cached_property
    def _is_sparse(self) -> bool:
        """Whether latents are silent on some samples, and not just nearly so."""
        x, y, *_ = self.test_set.take(_CODES_LOOKED_AT)
        codes = encode_dataset(self._coder, [(x, self.data.classes_of(y))])[0]
        return has_silent_latents(codes.flatten(1))

    @property
    def _is_discrete(self) -> bool:
        return isinstance(self.model, DiscreteCoder)

    @property
    def _value_range(self) -> tuple[float, float] | None:
        bounded = all(map(math.isfinite, self.data.value_range))
        return self.data.value_range if bounded else None

    @property
    def _decoded_range(self) -> tuple[float, float] | None:
        """That of codes that are decoded, which do not know the units of samples that are scaled each by itself."""
        return self._value_range if self.model.decodes_to_data else None

    @cached_property
    def _training_codes(self) -> Tensor:
        return encode_dataset(self._coder, self._first(self.train_set))[0]

    def _drawn_from(self) -> Tensor:
        """What samplers are fitted to: training codes, as indices where they are discrete."""
        if not self._is_discrete:
            return self._training_codes
        return encode_dataset(self.generator, self._first(self.train_set))[0]

    @cached_property
    def _plane(self) -> Plane:
        return code_plane(self._training_codes)

    def _first(self, dataset: InMemoryDataset) -> Iterator[tuple[Tensor, Tensor]]:
        """The first samples of a set, as many as are encoded to say how codes are distributed."""
        size = self.data.eval_batch_size
        n = max(2, min(MOST_CODES, _MOST_NUMBERS // self.model.latent_size))
        for start in range(0, min(n, len(dataset)), size):
            rows = torch.arange(start, min(start + size, n, len(dataset)), device=dataset.device)
            x, y, *_ = dataset.__getitems__(rows)
            yield x, self.data.classes_of(y)

    def _has_layers(self) -> bool:
        return bool(self._hidden) or len(self.model.latent_shape) == 3

    def _has_maps(self) -> bool:
        return len(self.model.latent_shape) == 3 or any(value.ndim == 4 for value in self._hidden)

    @cached_property
    def _hidden(self) -> list[Tensor]:
        """What the hidden layers give for a blank sample."""
        with evaluation_mode(self.model):
            return self.model.layer_outputs(like_weights(self.model, torch.zeros(1, *self.model.input_shape)))

    def _outputs(self, x: Tensor) -> list[tuple[str, Tensor]]:
        """Outputs (n, …) of the hidden layers and the code, by name."""
        with evaluation_mode(self.model):
            x = like_weights(self.model, x)
            hidden = [(f"layer {i}", value) for i, value in enumerate(self.model.layer_outputs(x), start=1)]
            return [*hidden, ("code", self._coder.encode(x))]

    def _classes(self) -> list[int]:
        """Classes of the first test samples, enough of them to meet each class; empty where there are none."""
        if self.data.num_classes is None:
            return []
        return self.data.classes_of(self.test_set.take(100 * self.data.num_classes)[1]).tolist()


def _of_first_instance(data: AutoencoderDataModule, dataset: InMemoryDataset) -> InMemoryDataset:
    return dataset if data.instances is None else dataset.instance(0)

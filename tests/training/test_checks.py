"""What is refused because data and model do not fit each other."""

import pytest
import torch

from ae_lightning.errors import ConfigError
from ae_lightning.models.fully_connected import FullyConnectedAutoencoder
from ae_lightning.models.standard_sae import StandardSAE

IMAGE = (1, 8, 8)
SIZES = "StandardSAE was made for 1×8×8"
HOW = "set --model.instances 3 (of shallow variants), or change --data.instances"
OWN = "these data have samples of their own for each of"


@pytest.mark.parametrize(
    ("x", "instances", "sentence"),
    [
        ((9, 1, 7, 8), None, f"a sample of these data is 1×7×8, but {SIZES}"),
        ((9, 64), None, f"a sample of these data is 64, but {SIZES}"),
        ((9,), None, f"a sample of these data is a single number, but {SIZES}"),
        ((9, 8, 8), None, f"a sample of these data is 8×8, but {SIZES}"),
        ((9, 3, 1, 7, 8), 3, f"a sample of these data is 3×1×7×8, but {SIZES}"),
        ((9, 3, 2, 1, 8, 8), 3, f"a sample of these data is 3×2×1×8×8, but {SIZES}"),
        (
            (9, 3, 1, 8, 8),
            None,
            f"{OWN} 3 instances, but StandardSAE has a single one: {HOW}",
        ),
        (
            (9, 3, 1, 8, 8),
            4,
            f"{OWN} 3 instances, but StandardSAE has 4 instances: {HOW}",
        ),
    ],
    ids=str,
)
def test_samples_of_another_shape_are_refused_in_one_sentence(x, instances, sentence):
    with pytest.raises(ConfigError) as error:
        StandardSAE(IMAGE, 5, instances=instances).loss(torch.rand(x))
    assert str(error.value) == sentence


def test_a_variant_without_instances_has_no_use_for_samples_of_their_own():
    with pytest.raises(ConfigError, match=r"Autoencoder has a single one: .* or change --data\.instances$"):
        FullyConnectedAutoencoder((5,), 2, (4,)).loss(torch.rand(9, 3, 5))


@pytest.mark.parametrize(
    ("x", "instances"), [((9, *IMAGE), None), ((9, *IMAGE), 3), ((9, 3, *IMAGE), 3), ((3, 3, *IMAGE), 3)], ids=str
)
def test_what_fits_is_taken(x, instances):
    model = StandardSAE(IMAGE, 5, instances=instances)
    losses, output = model.loss(torch.rand(x))
    assert bool(losses["loss"].isfinite())
    assert output.x_hat.shape == ((x[0], *IMAGE) if instances is None else (3, x[0], *IMAGE))

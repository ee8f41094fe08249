import pytest
import torch

from ae_lightning.callbacks.latent_statistics import LatentStatistics
from ae_lightning.data.digits import DigitsDataModule
from ae_lightning.models.fully_connected import FullyConnectedAutoencoder
from ae_lightning.models.overcomplete import OvercompleteAutoencoder


def by_hand(model: OvercompleteAutoencoder, x: torch.Tensor) -> tuple[float, float]:
    """Mean over instances of: latents above zero per image, and share of latents above zero on no image."""
    with torch.no_grad():
        fires = model.encode(x) > 0
    fires = fires if model.instances else fires[None]
    return float(fires.float().sum(-1).mean()), float((~fires.any(1)).float().mean())


@pytest.mark.parametrize("instances", [None, 2])
def test_l0_and_dead_fraction_are_those_of_the_whole_validation_set(instances, make_trainer, recorder):
    torch.manual_seed(0)
    data = DigitsDataModule(eval_batch_size=50)  # three batches, the last of 44
    model = OvercompleteAutoencoder((1, 8, 8), 100, instances=instances)
    with torch.no_grad():
        model.dictionary.b_enc[..., :7] = -100  # these never fire
        model.dictionary.b_enc[..., 7:30] = -0.7  # and these on some images only
    make_trainer(LatentStatistics(), logger=recorder).fit(model, data)
    l0, dead = by_hand(model, data.val_set.take(1000)[0])
    assert dead >= 0.07
    assert 0 < l0 < 93
    assert recorder.series("sparsity/l0") == {6: pytest.approx(l0, rel=1e-5)}
    assert recorder.series("sparsity/dead_fraction") == {6: pytest.approx(dead, rel=1e-5)}


def test_each_validation_counts_from_zero_and_the_sanity_check_does_not_count(make_trainer, recorder, digits):
    torch.manual_seed(0)
    model = OvercompleteAutoencoder((1, 8, 8), 100)
    make_trainer(LatentStatistics(), logger=recorder, max_epochs=3, num_sanity_val_steps=1).fit(model, digits)
    series = recorder.series("sparsity/l0")
    assert list(series) == [6, 12, 18]
    assert series[18] == pytest.approx(by_hand(model, digits.val_set.take(1000)[0])[0], rel=1e-5)


@pytest.mark.parametrize(
    "model",
    [
        lambda: FullyConnectedAutoencoder((1, 8, 8), 3, latent_activation="relu"),
        lambda: OvercompleteAutoencoder((1, 8, 8), 70, activation="none"),
        lambda: OvercompleteAutoencoder((1, 8, 8), 70, activation="sigmoid"),
    ],
    ids=["deep", "linear", "sigmoid"],
)
def test_codes_that_do_not_rest_at_zero_are_left_alone(model, make_trainer, recorder, digits):
    make_trainer(LatentStatistics(), logger=recorder).fit(model(), digits)
    assert list(recorder.series("val/loss")) == [6]
    assert not [name for _, metrics in recorder.rows for name in metrics if name.startswith("sparsity/")]

import math

import pytest
import torch
from sklearn.metrics import explained_variance_score, r2_score
from torchmetrics import ExplainedVariance, MeanSquaredError, R2Score

from ae_lightning.metrics.reconstruction import ReconstructionError


def _images(n: int = 50) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    x = torch.rand(n, 1, 3, 4, generator=generator) * torch.linspace(0.5, 2, 12).reshape(1, 3, 4)
    return x, x + 0.2 * torch.randn(x.shape, generator=generator)


def _compute(*batches: tuple[torch.Tensor, torch.Tensor]) -> dict[str, float]:
    metric = ReconstructionError()
    for batch in batches:
        metric.update(*batch)
    return {name: value.item() for name, value in metric.compute().items()}


def test_by_hand():
    x = torch.tensor([[0.0, 2.0], [4.0, 2.0]])  # mean (2, 2), variation 4 + 4
    x_hat = torch.tensor([[1.0, 2.0], [4.0, 5.0]])  # squared errors 1, 0, 0, 9
    assert _compute((x, x_hat)) == pytest.approx(
        {"mse_per_pixel": 10 / 4, "mse_per_image": 10 / 2, "fvu": 10 / 8, "explained_variance": -2 / 8}
    )


def test_against_torchmetrics_and_scikit_learn():
    x, x_hat = _images()
    numbers = _compute((x, x_hat))
    assert numbers["mse_per_pixel"] == pytest.approx(MeanSquaredError()(x_hat, x).item(), rel=1e-5)
    assert numbers["mse_per_image"] == pytest.approx(12 * numbers["mse_per_pixel"])
    explained = r2_score(x.flatten(1).numpy(), x_hat.flatten(1).numpy(), multioutput="variance_weighted")
    assert numbers["fvu"] == pytest.approx(1 - explained, rel=1e-4)
    assert numbers["explained_variance"] == pytest.approx(explained, rel=1e-5)
    r2 = R2Score(multioutput="variance_weighted")(x_hat.flatten(1), x.flatten(1)).item()
    assert numbers["explained_variance"] == pytest.approx(r2, rel=1e-4)


def test_a_constant_error_is_not_explained_variance():
    x, _ = _images()
    forgiving = explained_variance_score(
        x.flatten(1).numpy(), x.flatten(1).numpy() + 1, multioutput="variance_weighted"
    )
    assert forgiving == pytest.approx(1)
    # Each pixel is off by 1, and the variance is far less than 1.
    assert _compute((x, x + 1))["explained_variance"] < -1


def test_against_explained_variance_where_the_error_has_no_mean():
    x, x_hat = _images()
    x_hat = x_hat - (x_hat - x).mean(dim=0)
    explained = ExplainedVariance(multioutput="variance_weighted")(x_hat.flatten(1), x.flatten(1)).item()
    assert _compute((x, x_hat))["fvu"] == pytest.approx(1 - explained, rel=1e-4)


def test_perfect_and_mean_image_are_zero_and_one():
    x, _ = _images()
    assert _compute((x, x)) == {"mse_per_pixel": 0.0, "mse_per_image": 0.0, "fvu": 0.0, "explained_variance": 1.0}
    mean_image = _compute((x, x.mean(dim=0).expand_as(x)))
    assert mean_image["fvu"] == pytest.approx(1, abs=1e-6)
    assert mean_image["explained_variance"] == pytest.approx(0, abs=1e-6)


def test_batches_of_any_size_and_merged_halves_are_the_whole():
    x, x_hat = _images()
    whole = _compute((x, x_hat))
    assert _compute(*zip(x.split(7), x_hat.split(7), strict=True)) == pytest.approx(whole, rel=1e-12)
    first, second = ReconstructionError(), ReconstructionError()
    first.update(x[:9], x_hat[:9])
    second.update(x[9:], x_hat[9:])
    first.merge_state(second)
    assert {name: value.item() for name, value in first.compute().items()} == pytest.approx(whole, rel=1e-12)


def test_instances_are_averaged():
    x, x_hat = _images()
    both = _compute((x, torch.stack([x_hat, x])))
    alone = _compute((x, x_hat))
    perfect = _compute((x, x))
    assert both == pytest.approx({name: (value + perfect[name]) / 2 for name, value in alone.items()})


def test_an_offset_does_not_drown_the_variance():
    x, x_hat = (images.double() for images in _images())
    assert _compute((x + 1e4, x_hat + 1e4))["fvu"] == pytest.approx(_compute((x, x_hat))["fvu"], rel=1e-5)


def test_half_precision_is_not_squared_in_half_precision():
    x = torch.full((4, 3), 300.0, dtype=torch.float16)
    assert _compute((x, torch.zeros_like(x)))["mse_per_pixel"] == pytest.approx(90_000)


def test_a_set_that_does_not_vary_has_no_fraction():
    x = torch.full((10, 3), 0.1)
    assert math.isinf(_compute((x, x + 1))["fvu"])
    assert math.isnan(_compute((x, x))["fvu"])


def test_reset_forgets_everything():
    x, x_hat = _images()
    metric = ReconstructionError()
    metric.update(x, x_hat)
    metric.reset()
    metric.update(torch.zeros(2, 5), torch.ones(2, 5))
    assert metric.compute()["mse_per_image"].item() == 5.0


def test_shapes_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match=r"\(4, 5\).*\(4, 6\)"):
        ReconstructionError().update(torch.zeros(4, 6), torch.zeros(4, 5))


def test_each_instance_has_its_own_number():
    x = torch.tensor([[0.0, 2.0], [4.0, 2.0]])  # mean (2, 2), variation 4 + 4
    x_hat = torch.stack([x + 1, torch.tensor([[0.0, 2.0], [4.0, 5.0]])])  # squared errors 4 in all, and 9
    metric = ReconstructionError()
    for sample in range(2):
        metric.update(x[sample : sample + 1], x_hat[:, sample : sample + 1])
    found = {name: value.tolist() for name, value in metric.each().items()}
    assert found == {
        "mse_per_pixel": [4 / 4, 9 / 4],
        "mse_per_image": [4 / 2, 9 / 2],
        "fvu": [4 / 8, 9 / 8],
        "explained_variance": [4 / 8, -1 / 8],
    }
    assert metric.compute()["fvu"].item() == (4 / 8 + 9 / 8) / 2

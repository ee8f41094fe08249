"""Units: losses are in those that the dictionary reads, all else in the data's; instances are scaled by their own."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from lightning.pytorch import Trainer
from torch import Tensor

from ae_lightning.data.digits import DigitsDataModule
from ae_lightning.data.sparse_features import SparseFeaturesDataModule
from ae_lightning.evaluation import evaluate
from ae_lightning.models.gated_sae import GatedSAE
from ae_lightning.models.scaled_dictionary import ScaledDictionary
from ae_lightning.models.standard_sae import StandardSAE
from ae_lightning.models.topk_sae import BatchTopKSAE, TopKSAE

FITTED = ["mean_norm", "mean_square", "centered", "centered_mean_norm", "centered_mean_square", "whitened"]
SHAPE = (1, 8, 8)
# Instances that differ much, so that one scale for all is another than a scale for each.
PROBABILITY = [[0.9, 0.9, *[0.0005] * 4], [*[0.0005] * 4, 0.9, 0.9], [0.3] * 6]


def images(data: DigitsDataModule, part: str) -> np.ndarray:
    return getattr(data, f"{part}_set").take(10_000)[0].flatten(1).double().numpy()


def by_hand(name: str, train: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Samples in the units of a scaling, as the field states it."""
    mean = train.mean(0) if name.startswith("centered") or name == "whitened" else np.zeros(train.shape[1])
    left, x = train - mean, x - mean
    if name.endswith("mean_norm"):
        return x * np.sqrt(train.shape[1]) / np.linalg.norm(left, axis=1).mean()
    if name.endswith("mean_square"):
        return x / np.sqrt((left**2).sum(1).mean())
    if name == "centered":
        return x
    variances, axes = np.linalg.eigh(left.T @ left / len(left))
    order = variances.argsort()[::-1]
    return x @ axes[:, order] / np.sqrt(variances[order] + 1e-3 * variances.mean())


@pytest.mark.parametrize("name", [name for name in FITTED if name != "whitened"])
def test_the_loss_is_in_scaled_units_and_the_evaluation_in_the_data_s(
    name: str, make_trainer: Callable[..., Trainer], recorder: Any, digits: DigitsDataModule
) -> None:
    torch.manual_seed(0)
    model = StandardSAE(SHAPE, 20, input_scaling=name, reconstruction_loss="mse_sum")
    make_trainer(logger=recorder).fit(model, digits)
    train = images(digits, "train")
    w = {key: value.detach().double().numpy() for key, value in model.dictionary.named_parameters()}

    def reconstructed(x: np.ndarray) -> np.ndarray:
        return np.maximum((x - w["b_dec"]) @ w["W_enc"] + w["b_enc"], 0) @ w["W_dec"] + w["b_dec"]

    x = by_hand(name, train, images(digits, "val"))
    in_scaled_units = ((reconstructed(x) - x) ** 2).sum(1).mean()
    assert recorder.series("val/reconstruction")[6] == pytest.approx(in_scaled_units, rel=1e-5)

    x = images(digits, "test")
    off = reconstructed(by_hand(name, train, x)) - by_hand(name, train, x)
    # One factor: what it makes of the mean of all entries tells it.
    factor = (by_hand(name, train, x + 1) - by_hand(name, train, x)).mean()
    errors = evaluate(model.eval(), digits)["errors"]["test"]
    assert errors["autoencoder"]["mse_per_pixel"] == pytest.approx(((off / factor) ** 2).mean(), rel=1e-5)
    assert errors["mean_image"]["mse_per_pixel"] == pytest.approx(((x - train.mean(0)) ** 2).mean(), rel=1e-5)
    fvu = ((off / factor) ** 2).sum() / ((x - x.mean(0)) ** 2).sum()
    assert errors["autoencoder"]["fvu"] == pytest.approx(fvu, rel=1e-5)


def test_whitened_losses_count_each_principal_direction_alike(
    make_trainer: Callable[..., Trainer], recorder: Any, digits: DigitsDataModule
) -> None:
    model = StandardSAE(SHAPE, 20, input_scaling="whitened", reconstruction_loss="mse_sum")
    model.build_optimizer = lambda params: torch.optim.SGD(params, lr=0.0)
    with torch.no_grad():
        model.dictionary.W_dec.zero_()  # it gives the mean for each sample
    make_trainer(logger=recorder).fit(model, digits)
    x = by_hand("whitened", images(digits, "train"), images(digits, "val"))
    assert recorder.series("val/reconstruction")[6] == pytest.approx((x**2).sum(1).mean(), rel=1e-4)
    truth = ((images(digits, "test") - images(digits, "train").mean(0)) ** 2).mean()
    measured = evaluate(model.eval(), digits)["errors"]["test"]["autoencoder"]["mse_per_pixel"]
    assert measured == pytest.approx(truth, rel=1e-5)


@pytest.mark.parametrize("instances", [None, 2])
@pytest.mark.parametrize("name", ["none", *FITTED])
def test_decoding_a_code_gives_what_a_pass_does(name: str, instances: int | None, digits: DigitsDataModule) -> None:
    x = digits.test_set.take(50)[0] + 3
    kinds: list[Callable[..., ScaledDictionary]] = [TopKSAE, BatchTopKSAE, GatedSAE, StandardSAE]
    for kind in kinds:
        options = {} if kind in (GatedSAE, StandardSAE) else {"k": 4}
        model = kind(SHAPE, 20, instances=instances, input_scaling=name, center="mean", **options).eval()
        model.start_from(model.flatten(x), torch.Generator().manual_seed(0))
        with torch.no_grad():
            x_hat, z = model(x)
            assert torch.equal(model.encode(x), z)
            assert torch.equal(model.decode(z), x_hat)
            assert 0 < float((z > 0).float().mean()) < 1
            # In the data's units: nearer to the samples than zero is, which is three off.
            assert float((x_hat - x).square().mean()) < 3


def test_a_code_of_samples_standardized_each_by_itself_decodes_to_standardized_ones(digits: DigitsDataModule) -> None:
    x = digits.test_set.take(50)[0]
    model = StandardSAE(SHAPE, 20, input_scaling="standardized").eval()
    with torch.no_grad():
        x_hat, z = model(x)
        decoded = model.decode(z)
    deviation, mean = (part.reshape(-1, 1, 1, 1) for part in torch.std_mean(x.flatten(1), dim=1))
    torch.testing.assert_close(decoded * (deviation + 1e-5) + mean, x_hat, rtol=1e-4, atol=1e-5)


def own_data() -> SparseFeaturesDataModule:
    data = SparseFeaturesDataModule(6, PROBABILITY, instances=3, num_val=150, num_test=250, steps_per_epoch=3)
    data.setup()
    return data


@pytest.mark.parametrize("name", FITTED)
def test_each_instance_with_samples_of_its_own_is_scaled_as_it_would_be_alone(name: str) -> None:
    x = own_data().starting_samples(500)
    many = StandardSAE((6,), 10, instances=3, input_scaling=name, center="geometric_median")
    many.start_from(many.flatten(x), torch.Generator().manual_seed(0))
    losses, output = many.loss(x)
    losses["loss"].backward()
    total = 0.0
    for i in range(3):
        alone = StandardSAE((6,), 10, input_scaling=name, center="geometric_median")
        names = {"W_enc", "b_enc", "W_dec"}
        alone.dictionary.load_state_dict(
            {name: getattr(many.dictionary, name)[i].detach() for name in names}, strict=False
        )
        alone.start_from(x[:, i], torch.Generator().manual_seed(0))
        own, single = alone.loss(x[:, i])
        own["loss"].backward()
        torch.testing.assert_close(output.z[i], single.z, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(output.x_hat[i], single.x_hat, rtol=1e-4, atol=1e-5)
        for (parameter, value), several in zip(alone.named_parameters(), many.parameters(), strict=True):
            torch.testing.assert_close(several.grad[i], value.grad, rtol=1e-4, atol=1e-5, msg=parameter)
        total += float(own["loss"].detach())
    assert float(losses["loss"].detach()) == pytest.approx(total, rel=1e-5)


def norms_read(model: ScaledDictionary, x: Tensor) -> Tensor:
    return model.inputs(x).norm(dim=-1).mean(-1)


@pytest.mark.parametrize("init", ["samples", "active_subspace"])
def test_a_fit_starts_each_instance_from_its_own_samples(init: str, make_trainer: Callable[..., Trainer]) -> None:
    data = own_data()
    still: dict[str, Any] = {"optimizer": lambda params: torch.optim.SGD(params, lr=0.0)}
    model = StandardSAE((6,), 10, instances=3, init=init, center="mean", input_scaling="mean_norm", **still)
    make_trainer(max_steps=1, limit_val_batches=0).fit(model, data)
    x = data.starting_samples(10_000)
    torch.testing.assert_close(norms_read(model, x), torch.full((3,), 6**0.5), rtol=1e-4, atol=0)
    torch.testing.assert_close(model.dictionary.b_dec.detach(), model.inputs(x).mean(1), rtol=1e-4, atol=1e-5)
    rows = model.decoder_vectors.detach()
    torch.testing.assert_close(rows.norm(dim=-1), torch.ones(3, 10))
    # The first instance has nearly nothing but its first two features, the second nothing but its last two.
    weight = rows.square().mean(1)
    if init == "active_subspace":
        assert float(weight[0, :2].sum()) > 0.9
        assert float(weight[1, 4:].sum()) > 0.9
    assert float(weight[0, :2].sum()) > 2 * float(weight[1, :2].sum())


@pytest.mark.parametrize("name", FITTED)
def test_instances_that_share_samples_are_all_scaled_alike(name: str, digits: DigitsDataModule) -> None:
    x = digits.train_set.take(200)[0]
    many, alone = (StandardSAE(SHAPE, 10, instances=n, input_scaling=name) for n in (3, None))
    for model in (many, alone):
        model.start_from(model.flatten(x), torch.Generator().manual_seed(0))
    for i in range(3):
        assert torch.equal(many.inputs(x)[i], alone.inputs(x))

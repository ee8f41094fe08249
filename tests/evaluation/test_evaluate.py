"""`evaluate` against the same numbers computed by hand."""

from typing import Any

import numpy as np
import pytest
import torch
from sklearn.decomposition import PCA

import ae_lightning
from ae_lightning import ArraysDataModule, DigitsDataModule
from ae_lightning.evaluation import describe, evaluate
from ae_lightning.models.base import Autoencoder
from ae_lightning.models.fully_connected import FullyConnectedAutoencoder
from ae_lightning.models.overcomplete import OvercompleteAutoencoder

LATENTS = 6


def images(data: DigitsDataModule) -> dict[str, np.ndarray]:
    """Images of each set, (n, 64) float64."""
    data.setup()
    sets = {"train": data.train_set, "validation": data.val_set, "test": data.test_set}
    return {name: dataset.take(10_000)[0].flatten(1).double().numpy() for name, dataset in sets.items()}


def make(kind: str) -> Autoencoder:
    torch.manual_seed(3)
    if kind == "fully connected":
        return FullyConnectedAutoencoder((1, 8, 8), LATENTS, hidden_dims=(12,)).eval()
    model = OvercompleteAutoencoder((1, 8, 8), LATENTS, instances=3 if kind == "instances" else None)
    with torch.no_grad():  # one latent that never fires, in the first instance where there are several
        model.dictionary.b_enc[..., 0].fill_(-100.0)
        if kind == "instances":
            model.dictionary.b_enc[1:, 0].fill_(1.0)
    return model.eval()


def codes_and_reconstructions(model: Autoencoder, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """With a leading instance axis, (instances, n, …), of one where there are none."""
    with torch.no_grad():
        x_hat, z = model(torch.from_numpy(x).float().reshape(-1, 1, 8, 8))
    copies = model.instances or 1
    return z.double().numpy().reshape(copies, len(x), -1), x_hat.double().numpy().reshape(copies, len(x), 64)


@pytest.fixture(params=["one", "instances", "fully connected"])
def kind(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def model(kind: str) -> Autoencoder:
    return make(kind)


@pytest.fixture
def data() -> DigitsDataModule:
    return DigitsDataModule(eval_batch_size=100)  # 144 and 360 images: the last batch is smaller


@pytest.fixture
def results(model: Autoencoder, data: DigitsDataModule) -> dict[str, Any]:
    return evaluate(model, data)


def test_errors_of_the_model(model: Autoencoder, data: DigitsDataModule, results: dict[str, Any]) -> None:
    for split in ("validation", "test"):
        x = images(data)[split]
        total, count = 0.0, 0
        reconstructions = codes_and_reconstructions(model, x)[1]
        for reconstruction in reconstructions:
            for image, image_hat in zip(x, reconstruction, strict=True):
                total += float(((image - image_hat) ** 2).sum())
                count += 1
        errors = results["errors"][split]["autoencoder"]
        assert errors["mse_per_image"] == pytest.approx(total / count, rel=1e-5)
        assert errors["mse_per_pixel"] == pytest.approx(total / count / 64, rel=1e-5)
        of_images = ((reconstructions - x) ** 2).mean(-1)
        assert errors["mse_per_pixel_std"] == pytest.approx(np.mean([one.std() for one in of_images]), rel=1e-4)
        explained = [1 - ((one - x) ** 2).sum() / (len(x) * x.var(0).sum()) for one in reconstructions]
        assert errors["explained_variance"] == pytest.approx(np.mean(explained), rel=1e-4)


def test_baselines(data: DigitsDataModule, results: dict[str, Any]) -> None:
    sets = images(data)
    pca = PCA(LATENTS, svd_solver="full").fit(sets["train"])
    for split in ("validation", "test"):
        x = sets[split]
        mean_image = float(((x - sets["train"].mean(0)) ** 2).mean())
        of_pca = float(((x - pca.inverse_transform(pca.transform(x))) ** 2).mean())
        errors = results["errors"][split]
        assert errors["mean_image"]["mse_per_pixel"] == pytest.approx(mean_image, rel=1e-5)
        assert errors["mean_image"]["mse_per_image"] == pytest.approx(64 * mean_image, rel=1e-5)
        assert errors["pca"]["mse_per_pixel"] == pytest.approx(of_pca, rel=1e-4)
        assert errors["pca"]["mse_per_image"] == pytest.approx(64 * of_pca, rel=1e-4)
        explained = 1 - of_pca * x.size / (len(x) * x.var(0).sum())
        assert errors["pca"]["explained_variance"] == pytest.approx(explained, rel=1e-4)
    assert results["pca_components"] == LATENTS


def test_latents(model: Autoencoder, kind: str, data: DigitsDataModule, results: dict[str, Any]) -> None:
    x = images(data)["test"]
    dead, fired = [], []
    for codes in codes_and_reconstructions(model, x)[0]:
        fires = codes != 0 if kind == "fully connected" else codes > 0
        dead.append(sum(1 for latent in range(LATENTS) if not any(fires[:, latent])))
        fired.append(sum(int(row.sum()) for row in fires) / len(x))
    latents = results["latents"]
    assert latents["dead"] == pytest.approx(np.mean(dead))
    assert latents["active"] == pytest.approx(LATENTS - np.mean(dead))
    assert latents["l0"] == pytest.approx(np.mean(fired), rel=1e-5)
    if kind == "one":
        assert latents["dead"] >= 1
    if kind == "fully connected":
        assert (latents["active"], latents["dead"], latents["l0"]) == (LATENTS, 0, LATENTS)


def test_weights_of_shallow_models(model: Autoencoder, kind: str, results: dict[str, Any]) -> None:
    if kind == "fully connected":
        assert results["weights"] == {}
        return
    for side in ("encoder", "decoder"):
        vectors = getattr(model, f"{side}_vectors").detach().double().reshape(-1, LATENTS, 64)
        norms = [float(np.sqrt((one.numpy() ** 2).sum())) for one in vectors]
        assert results["weights"][f"weights/{side}_norm"] == pytest.approx(np.mean(norms), rel=1e-5)


def test_the_record(model: Autoencoder, data: DigitsDataModule, results: dict[str, Any]) -> None:
    assert results["model"] == describe(model)
    assert results["model"]["class"] == type(model).__name__
    assert results["model"]["parameters"] == sum(p.numel() for p in model.parameters())
    assert results["model"]["compression_ratio"] == pytest.approx(64 / LATENTS)
    assert results["model"]["is_undercomplete"] is True
    assert results["recovery"] == {}
    assert results["data"]["class"] == "DigitsDataModule"
    assert results["data"]["hash"] == data.fingerprint()
    assert results["versions"]["torch"] == torch.__version__
    assert results["versions"]["ae_lightning"] == ae_lightning.__version__


def test_pca_as_wide_as_the_input_is_exact(data: DigitsDataModule) -> None:
    results = evaluate(OvercompleteAutoencoder((1, 8, 8), 80).eval(), data)
    assert results["pca_components"] <= 64
    assert results["errors"]["test"]["pca"]["mse_per_pixel"] < 1e-10


def test_evaluating_changes_nothing_and_gives_the_same_again(data: DigitsDataModule) -> None:
    model = make("one")
    before = {name: value.clone() for name, value in model.state_dict().items()}
    state = torch.get_rng_state()
    first = evaluate(model, data)
    assert torch.equal(torch.get_rng_state(), state)
    assert evaluate(model, data) == first
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())


def test_fewer_training_samples_than_latents(tmp_path: Any) -> None:
    x = np.random.default_rng(0).random((12, 30), dtype=np.float32)
    np.save(tmp_path / "x.npy", x)
    data = ArraysDataModule(str(tmp_path / "x.npy"), val_fraction=0.25)
    results = evaluate(OvercompleteAutoencoder((30,), 20).eval(), data)
    assert results["pca_components"] == len(data.train_set) == 9
    assert np.isfinite(results["errors"]["test"]["pca"]["mse_per_pixel"])

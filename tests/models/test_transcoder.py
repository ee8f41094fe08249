"""A transcoder produces what it is told to, learns a known map, and says what is missing."""

from typing import Any

import numpy as np
import pytest
import torch
from known_targets import KnownMap
from torch import Tensor

from ae_lightning.callbacks.calibrate_threshold import CalibrateThreshold
from ae_lightning.data.digits import DigitsDataModule
from ae_lightning.data.in_memory import InMemoryDataset
from ae_lightning.errors import ConfigError
from ae_lightning.evaluation import evaluate
from ae_lightning.evaluation.errors import model_errors
from ae_lightning.models.topk_sae import TopKSAE
from ae_lightning.models.transcoder import Transcoder
from ae_lightning.testing.building import quiet_trainer

CODES: dict[str, dict[str, Any]] = {
    "topk": {"k": 3},
    "batch_topk": {"k": 2.5},
    "jumprelu": {"threshold": 0.3, "penalty_weight": 0.01},
    "relu": {"penalty_weight": 0.01},
}
every_code = pytest.mark.parametrize("code", CODES)


def numbers(n: int = 40) -> tuple[Tensor, Tensor]:
    """Samples (n, 2, 3) far from zero, and targets (n, 4)."""
    g = torch.Generator().manual_seed(0)
    x = torch.randn(n, 6, generator=g)
    y = (x @ torch.randn(6, 4, generator=g)).relu() * 7 - 30
    return x.unflatten(1, (2, 3)) + 20, y


def built(code: str, seed: int = 0, **options: Any) -> Transcoder:
    """A transcoder with weights that are nowhere zero, and scaled as its data ask."""
    torch.manual_seed(seed)
    settings = {"latent_dim": 10, "target_shape": (4,), **CODES[code], **options}
    model = Transcoder((2, 3), activation=code, **settings)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "threshold" not in name:
                parameter.add_(0.1 * torch.randn_like(parameter))
    x, y = numbers(400)
    model.start_from(x.flatten(1), torch.Generator().manual_seed(0), y)
    return model


@pytest.mark.parametrize("skip", [False, True], ids=["plain", "skip"])
@every_code
def test_the_output_is_that_of_the_formula(code: str, skip: bool) -> None:
    """ŷ = act(x W_enc + b_enc) W_dec + b_dec + x W_skip, in numpy; x and y less their means, to mean norm √d."""
    model = built(code, skip=skip).double()
    x, y = (part.double() for part in numbers(400))
    losses, output = model.loss(x[:40], y[:40])
    flat, targets = x.flatten(1).numpy(), y.numpy()
    factors = []
    for part in (flat, targets):
        rows = part - part.mean(0)
        factors.append(np.sqrt(part.shape[1]) / np.linalg.norm(rows, axis=1).mean())
    read = (flat[:40] - flat.mean(0)) * factors[0]
    goal = (targets[:40] - targets.mean(0)) * factors[1]
    weights = {name: value.detach().numpy() for name, value in model.named_parameters()}
    rows = weights["dictionary.W_dec"]
    pre = read @ weights["dictionary.W_enc"] + weights["dictionary.b_enc"]
    scores = pre * np.linalg.norm(rows, axis=1)
    z = np.maximum(pre, 0)
    if code == "topk":
        z[scores < np.sort(scores, axis=1)[:, -3:-2]] = 0
    elif code == "batch_topk":
        z[scores < np.sort(scores, axis=None)[-100]] = 0  # 2.5 of each of 40
    elif code == "jumprelu":
        z[pre <= 0.3] = 0
    found = z @ rows + weights["dictionary.b_dec"] + (read @ weights["W_skip"] if skip else 0)
    np.testing.assert_allclose(output.z.to_dense().detach().numpy(), z, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(
        output.x_hat.detach().numpy(), found / factors[1] + targets.mean(0), rtol=1e-5, atol=1e-4
    )
    squares = np.square(found - goal)
    expected = squares.mean() if code.endswith("topk") else squares.sum(1).mean()
    assert float(losses["reconstruction"].detach()) == pytest.approx(expected, rel=1e-5)
    assert output.x_hat.shape == (40, 4)
    model.eval()
    with torch.no_grad():
        x_hat, z_alone = model(x)
        assert torch.allclose(model.decode(z_alone), x_hat) != skip
    assert model.decodes_to_data != skip


@pytest.mark.parametrize("instances", [None, 2], ids=["single", "population"])
@every_code
def test_folded_weights_read_and_write_the_data_as_they_are(code: str, instances: int | None) -> None:
    model = built(code, skip=True, instances=instances).double().eval()
    folded = model.fold()
    x = numbers()[0].double()
    with torch.no_grad():
        torch.testing.assert_close(folded(x).x_hat, model(x).x_hat, rtol=1e-9, atol=1e-8)
        flat = x.flatten(1)
        d = folded.dictionary
        plain = d.activation(flat @ d.W_enc + d.b_enc.unsqueeze(-2)) @ d.W_dec + d.b_dec.unsqueeze(-2)
        plain = plain + flat @ folded.W_skip
        torch.testing.assert_close(plain, model(x).x_hat, rtol=1e-9, atol=1e-8)
    assert (folded.hparams["input_scaling"], folded.hparams["target_scaling"]) == ("none", "none")
    assert folded.is_folded
    assert not model.is_folded


@every_code
def test_an_instance_of_a_population_is_a_transcoder_alone(code: str) -> None:
    model = built(code, skip=True, instances=3).eval()
    x = numbers()[0]
    with torch.no_grad():
        torch.testing.assert_close(model.instance(1)(x).x_hat, model(x).x_hat[1])


def test_a_known_map_is_learned_up_to_its_noise(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Linear and sparse at once: the skip learns the one, latents the other; neither would do alone."""
    monkeypatch.setenv("PL_GLOBAL_SEED", "0")
    data = KnownMap()

    def learned(**options: Any) -> Transcoder:
        torch.manual_seed(0)
        model = Transcoder((16,), 64, "batch_topk", target_shape=(12,), k=6, **options)
        quiet_trainer(tmp_path, max_steps=1000, max_epochs=-1, limit_val_batches=0).fit(model, data)
        return model

    model = learned(skip=True)
    fvu = model_errors(model, data.test_set, 5000).compute()["fvu"]
    assert fvu <= 1.05 * data.fvu_of_noise
    told = evaluate(model, data)
    assert told["errors"]["test"]["autoencoder"]["fvu"] == pytest.approx(fvu)
    assert told["errors"]["test"]["pca"]["fvu"] > 4 * data.fvu_of_noise  # a linear map alone
    assert told["recovery"] == {}
    assert (told["model"]["output_shape"], told["model"]["has_skip"]) == ([12], True)
    assert told["data"]["has_targets"]


def test_it_starts_and_calibrates_in_a_fit(tmp_path: Any) -> None:
    """Scalings are those of samples and of targets; the threshold is one at which k latents are active."""
    data = KnownMap(3000)
    model = Transcoder((16,), 64, "batch_topk", target_shape=(12,), k=6)
    quiet_trainer(tmp_path, max_steps=3, callbacks=[CalibrateThreshold()]).fit(model, data)
    x, _, y = data.train_set.take(3000)
    for scaling, rows in ((model.scaling, x), (model.target_scaling, y)):
        torch.testing.assert_close(scaling.mean, rows.mean(0), rtol=1e-4, atol=1e-4)
        norm = float((rows - rows.mean(0)).norm(dim=1).mean())
        assert float(scaling.factor) == pytest.approx(np.sqrt(rows.shape[1]) / norm, rel=1e-4)
    z = model.eval().encode(data.val_set.take(2000)[0])
    assert float((z > 0).sum(1).float().mean()) == pytest.approx(6, abs=0.05)


def test_data_without_targets_are_refused_by_the_option_that_names_them(tmp_path: Any) -> None:
    model = Transcoder((1, 8, 8), 12, k=3)
    with pytest.raises(ConfigError, match=r"have no targets: name them with --data\.target, or choose an autoencoder"):
        quiet_trainer(tmp_path, max_steps=1).fit(model, DigitsDataModule())
    with pytest.raises(ConfigError, match=r"have no targets: name them with --data\.target"):
        evaluate(model, DigitsDataModule())


def test_targets_of_another_shape_are_refused(tmp_path: Any) -> None:
    for model in (Transcoder((16,), 8, k=2, target_shape=(5,)), TopKSAE((16,), 8, k=2)):
        refusal = f"a target of these data is 12, but {type(model).__name__} produces {model.output_shape[0]}"
        with pytest.raises(ConfigError, match=refusal):
            evaluate(model, KnownMap(100))
        with pytest.raises(ConfigError, match=refusal):
            model.loss(torch.randn(3, 16), torch.randn(3, 12))


def test_a_sparse_autoencoder_takes_targets_of_its_own_shape(tmp_path: Any) -> None:
    """As for denoising: the loss and the errors are those of the target."""
    clean = torch.randn(600, 4, generator=torch.Generator().manual_seed(0))
    x = clean + 0.1
    model = TopKSAE((4,), 6, k=2, input_scaling="none", arithmetic="dense")
    with torch.no_grad():
        x_hat = model(x).x_hat
        losses, _ = model.loss(*model.pair((x, x[:, :0], clean)))
    assert float(losses["reconstruction"]) == pytest.approx(float((x_hat - clean).square().mean()), rel=1e-6)
    dataset = InMemoryDataset(x, target=InMemoryDataset(clean))
    found = model_errors(model.eval(), dataset, 100).compute()["mse_per_pixel"]
    assert found == pytest.approx(float((x_hat - clean).square().mean()), rel=1e-6)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"activation": "relu", "k": 3},
            "--model.k is given, but a code by relu has none: .* set --model.activation topk or batch_topk",
        ),
        ({"penalty_weight": 0.1}, "--model.penalty_weight is given, but a code by topk has none: .* jumprelu or relu"),
        ({"activation": "relu", "threshold": 1.0}, "--model.threshold is given, but a code by relu has none"),
        ({"activation": "batch_topk", "target_l0": 3}, "--model.target_l0 is given, but a code by batch_topk has none"),
        ({"activation": "gated"}, "--model.activation is 'gated'; it can be topk, batch_topk, jumprelu, relu"),
        ({"target_scaling": "standardized", "k": 2}, "--model.target_scaling standardized needs the target"),
        ({"k": 0}, "k"),
    ],
)
def test_options_that_do_not_belong_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Transcoder((6,), 10, **options)

"""Codes as indices and values give what dense ones do: losses, gradients, fits, checkpoints, logs and measurements."""

import copy
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from lightning.pytorch import Callback
from torch import Tensor, nn
from torch.autograd import gradcheck
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from ae_lightning import load_autoencoder
from ae_lightning.callbacks.latent_statistics import LatentStatistics
from ae_lightning.callbacks.resampling import ResampleDeadLatents
from ae_lightning.data.gaussian import GaussianDataModule
from ae_lightning.errors import ConfigError, Notice
from ae_lightning.evaluation.evaluate import evaluate
from ae_lightning.evaluation.latents import LatentMeter
from ae_lightning.losses import auxk
from ae_lightning.models.matryoshka_sae import MatryoshkaSAE
from ae_lightning.models.sparse_dictionary import SparseDictionary
from ae_lightning.models.topk_sae import BatchTopKSAE, TopKSAE
from ae_lightning.nn import sparse_encoding
from ae_lightning.nn.batch_topk import BatchTopK
from ae_lightning.nn.sparse_code import SparseCode
from ae_lightning.nn.topk import TopK
from ae_lightning.training.batch import Pass

INPUT, LATENTS, SAMPLES = 12, 64, 20

Case = tuple[type[SparseDictionary], dict[str, Any]]
CASES: dict[str, Case] = {
    "topk": (TopKSAE, {}),
    "topk, tied": (TopKSAE, {"tied": True}),
    "topk, rows of norm 1": (TopKSAE, {"unit_norm": True}),
    "topk, tied rows of norm 1": (TopKSAE, {"tied": True, "unit_norm": True}),
    "topk, groups": (TopKSAE, {"groups": True, "k": 4}),
    "topk, not weighted": (TopKSAE, {"norm_weighted": False}),
    "topk, no bias": (TopKSAE, {"encoder_bias": False}),
    "topk, auxk by relu": (TopKSAE, {"auxk_relu": True}),
    "topk, all latents": (TopKSAE, {"k": LATENTS}),
    "batch topk": (BatchTopKSAE, {}),
    "batch topk, tied, not weighted": (BatchTopKSAE, {"tied": True, "norm_weighted": False, "k": 2.5}),
    "matryoshka": (MatryoshkaSAE, {}),
    "matryoshka, random": (MatryoshkaSAE, {"random_prefixes": 3}),
    "matryoshka, of samples": (MatryoshkaSAE, {"select": "sample", "unit_norm": True}),
}
TOLERANCE = {torch.float32: 1e-5, torch.float64: 1e-10}


def made(case: str, arithmetic: str, dtype: torch.dtype = torch.float32, **options: Any) -> SparseDictionary:
    """A model whose latents differ in the norms of their rows, and of which every third is dead."""
    kind, settings = CASES[case]
    torch.manual_seed(1)
    model = kind((INPUT,), LATENTS, arithmetic=arithmetic, dead_after=10, **({"k": 5, "k_aux": 6} | settings | options))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    if model.silence is not None:
        model.silence.silent[..., ::3] = 100
    return model.to(dtype)


def step(model: SparseDictionary, x: Tensor) -> dict[str, Tensor]:
    """Losses, x̂, code, gradients and what was gathered, of one batch."""
    torch.manual_seed(2)
    losses, output = model.loss(x)
    losses["loss"].backward()
    model.observe(output)
    assert isinstance(output.z, SparseCode) == model.is_sparse
    gathered = getattr(model.dictionary.activation, "_gathered", None)
    return (
        losses
        | {"x_hat": output.x_hat, "z": output.z.to_dense(), "fired": model.silence.fired.float()}
        | {f"gradient of {name}": parameter.grad for name, parameter in model.named_parameters()}
        | ({} if gathered is None else {"gathered": gathered})
    )


def assert_close(found: dict[str, Tensor], wanted: dict[str, Tensor], tolerance: float) -> None:
    """Each to within so much of the largest number in it."""
    assert found.keys() == wanted.keys()
    for name, value in wanted.items():
        largest = float(value.detach().abs().max())
        torch.testing.assert_close(
            found[name], value, rtol=0, atol=tolerance * largest, msg=lambda m, n=name: f"{n}: {m}"
        )


@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
@pytest.mark.parametrize(
    ("training", "fewest"),
    [(True, 1), (True, 100), (False, 1)],
    ids=["the dead sparsely", "the dead densely", "evaluation"],
)
@pytest.mark.parametrize("case", CASES)
def test_a_step_is_the_dense_one(case, training, fewest, dtype, monkeypatch):
    monkeypatch.setattr(auxk, "_WORTH_SPARSE", fewest)
    monkeypatch.setattr(sparse_encoding, "_BLOCK", 7 * LATENTS)
    for instances, own in ((None, False), (3, False), (3, True)):
        x = torch.randn(SAMPLES, *((3,) if own else ()), INPUT, dtype=dtype) + 0.3
        found, wanted = (
            step(made(case, arithmetic, dtype, instances=instances).train(training), x)
            for arithmetic in ("sparse", "dense")
        )
        assert ("auxk" in wanted) == training
        assert wanted["z"].count_nonzero() > 0
        assert_close(found, wanted, TOLERANCE[dtype])


@pytest.mark.parametrize("activation", [TopK, BatchTopK])
@pytest.mark.parametrize("training", [True, False], ids=["training", "evaluation"])
def test_instances_may_have_a_k_each(activation, training):
    case = "topk" if activation is TopK else "batch topk"
    x, results = torch.randn(SAMPLES, INPUT, dtype=torch.float64), []
    for arithmetic in ("sparse", "dense"):
        model = made(case, arithmetic, instances=3)
        model.dictionary.activation = activation([2, 5, 40], LATENTS, 3, weighted=True)
        results.append(step(model.double().train(training), x))
    assert_close(*results, 1e-10)


@pytest.mark.parametrize("case", ["topk", "batch topk", "matryoshka", "topk, tied rows of norm 1"])
def test_terms_have_the_gradients_of_finite_differences(case):
    """The whole pass, without AuxK, whose residual has no gradient."""
    model = made(case, "sparse", torch.float64, instances=2, auxk_weight=0.0)
    x = torch.randn(4, INPUT, dtype=torch.float64)

    class Terms(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def forward(self) -> tuple[Tensor, ...]:
            return tuple(self.model.terms(x, x)[0].values())

    names = [f"model.{name}" for name, _ in model.named_parameters()]

    def terms(*weights: Tensor) -> tuple[Tensor, ...]:
        return torch.func.functional_call(Terms(), dict(zip(names, weights, strict=True)), ())

    assert gradcheck(terms, tuple(model.parameters()), fast_mode=True)


@pytest.mark.parametrize("case", ["topk", "batch topk", "matryoshka"])
def test_in_mixed_precision_it_is_no_further_from_the_truth(case):
    """Errors over 20 batches, relative to float64."""
    off = {"sparse": 0.0, "dense": 0.0}
    for seed in range(20):
        x = torch.randn(SAMPLES, INPUT, generator=torch.Generator().manual_seed(seed))
        truth = step(made(case, "dense", torch.float64), x.double())
        for arithmetic in off:
            with torch.autocast("cpu", torch.bfloat16):
                found = step(made(case, arithmetic), x)
            for name, value in truth.items():
                off[arithmetic] += float((found[name].detach().double() - value).norm() / (1 + value.norm()))
    assert 0 < off["sparse"] <= off["dense"]


# --- fits -----------------------------------------------------------------------------------------------------------


def vectors() -> GaussianDataModule:
    return GaussianDataModule(dim=INPUT, rank=4, num_train=60, num_val=24, num_test=24, batch_size=12)


class Codes(Callback):
    """What codes callbacks get, in training and validation."""

    def __init__(self) -> None:
        self.kinds: set[type] = set()

    def on_train_batch_end(self, trainer, pl_module, outputs, *args) -> None:
        self.kinds.add(type(outputs["z"]))

    def on_validation_batch_end(self, trainer, pl_module, outputs, *args) -> None:
        self.kinds.add(type(outputs["z"]))


@pytest.fixture
def never_dense(monkeypatch) -> Iterator[None]:
    """No code becomes dense."""

    def refuse(self: SparseCode) -> Tensor:
        raise AssertionError("a code became dense")

    with monkeypatch.context() as patch:
        patch.setattr(SparseCode, "to_dense", refuse)
        yield


def weights(model: SparseDictionary) -> dict[str, Tensor]:
    return {name: value.float() for name, value in model.state_dict().items() if value.is_floating_point()}


@pytest.mark.parametrize("case", ["topk", "batch topk", "matryoshka"])
def test_fits_go_on_in_either_from_a_checkpoint_of_the_other(case, make_trainer, tmp_path):
    """Six steps without a stop, and three in one way and three in the other."""
    fitted = {}
    for first, second in (("dense", "dense"), ("sparse", "sparse"), ("dense", "sparse"), ("sparse", "dense")):
        path = tmp_path / f"{first} {second}.ckpt"
        model = made(case, first, instances=2)
        trainer = make_trainer(max_steps=3, max_epochs=-1)
        trainer.fit(model, vectors())
        trainer.save_checkpoint(path)
        assert load_autoencoder(path).arithmetic == first
        model = made(case, second, instances=2)
        make_trainer(max_steps=6, max_epochs=-1).fit(model, vectors(), ckpt_path=path, weights_only=True)
        fitted[first, second] = weights(model)
    moved = fitted["dense", "dense"]["dictionary.W_enc"] - weights(made(case, "dense", instances=2))["dictionary.W_enc"]
    assert float(moved.abs().max()) > 1e-2
    for both in fitted.values():
        for name, value in fitted["dense", "dense"].items():
            torch.testing.assert_close(both[name], value, rtol=1e-4, atol=1e-5)


@pytest.mark.usefixtures("never_dense")
@pytest.mark.parametrize("case", ["topk", "batch topk"])
def test_callbacks_count_in_entries_what_they_count_in_dense_codes(case, make_trainer, recorder):
    """Without AuxK a model counts nothing, so that resampling counts by the codes that it is given."""
    logged, counts = {}, {}
    for arithmetic in ("dense", "sparse"):
        model, codes, log = made(case, arithmetic), Codes(), type(recorder)()
        model.silence, model.auxk_weight = None, 0.0
        resampling = ResampleDeadLatents(4, 4, "simple", stop_after=8)
        callbacks = [codes, LatentStatistics(), resampling]
        make_trainer(*callbacks, max_steps=7, max_epochs=-1, logger=log).fit(model, vectors())
        counts[arithmetic] = resampling.state_dict()["counts"]  # of steps 5 to 7
        assert codes.kinds == {SparseCode if arithmetic == "sparse" else Tensor}
        names = ("sparsity/l0", "sparsity/dead_fraction", "resampling/latents")
        logged[arithmetic] = {name: log.series(name) for name in names}
    assert max(logged["dense"]["resampling/latents"].values()) > 0
    assert logged["sparse"] == logged["dense"]
    assert float(counts["dense"].max()) > 0
    assert torch.equal(counts["sparse"], counts["dense"])


@pytest.mark.parametrize("instances", [None, 2])
@pytest.mark.parametrize("case", ["topk", "batch topk"])
def test_a_set_is_measured_by_entries(case, instances, monkeypatch):
    sparse, dense = (
        made(case, arithmetic, torch.float64, instances=instances).eval() for arithmetic in ("sparse", "dense")
    )
    found, wanted = evaluate(sparse, vectors()), evaluate(dense, vectors())
    for name in ("latents", "errors"):
        assert numbers(found[name]) == pytest.approx(numbers(wanted[name]), rel=1e-6)
    assert wanted["latents"]["l0"] > 0
    monkeypatch.delattr(SparseCode, "to_dense")
    data = vectors()
    data.setup()
    meter = LatentMeter(sparse)
    meter.measure(data.test_set, 7)
    assert numbers(meter.statistics()) == pytest.approx(numbers(wanted["latents"]), rel=1e-6)


def numbers(found: Any) -> list[float]:
    """All numbers of nested dictionaries, in their order."""
    return [number for value in found.values() for number in (numbers(value) if isinstance(value, dict) else [value])]


# --- which it is ----------------------------------------------------------------------------------------------------


def wide(kind: type[SparseDictionary] = TopKSAE, latents: int = 1024, **options: Any) -> SparseDictionary:
    return kind((4,), latents, **{"k": 8, **options})


def test_auto_is_sparse_where_many_latents_stand_for_each_active_one():
    assert wide().is_sparse
    assert wide(latents=512, k=31).is_sparse
    assert not wide(latents=512, k=32).is_sparse
    assert not wide(latents=511).is_sparse
    assert not wide(arithmetic="dense").is_sparse
    assert made("topk", "sparse").is_sparse
    assert not wide().to("meta").is_sparse
    assert not wide(arithmetic="sparse").to("meta").is_sparse


def test_auto_follows_a_k_that_moves():
    model = wide(k={"start": 256, "end": 8})
    for k, is_sparse in ((256, False), (64, False), (63, True), (8, True)):
        model.dictionary.activation.set_k(k)
        assert model.is_sparse == is_sparse
        _, output = model.loss(torch.randn(6, 4))
        assert isinstance(output.z, SparseCode) == is_sparse
        assert int((output.z.to_dense() != 0).sum(-1).max()) <= k


def test_auto_is_dense_while_no_threshold_is_known():
    """Half of all latents are then above zero."""
    model = wide(BatchTopKSAE, instances=2)
    assert model.is_sparse
    assert not model.eval().is_sparse
    model.dictionary.activation.calibrate(torch.tensor([0.5, 0.0]))
    assert not model.is_sparse
    model.dictionary.activation.calibrate(torch.tensor([0.5, 0.1]))
    assert model.is_sparse


def test_what_is_compiled_is_dense():
    plain, compiled = (wide(instances=2) for _ in range(2))
    compiled.load_state_dict(plain.state_dict())
    compiled.compile_loss(backend="aot_eager")
    assert not compiled.is_sparse
    x = torch.randn(6, 4)
    (found, output), (wanted, expected) = compiled.loss(x), plain.loss(x)
    assert isinstance(expected.z, SparseCode)
    torch.testing.assert_close(output.z, expected.z.to_dense(), rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(found, wanted, rtol=1e-5, atol=1e-6)


def test_sparse_arithmetic_that_was_asked_for_is_not_compiled():
    model = wide(arithmetic="sparse")
    with pytest.warns(Notice, match=r"^TopKSAE is trained without --compile: --model.arithmetic sparse .* traced$"):
        model.compile_loss(backend="aot_eager")
    assert model.is_sparse


def test_sparse_arithmetic_that_was_asked_for_is_refused_where_it_does_not_run():
    model = made("topk", "sparse").to("meta")
    with pytest.raises(
        ConfigError, match=r"^--model.arithmetic sparse trains on a CPU alone, but this run is on meta:"
    ):
        model.configure_optimizers()
    made("topk", "auto").to("meta").configure_optimizers()


class Penalized(TopKSAE):
    """A variant of a user's, whose penalty reads a tensor."""

    def __init__(self, input_shape: tuple[int, ...], latent_dim: int, **kwargs: Any) -> None:
        super().__init__(input_shape, latent_dim, **kwargs)

    def sparsity_terms(self, done: Pass) -> dict[str, Tensor]:
        return {"l1": done.z[..., : self.latent_dim // 2].abs().sum(-1).mean(-1)}


class Largest(TopK):
    """An activation of a user's: what it keeps is in `forward`."""

    def forward(self, pre: Tensor, norms: Tensor | None = None) -> Tensor:
        return super().forward(pre + 1, norms)


def test_auto_is_dense_for_what_others_derive_and_know_by_tensors():
    model = wide(Penalized)
    assert not model.is_sparse
    assert "l1" in model.loss(torch.randn(3, 4))[0]
    assert wide(Penalized, arithmetic="sparse").is_sparse
    model = wide()
    model.dictionary.activation = Largest(8, 1024, weighted=True)
    assert not model.is_sparse


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize("case", ["topk", "batch topk"])
def test_dense_codes_have_the_format_of_the_weights(case, dtype):
    """So that what is encoded can be decoded."""
    model, x = made(case, "sparse", dtype).eval(), torch.randn(SAMPLES, INPUT, dtype=dtype)
    output = model(x)
    assert output.z.dtype == model.encode(x).dtype == dtype
    torch.testing.assert_close(model.decode(output.z).float(), output.x_hat.float(), rtol=0.02, atol=0.02)


# --- memory -----------------------------------------------------------------------------------------------------------


class Sizes(TorchDispatchMode):
    """The most numbers in a tensor that any operation answers."""

    def __init__(self) -> None:
        super().__init__()
        self.numbers = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        answer = function(*args, **(kwargs or {}))
        sizes = (
            leaf.numel() for leaf in tree_leaves(answer) if isinstance(leaf, Tensor) and leaf.layout == torch.strided
        )
        self.numbers = max(self.numbers, *sizes, 0)
        return answer


def largest_of_a_step(model: SparseDictionary, x: Tensor) -> int:
    with Sizes() as seen:
        losses, output = model.loss(x)
        losses["loss"].backward()
        model.observe(output)
        model.advance()
    return seen.numbers


@pytest.mark.parametrize("case", ["topk", "topk, tied", "batch topk", "matryoshka"])
def test_a_step_makes_no_array_of_batch_times_latents(case, monkeypatch):
    """But for blocks of pre-activations, of as many samples as are asked for, here an eighth."""
    monkeypatch.setattr(sparse_encoding, "_BLOCK", 32 * LATENTS)
    x = torch.randn(256, INPUT)
    model = made(case, "sparse", k=2, k_aux=2)
    model.silence.silent.fill_(0)
    model.silence.silent[:4] = 100
    assert largest_of_a_step(copy.deepcopy(model), x) < 256 * LATENTS
    model.arithmetic = "dense"
    assert largest_of_a_step(model, x) >= 256 * LATENTS

"""Sparse dictionaries in every precision, with clipped gradients, compiled, and on batches without variance."""

import functools
from collections.abc import Callable

import pytest
import torch
from lightning.pytorch import Callback
from sparse_cases import CASES, INPUT, seeded

from ae_lightning import load_autoencoder
from ae_lightning.data.gaussian import GaussianDataModule
from ae_lightning.errors import Notice
from ae_lightning.models.dead_latents import RevivingAutoencoder
from ae_lightning.models.scaled_dictionary import ScaledDictionary

each_case = pytest.mark.parametrize("case", CASES)


def vectors() -> GaussianDataModule:
    """Vectors of 6 numbers in five batches of 12."""
    return GaussianDataModule(dim=INPUT, rank=3, num_train=60, num_val=12, num_test=12, batch_size=12)


FORMATS = {"bf16-mixed": torch.float32, "bf16-true": torch.bfloat16, "64-true": torch.float64}


class Losses(Callback):
    def __init__(self) -> None:
        self.values: list[float] = []

    def on_train_batch_end(self, trainer, pl_module, outputs, *args):
        self.values.append(float(outputs["loss"]))


@each_case
@pytest.mark.parametrize("precision", [pytest.param("bf16-mixed", marks=pytest.mark.slow), "bf16-true", "64-true"])
def test_weights_have_the_format_and_thresholds_scalings_and_controllers_no_narrower_than_float32(
    make_trainer, tmp_path, case, precision
):
    model, seen = seeded(CASES[case]), Losses()
    trainer = make_trainer(seen, precision=precision)
    trainer.fit(model, vectors())
    weights = {"W_enc", "b_enc", "W_dec", "b_dec"}
    wide = torch.promote_types(FORMATS[precision], torch.float32)
    for name, value in model.state_dict().items():
        if value.is_floating_point():
            assert value.dtype == (FORMATS[precision] if name.rpartition(".")[2] in weights else wide), name
        assert not value.isinf().any(), name
    trainer.save_checkpoint(tmp_path / "model.ckpt")
    loaded = load_autoencoder(tmp_path / "model.ckpt")
    for name, value in loaded.state_dict().items():
        own = model.state_dict()[name]
        torch.testing.assert_close(value, own.to(value.dtype), rtol=0, atol=0, equal_nan=True, msg=name)
    exact = exact_losses(case)
    assert seen.values[0] == pytest.approx(exact[0], rel=0.03 if "bf16" in precision else 1e-5)
    assert seen.values != exact


@functools.cache
def exact_losses(case: str) -> list[float]:
    """Losses of the first epoch in float32."""
    from lightning.pytorch import Trainer

    seen = Losses()
    options = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False, "max_epochs": 1}
    Trainer(accelerator="cpu", callbacks=[seen], enable_model_summary=False, **options).fit(
        seeded(CASES[case]), vectors()
    )
    return seen.values


class Gradients(Callback):
    """The gradients that the optimizer was given."""

    def on_train_batch_end(self, trainer, pl_module, *args):
        copies = pl_module.instances or 1  # each of which has a norm of its own
        parts = [p.grad.reshape(copies, -1).norm(dim=1) for p in pl_module.parameters()]
        self.norms = torch.stack(parts).norm(dim=0).tolist()
        self.largest = max(float(p.grad.abs().max()) for p in pl_module.parameters())


@each_case
@pytest.mark.parametrize("algorithm", ["norm", "value"])
def test_gradients_are_clipped_with_those_of_thresholds_and_gates(make_trainer, case, algorithm):
    seen = Gradients()
    options = {"gradient_clip_val": 0.01, "gradient_clip_algorithm": algorithm}
    make_trainer(seen, max_steps=4, max_epochs=-1, **options).fit(seeded(CASES[case]), vectors())
    clipped = seen.norms if algorithm == "norm" else [seen.largest]
    assert clipped == pytest.approx([0.01] * len(clipped), rel=1e-4)


ODD: dict[str, Callable[[], torch.Tensor]] = {
    "one sample": lambda: torch.linspace(-1, 1, INPUT)[None],
    "one sample of zeros": lambda: torch.zeros(1, INPUT),
    "equal samples": lambda: torch.full((8, INPUT), 0.3),
    "zeros": lambda: torch.zeros(8, INPUT),
}


@each_case
@pytest.mark.parametrize("loss", ["mse_sum", "fvu"])
@pytest.mark.parametrize("samples", ODD)
def test_losses_and_gradients_are_finite_on_batches_without_any_variance(case, loss, samples):
    model = fitted(CASES[case], reconstruction_loss=loss)
    losses, _ = model.loss(ODD[samples]())
    losses["loss"].backward()
    assert all(bool(value.isfinite()) for value in losses.values())
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert bool(parameter.grad.isfinite().all()), name


def fitted(make: Callable[..., RevivingAutoencoder], **settings: str) -> RevivingAutoencoder:
    """A model whose scaling is estimated, and some of whose latents are dead."""
    model = seeded(make, **settings)
    if isinstance(model, ScaledDictionary):
        model.start_from(torch.randn(100, INPUT, generator=torch.Generator().manual_seed(0)), torch.Generator())
    if model.silence is not None:
        model.silence.silent[..., [1, 6, 11]] = 10**6
    return model


UNTRACEABLE = {
    "topk_k_lowered": "compiled anew for each k",
    "batch_topk_k_lowered": "compiled anew for each k",
    "topk_sparse_k_lowered": "compiled anew for each k",
    "matryoshka_sparse": "products that cannot be traced",
    "matryoshka_random": "its prefixes are other ones at each step",
}


@pytest.mark.parametrize(
    "case",
    [
        pytest.param(case, marks=() if case in ("batch_topk", *UNTRACEABLE) else pytest.mark.slow)  # they take seconds
        for case in CASES
    ],
)
def test_a_compiled_loss_is_the_same_or_is_not_compiled_and_that_is_said(case):
    plain, compiled = fitted(CASES[case]), fitted(CASES[case])
    if case in UNTRACEABLE:
        with pytest.warns(Notice, match=rf"SAE is trained without --compile: .*{UNTRACEABLE[case]}"):
            compiled.compile_loss(backend="aot_eager")
        assert compiled._compiled_terms is None
        return
    torch.compiler.reset()  # it traces one function a few times at most
    compiled.compile_loss(backend="aot_eager", fullgraph=True)  # needs no compiler of C++, and breaks nowhere
    for batch in (10, 3):
        x = torch.randn(batch, INPUT)
        (ours, output), (theirs, expected) = compiled.loss(x), plain.loss(x)
        torch.testing.assert_close(ours, theirs)
        torch.testing.assert_close(output, expected)
        ours["loss"].backward()
        theirs["loss"].backward()
    for (name, one), other in zip(compiled.named_parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(one.grad, other.grad, msg=name)

"""Matryoshka autoencoders: prefixes that reconstruct by themselves."""

from typing import Any

import pytest
import torch

from ae_lightning.data.digits import DigitsDataModule
from ae_lightning.errors import ConfigError
from ae_lightning.models.matryoshka_sae import MatryoshkaSAE
from ae_lightning.testing.outputs import evaluated

SHAPE, LATENTS = (1, 8, 8), 64


def made(**options: Any) -> MatryoshkaSAE:
    torch.manual_seed(0)
    return MatryoshkaSAE(SHAPE, LATENTS, **{"k": 6, "prefixes": [8, 24], **options})


@pytest.fixture
def data() -> DigitsDataModule:
    """Six steps an epoch."""
    return DigitsDataModule(batch_size=256)


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[list[int]]:
    """The widths that each training batch was decoded with."""
    seen: list[list[int]] = []
    outputs = MatryoshkaSAE.outputs

    def noted(self: MatryoshkaSAE, z: torch.Tensor) -> list[torch.Tensor]:
        found = outputs(self, z)
        if self.training:
            # A prefix decodes what it decodes alone: find its width by that.
            rows, bias = self.dictionary.decoder_vectors, self.dictionary.b_dec
            seen.append([width_of(one, z, rows, bias) for one in found])
        return found

    monkeypatch.setattr(MatryoshkaSAE, "outputs", noted)
    return seen


@torch.no_grad()
def width_of(x_hat: torch.Tensor, z: torch.Tensor, rows: torch.Tensor, bias: torch.Tensor) -> int:
    """How many of the first latents, at least, a reconstruction is made of."""
    errors = [(z[:, :width] @ rows[:width] + bias - x_hat).abs().max() for width in range(1, LATENTS + 1)]
    return next(width for width, error in enumerate(errors, 1) if error < 1e-4)


def test_terms_are_the_errors_of_prefixes_with_a_coefficient_each(data, make_trainer, recorder):
    weights = [0.5, 0.25, 2.0]
    make_trainer(logger=recorder).fit(made(prefix_weights=weights, auxk_weight=0.0), data)
    names = ["prefix_8", "prefix_24", "reconstruction"]
    for stage, steps in (("train", range(1, 7)), ("val", [6])):
        total, *parts = (recorder.series(f"{stage}/{name}") for name in ("loss", *names))
        for step in steps:
            expected = sum(weight * part[step] for weight, part in zip(weights, parts, strict=True))
            assert total[step] == pytest.approx(expected, rel=1e-5)
            assert parts[0][step] > parts[1][step] > parts[2][step]


def test_random_prefixes_are_drawn_anew_for_each_batch_and_alike_after_a_resume(data, make_trainer, tmp_path, drawn):
    trainer, model = make_trainer(max_epochs=2), made(random_prefixes=3)

    def save() -> None:
        if trainer.global_step == 6:
            trainer.save_checkpoint(tmp_path / "a.ckpt")

    model.on_train_epoch_end = save  # type: ignore[method-assign]
    trainer.fit(model, data)
    whole = drawn.copy()
    drawn.clear()
    assert len(whole) == 12
    assert all(len(widths) == 4 for widths in whole)
    assert len({tuple(widths) for widths in whole}) > 6
    resumed = made(random_prefixes=3)
    torch.rand(7)  # the random numbers of a new process are elsewhere
    make_trainer(max_epochs=2).fit(resumed, data, ckpt_path=tmp_path / "a.ckpt", weights_only=True)
    assert drawn == whole[6:]
    expected = {name: value.nan_to_num() for name, value in model.state_dict().items()}
    found = {name: value.nan_to_num() for name, value in resumed.state_dict().items()}
    assert [name for name in expected if not torch.equal(found[name], expected[name])] == []


def test_with_random_prefixes_evaluation_has_the_given_ones(data, make_trainer, recorder):
    make_trainer(logger=recorder).fit(made(random_prefixes=3), data)
    logged = {name for _, metrics in recorder.rows for name in metrics}
    assert {"train/prefixes", "val/prefix_8", "val/prefix_24"} <= logged
    assert not {"val/prefixes", "train/prefix_8"} & logged


def test_the_loss_with_random_prefixes_is_the_error_of_all_and_the_mean_of_theirs(drawn):
    model, x = made(random_prefixes=3, input_scaling="none", auxk_weight=0.0), torch.rand(20, *SHAPE)
    losses, output = model.loss(x)
    z, rows, bias = output.z, model.dictionary.decoder_vectors, model.dictionary.b_dec

    def error(width: int) -> torch.Tensor:
        return (z[:, :width] @ rows[:width] + bias - x.flatten(1)).square().mean()

    *inner, _ = drawn[-1]
    torch.testing.assert_close(losses["prefixes"], sum(map(error, inner)) / 3)
    torch.testing.assert_close(
        losses["loss"], losses["prefixes"] * model.prefix_weights[-1] + error(LATENTS) * model.prefix_weights[-1]
    )


def test_the_first_latents_learn_to_reconstruct_alone(data, make_trainer):
    """Better than the first ones of the same model that was trained without prefixes."""
    data.setup()
    x, _ = data.test_set.take(360)
    errors = []
    for weights in ([1.0, 1.0, 1.0], [0.0, 0.0, 1.0]):
        model = made(prefix_weights=weights, optimizer=lambda params: torch.optim.Adam(params, lr=0.01))
        make_trainer(max_epochs=6).fit(model, data)
        z = evaluated(model, x).z
        errors.append(float((model.decode(z * (torch.arange(LATENTS) < 8)) - x).square().mean()))
    assert errors[0] < 0.9 * errors[1]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"prefixes": [8, 8]}, r"^--model.prefixes has the widths \[8, 8, 64\]; they must rise"),
        ({"prefixes": [8, 65]}, r"^--model.prefixes has the widths \[8, 65, 64\]; they must rise"),
        ({"prefixes": [0.5, 0.25]}, r"^--model.prefixes are fractions that sum to 0.75; they must sum to 1$"),
        ({"prefix_weights": [1.0, 1.0]}, r"^--model.prefix_weights is \[1.0, 1.0\]; it must have 3 numbers from 0 on"),
        ({"random_prefixes": 64}, r"^--model.random_prefixes is 64; it must be from 1 to 63"),
    ],
)
def test_what_makes_no_sense_is_refused(options, message):
    with pytest.raises(ConfigError, match=message):
        made(**options)

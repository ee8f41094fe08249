"""The frames over a run's snapshots: what each of them was given to draw, and what is red in it."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from ae_lightning.plots.training_frames import TrainingFrames
from ae_lightning.report.sparsity import SparsityFigures
from ae_lightning.run.codes import chosen_moments
from ae_lightning.run.run import Run


def figures_of(folder: Path) -> SparsityFigures:
    return SparsityFigures(Run.load(folder))


def red(frame: np.ndarray) -> bool:
    return bool(((frame[..., 0] > 180) & (frame[..., 1] < 70) & (frame[..., 2] < 70)).any())


def codes_by_hand(weights: dict[str, torch.Tensor], x: torch.Tensor) -> torch.Tensor:
    """Codes (instances, n, latent) of a StandardSAE's weights for samples x (instances, n, input)."""
    centered = x - weights["decoder_bias"][:, None]
    return (centered @ weights["encoder_vectors"].mT + weights["encoder_bias"][:, None]).clamp(min=0)


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, ...]]:
    """What each frame was given to draw."""
    calls: list[tuple[Any, ...]] = []
    draw = TrainingFrames.draw

    def spy(self: TrainingFrames, *arguments: Any, **named: Any) -> np.ndarray:
        rows, points, *others = arguments
        # The same model is drawn each time, with other weights.
        calls.append(({name: vectors.clone() for name, vectors in rows.items()}, points, *others))
        return draw(self, *arguments, **named)

    monkeypatch.setattr(TrainingFrames, "draw", spy)
    return calls


def test_resampled_latents_are_red_in_the_frame_after_and_in_no_other(toy_sae, drawn):
    figures = figures_of(toy_sae)
    frames, captions = figures.animation(2)
    table = figures.run.resampled
    assert set(table["step"]) == {40, 80}
    for step, frame, caption, (_, _, marked, said) in zip(
        (0, 20, 40, 60, 80, 100), frames, captions, drawn, strict=True
    ):
        expected = torch.zeros(2, 5, dtype=torch.bool)
        for when, instance, latent in zip(*table.values(), strict=True):
            if when == step and instance < 2:
                expected[instance, latent] = True
        assert torch.equal(marked, expected)
        assert red(frame) == bool(expected.any())
        count = int(expected.sum())
        news = f": {count} latent{'s' * (count > 1)} resampled since step {step - 20} (red)" if count else ""
        assert caption == said == f"step {step}{news}"
    assert any("resampled" in caption for caption in captions)


def test_a_frame_shows_the_weights_and_the_samples_of_its_snapshot(toy_sae, drawn):
    figures = figures_of(toy_sae)
    frames, _ = figures.animation(2)
    assert len({frame.shape for frame in frames}) == 1
    for step, (rows, points, _, _) in zip(figures.run.snapshots, drawn, strict=True):
        weights = {name: part[:2] for name, part in figures.run.snapshots[step].items()}
        assert list(rows) == ["encoder", "decoder"]
        assert torch.equal(rows["encoder"], weights["encoder_vectors"])
        assert torch.equal(rows["decoder"], weights["decoder_vectors"])
        states, decoded = points
        assert torch.equal(states, drawn[0][1][0])
        expected = codes_by_hand(weights, states) @ weights["decoder_vectors"] + weights["decoder_bias"][:, None]
        torch.testing.assert_close(decoded, expected)


def test_the_frames_of_a_toy_model_show_its_features_only(toy_model, drawn):
    frames, captions = figures_of(toy_model).animation()
    run = Run.load(toy_model)
    assert captions == [f"step {step}" for step in run.snapshots]
    for step, frame, (rows, points, _, _) in zip(run.snapshots, frames, drawn, strict=True):
        assert (list(rows), points) == (["features"], None)
        assert torch.equal(rows["features"], run.snapshots[step]["encoder_vectors"].mT)
        assert not red(frame)


def test_of_three_dimensions_all_snapshots_have_one_view_and_the_last_weights_turn_once(toy_sae_in_space, drawn):
    figures = figures_of(toy_sae_in_space)
    frames, captions = figures.animation(1)
    run = figures.run
    assert len({frame.shape for frame in frames}) == 1
    assert captions == [f"step {step}" for step in run.snapshots] + [
        f"step 20, turned by {degrees}°" for degrees in range(15, 361, 15)
    ]
    taken = [run.snapshots[step]["decoder_vectors"][:1] for step in run.snapshots]
    # One rotation takes the weights of all snapshots to what is drawn of them.
    seen = torch.cat([rows["decoder"] for rows, _, *_ in drawn[: len(taken)]]).flatten(0, 1).double()
    view = torch.linalg.lstsq(torch.cat(taken).flatten(0, 1).double(), seen).solution
    torch.testing.assert_close(view.T @ view, torch.eye(3, dtype=torch.float64), atol=1e-4, rtol=0)
    torch.testing.assert_close(torch.cat(taken).flatten(0, 1).double() @ view, seen, atol=1e-4, rtol=1e-4)
    # A quarter of the turn brings what lay on the right away from the viewer; what is up stays up.
    still, quarter, whole = (drawn[len(taken) + place][0]["decoder"] for place in (-1, 5, -1 - len(taken)))
    torch.testing.assert_close(quarter, torch.stack([still[..., 2], still[..., 1], -still[..., 0]], dim=-1))
    torch.testing.assert_close(whole, still, atol=1e-5, rtol=1e-4)
    np.testing.assert_array_equal(frames[-1][60:], frames[len(taken) - 1][60:])


def test_of_many_snapshots_some_are_chosen_the_first_and_last_among_them():
    assert chosen_moments([3, 5, 8]) == [3, 5, 8]
    assert chosen_moments(range(0, 1000, 10), most=4) == [0, 330, 660, 990]
    assert len(set(chosen_moments(range(500)))) == 121

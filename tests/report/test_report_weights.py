"""The figures of a run's weights: what they draw is computed anew here, with numpy or by switching units off."""

import shutil
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from ae_lightning.models.checkpoint import load_autoencoder
from ae_lightning.models.overcomplete import OvercompleteAutoencoder
from ae_lightning.report.weights import WeightFigures
from ae_lightning.run.codes import chosen_moments
from ae_lightning.run.readable import ReadableRun
from ae_lightning.run.run import Run

SHOWN = {"structure", "units"}
HISTORY = {"importance", "top_units", "effective_rank"}
IMAGE_HISTORY = {"units_through_training"}
VECTORS = {"exciting_samples", "decoder_cosines"}
TRUTH = {"recovery", "recovery_over_training", "truths_over_training", "latents_over_training"}
ALWAYS = {"causal_importance", "cosines", "spectrum"}


class Taken(dict):
    """Snapshots in memory."""

    index = ()

    def nearest(self, step):
        return min(self, key=lambda taken: abs(taken - step))


@pytest.fixture(scope="session")
def small(fit):
    """An overcomplete autoencoder of 16 latents after an epoch of digits, with six snapshots."""
    return fit("small", "--model", "OvercompleteAutoencoder", "--model.latent_dim", "16", "--data", "digits")


@pytest.fixture
def run(small):
    return Run.load(small)


@pytest.fixture
def figures(run):
    return WeightFigures(run)


def in_memory(model, data, snapshots=None, **options):
    """Figures of a model that no run has trained."""
    return WeightFigures(SimpleNamespace(model=model, data=data, snapshots=Taken(snapshots or {})), **options)


def drawn(figures, name):
    return figures.fitting()[name]()


def labels(ax):
    return [int(text.get_text().removeprefix("#")) for text in ax.texts]


def pictures(ax):
    """RGB of the images that some axes hold, (n, height, width, 3) within [0, 1]."""
    stack = np.stack([np.asarray(image.get_array()) for image in ax.images])
    return stack / 255 if stack.dtype == np.uint8 else stack


def dots(figure):
    return np.asarray(figure.axes[0].collections[0].get_offsets()).T


def codes(weights, x):
    return np.maximum(x @ weights["encoder_vectors"].numpy().T + weights["encoder_bias"].numpy(), 0)


def importance(weights, x):
    encoder, decoder = weights["encoder_vectors"].numpy(), weights["decoder_vectors"].numpy()
    return np.linalg.norm(encoder, axis=1) * codes(weights, x).mean(0) * np.linalg.norm(decoder, axis=1)


def flat_samples(data):
    return data.test_set.take(360)[0].reshape(360, 64).numpy()


def error_without_each_unit(model, x):
    """By how much the error grows when each unit alone is switched off, one after the other."""
    with torch.no_grad():
        z = model.encode(x)
        whole = (model.decode(z) - x).double().square().mean()
        grown = []
        for unit in range(z.shape[1]):
            without = z.clone()
            without[:, unit] = 0
            grown.append(float((model.decode(without) - x).double().square().mean() - whole))
    return np.array(grown)


# Which figures there are


def test_what_fits(figures, toy_model, sparse, toy_sae):
    assert set(figures.fitting()) == SHOWN | HISTORY | IMAGE_HISTORY | ALWAYS | {"removal"}
    assert figures.has_animation
    for folder in (toy_model, sparse):  # a toy model has features and not units, a deep one several layers
        others = WeightFigures(Run.load(folder))
        assert others.fitting() == {}
        assert not others.has_animation
    vectors = WeightFigures(Run.load(toy_sae))  # of two numbers, which are no images
    assert set(vectors.fitting()) == HISTORY | ALWAYS | VECTORS | TRUTH | {"removal"}
    assert not vectors.has_animation
    for make in vectors.fitting().values():
        assert make().axes


def test_without_snapshots_there_is_no_history(small, tmp_path):
    copy = shutil.copytree(small, tmp_path / "version_0", ignore=shutil.ignore_patterns("snapshots"))
    figures = WeightFigures(Run.load(copy))
    assert set(figures.fitting()) == SHOWN | ALWAYS | {"removal"}
    assert not figures.has_animation
    assert not [line for line in drawn(figures, "spectrum").axes[0].lines if line.get_linestyle() == "--"]


# Units as images


def test_units_are_in_the_order_of_their_importance(figures, run):
    expected = np.argsort(-importance(run.model.snapshot(), flat_samples(run.data)), kind="stable")
    assert labels(drawn(figures, "units").axes[0]) == expected.tolist()
    few = drawn(WeightFigures(run, units=3), "units").axes[0]
    assert labels(few) == expected[:3].tolist()
    assert "the 3 most important units" in few.get_title()


def test_pixels_that_are_never_lit_are_gray_in_what_units_read_only(figures, run):
    train = run.data.train_set.take(len(run.data.train_set))[0].reshape(-1, 64).numpy()
    dark = (train == train[0]).all(0).reshape(8, 8)
    assert 0 < dark.sum() < 20
    shown = pictures(drawn(figures, "units").axes[0])
    read, written = shown[::2], shown[1::2]
    assert read.shape == written.shape == (16, 8, 8, 3)
    (gray,) = {tuple(color) for color in read[:, dark].reshape(-1, 3).tolist()}
    assert max(gray) < 0.8
    assert not (read[:, ~dark] == gray).all(axis=-1).any()
    assert not (written == gray).all(axis=-1).any()


@pytest.mark.parametrize(("place", "side"), [(0, "encoder_vectors"), (1, "decoder_vectors")])
def test_what_is_positive_is_red_and_what_is_negative_blue(place, side, figures, run):
    figure = drawn(figures, "units")
    weights = run.model.snapshot()[side].numpy()[labels(figure.axes[0])].reshape(-1, 8, 8)
    shown = pictures(figure.axes[0])[place::2]
    red = shown[..., 0] - shown[..., 2]
    lit = np.ptp(run.data.train_set.take(2000)[0].reshape(-1, 8, 8).numpy(), axis=0) > 0
    strong = (np.abs(weights) > 0.3 * np.abs(weights).max(axis=(1, 2), keepdims=True)) & lit
    assert strong.sum() > 100
    assert (np.sign(red[strong]) == np.sign(weights[strong])).all()


def morans_i(image, lit):
    """Pixel by pixel, as the docstring of `analysis.structure` has it."""
    mean = image[lit].mean()
    pairs, products = 0, 0.0
    for row, column in np.ndindex(image.shape):
        for other in ((row + 1, column), (row, column + 1)):
            if max(other) < 8 and lit[row, column] and lit[other]:
                pairs += 1
                products += (image[row, column] - mean) * (image[other] - mean)
    return lit.sum() / pairs * products / np.square(image[lit] - mean).sum()


def test_units_are_ordered_by_structure_where_samples_are_lit(figures, run):
    ranks, beside, then, shown = drawn(figures, "structure").axes
    lit = np.ptp(run.data.train_set.take(2000)[0].reshape(-1, 8, 8).numpy(), axis=0) > 0
    weights = run.model.snapshot()["decoder_vectors"].numpy().reshape(-1, 8, 8).astype(float)
    expected = [morans_i(image, lit) for image in weights]
    np.testing.assert_allclose(ranks.lines[0].get_ydata(), sorted(expected, reverse=True), rtol=1e-4)
    weighed = importance(run.model.snapshot(), flat_samples(run.data))
    dots_beside = sorted(map(tuple, np.asarray(beside.collections[0].get_offsets()).tolist()))
    np.testing.assert_allclose(
        dots_beside, sorted((a, b) for a, b in zip(weighed, expected, strict=True) if a > 0), rtol=1e-3
    )
    assert [float(text.get_text().replace("−", "-")) for text in shown.texts] == pytest.approx(
        sorted(expected, reverse=True), abs=0.006
    )
    start = run.snapshots[0]["decoder_vectors"].numpy().reshape(-1, 8, 8).astype(float)
    assert then.lines[0].get_ydata()[0] == pytest.approx(np.median([morans_i(image, lit) for image in start]), rel=1e-3)


# Snapshots


def test_the_nearest_snapshots_are_shown(run):
    assert list(run.snapshots) == [0, 4, 8, 13, 17, 21]
    assert WeightFigures(run, steps=[100, 0, 5, 6, 7]).steps == [0, 4, 8, 21]
    figures = WeightFigures(run, steps=[3, 21])
    shown = drawn(figures, "units_through_training").axes[0]
    assert [tick.get_text() for tick in shown.get_xticklabels()] == ["4", "21"]
    chosen = WeightFigures(run).steps
    assert chosen[0] == 0
    assert chosen[-1] == 21
    assert 2 < len(chosen) <= 4
    assert chosen == sorted(set(chosen))


def test_importance_has_a_line_for_each_moment_shown(run):
    figure = drawn(WeightFigures(run, steps=[0, 13, 21]), "importance")
    x = flat_samples(run.data)
    for line, step in zip(figure.axes[0].lines, [0, 13, 21], strict=True):
        expected = np.sort(importance(run.snapshots[step], x))[::-1]
        np.testing.assert_allclose(line.get_ydata(), expected[expected > 0], rtol=1e-4)


def test_units_may_be_ranked_on_training_samples(run, digits):
    figures = WeightFigures(run, steps=[0, 21], units=5, ranked_on="train")
    x = digits.train_set.take(5000)[0].flatten(1).numpy()
    assert len(x) == 1293
    weights, lost = dots(drawn(figures, "causal_importance"))
    np.testing.assert_allclose(weights, importance(run.model.snapshot(), x), rtol=1e-4)
    assert not np.allclose(weights, importance(run.model.snapshot(), flat_samples(run.data)), rtol=1e-4)
    np.testing.assert_allclose(
        lost, dots(drawn(WeightFigures(run), "causal_importance"))[1]
    )  # what is lost is measured on test samples
    expected = np.argsort(-importance(run.model.snapshot(), x), kind="stable")[:5]
    assert labels(drawn(figures, "units").axes[0]) == expected.tolist()


def test_importance_is_that_of_the_snapshot_named_also_where_not_all_are_looked_at(digits):
    torch.manual_seed(0)
    model = OvercompleteAutoencoder((1, 8, 8), 4).eval()
    taken = {step: {name: part.clone() for name, part in model.snapshot().items()} for step in range(150)}
    step = next(step for step in taken if step not in chosen_moments(list(taken)))
    taken[step]["decoder_vectors"] *= 3
    figure = drawn(in_memory(model, digits, taken, steps=[0, step]), "importance")
    first, other = (line.get_ydata() for line in figure.axes[0].lines)
    np.testing.assert_allclose(other, 3 * first, rtol=1e-5)


def test_the_animation_has_a_frame_for_each_snapshot(run):
    frames, captions = WeightFigures(run, units=7).frames()
    x = flat_samples(run.data)
    for caption, step, entry in zip(captions, run.snapshots, run.snapshots.index, strict=True):
        weights = {name: part.numpy() for name, part in run.snapshots[step].items()}
        x_hat = codes(run.snapshots[step], x) @ weights["decoder_vectors"] + weights["decoder_bias"]
        numbers = f"{entry['images_seen']:,} images seen, squared error per pixel {np.square(x_hat - x).mean():.3g}"
        assert caption.startswith(f"step {step}, {numbers}; decoder rows of the 7 units")
    assert len({frame.shape for frame in frames}) == 1
    assert len(frames) == 6
    assert all(not np.array_equal(*pair) for pair in pairwise(frames))


def test_the_animation_shows_the_units_of_the_end_beside_those_of_each_moment(digits):
    """Two units: one writes red and is loud at first, the other writes blue and is loud in the end."""
    model = OvercompleteAutoencoder((1, 8, 8), 2).eval()
    start = {name: part.clone() for name, part in model.snapshot().items()}
    start["encoder_vectors"], start["encoder_bias"] = torch.full((2, 64), 0.01), torch.ones(2)
    start["decoder_vectors"] = torch.stack([torch.full((64,), 2.0), torch.full((64,), -1.0)])
    end = start | {"decoder_vectors": torch.stack([torch.full((64,), 1.0), torch.full((64,), -2.0)])}
    model.restore(end)
    frames, captions = in_memory(model, digits, {0: start, 9: end}).frames()
    tile = 2 * (42 * 8 + 3) + 3  # two images whose pixels are 42 wide, their frames, and a gap of 24 between tiles
    places = [(1, 0), (5, 0), (9, 24), (13, 24)]
    for frame, right_first in zip(frames, ("red", "blue"), strict=True):
        middle = 66 + tile // 4  # below what stands above the tiles
        cells = [frame[middle, 12 + gap + part * tile // 8].astype(int) for part, gap in places]
        colors = ["red" if red > blue else "blue" for red, _, blue in cells]
        assert colors[:2] == ["blue", "red"]
        assert colors[2:] == (["red", "blue"] if right_first == "red" else ["blue", "red"])
        assert (frame[70:400, 12 + tile + 12] == 255).all()
    assert captions[1].startswith("step 9, squared error per pixel ")


def test_damaged_snapshots_are_left_out(small, tmp_path):
    copy = shutil.copytree(small, tmp_path / "version_0")
    files = [copy / "snapshots" / f"step_{step:08}.safetensors" for step in (0, 4, 8, 21)]
    files[0].write_bytes(b"")
    files[1].write_bytes(files[1].read_bytes()[:-1])
    files[2].write_bytes(b"<html>" * 1000)
    files[3].unlink()
    run = ReadableRun(copy)
    assert list(run.snapshots) == [entry["step"] for entry in run.snapshots.index] == [13, 17]
    assert run.snapshots.damaged == [file.name for file in files]
    figures = WeightFigures(run, steps=[0, 21])
    assert figures.steps == [13, 17]
    assert [caption.partition(",")[0] for caption in figures.frames()[1]] == ["step 13", "step 17"]
    whole = ReadableRun(small)
    assert whole.snapshots.damaged == []
    assert list(whole.snapshots) == list(Run.load(small).snapshots)


# Numbers


def test_causal_importance_is_what_is_lost_when_a_unit_is_switched_off(figures, run):
    weights, lost = dots(drawn(figures, "causal_importance"))
    x = run.data.test_set.take(360)[0]
    np.testing.assert_allclose(weights, importance(run.model.snapshot(), flat_samples(run.data)), rtol=1e-4)
    np.testing.assert_allclose(lost, error_without_each_unit(run.model, x), rtol=1e-4, atol=1e-9)


def test_a_bounded_output_is_decoded_without_each_unit(digits):
    torch.manual_seed(0)
    model = OvercompleteAutoencoder((1, 8, 8), 6, output_activation="sigmoid").eval()
    figures = in_memory(model, digits)
    assert set(figures.fitting()) == SHOWN | ALWAYS  # an error by removal is one of sums over units
    _, lost = dots(drawn(figures, "causal_importance"))
    np.testing.assert_allclose(lost, error_without_each_unit(model, digits.test_set.take(360)[0]), rtol=1e-3, atol=1e-8)


@pytest.mark.parametrize("output", ["none", "sigmoid"])
def test_of_instances_the_first_is_shown(output, digits):
    torch.manual_seed(0)
    several = OvercompleteAutoencoder((1, 8, 8), 6, output_activation=output, instances=3).eval()
    one = OvercompleteAutoencoder((1, 8, 8), 6, output_activation=output).eval()
    one.restore({name: part[0] for name, part in several.snapshot().items()})
    taken = {step: {name: part * (1 + step) for name, part in several.snapshot().items()} for step in (0, 1)}
    of_one = {step: {name: part[0] for name, part in parts.items()} for step, parts in taken.items()}
    first, alone = in_memory(several, digits, taken), in_memory(one, digits, of_one)
    assert set(first.fitting()) == set(alone.fitting())
    np.testing.assert_allclose(
        dots(drawn(first, "causal_importance")), dots(drawn(alone, "causal_importance")), rtol=1e-4, atol=1e-8
    )
    np.testing.assert_array_equal(pictures(drawn(first, "units").axes[0]), pictures(drawn(alone, "units").axes[0]))
    for ours, other in zip(first.frames()[0], alone.frames()[0], strict=True):
        np.testing.assert_array_equal(ours, other)
    for ours, other in zip(
        drawn(first, "importance").axes[0].lines, drawn(alone, "importance").axes[0].lines, strict=True
    ):
        np.testing.assert_allclose(ours.get_ydata(), other.get_ydata(), rtol=1e-5)


def test_removal_begins_at_the_error_of_the_model_and_ends_at_that_of_its_bias(figures, run):
    x = flat_samples(run.data)
    with torch.no_grad():
        x_hat = run.model(torch.from_numpy(x).reshape(-1, 1, 8, 8)).x_hat.numpy().reshape(x.shape)
    whole = float(np.square(x_hat - x).mean())
    bias = float(np.square(run.model.snapshot()["decoder_bias"].numpy() - x).mean())
    lines = {line.get_label(): line for line in drawn(figures, "removal").axes[0].lines}
    assert len(lines) == 3
    for line in lines.values():
        assert line.get_xdata().tolist() == list(range(17))
        assert line.get_ydata()[0] == pytest.approx(whole, rel=1e-4)
        assert line.get_ydata()[-1] == pytest.approx(bias, rel=1e-4)
    causal = error_without_each_unit(run.model, run.data.test_set.take(360)[0])
    first = lines["largest causal importance first"].get_ydata()
    assert first[1] == pytest.approx(whole + causal.max(), rel=1e-4)


def test_spectra_are_those_of_the_weights(figures, run):
    start, end = run.snapshots[0], run.model.snapshot()
    lines = drawn(figures, "spectrum").axes[0].lines
    shown = {(line.get_label().split(",")[0].split()[0], line.get_linestyle()): line.get_ydata() for line in lines}
    for weights in (start, end):
        for side in ("encoder_vectors", "decoder_vectors"):
            expected = np.linalg.svd(weights[side].numpy(), compute_uv=False)
            assert any(len(v) == 16 and np.allclose(v, expected, rtol=1e-3) for v in shown.values()), (side, shown)


def test_effective_ranks_are_those_of_the_snapshots(figures, run):
    lines = {line.get_label(): line for line in drawn(figures, "effective_rank").axes[0].lines}
    for side in ("encoder", "decoder"):
        expected = []
        for step in run.snapshots:
            shares = np.linalg.svd(run.snapshots[step][f"{side}_vectors"].numpy().astype(float), compute_uv=False)
            shares /= shares.sum()
            expected.append(np.exp(-(shares * np.log(shares)).sum()))
        (line,) = [line for label, line in lines.items() if str(label).startswith(side)]
        assert line.get_xdata().tolist() == list(run.snapshots)
        np.testing.assert_allclose(line.get_ydata(), expected, rtol=1e-4)


def test_figures_are_of_the_checkpoint_that_is_named(small, run, tmp_path: Path):
    content = torch.load(small / "checkpoints" / "best.ckpt", weights_only=True)
    content["state_dict"]["dictionary.b_enc"].fill_(-100)
    torch.save(content, tmp_path / "silent.ckpt")
    weights, lost = dots(drawn(WeightFigures(run, load_autoencoder(tmp_path / "silent.ckpt")), "causal_importance"))
    assert not weights.any()
    assert not lost.any()

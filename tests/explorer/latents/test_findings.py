"""What is found out while rows stream by, against loops over all of them at once."""

from collections import Counter
from typing import Any

import numpy as np
import pytest
import torch

from ae_lightning.explorer.latents.findings import AFTER, BEFORE, TOKENS, Findings, find
from ae_lightning.explorer.latents.rows import Rows, firings
from ae_lightning.explorer.latents.tokens import NO_TOKEN
from ae_lightning.explorer.statistics import TOP
from ae_lightning.nn.sparse_code import Places, SparseCode


def found(world: Any, classes: int | None = None, vocabulary: int | None = None, **batches: Any) -> Findings:
    return find(lambda x: x, lambda: world.batches(**batches), world.codes.shape[1], classes, vocabulary)


def strongest(world: Any, latent: int) -> list[tuple[float, int, int]]:
    """Activation, sample and position: the largest of each sample, the largest first, earlier ones before later."""
    best: dict[int, tuple[float, int]] = {}
    for value, sample, position in zip(world.codes[:, latent], world.sample, world.position, strict=True):
        if value != 0 and (sample not in best or (-value, position) < (-best[sample][0], best[sample][1])):
            best[sample] = (value, position)
    return sorted(((v, s, p) for s, (v, p) in best.items()), key=lambda entry: (-entry[0], entry[1]))[:TOP]


def entries(part: Findings, latent: int) -> list[tuple[float, int, int]]:
    top = part.top
    kept = top.sample[latent] >= 0
    columns = (top.value[latent][kept], top.sample[latent][kept], top.position[latent][kept])
    return [(float(value), int(sample), int(position)) for value, sample, position in zip(*columns, strict=True)]


@pytest.mark.parametrize("name", ["texts", "images"])
def test_the_samples_that_excite_a_latent_most(name: str, request: pytest.FixtureRequest) -> None:
    world = request.getfixturevalue(name)
    part = found(world)
    assert len(strongest(world, 0)) == TOP
    for latent in range(12):
        assert entries(part, latent) == strongest(world, latent)
    assert entries(part, 2) == []


def test_they_depend_on_no_order_and_on_no_batches(images: Any) -> None:
    order = np.random.default_rng(3).permutation(len(images.codes))
    one, other = found(images), found(images, size=50, order=order)
    for name in ("value", "sample", "position", "label"):
        np.testing.assert_array_equal(getattr(one.top, name), getattr(other.top, name))
    for mine, theirs in zip(one.shades, other.shades, strict=True):
        np.testing.assert_array_equal(mine, theirs)


def test_numbers_on_each_latent(images: Any) -> None:
    part, codes = found(images, classes=3), images.codes.astype(np.float64)
    fires = codes != 0
    assert part.rows == 480
    np.testing.assert_allclose(part.density, fires.mean(axis=0))
    for latent in range(12):
        active = codes[fires[:, latent], latent]
        if latent == 2:
            assert (part.mean[2], part.low[2], part.high[2], part.histogram[2].sum()) == (0, 0, 0, 0)
            continue
        assert part.mean[latent] == pytest.approx(active.mean())
        assert (part.low[latent], part.high[latent]) == (active.min(), active.max())
        np.testing.assert_array_equal(part.histogram[latent], np.histogram(active, 24)[0])
    for number in range(3):
        own = images.label == number
        np.testing.assert_allclose(part.class_mean[:, number], codes[own].mean(axis=0))
        np.testing.assert_allclose(part.class_density[:, number], fires[own].mean(axis=0))


def test_the_class_of_a_sample_comes_with_it(images: Any) -> None:
    part = found(images, classes=3)
    of_sample = dict(zip(images.sample, images.label, strict=True))
    kept = part.top.sample >= 0
    assert -1 in part.top.label[kept]
    assert [of_sample[sample] for sample in part.top.sample[kept]] == part.top.label[kept].tolist()


def test_a_table_of_too_many_classes_is_left_out(images: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ae_lightning.explorer.latents.findings._LARGEST_CLASS_TABLE", 36)
    assert found(images, classes=3).class_mean is not None
    monkeypatch.setattr("ae_lightning.explorer.latents.findings._LARGEST_CLASS_TABLE", 35)
    assert found(images, classes=3).class_mean is None


def test_activations_along_the_samples_that_are_shown(images: Any, texts: Any) -> None:
    for world, vocabulary in ((images, None), (texts, 24)):
        part = found(world, vocabulary=vocabulary)
        offsets, position, value = part.shades
        assert len(offsets) == 12 * TOP + 1
        for latent in (0, 7):
            for rank, (_, sample, peak) in enumerate(entries(part, latent)):
                own = (world.sample == sample) & (world.codes[:, latent] != 0)
                if vocabulary is not None:
                    own &= (world.position >= peak - BEFORE) & (world.position <= peak + AFTER)
                entry = slice(offsets[latent * TOP + rank], offsets[latent * TOP + rank + 1])
                assert position[entry].tolist() == world.position[own].tolist()
                assert value[entry].tolist() == world.codes[own, latent].tolist()


def test_the_tokens_that_a_latent_fires_hardest_on(texts: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ae_lightning.explorer.latents.tokens._PENDING", 40)  # it is added up several times
    tokens, counts = found(texts, vocabulary=24).tokens
    of_rows = texts.tokens[texts.sample, texts.position]
    for latent in range(12):
        code = texts.codes[:, latent]
        often = Counter(of_rows[(code > 0) & (code >= code.max() / 2)].tolist())
        expected = sorted(often.items(), key=lambda pair: (-pair[1], pair[0]))[:TOKENS]
        kept = tokens[latent] != NO_TOKEN
        assert list(zip(tokens[latent][kept].tolist(), counts[latent][kept].tolist(), strict=True)) == expected
    assert (tokens[2] == NO_TOKEN).all()


def test_what_fires_is_the_same_of_either_kind_of_code() -> None:
    dense = torch.tensor([[0.0, 2.0, 0.0], [0.0, 0.0, 0.0], [-1.0, 0.0, 3.0]])
    # A sparse code may hold a place whose value is zero.
    sparse = SparseCode(torch.tensor([2.0, 0.0, -1.0, 3.0]), Places.of_flat(torch.tensor([1, 4, 6, 8]), (3, 3)))
    for codes in (dense, sparse):
        fired = firings(codes)
        assert (fired.row.tolist(), fired.latent.tolist()) == ([0, 2, 2], [1, 0, 2])
        assert fired.value.tolist() == [2, -1, 3]


def test_nothing_fires() -> None:
    zeros = torch.zeros(5, dtype=torch.int64)
    part = find(lambda x: x, lambda: [Rows(torch.zeros(5, 3), torch.arange(5), zeros, None, zeros)], 3, None, 4)
    assert part.density.tolist() == [0, 0, 0]
    assert not part.top.found.any()
    assert part.shades[0].tolist() == [0] * (3 * TOP + 1)

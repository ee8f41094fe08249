"""Rows and tokens of a store, and what is shown of its samples, against what was written."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from ae_lightning.data import ActivationsDataModule, DigitsDataModule
from ae_lightning.data.store import StoreIndex, StoreWriter, shuffle_store
from ae_lightning.errors import DataError
from ae_lightning.explorer.latents.findings import find
from ae_lightning.explorer.latents.samples import Images, Texts
from ae_lightning.explorer.latents.shown import shown_of
from ae_lightning.explorer.latents.stored import StoredRows, StoredTokens, spans
from ae_lightning.files import write_json

WORDS = [f"w{number}" for number in range(50)]
LENGTHS = torch.randint(3, 12, (40,), generator=torch.Generator().manual_seed(0)).tolist()


class Written:
    """A store of texts whose first token is no row, with a class for each."""

    def __init__(self, folder: Path) -> None:
        random = torch.Generator().manual_seed(1)
        self.tokens = [torch.randint(0, 50, (length,), generator=random) for length in LENGTHS]
        self.sample = torch.cat([torch.full((length - 1,), n) for n, length in enumerate(LENGTHS)])
        self.position = torch.cat([torch.arange(1, length) for length in LENGTHS])
        self.y = self.sample % 3
        self.arrays = {n: torch.randn(len(self.sample), w, generator=random) * 3 + 1 for n, w in (("a", 6), ("b", 4))}
        self.folder = folder
        extras = ("sample", "position", "y")
        with StoreWriter(folder, {}, {"a": 6, "b": 4}, "float32", 64, extras, command="make it") as writer:
            writer.add_samples(self.tokens)
            writer.add(self.arrays, self.sample, self.position, self.y)
            write_json(folder / "tokens.json", WORDS)
            writer.finish(model={"name": "Net"}, data={"kind": "text"}, samples=40, num_classes=3)

    def module(self, **options: Any) -> ActivationsDataModule:
        return ActivationsDataModule(str(self.folder), **{"layer": "a", **options})


@pytest.fixture
def written(tmp_path: Path) -> Written:
    return Written(tmp_path / "store")


def all_rows(stored: StoredRows) -> dict[str, torch.Tensor]:
    batches = list(stored.batches())
    there = [name for name, part in vars(batches[0]).items() if part is not None]
    return {name: torch.cat([getattr(rows, name) for rows in batches]) for name in there}


def test_rows_are_read_as_the_model_sees_them(written: Written) -> None:
    data = written.module(layer=["b", "a"], normalize="centered")
    found = all_rows(StoredRows(data, 10**6, 37, StoredTokens(data.index, 50)))
    wanted = torch.cat([written.arrays["b"], written.arrays["a"]], dim=1).double()
    np.testing.assert_allclose(found["x"], wanted - wanted.mean(dim=0), atol=1e-5)
    for name in ("sample", "position"):
        assert torch.equal(found[name], getattr(written, name))
    assert torch.equal(found["label"], written.y)
    tokens = [int(written.tokens[s][p]) for s, p in zip(found["sample"], found["position"], strict=True)]
    assert found["token"].tolist() == tokens


def test_of_a_larger_store_spans_are_taken_that_lie_evenly(written: Written) -> None:
    assert spans(100, 100) == [(0, 100)]
    assert spans(10, 3) == [(0, 1), (4, 5), (9, 10)]
    found = spans(1_000_000, 64_000)
    assert len(found) == 64
    assert (found[0], found[-1]) == ((0, 1000), (999_000, 1_000_000))
    assert {end - start for start, end in found} == {1000}
    stored = StoredRows(written.module(), 130, 50, None)
    parts = all_rows(stored)
    assert stored.rows == len(parts["x"]) == 128
    assert len({(int(s), int(p)) for s, p in zip(parts["sample"], parts["position"], strict=True)}) == 128


def test_tokens_of_several_files(written: Written, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("ae_lightning.data.store.samples.SAMPLES", 16)
    several = Written(tmp_path / "several")
    index = StoreIndex.read(several.folder)
    assert [file.samples for file in index.sample_files] == [16, 16, 8]
    tokens = StoredTokens(index, 50)
    for sample in (0, 15, 16, 39):
        assert tokens.of(sample).tolist() == several.tokens[sample].tolist()
    order = torch.randperm(len(several.sample), generator=torch.Generator().manual_seed(0))
    expected = torch.stack([several.tokens[several.sample[row]][several.position[row]] for row in order])
    assert torch.equal(tokens.at(several.sample[order], several.position[order]), expected)


def test_a_shuffled_store_has_the_same_latents(written: Written) -> None:
    def findings() -> Any:
        data = written.module()
        stored = StoredRows(data, 10**6, 50, StoredTokens(data.index, 50))
        return find(lambda x: x.relu(), stored.batches, 6, 3, 50)

    before = findings()
    shuffle_store(written.folder, 3)
    after = findings()
    assert StoreIndex.read(written.folder).shuffled == {"seed": 3}
    for name in ("value", "sample", "position", "label"):
        np.testing.assert_array_equal(getattr(before.top, name), getattr(after.top, name))
    for mine, theirs in zip((*before.shades, *before.tokens), (*after.shades, *after.tokens), strict=True):
        np.testing.assert_array_equal(mine, theirs)
    np.testing.assert_allclose(before.class_mean, after.class_mean)


def test_token_ids_that_are_missing_are_named_with_what_mends_them(written: Written) -> None:
    tokens = StoredTokens(StoreIndex.read(written.folder), 50)
    path = written.folder / "samples-00000.safetensors"
    path.write_bytes(path.read_bytes()[:40])
    with pytest.raises(DataError, match=r"samples-00000\.safetensors is missing or damaged; run `make it` again"):
        tokens.of(3)


def test_tokens_that_have_no_name_are_told(written: Written) -> None:
    tokens = StoredTokens(StoreIndex.read(written.folder), 49)
    with pytest.raises(DataError, match=r"samples-00000\.safetensors has tokens that tokens\.json does not name"):
        tokens.of(3)


# --- what is shown ---------------------------------------------------------------------------------------------------


def test_texts_are_shown_by_their_tokens(written: Written) -> None:
    notes: list[str] = []
    shown, names = shown_of(StoreIndex.read(written.folder), notes.append)
    assert isinstance(shown, Texts)
    assert [shown.vocabulary[token] for token in shown.tokens(7)] == [WORDS[token] for token in written.tokens[7]]
    assert (names, notes) == (["0", "1", "2"], [])
    (written.folder / "tokens.json").unlink()
    assert shown_of(StoreIndex.read(written.folder), notes.append)[0] is None
    assert notes[0].startswith("samples are shown by their numbers alone: ")
    assert "tokens.json" in notes[0]


@pytest.fixture
def of_images(tmp_path: Path) -> Callable[..., StoreIndex]:
    """A store that says that its rows are of digits."""

    def make(**told: Any) -> StoreIndex:
        digits = DigitsDataModule(seed=5)
        digits.setup()
        settings = {"class_path": "DigitsDataModule", "init_args": {"seed": 5}}
        fingerprint = digits.test_set.fingerprint()
        data = {"kind": "images", "settings": settings, "split": "test", "fingerprint": fingerprint, **told}
        with StoreWriter(tmp_path / "images", {}, {"a": 2}) as writer:
            writer.add({"a": torch.randn(8, 2)}, torch.arange(8) // 4, torch.arange(8) % 4)
            writer.finish(model={}, data=data, samples=2, shape=(2, 2))
        return StoreIndex.read(tmp_path / "images")

    return make


def test_images_come_from_their_data_module(of_images: Callable[..., StoreIndex]) -> None:
    shown, names = shown_of(of_images(), pytest.fail)
    assert isinstance(shown, Images)
    assert (shown.places, names) == ((2, 2), None)
    digits = DigitsDataModule(seed=5)
    digits.setup()
    x = digits.test_set.take(4)[0]
    np.testing.assert_array_equal(shown.pictures(np.array([3, 1]))[..., 0], (255 * x[[3, 1], 0]).round().byte())


@pytest.mark.parametrize(
    ("told", "reason"),
    [
        ({"fingerprint": "0123"}, "Digits has other images now than those that"),
        ({"settings": None}, "does not say how its data module can be made again"),
        ({"settings": {"class_path": "NoSuchModule"}}, "names data that cannot be built"),
    ],
)
def test_images_that_cannot_be_had_are_told(
    told: dict[str, Any], reason: str, of_images: Callable[..., StoreIndex]
) -> None:
    notes: list[str] = []
    assert shown_of(of_images(**told), notes.append) == (None, None)
    (note,) = notes
    assert note.startswith("samples are shown by their numbers alone: ")
    assert reason in note
    assert "\n" not in note

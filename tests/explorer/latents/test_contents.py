"""What a page is told, read back from its manifest and blocks."""

import io
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from ae_lightning.explorer.blocks import Blocks
from ae_lightning.explorer.latents import pages
from ae_lightning.explorer.latents.contents import NONE, Contents, smallest
from ae_lightning.explorer.latents.findings import AFTER, BEFORE
from ae_lightning.explorer.statistics import TOP


def arrays_of(manifest: dict[str, Any], blocks: Blocks) -> dict[str, np.ndarray]:
    return {name: blocks.array(block) for name, block in manifest["arrays"].items()}


@pytest.mark.parametrize(("first", "count"), [(0, 12), (4, 3)])
def test_texts_around_the_strongest_token(
    first: int, count: int, text_contents: Contents, texts: Any, words: list[str]
) -> None:
    manifest, blocks = text_contents.page(first, count, None)
    found, top = arrays_of(manifest, blocks), text_contents.findings.top
    assert manifest["kind"] == "texts"
    for latent in range(first, first + count):
        for rank in range(int(top.found[latent].sum())):
            pair = (latent - first) * TOP + rank
            sample, peak = top.sample[latent, rank], top.position[latent, rank]
            start = found["window_start"][pair]
            window = found["window"][found["window_offsets"][pair] : found["window_offsets"][pair + 1]]
            assert start == max(0, peak - BEFORE)
            expected = texts.tokens[sample][start : peak + AFTER + 1]
            assert [manifest["tokens"][token] for token in window] == [words[token] for token in expected]
            assert found["sample_length"][pair] == 150
            shades = slice(found["shade_offsets"][pair], found["shade_offsets"][pair + 1])
            code = dict(
                zip(texts.position[texts.sample == sample], texts.codes[texts.sample == sample, latent], strict=True)
            )
            high = texts.codes[:, latent].max()
            shown = {
                int(at) + int(start): int(value)
                for at, value in zip(found["shade_position"][shades], found["shade_value"][shades], strict=True)
            }
            assert shown[peak] == round(255 * code[peak] / high)
            assert shown == {
                at: round(255 * code[at] / high) for at in range(start, peak + AFTER + 1) if code.get(at, 0) > 0
            }


def test_frequent_tokens_have_small_numbers(text_contents: Contents) -> None:
    manifest, blocks = text_contents.page(0, 12, None)
    found = arrays_of(manifest, blocks)
    used = np.concatenate([found["window"], found["strong"][found["strong"] != NONE]])
    counts = np.bincount(used, minlength=len(manifest["tokens"]))
    assert (np.diff(counts) <= 0).all()
    assert found["window"].dtype == np.uint8
    assert (found["strong"][2] == NONE).all()


def test_pictures_of_samples(image_contents: Contents, pictures: np.ndarray) -> None:
    manifest, blocks = image_contents.page(0, 12, None)
    found, top = arrays_of(manifest, blocks), image_contents.findings.top
    (sheet,) = (Image.open(io.BytesIO(blocks.array(name).tobytes())) for name in manifest["picture"]["sheets"])
    sheet = np.asarray(sheet)
    assert manifest["places"] == [4, 3]
    for latent, rank in np.argwhere(top.found):
        row, column = divmod(int(found["top_picture"][latent, rank]), 16)
        expected = pictures[top.sample[latent, rank], :, :, 0]
        np.testing.assert_array_equal(sheet[row * 8 : row * 8 + 8, column * 6 : column * 6 + 6], expected)
    assert (found["top_picture"][~top.found] == NONE).all()
    # Those of a latent lie beside each other, as far as no earlier one has them.
    assert found["top_picture"][0].tolist() == list(range(TOP))


def test_classes_and_their_names(image_contents: Contents, images: Any) -> None:
    manifest, blocks = image_contents.page(0, 12, None)
    found = arrays_of(manifest, blocks)
    assert manifest["classes"] == ["cat", "red fox", "dog"]
    means = np.stack([images.codes[images.label == number].mean(axis=0) for number in range(3)], axis=1)
    assert found["preferred"].tolist() == [-1 if latent == 2 else means[latent].argmax() for latent in range(12)]
    np.testing.assert_allclose(found["class_mean"], means, rtol=1e-6)
    assert found["class"].tolist() == [[0, 1, 2]] * 12
    best = means.argmax(axis=1)
    density = [(images.codes[images.label == best[latent], latent] > 0).mean() for latent in range(12)]
    np.testing.assert_allclose(found["preferred_density"], density, rtol=1e-6)


def test_of_many_classes_those_are_told_that_a_latent_prefers(image_contents: Contents) -> None:
    mean = np.random.default_rng(0).random((12, 40))
    few = replace(image_contents.findings, class_mean=mean, class_density=mean / 2)
    manifest, blocks = replace(image_contents, findings=few).page(3, 5, None)
    found = arrays_of(manifest, blocks)
    assert found["class"].tolist() == np.argsort(-mean, axis=1)[3:8, :16].tolist()
    np.testing.assert_allclose(found["class_mean"], -np.sort(-mean, axis=1)[3:8, :16], rtol=1e-6)
    np.testing.assert_allclose(found["preferred_density"], mean.max(axis=1)[3:8] / 2, rtol=1e-6)


def test_samples_without_anything_to_show(images: Any) -> None:
    manifest, blocks = images.contents(None).page(0, 12, None)
    assert (manifest["kind"], manifest["picture"], manifest["tokens"], manifest["classes"]) == ("vectors",) + (
        None,
    ) * 3
    found = arrays_of(manifest, blocks)
    assert found["top"][0].tolist() == images.contents(None).findings.top.sample[0].tolist()
    assert not {"window", "top_picture", "shade_value"} & set(found)


def test_a_dictionary_none_of_whose_latents_fires(images: Any, pictures: np.ndarray) -> None:
    from ae_lightning.explorer.latents.samples import Images

    images.codes[:] = 0
    manifest, blocks = images.contents(Images(lambda samples: pictures[samples], (4, 3))).page(0, 12, None)
    assert manifest["picture"] is None
    assert arrays_of(manifest, blocks)["density"].tolist() == [0] * 12


def test_a_folder_of_pages(text_contents: Contents, monkeypatch: pytest.MonkeyPatch) -> None:
    assert [name for name, _ in pages.pages_of(text_contents, in_folder=False)] == ["index.html"]
    monkeypatch.setattr(pages, "PER_PAGE", 5)
    found = dict(pages.pages_of(text_contents, in_folder=True))
    assert list(found) == ["latents-00000.html", "latents-00005.html", "latents-00010.html", "index.html"]
    assert '"first":10,"count":2' in found["latents-00010.html"]
    assert '"first":0,"count":0' in found["index.html"]


def test_pictures_take_more_room_than_words() -> None:
    for kind, most in (("text", 4096), ("vectors", 4096), ("images", 1024)):
        assert not pages.needs_folder(most, kind)
        assert pages.needs_folder(most + 1, kind)


def test_the_fewest_bytes() -> None:
    for largest, kind in ((255, np.uint8), (256, np.uint16), (65_535, np.uint16), (65_536, np.uint32)):
        found = smallest(np.array([0, largest]))
        assert (found.dtype, found.tolist()) == (kind, [0, largest])

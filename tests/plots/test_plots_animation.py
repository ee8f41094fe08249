import base64
import io
import json
import math
from html.parser import HTMLParser

import numpy as np
import pytest
import torch
from PIL import Image

from ae_lightning.plots.animation import animation_html, write_gif
from ae_lightning.plots.training_frames import TrainingFrames

RED = (238, 17, 17)


def _training(count: int, instances: int = 12, dots: int = 200) -> list[np.ndarray]:
    """Frames of random directions that turn towards a pentagon, with one red arrow in the second."""
    rng = torch.Generator().manual_seed(0)
    goal = 2 * math.pi * torch.arange(5) / 5
    start = 6 * torch.rand(instances, 5, generator=rng)
    active = (torch.rand(instances, dots, 5, generator=rng) < 0.3) * torch.rand(instances, dots, 5, generator=rng)
    true = torch.stack([goal.cos(), goal.sin()], dim=-1)[None]
    drawer = TrainingFrames(instances, ("encoder", "decoder"), "hidden states", limit=1.6, behind=true)
    frames = []
    for step in range(count):
        angles = start + (goal - start) * step / max(count - 1, 1)
        decoder = torch.stack([angles.cos(), angles.sin()], dim=-1)
        marked = torch.zeros(instances, 5, dtype=torch.bool)
        marked[-1, 0] = step == 1
        rows = {"encoder": 0.7 * decoder, "decoder": decoder}
        frames.append(drawer.draw(rows, (active @ true, active @ decoder), marked, f"step {step}"))
    return frames


FRAMES = _training(6)
CAPTIONS = [f"step {i}" for i in range(len(FRAMES))]


class _Page(HTMLParser):
    """What a browser reads of a page: the texts of each tag by its name, and the attributes."""

    def __init__(self, text):
        super().__init__()
        self.texts, self.attributes, self._open = {}, [], []
        self.feed(text)
        self.animation = json.loads(self.texts["script"][0])
        self.frames = [
            np.asarray(Image.open(io.BytesIO(base64.b64decode(frame))).convert("RGB"))
            for frame in self.animation["frames"]
        ]

    def handle_starttag(self, tag, attrs):
        self._open.append(tag)
        self.attributes += [(tag, name, value) for name, value in attrs]

    def handle_data(self, data):
        if data.strip() and self._open:
            self.texts.setdefault(self._open[-1], []).append(data)


def _red(frame):
    return (frame[..., 0] > 180) & (frame[..., 1] < 70) & (frame[..., 2] < 70)


def _assert_nearly_equal(shown, drawn):
    assert shown.shape == drawn.shape
    difference = np.abs(shown.astype(int) - drawn).max(axis=-1)
    assert difference.mean() < 1
    assert difference.max() < 40
    # White stays white, and the arrow that was just resampled stays red.
    assert (shown[(drawn == 255).all(axis=-1)] == 255).all()
    assert abs(_red(shown).sum() - int(_red(drawn).sum())) <= 0.1 * _red(drawn).sum()


def test_a_page_holds_its_frames_and_captions_in_order():
    page = _Page(animation_html(FRAMES, CAPTIONS, "Training", 4))
    assert page.texts["title"] == page.texts["h1"] == ["Training"]
    assert page.animation["captions"] == CAPTIONS
    assert page.animation["seconds"] == 0.25
    assert page.animation["lastSeconds"] > 4 * 0.25
    assert (page.animation["height"], page.animation["width"]) == FRAMES[0].shape[:2]
    for shown, drawn in zip(page.frames, FRAMES, strict=True):
        _assert_nearly_equal(shown, drawn)
    assert [bool(_red(frame).any()) for frame in page.frames] == [False, True, False, False, False, False]


def test_the_last_frame_is_held_no_shorter_than_the_others():
    assert _Page(animation_html(FRAMES, CAPTIONS, "", 0.2)).animation["lastSeconds"] == 5


def test_a_rare_color_remains():
    frames = np.full((3, 300, 300, 3), 255, dtype=np.uint8)
    frames[:, :200, :256] = np.arange(256)[None, :, None]
    frames[1, 250, 250] = RED
    shown = _Page(animation_html(list(frames), CAPTIONS[:3], "")).frames
    assert np.abs(shown[1][250, 250].astype(int) - RED).max() < 10
    assert shown[0][250, 250].tolist() == [255, 255, 255]


def test_a_picture_of_few_colors_is_kept_as_it_is():
    frames = np.random.default_rng(0).choice([0, 90, 255], (4, 20, 30, 3)).astype(np.uint8)
    np.testing.assert_array_equal(_Page(animation_html(list(frames), CAPTIONS[:4], "")).frames, frames)


def test_a_page_loads_nothing():
    text = animation_html(FRAMES, CAPTIONS, "Training")
    assert "://" not in text
    page = _Page(text)
    links = [value for _, name, value in page.attributes if name in ("src", "href", "srcset", "action", "data")]
    assert links == ["data:,"]
    assert not [text for text in page.texts["style"] if "url(" in text or "@import" in text]
    policy = next(value for tag, name, value in page.attributes if tag == "meta" and "default-src" in str(value))
    assert "default-src 'none'" in policy


def test_titles_and_captions_are_text_and_no_markup():
    title = '<b>Toy & "model"</b> {{animation}} </script><script>alert(1)</script>'
    captions = ["</script><img src=x onerror=alert(2)>", "<!-- <script>", "a & b \u2028 ü {{title}}"]
    text = animation_html(FRAMES[:3], captions, title)
    page = _Page(text)
    assert page.texts["h1"] == [title]
    assert page.animation["captions"] == captions
    assert (text.count("<script"), text.count("</script>")) == (2, 2)
    assert "<b>" not in text
    assert "<img" not in text


def test_every_control_has_a_name():
    page = _Page(animation_html(FRAMES, CAPTIONS, "Training"))
    named = {value for tag, name, value in page.attributes if name == "aria-label" and tag in ("button", "input")}
    assert named == {"Previous frame", "Next frame", "Frame"}
    assert "Play" in page.texts["button"]
    assert ("html", "lang", "en") in page.attributes
    script = page.texts["script"][1]
    assert "prefers-reduced-motion" in script
    for key in ("ArrowLeft", "ArrowRight", "Home", "End", '" "'):
        assert key in script


def test_the_same_frames_give_the_same_bytes():
    assert animation_html(FRAMES, CAPTIONS, "Training") == animation_html(_training(6), CAPTIONS, "Training")
    files = [io.BytesIO(), io.BytesIO()]
    for file in files:
        write_gif(FRAMES, file)
    assert files[0].getvalue() == files[1].getvalue()


def test_sixty_frames_of_a_dozen_instances_are_less_than_five_megabytes():
    # Six frames, and ten times their part of the page.
    page = animation_html(FRAMES, CAPTIONS, "Training")
    assert 10 * len(page.encode()) < 5e6


def _read_gif(file):
    shown, durations = [], []
    with Image.open(file) as gif:
        loop = gif.info["loop"]
        for number in range(gif.n_frames):
            gif.seek(number)
            durations.append(gif.info["duration"])
            shown.append(np.asarray(gif.convert("RGB")))
    return shown, durations, loop


@pytest.mark.parametrize(("speed", "milliseconds"), [(6, 170), (10, 100), (0.5, 2000), (1000, 20)])
def test_a_gif_plays_forever_at_its_speed_and_holds_the_last_frame(tmp_path, speed, milliseconds):
    write_gif(FRAMES, tmp_path / "training.gif", speed)
    shown, durations, loop = _read_gif(tmp_path / "training.gif")
    assert loop == 0
    assert durations == [milliseconds] * 5 + [max(1500, milliseconds)]
    for picture, drawn in zip(shown, FRAMES, strict=True):
        _assert_nearly_equal(picture, drawn)


def test_equal_frames_of_a_gif_are_shown_as_long_as_they_were():
    file = io.BytesIO()
    write_gif([FRAMES[0], FRAMES[0], FRAMES[1]], file, 10)
    assert _read_gif(file)[1] == [200, 1500]


def test_a_single_frame_is_an_animation():
    file = io.BytesIO()
    write_gif(FRAMES[:1], file)
    file.seek(0)
    with Image.open(file) as gif:
        _assert_nearly_equal(np.asarray(gif.convert("RGB")), FRAMES[0])
    assert len(_Page(animation_html(FRAMES[:1], ["only"], "")).frames) == 1


@pytest.mark.parametrize("make", [lambda frames, speed: animation_html(frames, [""] * len(frames), "", speed),
                                  lambda frames, speed: write_gif(frames, io.BytesIO(), speed)])  # fmt: skip
@pytest.mark.parametrize(
    ("frames", "speed", "message"),
    [
        ([], 6, "at least one frame"),
        ([FRAMES[0], FRAMES[1][:-1]], 6, "one size, but frame 1"),
        ([FRAMES[0][..., 0]], 6, r"\(height, width, 3\), but frame 0"),
        ([FRAMES[0] / 255], 6, "uint8 arrays .* float64"),
        (FRAMES, 0, "frames per second"),
        (FRAMES, math.nan, "frames per second"),
    ],
)
def test_what_is_no_animation_is_refused(make, frames, speed, message):
    with pytest.raises(ValueError, match=message):
        make(frames, speed)


def test_captions_must_be_as_many_as_frames():
    with pytest.raises(ValueError, match="6 frames, but 2 captions"):
        animation_html(FRAMES, CAPTIONS[:2], "")

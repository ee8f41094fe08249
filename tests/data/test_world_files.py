"""Worlds are kept as they are, and a damaged folder is told in one sentence."""

import json
import warnings
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from ae_lightning.data import World, WorldDataModule
from ae_lightning.data.worlds.making import Recipe
from ae_lightning.errors import DataError, Notice

WHOLE = {
    "features": 40,
    "dim": 16,
    "probability": "zipf",
    "exponent": 0.5,
    "highest": 0.4,
    "lowest": 0.01,
    "magnitude_mean": [5.0, 4.0],
    "magnitude_std": 0.5,
    "magnitude_std_spread": 0.5,
    "correlation_rank": 3,
    "roots": 3,
    "branching": 2,
    "depth": 2,
    "compensation": "approximate",
    "scale_by_parent": True,
    "offset": 0.5,
    "seed": 7,
}


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    Recipe(**WHOLE).world().save(tmp_path / "world")
    return tmp_path / "world"


def same(first: World, second: World) -> bool:
    tensors = {name: value for name, value in vars(first).items() if isinstance(value, torch.Tensor)}
    others = ("magnitude", "noise", "scale_by_parent")
    return all(torch.allclose(value, getattr(second, name), atol=1e-7) for name, value in tensors.items()) and all(
        getattr(first, name) == getattr(second, name) for name in others
    )


def test_a_world_is_read_as_it_was_written(saved: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        Recipe(**WHOLE).world().save(saved)
    assert sorted(path.name for path in saved.iterdir()) == [
        "hierarchy.json",
        "synthetic_model.safetensors",
        "synthetic_model_config.json",
    ]
    assert same(Recipe(**WHOLE).world(), World.load(saved))


def test_what_saelens_cannot_say_is_kept_and_told(tmp_path: Path) -> None:
    world = Recipe(12, 6, magnitude="exponential", noise=0.5).world()
    with pytest.warns(Notice, match="no words for exponential magnitudes and noise"):
        world.save(tmp_path)
    assert same(world, World.load(tmp_path))


def test_without_our_tensors_magnitudes_follow_from_the_settings(saved: Path) -> None:
    file = saved / "synthetic_model.safetensors"
    theirs = {"feature_vectors", "bias", "firing_probabilities", "correlation_factor", "correlation_diag"}
    save_file({name: value for name, value in load_file(file).items() if name in theirs}, file)
    assert same(Recipe(**WHOLE).world(), World.load(saved))


def test_a_data_module_draws_from_a_saved_world(saved: Path) -> None:
    data = WorldDataModule(world_folder=str(saved), num_val=5, num_test=6)
    assert data.input_shape == (16,)
    assert data.features == 40
    data.setup()
    made = WorldDataModule(**{k: v for k, v in WHOLE.items() if k != "seed"}, world_seed=7, num_val=5, num_test=6)
    made.setup()
    assert torch.allclose(data.test_set.take(6)[0], made.test_set.take(6)[0], atol=1e-5)


def test_a_world_that_takes_long_is_made_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    options = {"features": 1000, "dim": 200, "overlap": 0.23, "root": str(tmp_path)}
    first = WorldDataModule(**options).world
    (folder,) = (tmp_path / "worlds").iterdir()
    monkeypatch.setattr(Recipe, "world", None)  # which nothing may call now
    assert same(first, WorldDataModule(**options).world)
    (folder / "synthetic_model.safetensors").write_bytes(b"x")
    with pytest.raises(DataError, match=r"cut short or damaged.*delete"):
        _ = WorldDataModule(**options).world


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-20])


def changed(path: Path, **changes: object) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text(encoding="utf-8")), **changes}), encoding="utf-8")


NODE = {"feature_index": 0, "children": []}


@pytest.mark.parametrize(
    ("harm", "said"),
    [
        (lambda folder: cut(folder / "synthetic_model.safetensors"), "cut short or damaged"),
        (lambda folder: cut(folder / "synthetic_model_config.json"), "cut short or damaged"),
        (lambda folder: cut(folder / "hierarchy.json"), "cut short or damaged"),
        (lambda folder: (folder / "synthetic_model.safetensors").unlink(), "has no "),
        (lambda folder: (folder / "synthetic_model_config.json").unlink(), "cannot be read"),
        (lambda folder: changed(folder / "hierarchy.json", roots=[NODE, NODE]), "feature 0 twice"),
        (lambda folder: changed(folder / "hierarchy.json", roots=[{**NODE, "feature_index": 40}]), "feature 40 of 40"),
        (
            lambda folder: changed(folder / "hierarchy.json", roots=[{**NODE, "feature_index": None}]),
            "without a feature",
        ),
        (lambda folder: changed(folder / "hierarchy.json", roots=[{"children": []}]), "no feature_index"),
    ],
)
def test_a_damaged_folder_is_told(saved: Path, harm: object, said: str) -> None:
    harm(saved)  # type: ignore[operator]
    with pytest.raises(DataError, match=said) as error:
        World.load(saved)
    assert "\n" not in str(error.value)
    assert str(saved) in str(error.value)

"""`ae-lightning explore`: the page it writes, what it says, and what it refuses."""

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from urllib.request import url2pathname

import pytest
import torch

from ae_lightning.run.run import Run

SHORT = [
    *("--trainer.max_epochs", "1", "--trainer.limit_train_batches", "2", "--trainer.limit_val_batches", "1"),
    *("--snapshots.schedule.count", "2", "--images.schedule.count", "1"),
]


@pytest.fixture
def run(trained: Path, tmp_path: Path) -> Path:
    """A copy of a trained run of an overcomplete autoencoder on digits, to write into."""
    return shutil.copytree(trained, tmp_path / "logs" / "mine" / "version_0")


def manifest_of(path: Path) -> dict[str, Any]:
    found = re.search(r'id="manifest">(.*?)</script>', path.read_text(encoding="utf-8"), re.DOTALL)
    assert found is not None
    return json.loads(found[1])


def test_a_page_is_written_into_the_run(ae: Callable[..., Any], run: Path) -> None:
    code, out, err = ae("explore", run)
    assert (code, err) == (0, "")
    path = run / "explorer.html"
    told, opened = out.splitlines()
    assert told == f"explorer: {path} ({path.stat().st_size / 1e6:.1f} MB)"
    assert Path(url2pathname(urlsplit(opened.removeprefix("open it: ")).path)) == path
    manifest = manifest_of(path)
    assert manifest["title"] == "mine/version_0"
    assert [snapshot["step"] for snapshot in manifest["snapshots"]] == [0, 2]
    assert [path.name for path in run.iterdir() if path.name.startswith(".")] == []  # no temporary file is left


def test_a_checkpoint_a_file_and_numbers_can_be_named(ae: Callable[..., Any], run: Path, tmp_path: Path) -> None:
    where = tmp_path / "new" / "page.html"
    code, out, err = ae(
        "explore", run / "checkpoints" / "last.ckpt", "-o", where, "--snapshots", "1", "--samples", "7", "--instance=0"
    )
    assert (code, err) == (0, "")
    assert str(where) in out
    manifest = manifest_of(where)
    assert len(manifest["snapshots"]) == 1
    assert manifest["samples"]["count"] == 7
    assert not (run / "explorer.html").exists()


@pytest.mark.parametrize("named", [True, False])
def test_the_data_can_be_had_as_json(named: bool, ae: Callable[..., Any], run: Path, tmp_path: Path) -> None:
    path = tmp_path / "mine.json" if named else run / "explorer.json"
    code, out, err = ae("explore", run, "--samples", "9", "--json", *([path] if named else []))
    assert (code, err) == (0, "")
    assert out.splitlines()[2] == f"data: {path} ({path.stat().st_size / 1e6:.1f} MB)"
    data = json.loads(path.read_text(encoding="utf-8"))
    assert data["title"] == "mine/version_0"
    assert len(data["samples"]["values"]) == 9
    assert (run / "explorer.html").is_file()


@pytest.mark.parametrize(("name", "reason"), [("explorer.html", "the page"), ("", "a folder")])
def test_the_data_need_a_file_of_their_own(name: str, reason: str, ae: Callable[..., Any], run: Path) -> None:
    code, out, err = ae("explore", run, "--json", run / name)
    assert (code, out) == (2, "")
    assert err == f"ae-lightning: error: --json {run / name} is {reason}; name a file of its own\n"


def test_the_same_run_gives_the_same_bytes(ae: Callable[..., Any], run: Path, tmp_path: Path) -> None:
    pages = []
    for name in ("a.html", "b.html"):
        assert ae("explore", run, "-o", tmp_path / name).code == 0
        pages.append((tmp_path / name).read_bytes())
    assert pages[0] == pages[1]


def test_a_large_page_is_warned_of(ae: Callable[..., Any], run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ae_lightning.cli.explore._MUCH", 0.01)
    code, _, err = ae("explore", run)
    assert code == 0
    assert re.fullmatch(r"warning: \d+\.\d MB is much for a page: fewer --snapshots or --samples .*\n", err)


def test_a_run_that_is_still_training_can_be_explored(ae: Callable[..., Any], run: Path) -> None:
    (run / "metrics.json").unlink()
    (run / "latents.csv").unlink()
    shutil.rmtree(run / "snapshots")
    code, _, err = ae("explore", run)
    assert (code, err) == (0, "")
    assert len(manifest_of(run / "explorer.html")["snapshots"]) == 1


def test_a_snapshot_cut_short_is_left_out_and_named(ae: Callable[..., Any], run: Path) -> None:
    path = run / "snapshots" / "step_00000000.safetensors"
    path.write_bytes(path.read_bytes()[:-1])
    code, _, err = ae("explore", run)
    assert (code, err) == (0, f"snapshots that are missing or damaged are left out: {path.name}\n")
    assert [snapshot["step"] for snapshot in manifest_of(run / "explorer.html")["snapshots"]] == [2]


@pytest.mark.parametrize("name", ["conv", "deep_conv"])
def test_a_convolutional_run_gets_a_sentence(name: str, ae: Callable[..., Any], tmp_path: Path) -> None:
    assert ae("fit", "--model", name, "--data", "digits", *SHORT, "--experiment", name).code == 0
    folder = tmp_path / "lightning_logs" / name / "version_0"
    code, out, err = ae("explore", folder)
    assert (code, out) == (2, "")
    assert err.startswith("ae-lightning: error: the explorer computes chains of fully connected layers")
    assert err.count("\n") == 1
    assert "`ae-lightning report`" in err
    assert not (folder / "explorer.html").exists()


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("--snapshots=0", "--snapshots is 0; it must be at least 1"),
        ("--samples=0", "--samples is 0; it must be at least 1"),
        ("--samples=65536", "--samples is 65,536; it must be at most 65,535"),
        ("--instance=-1", "--instance is -1; it must be at least 0"),
        (
            "--instance=1",
            "the instance asked for is 1, but the OvercompleteAutoencoder has no instances, so that it must be 0",
        ),
        ("--samples=x", "--samples should be a whole number, but it is 'x' (`ae-lightning explore --help` tells more)"),
    ],
)
def test_a_mistake_is_one_sentence_and_leaves_no_file(
    option: str, message: str, ae: Callable[..., Any], run: Path
) -> None:
    assert ae("explore", run, option) == (2, "", f"ae-lightning: error: {message}\n")
    assert not (run / "explorer.html").exists()


def test_a_folder_is_no_file(ae: Callable[..., Any], run: Path) -> None:
    code, _, err = ae("explore", run, "-o", run)
    assert code == 2
    assert err == (
        f"ae-lightning: error: -o {run} is a folder; name the file to write, such as {run / 'explorer.html'}\n"
    )


def test_a_run_that_there_is_not(ae: Callable[..., Any]) -> None:
    assert ae("explore", "nowhere") == (2, "", "ae-lightning: error: there is no run folder at nowhere\n")


def test_weights_that_are_not_finite(ae: Callable[..., Any], run: Path) -> None:
    path = Run.load(run).checkpoint
    content = torch.load(path, weights_only=True)
    content["state_dict"]["dictionary.W_enc"][0, 0] = torch.inf
    torch.save(content, path)
    code, _, err = ae("explore", run)
    assert code == 2
    assert "the OvercompleteAutoencoder has weights that are not finite" in err


def test_the_help_has_an_example(ae: Callable[..., Any]) -> None:
    code, out, _ = ae("explore", "--help")
    assert code == 0
    assert "ae-lightning explore lightning_logs/" in out
    for word in ("--snapshots N", "--samples N", "--instance K", "-o FILE", "RUN_OR_CHECKPOINT"):
        assert word in " ".join(out.split())

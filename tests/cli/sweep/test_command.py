"""`ae-lightning sweep`: real runs where their numbers matter, and a stand-in for fit where only processes do."""

import contextlib
import csv
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from PIL import Image

from ae_lightning.cli.main import main
from ae_lightning.cli.sweep.runs import only_sweep_in
from ae_lightning.models.overcomplete import OvercompleteAutoencoder
from ae_lightning.run.place import RUN_PARENT

CONFIG = ["--config", "overcomplete_digits"]
# As QUICK of conftest, but for the width: whole runs in half a second beside the imports.
QUICK = [
    *CONFIG,
    *("--trainer.callbacks", "null", "--trainer.max_epochs", "1", "--trainer.limit_train_batches", "2"),
    *("--snapshots.schedule.count", "2", "--images.schedule.count", "1"),
]
LATENTS, SEEDS = (2, 16), (0, 1)
COMMAND = ["sweep", *QUICK, "--grid", "model.latent_dim=2,16", "--seeds", "0,1", "--jobs", "2", "-o", "mine"]
NAMES = [f"latent_dim={latents},seed={seed}" for latents in LATENTS for seed in SEEDS]
TIMED = ("seconds",)


@pytest.fixture(autouse=True)
def _one_thread_in_the_runs_as_here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")


@pytest.fixture(scope="module")
def swept(made_once: Callable[..., Path]) -> tuple[Path, str]:
    """A finished sweep of two widths and two seeds, for reading only, and what it printed."""

    def sweep(root: Path) -> None:
        with (
            pytest.MonkeyPatch.context() as patch,
            (root / "printed.txt").open("w", encoding="utf-8") as out,
            contextlib.redirect_stdout(out),
        ):
            patch.chdir(root)
            patch.setenv("OMP_NUM_THREADS", "1")
            assert main(COMMAND) == 0

    root = made_once("swept", sweep)
    return root / "mine", (root / "printed.txt").read_text(encoding="utf-8")


def table(folder: Path) -> list[dict[str, str]]:
    with (folder / "sweep.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def results(run: Path) -> dict[str, Any]:
    return json.loads((run / "metrics.json").read_text())


def contents(folder: Path) -> dict[str, tuple[bytes, int]]:
    """Bytes and time of change of each file."""
    return {
        str(path.relative_to(folder)): (path.read_bytes(), path.stat().st_mtime_ns)
        for path in folder.rglob("*")
        if path.is_file()
    }


# --- a whole sweep -----------------------------------------------------------------------------------------------


def test_each_point_and_seed_has_a_run_with_these_settings_and_a_log(swept: tuple[Path, str]) -> None:
    folder, _ = swept
    assert sorted(path.name for path in folder.iterdir() if path.is_dir()) == sorted(NAMES)
    for latents in LATENTS:
        for seed in SEEDS:
            place = folder / f"latent_dim={latents},seed={seed}"
            assert sorted(path.name for path in place.iterdir()) == ["fit.log", "version_0"]
            config = yaml.safe_load((place / "version_0" / "config.yaml").read_text())
            assert config["model"]["init_args"]["latent_dim"] == latents
            assert config["seed_everything"] == seed
            assert config["trainer"]["limit_train_batches"] == 2
            log = (place / "fit.log").read_text()
            assert log.startswith("$ ae-lightning fit --config ")
            assert f"1×8×8 → {latents}, undercomplete" in log
            assert list((place / "version_0").glob("events.out.tfevents*"))


def test_the_csv_holds_the_numbers_of_the_runs(swept: tuple[Path, str]) -> None:
    folder, _ = swept
    rows = table(folder)
    assert [(row["latent_dim"], row["seed"]) for row in rows] == [(str(k), str(s)) for k in LATENTS for s in SEEDS]
    for row, name in zip(rows, NAMES, strict=True):
        assert row["run"] == f"{name}/version_0"
        found = results(folder / row["run"])
        test = found["errors"]["test"]
        assert row["status"] == "finished"
        for column, number in {
            "test_mse_per_pixel": test["autoencoder"]["mse_per_pixel"],
            "test_mse_per_image": test["autoencoder"]["mse_per_image"],
            "val_mse_per_pixel": found["errors"]["validation"]["autoencoder"]["mse_per_pixel"],
            "pca_test_mse_per_pixel": test["pca"]["mse_per_pixel"],
            "mean_image_test_mse_per_pixel": test["mean_image"]["mse_per_pixel"],
            "parameters": found["model"]["parameters"],
            "compression_ratio": found["model"]["compression_ratio"],
            "active_latents": found["latents"]["active"],
            "pca_components": int(row["latent_dim"]),
            "latent_size": int(row["latent_dim"]),
        }.items():
            assert float(row[column]) == number
        assert float(row["seconds"]) == found["seconds"]
        with (folder / row["run"] / "metrics.csv").open(newline="") as file:
            logged = [line["speed/train_seconds"] for line in csv.DictReader(file) if line["speed/train_seconds"]]
        assert [float(seconds) for seconds in logged] == [found["seconds"]]
        assert 0 < found["seconds"] < 60


def test_what_is_printed(swept: tuple[Path, str]) -> None:
    folder, out = swept
    assert out.startswith("4 runs in mine\n1 of 4: latent_dim=2,seed=")
    text = out.replace("\N{NO-BREAK SPACE}", " ")
    for latents in LATENTS:
        errors = [float(row["test_mse_per_pixel"]) for row in table(folder) if row["latent_dim"] == str(latents)]
        assert f"{np.mean(errors):.5f} ± {np.std(errors, ddof=1):.5f}" in text
        for error in errors:
            assert f"test error {error:.5f} per pixel" in text
    assert "does not beat PCA of the same width: latent_dim 2 (" in text  # after two batches
    assert text.endswith("table: mine/sweep.csv\nfigure: mine/sweep.png\n")
    assert max(map(len, text.partition("test error per pixel,")[2].partition("does not")[0].splitlines())) <= 100


def test_the_figure_is_a_picture(swept: tuple[Path, str]) -> None:
    with Image.open(swept[0] / "sweep.png") as picture:
        assert picture.size[0] > 1000


def test_nothing_half_written_is_left(swept: tuple[Path, str]) -> None:
    assert not [path for path in swept[0].rglob("*") if path.name.endswith(".tmp")]


@pytest.mark.slow
def test_repeating_it_runs_only_what_is_missing_and_touches_nothing_else(
    ae: Callable[..., Any], swept: tuple[Path, str], tmp_path: Path
) -> None:
    mine = shutil.copytree(swept[0], tmp_path / "mine")
    missing = mine / NAMES[1]
    shutil.rmtree(missing)
    kept = {name: contents(mine / name) for name in NAMES if name != NAMES[1]}
    code, out, _ = ae(*COMMAND)
    assert code == 0
    assert "4 runs in mine, 3 of them finished already\n4 of 4: latent_dim=2,seed=1 finished" in out
    assert {name: contents(mine / name) for name in kept} == kept
    before, after = table(swept[0]), table(mine)
    assert [{**row, "seconds": ""} for row in after] == [{**row, "seconds": ""} for row in before]


@pytest.mark.slow
def test_an_interrupted_run_goes_on_in_place_and_ends_as_an_uninterrupted_one(
    ae: Callable[..., Any], swept: tuple[Path, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine = shutil.copytree(swept[0], tmp_path / "mine")
    name = NAMES[3]
    shutil.rmtree(mine / name)
    train = OvercompleteAutoencoder.training_step

    def interrupted(self: OvercompleteAutoencoder, *args: Any) -> Any:
        signal.raise_signal(signal.SIGINT)
        return train(self, *args)

    with monkeypatch.context() as patch:
        patch.setattr(OvercompleteAutoencoder, "training_step", interrupted)
        patch.setenv(RUN_PARENT, str(mine / name))
        assert ae("fit", *QUICK, "--model.latent_dim", "16", "--seed_everything", "1").code == 130
    run = mine / name / "version_0"
    last = run / "checkpoints" / "last.ckpt"
    assert torch.load(last, weights_only=True)["global_step"] == 1
    assert not (run / "metrics.json").exists()

    code, out, _ = ae(*COMMAND)
    assert code == 0
    assert "3 of them finished already\n4 of 4: latent_dim=16,seed=1 finished" in out
    assert [path.name for path in (mine / name).glob("version_*")] == ["version_0"]
    assert "$ ae-lightning fit --ckpt_path" in (mine / name / "fit.log").read_text()
    whole = swept[0] / name / "version_0"
    for part in ("errors", "latents", "weights", "seed"):
        assert results(run)[part] == results(whole)[part]
    weights, expected = (torch.load(r / "checkpoints" / "last.ckpt", weights_only=True) for r in (run, whole))
    assert all(torch.equal(weights["state_dict"][key], value) for key, value in expected["state_dict"].items())


@pytest.mark.slow
def test_a_run_that_fails_stops_no_other(ae: Callable[..., Any], tmp_path: Path) -> None:
    code, out, err = ae("sweep", *QUICK, "--grid", "model.init_args.optimizer.init_args.lr=1e30,1e-3", "--jobs", "2")
    assert (code, err) == (1, "")
    folder = tmp_path / "lightning_logs" / "overcomplete_digits_sweep_lr"
    assert [(row["lr"], row["seed"], row["status"]) for row in table(folder)] == [
        ("1e+30", "17", "failed"),
        ("0.001", "17", "finished"),
    ]
    log = "lightning_logs/overcomplete_digits_sweep_lr/lr=1e+30,seed=17/fit.log"
    (line,) = [line for line in out.splitlines() if "lr=1e+30,seed=17 failed after" in line]
    assert "the loss is no longer finite at step" in line
    assert line.endswith(f"(see {log})")
    assert "ae-lightning: error: the loss is no longer finite" in (tmp_path / log).read_text()
    assert "1 run failed: lr=1e+30,seed=17\n" in out


@pytest.mark.slow
def test_ctrl_c_lets_the_runs_save(tmp_path: Path) -> None:
    long = [*QUICK, "--trainer.max_epochs", "100000", "--grid", "model.latent_dim=4,5", "-o", "mine"]
    command = [sys.executable, "-m", "ae_lightning", "sweep", *long]
    sweep = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    run = tmp_path / "mine" / "latent_dim=4,seed=17" / "version_0"
    try:
        wait_for((run / "metrics.csv").is_file)
    finally:
        sweep.send_signal(signal.SIGINT)
        out, _ = sweep.communicate(timeout=120)
    assert sweep.returncode == 130
    assert "Traceback" not in out
    assert "stopping: the runs at work save and end" in out
    assert "1 of 2: latent_dim=4,seed=17 interrupted after" in out
    assert "2 runs left to do: the same command goes on" in out
    assert torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)["global_step"] > 0
    assert [(row["latent_dim"], row["status"]) for row in table(tmp_path / "mine")] == [("4", "interrupted")]


def wait_for(done: Callable[[], bool], seconds: float = 120) -> None:
    deadline = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < deadline, "it took too long"
        time.sleep(0.02)


# --- a stand-in for fit ------------------------------------------------------------------------------------------

# It is called as `python ae_lightning/__main__.py fit …` is, and does what the file named as its run says.
FAKE = """#!{python} -IS
import json, os, pathlib, signal, sys, time
parent = pathlib.Path(os.environ["AE_LIGHTNING_RUN_PARENT"])
behavior = pathlib.Path("behavior", parent.name)
does = behavior.read_text().split() if behavior.is_file() else ["finish"]
command = sys.argv[2:]
if "--ckpt_path" in command or command[0] == "evaluate":
    run = pathlib.Path(command[-1])
    run = run.parent.parent if command[0] == "fit" else run
else:
    run = parent / f"version_{{len(list(parent.glob('version_*')))}}"
    (run / "checkpoints").mkdir(parents=True)
    (run / "config.yaml").write_text("{{}}")
begin = time.time()
def note(**more):
    with open("calls.jsonl", "a") as file:
        line = dict(name=parent.name, command=command, begin=begin, end=time.time(),
                    threads=os.environ.get("OMP_NUM_THREADS"), **more)
        file.write(json.dumps(line) + "\\n")
def stop(*args):
    (run / "checkpoints" / "last.ckpt").touch()
    note(stopped=True)
    sys.exit(130)
if "hang" in does:
    signal.signal(signal.SIGINT, stop if "deaf" not in does else signal.SIG_IGN)
    (parent / "ready").touch()
    time.sleep(60)
time.sleep(0.3 if "slow" in does else 0)
if "die" in does:
    os.kill(os.getpid(), signal.SIGKILL)
if "fail" in does or ("left" in does and "--ckpt_path" in command):
    print("ae-lightning: error: " + ("nothing is left to train: it is done" if "left" in does else "it broke"))
    print("and a line after it")
    note()
    sys.exit(2)
if "unmeasured" in does:
    (run / "checkpoints" / "last.ckpt").touch()
    (run / "metrics.csv").write_text("step,epoch,speed/train_seconds\\n1,0,\\n2,0,1.5\\n")
    print("ae-lightning: the numbers could not be measured (no memory): measure them with")
    print("  ae-lightning evaluate it")
    note()
    sys.exit(0)
error = {{"mse_per_pixel": 0.5, "mse_per_image": 1.0}}
both = {{"autoencoder": error, "pca": error, "mean_image": error}}
(run / "metrics.json").write_text(json.dumps({{
    "model": {{"parameters": 1, "latent_shape": [2], "compression_ratio": 2.0}}, "data": {{"hash": ""}},
    "errors": {{"test": both, "validation": both}}, "pca_components": 2, "latents": {{"active": 2}},
    "probes": {{}}, "seconds": 1.0}}))
note()
"""


@pytest.fixture
def fake(ae: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """Sweep over latent_dim with the stand-in: `fake("2,3", *options, **behavior of a run)`."""
    script = tmp_path / "fake_python"
    script.write_text(FAKE.format(python=sys.executable))
    script.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(script))
    (tmp_path / "behavior").mkdir()

    def sweep(values: str, *options: str, behavior: dict[int, str] | None = None) -> Any:
        for latents, does in (behavior or {}).items():
            (tmp_path / "behavior" / f"latent_dim={latents},seed=17").write_text(does)
        return ae("sweep", *CONFIG, "--grid", f"model.latent_dim={values}", "-o", "mine", *options)

    return sweep


def calls(folder: Path) -> list[dict[str, Any]]:
    path = folder / "calls.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.is_file() else []


def statuses(folder: Path) -> dict[str, str]:
    return {row["latent_dim"]: row["status"] for row in table(folder / "mine")}


@pytest.mark.parametrize("jobs", [1, 2, 3])
def test_as_many_runs_as_asked_are_at_work_at_a_time(jobs: int, fake: Callable[..., Any], tmp_path: Path) -> None:
    behavior = dict.fromkeys(range(1, 7), "slow")
    assert fake("1,2,3,4,5,6", "--jobs", str(jobs), behavior=behavior).code == 0
    done = calls(tmp_path)
    assert len(done) == 6
    at_work = [sum(other["begin"] <= call["begin"] < other["end"] for other in done) for call in done]
    assert max(at_work) == jobs


def test_the_cores_are_shared_unless_the_user_says_otherwise(
    fake: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(13)), raising=False)
    assert fake("2").code == 0
    monkeypatch.delenv("OMP_NUM_THREADS")
    for latents, jobs in (("2,3", "4"), ("2,3,4", "1"), ("2,3,4,5", "99")):
        assert fake(latents, "--jobs", jobs).code == 0
    assert [call["threads"] for call in calls(tmp_path)] == ["1", "3", "13", "1"]


def test_failures_are_told_with_the_last_error_line(fake: Callable[..., Any], tmp_path: Path) -> None:
    code, out, _ = fake("2,3,4", behavior={2: "fail", 3: "die"})
    assert code == 1
    assert "1 of 3: latent_dim=2,seed=17 failed after 0 s: it broke (see mine/latent_dim=2,seed=17/fit.log)" in out
    assert "latent_dim=3,seed=17 failed after 0 s: killed by SIGKILL (see" in out
    assert "2 runs failed: latent_dim=2,seed=17; latent_dim=3,seed=17" in out
    assert statuses(tmp_path) == {"2": "failed", "3": "failed", "4": "finished"}
    assert "and a line after it" in (tmp_path / "mine" / "latent_dim=2,seed=17" / "fit.log").read_text()

    (tmp_path / "behavior" / "latent_dim=2,seed=17").unlink()
    assert fake("2,3,4").code == 1  # tried again, in a folder of its own
    assert statuses(tmp_path) == {"2": "finished", "3": "failed", "4": "finished"}
    assert table(tmp_path / "mine")[0]["run"] == "latent_dim=2,seed=17/version_1"
    assert [call["name"][:12] for call in calls(tmp_path)] == ["latent_dim=2", "latent_dim=4", "latent_dim=2"]


def test_without_a_finished_run_there_is_a_table_and_no_figure(fake: Callable[..., Any], tmp_path: Path) -> None:
    code, out, _ = fake("2", behavior={2: "fail"})
    assert code == 1
    assert out.endswith("table: mine/sweep.csv\n")
    assert not (tmp_path / "mine" / "sweep.png").exists()


def test_more_values_and_seeds_join_the_same_folder(fake: Callable[..., Any], tmp_path: Path) -> None:
    assert fake("2,3").code == 0
    assert fake("5,3", "--seeds", "17,4").code == 0
    assert fake("2").code == 0
    rows = [(row["latent_dim"], row["seed"]) for row in table(tmp_path / "mine")]
    assert rows == [("2", "17"), ("3", "17"), ("5", "17"), ("5", "4"), ("3", "4")]
    assert len(calls(tmp_path)) == 5
    assert fake("2", "--seeds", "17").out.count("│ ") >= 3  # the table shows all that the folder holds


def test_ctrl_c_reaches_all_runs_once_and_the_rest_is_not_begun(fake: Callable[..., Any], tmp_path: Path) -> None:
    press_when_ready(tmp_path, [2, 3], 1)
    code, out, _ = fake("1,2,3,4", "--jobs", "2", behavior={2: "hang", 3: "hang"})
    assert code == 130
    stopped = sorted(call["name"][:12] for call in calls(tmp_path) if call.get("stopped"))
    assert stopped == ["latent_dim=2", "latent_dim=3"]
    assert statuses(tmp_path) == {"1": "finished", "2": "interrupted", "3": "interrupted"}
    assert "3 runs left to do" in out
    assert (tmp_path / "mine" / "sweep.png").is_file()

    for latents in (2, 3):
        (tmp_path / "behavior" / f"latent_dim={latents},seed=17").unlink()
    assert fake("1,2,3,4").code == 0
    resumed = {call["name"]: call["command"] for call in calls(tmp_path)}["latent_dim=2,seed=17"]
    assert resumed == ["fit", "--ckpt_path", "mine/latent_dim=2,seed=17/version_0/checkpoints/last.ckpt"]
    assert set(statuses(tmp_path).values()) == {"finished"}


def test_the_third_ctrl_c_ends_a_run_that_does_not_listen(fake: Callable[..., Any], tmp_path: Path) -> None:
    press_when_ready(tmp_path, [2], 3)
    began = time.monotonic()
    assert fake("2", behavior={2: "hang deaf"}).code == 130
    assert time.monotonic() - began < 30
    assert statuses(tmp_path) == {"2": "interrupted"}


def test_a_run_at_work_is_not_in_the_table_yet(
    fake: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    press_when_ready(tmp_path, [2], 1)
    assert fake("2,3", behavior={2: "hang"}).code == 130
    assert statuses(tmp_path) == {"2": "interrupted"}
    seen: list[dict[str, str]] = []

    def look() -> None:
        wait_for((tmp_path / "mine" / "latent_dim=3,seed=17" / "version_0" / "metrics.json").is_file)
        wait_for(lambda: "3" in statuses(tmp_path))
        seen.append(statuses(tmp_path))
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=look, daemon=True).start()
    assert fake("2,3", "--jobs", "2").code == 130
    assert seen == [{"3": "finished"}]


def press_when_ready(folder: Path, latents: list[int], times: int) -> None:
    """Press Ctrl-C, as it reaches this process alone, once these runs are at work."""

    def press() -> None:
        for width in latents:
            wait_for((folder / "mine" / f"latent_dim={width},seed=17" / "ready").is_file)
        for _ in range(times):
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(0.3)

    threading.Thread(target=press, daemon=True).start()


def test_a_run_whose_training_had_ended_is_only_measured(fake: Callable[..., Any], tmp_path: Path) -> None:
    assert fake("2", behavior={2: "finish"}).code == 0
    run = tmp_path / "mine" / "latent_dim=2,seed=17" / "version_0"
    (run / "metrics.json").unlink()
    (run / "checkpoints" / "last.ckpt").touch()
    (run / "metrics.csv").write_text("step,epoch,speed/train_seconds\n1,0,\n2,0,1.5\n")
    assert fake("2").code == 0
    assert calls(tmp_path)[1]["command"] == ["evaluate", "mine/latent_dim=2,seed=17/version_0"]


def test_a_run_that_could_not_be_measured_is_trained_and_is_measured_next_time(
    fake: Callable[..., Any], tmp_path: Path
) -> None:
    code, out, _ = fake("2,3", behavior={2: "unmeasured"})
    assert code == 1
    assert "latent_dim=2,seed=17 trained after 0 s: the numbers could not be measured (no memory)" in out
    assert "1 run trained but not measured: the same command measures what is left" in out
    assert statuses(tmp_path) == {"2": "trained", "3": "finished"}

    (tmp_path / "behavior" / "latent_dim=2,seed=17").unlink()
    assert fake("2,3").code == 0
    assert statuses(tmp_path) == {"2": "finished", "3": "finished"}
    assert calls(tmp_path)[-1]["command"] == ["evaluate", "mine/latent_dim=2,seed=17/version_0"]


def test_a_run_that_was_stopped_right_after_its_last_step_is_run_anew(fake: Callable[..., Any], tmp_path: Path) -> None:
    assert fake("2", behavior={2: "left"}).code == 0
    run = tmp_path / "mine" / "latent_dim=2,seed=17" / "version_0"
    (run / "metrics.json").unlink()
    (run / "checkpoints" / "last.ckpt").touch()
    assert fake("2").code == 0
    assert [call["command"][1] for call in calls(tmp_path)] == ["--config", "--ckpt_path", "--config"]
    assert table(tmp_path / "mine")[0]["run"] == "latent_dim=2,seed=17/version_1"


def test_options_reach_every_run_and_parts_go_by_their_names(
    fake: Callable[..., Any], ae: Callable[..., Any], tmp_path: Path
) -> None:
    grid = ["--grid", "model=overcomplete,OvercompleteAutoencoder,fully_connected", "--grid", "data.batch_size=8"]
    options = ["--trainer.max_epochs", "3", "--model.latent_dim=9", "--trainer.callbacks+=LinearProbe"]
    assert (
        ae("sweep", *CONFIG, *options[:2], *grid, *options[2:]).code == 2
    )  # the first two are the same with 9 latents
    grid[1] = "model=overcomplete,fully_connected"
    assert ae("sweep", *CONFIG, *options[:2], *grid, *options[2:]).code == 0
    commands = [call["command"] for call in calls(tmp_path)]
    for command, part in zip(commands, ("overcomplete", "fully_connected"), strict=True):
        assert command[3].startswith("--model=")
        assert part in command[3]
        assert command[4:] == [*options, "--data.batch_size=8"]
    folder = tmp_path / "lightning_logs" / "overcomplete_digits_sweep_model_batch_size"
    assert [(row["model"], row["batch_size"]) for row in table(folder)] == [
        ("overcomplete", "8"),
        ("fully_connected", "8"),
    ]


@pytest.mark.parametrize(
    ("options", "folder"),
    [
        (["--model", "overcomplete", "--grid", "model.latent_dim=2"], "OvercompleteAutoencoder_sweep_latent_dim"),
        ([*CONFIG, "--seeds", "1,2"], "overcomplete_digits_sweep_seeds"),
        (["-c", "mine.yaml", "--trainer.default_root_dir", "there", "--grid", "data.seed=1,2"], "mine_sweep_data.seed"),
        (["--grid", "model=overcomplete,fully_connected"], "sweep_model"),
    ],
)  # fmt: skip
def test_the_folder_is_named_by_the_config_and_the_keys(
    options: list[str], folder: str, fake: Callable[..., Any], ae: Callable[..., Any], tmp_path: Path
) -> None:
    (tmp_path / "mine.yaml").write_text("model: {class_path: OvercompleteAutoencoder}\n")
    outcome = ae("sweep", *options)
    assert outcome.code == 0, outcome
    root = tmp_path / ("there/lightning_logs" if "there" in options else "lightning_logs")
    assert [path.name for path in root.iterdir()] == [folder]


# --- mistakes ----------------------------------------------------------------------------------------------------

WIDTHS = [*CONFIG, "--grid", "model.latent_dim=2,16"]
MISTAKES = {
    "unknown key": ([*CONFIG, "--grid", "model.latnt_dim=2"], ["--model.latent_dim?"]),
    "key without its path": ([*CONFIG, "--grid", "latent_dim=2"], ["--model.latent_dim?"]),
    "key without a part of it": ([*CONFIG, "--grid", "model.lr=2"], ["--model.optimizer.lr?"]),
    "wrong kind": ([*CONFIG, "--grid", "model.latent_dim=2,abc"], ["--model.latent_dim", "whole number", "'abc'"]),
    "wrong kind of the second key": ([*WIDTHS, "--grid", "model.activation=relu,rellu"], ["relu", "'rellu'"]),
    "unknown part": ([*CONFIG, "--grid", "model=overcomplet,deep"], ["--model", "overcomplet"]),
    "no values": ([*CONFIG, "--grid", "model.latent_dim="], ["--grid model.latent_dim="]),
    "no seeds": ([*WIDTHS, "--seeds", ""], ["--seeds"]),
    "no equals sign": ([*CONFIG, "--grid", "model.latent_dim"], ["--grid model.latent_dim=2,16"]),
    "nothing varied": (CONFIG, ["--grid key=a,b", "--seeds 0,1,2"]),
    "same key twice": ([*WIDTHS, "--grid", "--model.init_args.latent_dim=4"], ["model.latent_dim", "twice"]),
    "key and option": ([*WIDTHS, "--model.latent_dim", "4"], ["model.latent_dim", "--grid"]),
    "same value twice": ([*CONFIG, "--grid", "model.latent_dim=2,16,2"], ["model.latent_dim", "twice: 2"]),
    "same value, spelled otherwise": (
        [*CONFIG, "--grid", "model.optimizer.lr=0.1,1e-1"], ["0.1", "1e-1"]
    ),
    "same seed twice": ([*WIDTHS, "--seeds", "1,2,1"], ["--seeds", "twice: 1"]),
    "seed that is no number": ([*WIDTHS, "--seeds", "0,x"], ["--seeds", "'x'"]),
    "two words on seeds": ([*WIDTHS, "--seeds", "0", "--seed_everything", "3"], ["--seeds"]),
    "swept seed": ([*CONFIG, "--grid", "seed_everything=1,2"], ["seed_everything", "--seeds"]),
    "random seed": ([*WIDTHS, "--seed_everything", "true"], ["--seeds"]),
    "no config": (["--grid", "model.latent_dim=2"], ["--config"]),
    "unknown config": (["--config", "overcomplete_digit", "--seeds", "1"], ["overcomplete_digits?"]),
    "zero jobs": ([*WIDTHS, "--jobs", "0"], ["--jobs", "'0'"]),
    "jobs that are no number": ([*WIDTHS, "--jobs", "many"], ["--jobs", "'many'"]),
    "wrong option of fit": ([*WIDTHS, "--trainer.max_epoks", "3"], ["--trainer.max_epochs?"]),
    "option without its value": ([*WIDTHS, "-o"], ["-o", "value"]),
    "missing data": ([*WIDTHS, "--data", "ArraysDataModule"], ["--data.train"]),
    "checkpoint": ([*WIDTHS, "--ckpt_path", "x.ckpt"], ["--ckpt_path"]),
    "experiment": ([*WIDTHS, "--experiment", "x"], ["--experiment", "-o"]),
    "no logger": ([*WIDTHS, "--trainer.logger", "false"], ["--trainer.logger"]),
    "no logger, in a config": (["--config", "mine.yaml", "--seeds", "1"], ["trainer.logger"]),
    "folder of other things": ([*WIDTHS, "-o", "."], ["sweep.yaml", "-o"]),
    "folder that is a file": ([*WIDTHS, "-o", "mine.yaml"], ["mine.yaml", "-o"]),
}  # fmt: skip


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_is_told_in_one_sentence_before_anything_starts(
    name: str, ae: Callable[..., Any], tmp_path: Path
) -> None:
    (tmp_path / "mine.yaml").write_text("model: {class_path: OvercompleteAutoencoder}\ntrainer: {logger: false}\n")
    arguments, words = MISTAKES[name]
    code, out, err = ae("sweep", *arguments)
    assert (code, out) == (2, "")
    assert err.startswith("ae-lightning: error: ")
    assert err.count("\n") == 1
    for word in words:
        assert word in err
    assert [path.name for path in tmp_path.iterdir()] == ["mine.yaml"]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--trainer.max_epochs", "2"], "trainer.max_epochs 1, and now it is 2"),
        (["--model.activation", "tanh"], "model.activation relu, and now it is tanh"),
        (["--trainer.callbacks", "LinearProbe"], "trainer.callbacks null, and now it is nothing"),
        (
            ["--grid", "model.activation=relu,tanh"],
            "varies model.latent_dim, this one model.latent_dim, model.activation",
        ),
    ],
)
def test_other_settings_than_the_folders_are_refused(
    options: list[str], words: str, ae: Callable[..., Any], swept: tuple[Path, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    before = contents(swept[0])
    monkeypatch.chdir(swept[0].parent)
    code, _, err = ae_here(COMMAND, options)
    assert code == 2
    assert words in err
    assert "mine" in err
    assert "name another folder with -o" in err
    assert err.count("\n") == 1
    assert contents(swept[0]) == before


def ae_here(command: list[str], options: list[str]) -> tuple[int, str, str]:
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = main([*command, *options])
    return code, out.getvalue(), err.getvalue()


def test_other_settings_of_a_swept_part_are_refused(fake: Callable[..., Any], ae: Callable[..., Any]) -> None:
    command = ["sweep", *CONFIG, "--grid", "model=overcomplete,fully_connected", "--grid", "model.latent_dim=2,3"]
    assert ae(*command, "-o", "mine").code == 0
    command[4], command[6] = "model=fully_connected", "model.latent_dim=9"
    assert ae(*command, "-o", "mine").code == 0  # other values are welcome
    code, _, err = ae(*command, "-o", "mine", "--model.reconstruction_loss", "mae")
    assert code == 2
    assert "reconstruction_loss mse, and now it is mae (of model=fully_connected)" in err


def test_two_sweeps_never_share_a_folder(fake: Callable[..., Any], tmp_path: Path) -> None:
    with only_sweep_in(tmp_path / "mine"):
        code, _, err = fake("2")
    assert code == 2
    assert "a sweep is at work in mine" in err
    assert calls(tmp_path) == []
    assert fake("2").code == 0


def test_a_damaged_record_is_told(fake: Callable[..., Any], tmp_path: Path) -> None:
    assert fake("2").code == 0
    (tmp_path / "mine" / "sweep.yaml").write_text("settings: [")
    code, _, err = fake("2")
    assert code == 2
    assert "sweep.yaml is damaged" in err


def test_help_explains_it_all_with_an_example_and_imports_no_torch(tmp_path: Path) -> None:
    code = (
        "import sys; from ae_lightning.cli.main import main\n"
        "try: main(['sweep', '--help'])\n"
        "except SystemExit as stop: print(stop.code, sorted({'torch', 'lightning', 'numpy'} & sys.modules.keys()))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "0 []"
    text = " ".join(done.stdout.split())
    for words in (
        "ae-lightning sweep --config overcomplete_digits --grid model.latent_dim=2,16,32,128 --seeds 0,1,2 --jobs 2",
        *("sweep.csv", "sweep.png", "sweep.yaml", "fit.log", "Ctrl-C", "130", "--jobs N", "-o DIR", "[512,256]"),
    ):
        assert words in text

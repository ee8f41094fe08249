"""`ae-lightning lab`: its mistakes, its plan, and a whole small one."""

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ae_lightning.analysis.hedging_rate import hedging_rate
from ae_lightning.cli.lab.plan import Lab
from ae_lightning.cli.main import main
from ae_lightning.cli.sweep.runs import finished_version
from ae_lightning.cli.sweep.settings import parse_fit
from ae_lightning.errors import ConfigError
from ae_lightning.run.run import Run

SMALL = ["--world", "world_small", "--models", "topk_sae"]
MODELS = ("topk_sae", "matryoshka_sae", "jumprelu_sae")


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--models", "topk_sae"], "--world must be given"),
        (["--world", "world_small"], "--models must be given"),
        (
            ["--world", "world_smal", "--models", "topk_sae"],
            "no packaged world of that name; did you mean world_small?",
        ),
        (["--world", "digits", "--models", "topk_sae"], "there are world_16k, world_1k, world_absorption"),
        (["--world", ".", "--models", "topk_sae"], "the folder holds no saved world"),
        (["--world", "world_small", "--models", "topk_sea"], "no packaged model of that name; did you mean topk_sae?"),
        (["--world", "world_small", "--models", "topk_sae,topk_sae"], "--models names a value twice: topk_sae"),
        (["--world", "world_small", "--models", "topk_sae,"], "--models has an empty name"),
        ([*SMALL, "--l0", "8,x"], "--l0 should be numbers of active latents above 0, as in 8,16,32, not 'x'"),
        ([*SMALL, "--l0", "8,8.0"], "--l0 names a value twice: 8 and 8.0, which is the same"),
        ([*SMALL, "--seeds", "0,0"], "--seeds names a value twice"),
        ([*SMALL, "--steps", "0"], "--steps should be a whole number of at least 1, not '0'"),
        ([*SMALL, "--jobs", "none"], "--jobs should be a whole number of at least 1"),
        ([*SMALL, "--model.k", "3"], "--model.k is not for a lab: name numbers of active latents with --l0"),
        ([*SMALL, "--data.seed", "3"], "--data.seed is not for a lab: name seeds with --seeds"),
        ([*SMALL, "more"], "more is no option of a lab"),
    ],
)
def test_mistakes_are_told_before_anything_is_parsed(
    arguments: list[str], sentence: str, ae: Callable[..., Any]
) -> None:
    answer = ae("lab", *arguments)
    assert answer.code == 2
    assert sentence in answer.err
    assert answer.err.count("\n") == 1
    assert not list(Path.cwd().iterdir())


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"l0s": [8, 129]}, "--l0 129 is above the number of latents that can be right: the world has 128 features"),
        (
            {"l0s": [65], "latents": 64},
            "--l0 65 is above the number of latents that can be right: there are 64 latents",
        ),
        ({"l0s": [2.5]}, "--l0 2.5: TopKSAE keeps a whole number of latents of each sample"),
        ({"names": ["simple"]}, "is told how many latents"),
        ({"options": ["--model.nonsense", "3"]}, "there is no option --model.nonsense"),
    ],
)
def test_mistakes_that_a_world_or_model_tells(options: dict[str, Any], sentence: str) -> None:
    given = {"world": "world_small", "names": ["topk_sae"], "l0s": [], "seeds": [0], "steps": 10, "latents": None}
    with pytest.raises(ConfigError) as told:
        Lab(**{**given, "options": [], **options}).resolved  # noqa: B018 - which parses all fits
    assert sentence.replace("is told", "is not told") in str(told.value)


def test_a_misspelt_option_of_a_lab_is_guessed(ae: Callable[..., Any]) -> None:
    answer = ae("lab", *SMALL, "--stesp", "100")
    assert (answer.code, answer.err) == (2, "ae-lightning: error: there is no option --stesp; did you mean --steps?\n")


@pytest.fixture(scope="module")
def lab() -> Lab:
    names = ["topk_sae", "jumprelu_sae", "BatchTopKSAE"]
    return Lab("world_small", names, [2, 4], [3, 7], 20, 96, ["--model.init", "transpose"])


def test_each_model_and_seed_is_a_fit_with_an_instance_for_each_l0(lab: Lab) -> None:
    assert [(run.values["model"], run.seed) for run in lab.runs] == [
        (name, seed) for name in ("topk_sae", "jumprelu_sae", "BatchTopKSAE") for seed in (3, 7)
    ]
    of = {run.name: parse_fit(run.options) for run in (lab.runs[1], lab.runs[2])}
    topk, jump = of["model=topk_sae,seed=7"], of["model=jumprelu_sae,seed=3"]
    assert topk["model"]["init_args"]["k"] == [2, 4]
    assert jump["model"]["init_args"]["target_l0"] == [2, 4]
    for settings, seed in ((topk, 7), (jump, 3)):
        arguments = settings["data"]["init_args"]
        assert [arguments["world_seed"], arguments["seed"], settings["seed_everything"]] == [seed] * 3
        assert settings["model"]["init_args"]["seed"] == seed
        assert settings["model"]["init_args"]["latent_dim"] == 96
        assert settings["model"]["init_args"]["init"] == "transpose"
        assert settings["trainer"]["max_steps"] == 20


def test_by_default_a_dictionary_is_as_wide_and_as_sparse_as_the_world() -> None:
    lab = Lab("world_small", ["topk_sae"], [], [0], 20, None, [])
    assert (lab.latents, lab.l0s) == (128, [3])  # its mean L0 is 2.8


def test_what_fits_share_does_not_depend_on_seeds_or_models(lab: Lab) -> None:
    other = Lab("world_small", ["topk_sae"], [2, 4], [11], 20, 96, ["--model.init", "transpose"])
    assert other.resolved.settings == lab.resolved.settings
    assert other.resolved.choices["model"][0] == lab.resolved.choices["model"][0]


@pytest.fixture(scope="module")
def whole(made_once: Callable[..., Path]) -> Path:
    """The folder of a finished lab; for reading only."""

    def run(root: Path) -> None:
        with pytest.MonkeyPatch.context() as patch:
            patch.chdir(root)
            patch.setenv("OMP_NUM_THREADS", "1")
            assert main(command(MODELS)) == 0

    return made_once("small_lab", run) / "mine"


def command(models: tuple[str, ...]) -> list[str]:
    small = ["--world", "world_small", "--models", ",".join(models), "--seeds", "0,1", "--jobs", "2", "-o", "mine"]
    return ["lab", *small, "--steps", "600", "--samples", "16384"]


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_small_lab_recovers_the_truth(whole: Path) -> None:
    with (whole / "leaderboard.csv").open(newline="") as file:
        found = {row["model"]: row for row in csv.DictReader(file)}
    assert found.keys() == {*MODELS, "oracle", "dictionary learning", "k-means", "PCA", "random rows"}
    for measure, least in (("mcc", 0.75), ("f1", 0.45)):
        numbers = {name: float(row[measure]) for name, row in found.items()}
        assert min(numbers[name] for name in MODELS) > least
        assert max(numbers[name] for name in MODELS) < numbers["oracle"]
        assert max(numbers["random rows"], numbers["PCA"]) < min(numbers[name] for name in MODELS)
    for name in MODELS:
        assert float(found[name]["l0"]) == pytest.approx(3, rel=0.25)
    content = json.loads((whole / "leaderboard.json").read_text())
    assert len(content["differences"]["mcc"]) == 3
    assert content["sentences"][-1] == (
        "In MCC and F1 the oracle is above every model, and each model above random rows."
    )
    worlds = next(row["seeds"] for row in content["rows"] if row["model"] == "random rows")
    assert worlds["0"]["mcc"] != worlds["1"]["mcc"]  # each seed has a world of its own


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_hedging_rates_stand_in_the_leaderboard(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    small = ["lab", *SMALL, "--seeds", "0", "--steps", "100", "--samples", "2048", "--l0", "2,4", "-o", "mine"]
    assert main([*small, "--latent-dim", "24", "--hedging-rate", "8"]) == 0
    with Path("mine", "leaderboard.csv").open(newline="") as file:
        rates = [row["hedging_rate"] for row in csv.DictReader(file) if row["model"] == "topk_sae"]
    assert len(rates) == 2
    control, extended = (
        Run(finished_version(Path("mine", "hedging", f"model=topk_sae,latent_dim={width},seed=0"))).model
        for width in (24, 32)
    )
    rows = [model.writing(model.decoder_vectors) for model in (control, extended)]
    assert [float(rate) for rate in rates] == pytest.approx(hedging_rate(*rows).tolist(), rel=1e-3)
    assert min(map(float, rates)) >= 0


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_its_page_holds_the_leaderboard_and_its_figures(whole: Path) -> None:
    page, board = ((whole / name).read_text(encoding="utf-8") for name in ("lab.html", "leaderboard.html"))
    for name in MODELS:
        assert name in page
        assert name in board
    assert page.count("<img") == 5  # recovery, frontier, failures, missed, matches
    assert "problem" not in page.partition("<body")[2]


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_same_command_again_measures_nothing_anew(
    whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    kept = {path: path.stat().st_mtime_ns for path in whole.rglob("truth.*")}
    table = (whole / "leaderboard.csv").read_bytes()
    monkeypatch.chdir(whole.parent)
    assert main(command(MODELS)) == 0
    assert "6 of them finished already" in capsys.readouterr().out
    assert len(kept) == 2 * 8  # six fits, and baselines of two seeds
    assert kept == {path: path.stat().st_mtime_ns for path in whole.rglob("truth.*")}
    assert (whole / "leaderboard.csv").read_bytes() == table
    assert main([*command(MODELS), "--l0", "5"]) == 2
    assert "the runs in mine were made with k [3], and now it is [5] (of model=topk_sae)" in capsys.readouterr().err

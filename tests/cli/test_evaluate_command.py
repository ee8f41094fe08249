"""`ae-lightning evaluate`: what it prints and writes."""

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ae_lightning import ArraysDataModule, FullyConnectedAutoencoder
from ae_lightning.cli.evaluation_printing import print_results
from ae_lightning.evaluation import evaluate
from ae_lightning.run.run import Run


@pytest.fixture
def run(trained: Path, tmp_path: Path) -> Path:
    """A copy of the trained run without its numbers."""
    copy = shutil.copytree(trained, tmp_path / "mine" / "version_0")
    (copy / "metrics.json").unlink()
    return copy


def test_json_is_all_that_is_printed_and_what_is_written(ae: Callable[..., Any], run: Path) -> None:
    code, out, err = ae("evaluate", run, "--json")
    assert (code, err) == (0, "")
    results = json.loads(out)
    assert results == json.loads((run / "metrics.json").read_text())
    assert results["run"] == str(run)
    assert results["checkpoint"] == "best.ckpt"
    assert results["seed"] == 17
    opened = Run.load(run)
    measured = evaluate(opened.model, opened.data)
    assert {key: results[key] for key in measured} == measured


def test_it_gives_the_numbers_that_fit_gave(ae: Callable[..., Any], trained: Path, run: Path) -> None:
    given = json.loads((trained / "metrics.json").read_text())
    assert ae("evaluate", run, "--json").code == 0
    found = json.loads((run / "metrics.json").read_text())
    assert {**found, "run": given["run"]} == given


def test_the_tables(ae: Callable[..., Any], run: Path) -> None:
    code, out, err = ae("evaluate", run)
    assert (code, err) == (0, "")
    results = json.loads((run / "metrics.json").read_text())
    for split in ("validation", "test"):
        for errors in results["errors"][split].values():
            assert f"{errors['mse_per_pixel']:.5f}" in out
            assert f"{errors['mse_per_image']:.3f}" in out
    for words in (
        "OvercompleteAutoencoder",
        "Digits: 1,293 train",
        "PCA, 16 components",
        f"L0 {results['latents']['l0']:.1f}",
        f"{results['errors']['test']['autoencoder']['explained_variance']:.2%} of the test set",
        f"± {results['errors']['test']['autoencoder']['mse_per_pixel_std']:.5f} per pixel",
        f"{results['latents']['mean_activation']['median']:.3g} in the median latent",
    ):
        assert words in out
    for words in ("linear probe", "target activation", "true features"):
        assert words not in out  # there was none
    assert max(map(len, out.splitlines()[1:-1])) <= 80


def test_a_checkpoint_of_the_run(ae: Callable[..., Any], run: Path) -> None:
    code, out, _ = ae("evaluate", run / "checkpoints" / "last.ckpt", "--json")
    assert code == 0
    assert json.loads(out)["checkpoint"] == "last.ckpt"
    assert (run / "metrics.last.json").is_file()
    assert (run / "latents.last.csv").read_text().count("\n") == 1 + 16
    assert not (run / "metrics.json").exists()


def test_the_table_of_latents_is_written_anew(ae: Callable[..., Any], trained: Path, run: Path) -> None:
    (run / "latents.csv").unlink()
    assert ae("evaluate", run).code == 0
    assert (run / "latents.csv").read_text() == (trained / "latents.csv").read_text()
    latents = Run.load(run).latents
    results = Run.load(run).results["latents"]
    assert latents["firing_density"].sum() == pytest.approx(results["l0"])
    assert (latents["firing_density"] == 0).sum() == results["dead"]


def printed(results: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> str:
    """What is printed, in one line with single spaces."""
    capsys.readouterr()
    print_results(results)
    return " ".join(capsys.readouterr().out.split())


def test_a_target_and_known_features_have_lines_of_their_own(trained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    results = json.loads((trained / "metrics.json").read_text())
    results["latents"] |= {"negative": 0.3, "target": 0.05, "within_factor_two": 0.875}
    results["latents"]["mean_activation"] = {"median": 0.06, "min": 0.0, "max": 1.25}
    results["recovery"] = {
        **{"mcc": 0.91, "mmcs": 0.82, "fraction_recovered": 0.75, "fully_recovered": 0.5, "duplicates": 1.5},
        **{"fully_recovered_instances": 2.0, "instances": 4.0},
    }
    text = printed(results, capsys)
    assert "mean activation 0.06 in the median latent (0 to 1.25)" in text
    assert "target activation 0.05; 88% of latents within a factor of 2" in text
    assert "true features 75% recovered, all of them in 2 of 4 instances" in text
    assert "directions MCC 0.910, MMCS 0.820; duplicates: 1.5" in text
    assert "detection" not in text  # an older run
    results["recovery"] |= {"precision": 0.5, "recall": 0.25, "f1": 1 / 3, "truth_f1": 0.4, "hedging": 0.125}
    results["recovery"] |= {"shrinkage_slope": 0.75}
    text = printed(results, capsys)
    assert "detection precision 0.500, recall 0.250, F1 0.333 per latent; F1 0.400 per true feature" in text
    assert "faults hedging 0.125, shrinkage slope 0.750 (1 is none)" in text
    results["recovery"] |= {"absorption": 0.0625, "hedging": None}
    assert "faults absorption 0.062, hedging nan, shrinkage slope 0.750 (1 is none)" in printed(results, capsys)


@pytest.mark.parametrize(("factor", "exponent"), [(1e-6, "e-0"), (1e60, "e+")])
def test_numbers_far_from_1_can_be_read(
    factor: float, exponent: str, trained: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    results = json.loads((trained / "metrics.json").read_text())
    for split in results["errors"].values():
        for errors in split.values():
            for name in ("mse_per_pixel", "mse_per_image", "mse_per_pixel_std"):
                errors[name] *= factor
    results["errors"]["test"]["autoencoder"]["explained_variance"] = -3.4e61
    results["weights"]["weights/encoder_norm"] = 1.5e40
    text = printed(results, capsys)
    assert text.count(exponent) >= 3 * 4 + 2  # three rows of four numbers, and the line on the test error
    assert "variance explained -3.4e+63% of the test set" in text
    assert "Frobenius norm 1.5e+40" in text
    assert not re.search(r"\d{12}", text)
    assert " 0.00000" not in text


ROWS = {"mean_image": 0.07404, "pca": 0.02468, "autoencoder": 0.01191}
EXACT = "16 principal components are exact, so they are no baseline."


@pytest.mark.parametrize(
    ("changed", "sentence"),
    [
        ({}, "Test error: 16% of the mean image's, 48% of that of 16 principal components."),
        ({"autoencoder": 0.0308}, "Test error: 42% of the mean image's, 1.25 times that of 16 principal components."),
        ({"autoencoder": 0.0002}, "Test error: 0.3% of the mean image's, 0.8% of that of 16 principal components."),
        ({"pca": 3e-15}, f"Test error: 16% of the mean image's; {EXACT}"),
        ({"pca": 0.0}, f"Test error: 16% of the mean image's; {EXACT}"),
        ({"pca": None}, ""),
        ({"mean_image": 0.0, "pca": 0.0}, ""),
    ],
)
def test_the_error_is_put_beside_the_baselines_in_a_sentence(
    changed: dict[str, float], sentence: str, trained: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    results = json.loads((trained / "metrics.json").read_text())
    for name, error in (ROWS | changed).items():
        results["errors"]["test"][name] |= {"mse_per_pixel": error, "mse_per_pixel_reason": "too large"}
    text = printed(results, capsys)
    assert sentence in text
    assert ("Test error" in text) == bool(sentence)


@pytest.mark.parametrize(("width", "exact"), [(2, False), (3, True), (4, True), (10, True), (12, True)])
def test_pca_is_exact_with_as_many_components_as_the_data_have_directions(
    width: int, exact: bool, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Ten numbers that vary in three directions, far from zero: never 0.00000, and no number that is rounding."""
    draw = np.random.default_rng(0)
    np.save(tmp_path / "x.npy", draw.normal(size=(300, 3)) @ draw.normal(size=(3, 10)) + 5)
    data = ArraysDataModule(tmp_path / "x.npy")
    results = evaluate(FullyConnectedAutoencoder((10,), width, hidden_dims=()), data)
    text = printed({"run": "", "probes": {}, **results}, capsys)
    row = next(line for line in re.split("[│└]", text) if "components" in line)
    cells = text[text.index(row) + len(row) :].split("└")[0].replace("│", "").split()
    assert len(cells) == 4
    assert all((cell == "exact") == exact for cell in cells)


def test_a_code_of_either_sign_has_no_line_for_its_mean(trained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    results = json.loads((trained / "metrics.json").read_text())
    results["latents"]["negative"] = 0.3
    assert "mean activation" not in printed(results, capsys)


def test_samples_that_are_no_images_are_not_called_so(trained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    results = json.loads((trained / "metrics.json").read_text())
    results["model"]["input_shape"] = [64]
    results["data"]["description"] = "64 numbers"
    text = printed(results, capsys)
    assert "mean sample" in text
    assert not re.search("image|pixel", text)


def test_instances(ae: Callable[..., Any], quick: list[str], tmp_path: Path) -> None:
    assert ae("fit", *quick, "--model.instances", "3").code == 0
    code, out, _ = ae("evaluate", next(tmp_path.glob("lightning_logs/*/version_0")))
    assert code == 0
    assert "3 instances" in out


def test_a_fully_connected_model(ae: Callable[..., Any], quick: list[str], tmp_path: Path) -> None:
    options = ["--model", "FullyConnectedAutoencoder", *quick[2:]]
    assert ae("fit", *options, "--model.hidden_dims", "[32]").code == 0
    code, out, _ = ae("evaluate", next(tmp_path.glob("lightning_logs/*/version_0")), "--json")
    assert code == 0
    results = json.loads(out)
    assert results["model"]["class"] == "FullyConnectedAutoencoder"
    assert results["weights"] == {}


def test_probes_are_shown_with_their_errors(ae: Callable[..., Any], quick: list[str], tmp_path: Path) -> None:
    options = [*quick, "--trainer.callbacks", "LinearProbe"]
    assert ae("fit", *options).code == 0
    run = next(tmp_path.glob("lightning_logs/*/version_0"))
    code, out, _ = ae("evaluate", run)
    assert code == 0
    probes = json.loads((run / "metrics.json").read_text())["probes"]
    for name in ("latent", "untrained", "raw", "pca"):
        for group in ("probe", "probe_full"):
            assert f"{probes[f'{group}/{name}']:.4f} ± {probes[f'{group}/{name}_se']:.4f}" in out


def test_numbers_that_are_not_finite_are_printed_as_such(trained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    results = evaluate(Run.load(trained).model, Run.load(trained).data)
    for part in ("latents", "weights"):
        results[part] = {
            name: {"median": None, "min": None, "max": None} if isinstance(value, dict) else None
            for name, value in results[part].items()
        }
    results["latents"] |= {"active": 16.0, "dead": 0.0}
    print_results({**results, "probes": {}, "run": "here"})
    out = capsys.readouterr().out
    assert "Hoyer nan" in out
    assert "effective rank nan" in out

"""The report of a population, and that of one of its instances."""

import json
import shutil
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from ae_lightning.errors import ConfigError, RunFolderError
from ae_lightning.evaluation import evaluate
from ae_lightning.evaluation.instance_table import SHARED_ORDER
from ae_lightning.models.checkpoint import load_autoencoder
from ae_lightning.models.standard_sae import StandardSAE
from ae_lightning.report.report import Report
from ae_lightning.report.sections.explorer import ExplorerSection
from ae_lightning.report.sections.instances import InstancesSection
from ae_lightning.report.subject import Subject
from ae_lightning.report.units import Units
from ae_lightning.run.readable import ReadableRun


@pytest.fixture
def whole(population: Path) -> Subject:
    return Subject(ReadableRun.load(population))


@pytest.fixture
def single(population: Path) -> Subject:
    return Subject(ReadableRun.load(population), instance=2)


def test_the_section_has_a_row_for_each_instance_and_a_point_for_each_setting(population, whole):
    listed = json.loads((population / "metrics.json").read_text())["instances"]
    section = InstancesSection(whole)
    (table,) = section.tables()
    assert table.columns[:3] == ("instance", "k", "seed")
    assert [row[:3] for row in table.rows] == [("0", "3", "0"), ("1", "6", "0"), ("2", "6", "1")]
    errors = [f"{row['errors']['test']['autoencoder']['mse_per_pixel']:.5f}" for row in listed]
    assert [row[3] for row in table.rows] == errors
    assert any("figures of single units show the first" in sentence for sentence in section.sentences())
    assert SHARED_ORDER in section.sentences()
    (drawn,) = section.figures()["frontier"]().axes[0].containers
    points = drawn.lines[0].get_xydata()
    l0, fvu = ([row[part] for row in rows] for rows, part in (
        ([row["latents"] for row in listed], "l0"),
        ([row["errors"]["test"]["autoencoder"] for row in listed], "fvu"),
    ))  # fmt: skip
    np.testing.assert_allclose(points, [[l0[0], fvu[0]], [np.mean(l0[1:]), np.mean(fvu[1:])]], rtol=1e-5)


def test_the_frontier_leads_the_page_of_a_population_alone(whole, single):
    assert Report(whole).parts["Summary"][-1] == "frontier"
    assert "frontier" not in str(Report(single).parts)


def test_a_model_without_instances_has_no_such_section():
    section = InstancesSection(SimpleNamespace(results={"model": {}}, instance=None))
    assert (section.sentences(), section.tables(), section.figures()) == ([], [], {})


def test_a_report_on_one_instance_is_of_its_weights_and_numbers(population, single):
    alone = load_autoencoder(population / "checkpoints" / "best.ckpt", instance=2)
    for name, value in alone.state_dict().items():
        torch.testing.assert_close(single.model.state_dict()[name], value, rtol=0, atol=0)
    assert single.run.title.endswith("version_0, instance 2")
    measured = evaluate(alone, single.run.data)
    for split, errors in measured["errors"].items():
        for of, numbers in errors.items():
            assert single.results["errors"][split][of] == pytest.approx(numbers, rel=1e-4, abs=1e-9)
    assert single.results["latents"]["dead"] == measured["latents"]["dead"]
    assert single.results["model"]["asked_l0"] == {"k": 6}
    opening = Report(single).opening(lambda *_: None, lambda *_: None)
    assert "instance 2 of a population (k 6, seed 1)" in opening.about
    assert InstancesSection(single).sentences() == [
        "This page is of instance 2 alone. Curves of what was logged in training are means over all instances of the "
        "run."
    ]


def test_snapshots_latents_and_resampled_ones_are_those_of_the_instance(population, tmp_path):
    folder = Path(shutil.copytree(population, tmp_path / "version_0"))
    (folder / "resampling.csv").write_text("step,instance,latent\n1,0,3\n1,2,4\n2,2,5\n")
    single = Subject(ReadableRun.load(folder), instance=2)
    raw = ReadableRun.load(folder)
    step = max(raw.snapshots)
    then = single.run.model_at(step)
    population_then = raw.model_at(step)
    x = torch.rand(5, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(then(x).x_hat, population_then(x).x_hat[2])
    table = raw.latents
    own = single.run.latents
    np.testing.assert_array_equal(own["firing_density"], table["firing_density"][table["instance"] == 2])
    assert set(own["instance"]) == {0}
    assert {name: column.tolist() for name, column in single.run.resampled.items()} == {
        "step": [1, 2],
        "instance": [0, 0],
        "latent": [4, 5],
    }


def test_the_explorer_is_told_of_the_instance(population, single):
    assert ExplorerSection(single).links() == []
    (sentence,) = ExplorerSection(single).sentences()
    assert f"ae-lightning explore {population} --instance 2 -o " in sentence


def test_an_earlier_record_without_instances_is_to_be_written_anew(population, tmp_path):
    folder = Path(shutil.copytree(population, tmp_path / "version_0"))
    results = json.loads((folder / "metrics.json").read_text())
    del results["instances"]
    (folder / "metrics.json").write_text(json.dumps(results))
    with pytest.raises(RunFolderError, match=r"lists no instances: write it anew with `ae-lightning evaluate`"):
        _ = Subject(ReadableRun.load(folder), instance=1).results
    (folder / "metrics.json").unlink()  # still training
    assert Subject(ReadableRun.load(folder), instance=1).run.results == {}


def test_instances_with_samples_of_their_own_have_no_report_each(toy_model):
    with pytest.raises(ConfigError, match=r"--instance is 1, but each instance of .* has samples of its own"):
        Subject(ReadableRun.load(toy_model), instance=1)
    section = InstancesSection(Subject(ReadableRun.load(toy_model)))
    assert len(section.tables()[0].rows) == 3
    assert section.sentences() == [
        "Numbers elsewhere on this page are means over instances, and figures of single units show the first."
    ]


def test_units_of_a_population_are_scaled_as_the_first_instance_is():
    torch.manual_seed(0)
    model = StandardSAE((6,), 4, instances=2, input_scaling="mean_norm").eval()
    model.scaling.fit(torch.stack([torch.full((9, 6), 2.0), torch.full((9, 6), 5.0)]))
    single = model.instance(0)
    units = Units(SimpleNamespace(data=None, snapshots={7: model.snapshot()}), model, None, "test")
    for found, expected in (
        (units.read, single.reading(single.encoder_vectors)),
        (units.written, single.writing(single.decoder_vectors)),
        (units.written_at(7), single.writing(single.decoder_vectors)),
    ):
        torch.testing.assert_close(found.detach(), expected.detach())

"""The tables in a run's folder, byte for byte: programs of other people read them."""

import csv

import numpy as np
import pytest
import torch

from ae_lightning.files import write_table
from ae_lightning.run.loggers import MetricsCSV
from ae_lightning.run.tables import append_resampled, latents_file, read_latents, read_resampled, write_latents


def test_a_table_is_csv_as_its_standard_has_it(tmp_path):
    path = tmp_path / "new" / "a.csv"
    write_table(path, ["name", "error"], [["a, b", 0.1], ['say "so"', None], ["", 3]])
    assert path.read_bytes() == b'name,error\r\n"a, b",0.1\r\n"say ""so""",\r\n,3\r\n'
    with path.open(newline="") as file:
        assert list(csv.reader(file))[1:] == [["a, b", "0.1"], ['say "so"', ""], ["", "3"]]
    write_table(path, ["n"], ([i] for i in range(2)), line_end="\n")
    assert path.read_bytes() == b"n\n0\n1\n"
    assert [file.name for file in path.parent.iterdir()] == ["a.csv"]


def test_a_table_that_cannot_be_finished_leaves_the_earlier_one(tmp_path):
    path = tmp_path / "a.csv"
    write_table(path, ["n"], [[1]])
    with pytest.raises(ZeroDivisionError):
        write_table(path, ["n"], ([1 // i] for i in (1, 0)))
    assert path.read_bytes() == b"n\r\n1\r\n"


def test_bytes_of_the_metrics(tmp_path):
    logger = MetricsCSV(tmp_path)
    logger.log_metrics({"loss": 0.5, "epoch": 0.0}, step=1)
    logger.log_metrics({"loss": float("nan"), "b": 1e-7, "a": 2.0}, step=2)
    assert (tmp_path / "metrics.csv").read_bytes() == (
        b"step,epoch,loss,a,b\r\n"  # new ones come behind, sorted
        b"1,0,0.5,,\r\n"
        b"2,,nan,2.0,1e-07\r\n"
    )


def test_bytes_of_what_was_resampled(tmp_path):
    append_resampled(tmp_path, 7, torch.tensor([[False, True], [True, True]]))
    append_resampled(tmp_path, 9, torch.tensor([True, False]))
    assert (tmp_path / "resampling.csv").read_bytes() == b"step,instance,latent\n7,0,1\n7,1,0\n7,1,1\n9,0,0\n"
    assert read_resampled(tmp_path)["latent"].tolist() == [1, 0, 1, 0]


def test_bytes_of_the_latents(tmp_path):
    path = latents_file(tmp_path)
    write_latents(path, torch.tensor([1 / 3, 0.0]), torch.tensor([0.25, 1e-6], dtype=torch.float64))
    assert path.name == "latents.csv"
    assert path.read_bytes() == (b"instance,latent,mean_activation,firing_density\n0,0,0.333333343,0.25\n0,1,0,1e-06\n")


def test_latents_of_instances_come_back(tmp_path):
    means, rates = torch.rand(3, 5, dtype=torch.float64), torch.rand(3, 5, dtype=torch.float64)
    write_latents(latents_file(tmp_path, "last"), means, rates)
    table = read_latents(tmp_path / "latents.last.csv")
    assert table["instance"].tolist() == np.repeat([0, 1, 2], 5).tolist()
    assert table["latent"].tolist() == [0, 1, 2, 3, 4] * 3
    np.testing.assert_allclose(table["mean_activation"], means.flatten(), rtol=1e-8)
    np.testing.assert_allclose(table["firing_density"], rates.flatten(), rtol=1e-8)

"""What sections leave out where it would say nothing, and sentences that depend on the run."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from ae_lightning.models.overcomplete import OvercompleteAutoencoder
from ae_lightning.report.contributions import is_told_by_parts
from ae_lightning.report.sections.code import CodeSection
from ae_lightning.report.sections.reconstructions import ReconstructionsSection
from ae_lightning.report.sections.training import TrainingSection
from ae_lightning.report.subject import Subject
from ae_lightning.run.readable import ReadableRun


def active_on(count):
    """A model of twelve latents, of which so many are 1 on a sample of ones; each adds 1 to the first entry."""
    model = OvercompleteAutoencoder((4,), 12).eval()
    weights = {name: torch.zeros_like(part) for name, part in model.snapshot().items()}
    weights["encoder_bias"] = (torch.arange(12) < count).float()
    weights["decoder_vectors"][:, 0] = 1
    model.restore(weights)
    return model


@pytest.mark.parametrize(("count", "is_told"), [(1, True), (4, True), (5, False), (12, False)])
def test_a_reconstruction_is_taken_apart_where_two_parts_say_at_least_half_of_it(count, is_told):
    assert is_told_by_parts(active_on(count), torch.ones(4), most=2) == is_told


def subject(model, moments=3, probes=(), results=None):
    """What sections ask of a subject, with a series of so many moments for L0 and for these probes."""
    known = {"sparsity/l0": moments, **{f"probe/{name}{end}": 2 for name in probes for end in ("", "_se")}}
    names = ("active_latents", "contributions", "latent_histograms", "dead_latents")
    sparsity = SimpleNamespace(
        fitting=lambda: dict.fromkeys(names), sample=lambda index: torch.ones(4), first_active=lambda: 0
    )
    return SimpleNamespace(
        model=model,
        sparsity=sparsity,
        results=results or {},
        series=lambda name: (np.arange(known.get(name, 0)), np.ones(known.get(name, 0))),
    )


def test_of_a_dense_code_no_reconstruction_is_taken_apart_into_a_rest():
    assert list(CodeSection(subject(active_on(3))).figures()) == [
        "active_latents",
        "contributions",
        "latent_histograms",
    ]
    model = OvercompleteAutoencoder((4,), 40).eval()
    weights = {name: torch.zeros_like(part) for name, part in model.snapshot().items()}
    weights |= {"encoder_bias": torch.ones(40), "decoder_vectors": torch.ones(40, 4)}
    model.restore(weights)
    assert list(CodeSection(subject(model)).figures()) == ["active_latents", "latent_histograms"]


def test_a_curve_of_one_moment_is_no_course_of_training():
    assert "active_latents" not in CodeSection(subject(active_on(1), moments=1)).figures()


def test_no_sentence_speaks_of_what_is_not_drawn(toy_model, digits_sae):
    for folder, reconstructions in ((toy_model, "on the dotted line"), (digits_sae, "red is too bright")):
        of_run = Subject(ReadableRun.load(folder))
        _, reading = ReconstructionsSection(of_run).reading("reconstructions")
        assert reconstructions in reading
        assert ("dotted" in reading) != ("red" in reading)
        _, reading = CodeSection(of_run).reading("features")
        assert ("decoder row" in reading) == (folder is digits_sae)
        assert "dashed" not in CodeSection(of_run).reading("active_latents")[1]


def test_the_probe_is_spoken_of_where_there_was_one():
    def reading(**options):
        return TrainingSection(subject(active_on(1), **options)).reading("training")[1]

    assert "classifier" not in reading()
    assert "classifier" in reading(probes=["latent", "raw"])
    assert "fewer samples" not in reading(probes=["latent"], results={"probes": {"probe/latent": 0.9}})
    assert "fewer samples" in reading(probes=["latent"], results={"probes": {"probe_full/latent": 0.9}})

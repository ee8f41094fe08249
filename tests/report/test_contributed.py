"""Sections that variants and data add to a report, and those of the package."""

from types import SimpleNamespace

import pytest
from matplotlib.figure import Figure

from ae_lightning.data.digits import DigitsDataModule
from ae_lightning.models.standard_sae import StandardSAE
from ae_lightning.report import contributed
from ae_lightning.report.contributed import SectionMaker, section_makers
from ae_lightning.report.page import Numbers, html_page
from ae_lightning.report.report import Report
from ae_lightning.report.subject import Subject
from ae_lightning.run.readable import ReadableRun


class Waves(SectionMaker):
    """A section of a plugin: a figure of its own, a table and a sentence."""

    title = "Waves & tides"
    readings = {"waves": ("How latents swing", "A line is a latent.")}  # noqa: RUF012

    def figures(self):
        figure = Figure(figsize=(2, 1))
        figure.subplots().plot([0, self.subject.model.latent_size])
        return {"waves": lambda: figure}

    def sentences(self):
        return [f"There are {self.subject.model.latent_size} latents."]

    def tables(self):
        return [Numbers(["tide", "height"], [["low", "0.25"]])]


class Tides(Waves):
    """Another with the title of the first, of the data."""

    readings = {"tides": ("How samples swing", "A line is a sample.")}  # noqa: RUF012
    place = 50
    lead = {"tides": 1000}  # noqa: RUF012

    def figures(self):
        return {"tides": super().figures()["waves"]}

    def tables(self):
        return []


class Swinging(StandardSAE):
    """A plugin's variant."""

    def report_sections(self):
        return [Waves]


class Sea(DigitsDataModule):
    """A plugin's data."""

    def report_sections(self):
        return [Tides]


@pytest.fixture
def subject(digits_sae, monkeypatch):
    run = ReadableRun.load(digits_sae)
    model = Swinging((1, 8, 8), latent_dim=20)
    model.load_state_dict(run.model.state_dict())
    monkeypatch.setattr("ae_lightning.report.subject.load_autoencoder", lambda path: model)
    monkeypatch.setattr("ae_lightning.report.report._DPI", 30)
    return Subject(run)


def written(subject):
    """The page, and the figures that were kept, by name."""
    kept = {}
    told = []
    report = Report(subject)
    opening = report.opening(kept.__setitem__, lambda *part: told.append(part))
    sections = list(report.sections(kept.__setitem__, lambda *part: told.append(part)))
    assert told == [(title, name) for title, names in report.parts.items() for name in names]
    return html_page("t", sections, opening), kept


def test_a_section_of_a_plugins_variant_stands_on_the_page_and_its_figure_is_kept(subject, monkeypatch):
    monkeypatch.setattr(contributed, "_own", list)
    page, kept = written(subject)
    assert "<h2>Waves &amp; tides</h2>" in page
    assert "<h3>How latents swing</h3>" in page
    assert "<figcaption>A line is a latent.</figcaption>" in page
    assert "<p>There are 20 latents.</p>" in page
    assert "<td>0.25</td>" in page
    assert list(kept) == ["waves"]
    assert page.count("<img ") == 1


def test_sections_of_data_and_variant_with_one_title_are_one_and_a_figure_can_lead(subject, monkeypatch):
    monkeypatch.setattr(contributed, "_own", list)
    monkeypatch.setattr(type(subject.data), "report_sections", Sea.report_sections)
    page, kept = written(subject)
    assert page.count("<h2>") == 1
    assert list(kept) == ["tides", "waves"]
    assert page.index("How samples swing") < page.index("<h2>") < page.index("How latents swing")


def test_ours_are_there_without_a_list_in_the_order_of_their_places(digits):
    subject = SimpleNamespace(data=digits, model=Swinging((1, 8, 8), latent_dim=2))
    makers = section_makers(subject)
    titles = [maker.title for maker in makers]
    assert {"Numbers and baselines", "Training", "Reconstructions", "Explorer", "What was trained"} < {*titles}
    assert titles[0] == "Numbers and baselines"
    assert titles.index("The code") < titles.index("Waves & tides") < titles.index("The latent space")
    assert [maker.place for maker in makers] == sorted(maker.place for maker in makers)

"""What a report says of known factors."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from ae_lightning.data.digits import DigitsDataModule
from ae_lightning.data.shapes import ShapesDataModule
from ae_lightning.models.fully_connected import FullyConnectedAutoencoder
from ae_lightning.report.factors import FactorFigures
from ae_lightning.report.sections.factors import FactorsSection


@pytest.fixture(scope="module")
def data() -> ShapesDataModule:
    made = ShapesDataModule(12, scales=2, rotations=4, positions=6)
    made.setup()
    return made


def section_of(model: Any, data: Any, factors: dict[str, Any]) -> FactorsSection:
    results = {"factors": factors, "pca_components": 4}
    return FactorsSection(SimpleNamespace(model=model, data=data, results=results))  # type: ignore[arg-type]


def test_the_tables_have_the_numbers(data: ShapesDataModule) -> None:
    each = {"mig": 0.123456, "sap": 0.2, "completeness": None, "informativeness": 0.75}
    overall = dict.fromkeys(("mig", "sap", "dci_disentanglement", "dci_completeness", "factor_vae"), 0.5)
    section = section_of(None, data, {**overall, "samples": 1234, "each": {"shape": each}, "pca": overall})
    first, second = section.tables()
    assert first.columns == ["known factors", "this autoencoder", "PCA, 4 components"]
    assert ["MIG", "0.500", "0.500"] in first.rows
    assert ["DCI informativeness", "none", "none"] in first.rows
    assert first.note == "On 1,234 test samples."
    assert second.rows == [["shape", "0.123", "0.200", "none", "0.750"]]


def test_nothing_is_said_where_no_factors_are_known() -> None:
    section = section_of(None, DigitsDataModule(), {})
    assert (section.tables(), section.figures()) == ([], {})


def test_the_matrix_is_mutual_information_in_parts_of_the_entropy(data: ShapesDataModule) -> None:
    """An encoder that adds up pixels: it tells the scale, and nothing of x."""
    model = FullyConnectedAutoencoder(data.input_shape, latent_dim=2, hidden_dims=(), output_activation="none")
    with torch.no_grad():
        for parameter in model.encoder.parameters():
            parameter.copy_(torch.tensor([[1.0], [0.0]]).expand_as(parameter) if parameter.ndim == 2 else 0 * parameter)
    figures = FactorFigures(model, data).fitting()
    shares = np.asarray(figures["factors"]().axes[0].images[0].get_array())
    assert shares[1, 0] == pytest.approx(1, abs=0.05)
    assert shares[3, 0] < 0.2  # the bias of 174 samples
    assert shares[:, 1].tolist() == pytest.approx([0] * 5)
    assert len(figures["factor_traversals"]().axes) == 1

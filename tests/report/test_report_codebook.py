"""What codes stand for, and the section of a report that shows it."""

from types import SimpleNamespace

import pytest
import torch

from ae_lightning.data.digits import DigitsDataModule
from ae_lightning.evaluation.codebook import code_counts
from ae_lightning.models.fully_connected import FullyConnectedAutoencoder
from ae_lightning.models.vqvae import VQVAE
from ae_lightning.report.codebook import decoded_codes
from ae_lightning.report.sections.codebook import CodebookSection


@pytest.fixture(scope="module")
def data() -> DigitsDataModule:
    data = DigitsDataModule()
    data.setup()
    return data


def model_of(**options) -> VQVAE:
    torch.manual_seed(0)
    return VQVAE((1, 8, 8), **{"latent_dim": 16, "codes": 20, "groups": 4, **options}).eval()


def test_a_code_of_a_grid_is_decoded_where_each_place_has_it():
    model = model_of(network="deep_conv", groups=1)
    chosen = torch.tensor([3, 7])
    everywhere = chosen.view(2, 1, 1, 1).expand(2, *model.index_shape)
    with torch.no_grad():
        truth = model.decode_indices(everywhere)
    torch.testing.assert_close(decoded_codes(model, torch.ones(1, 20), 0, chosen), truth)


@pytest.mark.parametrize("options", [{}, {"product": True, "depth": 2}])
def test_a_code_of_a_group_is_decoded_beside_the_mean_of_the_others(options, data):
    model = model_of(**options)
    counts = code_counts(model, data.test_set, 100)
    x = data.test_set.take(10_000)[0]
    with torch.no_grad():
        mean = model.encode(x).mean(0)
        indices = model.indices_of(x)
        row, code = 5 % model.index_shape[0], int(indices[0, 5 % model.index_shape[0]])
        depth, group = divmod(row, 4)
        # What this index adds is the same part of the code, with all others' taken from one sample.
        only = model.codebook.by_index()[row][indices[:, row]].mean(0)
        truth = mean.clone()
        truth[group * 4 : group * 4 + 4] += model.codebook.by_index()[row][code] - only
        picture = model.decode(truth[None])
    assert depth == (1 if options else 0)
    torch.testing.assert_close(decoded_codes(model, counts, row, torch.tensor([code])), picture, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("options", [{}, {"network": "deep_conv", "groups": 1}, {"groups": 2, "depth": 2}])
def test_the_section_has_pictures_usage_and_numbers(options, data):
    section = CodebookSection(SimpleNamespace(model=model_of(**options), data=data))
    figures = section.figures()
    assert list(figures) == ["codebook", "code_usage"]
    for make in figures.values():
        assert make().axes
    (table,) = section.tables()
    assert table.rows[0][1].startswith("20")
    assert set(figures) == set(section.readings)


def test_models_without_a_codebook_have_no_such_section_and_vectors_no_pictures(data):
    plain = CodebookSection(SimpleNamespace(model=FullyConnectedAutoencoder((1, 8, 8)), data=data))
    assert (plain.figures(), plain.tables()) == ({}, [])
    model = VQVAE((64,), latent_dim=16, codes=20, groups=4)
    flat = SimpleNamespace(
        model=model,
        data=SimpleNamespace(
            test_set=SimpleNamespace(batches=lambda n: [(torch.rand(9, 64), None)]), eval_batch_size=9
        ),
    )
    assert list(CodebookSection(flat).figures()) == ["code_usage"]

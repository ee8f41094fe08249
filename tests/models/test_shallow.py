"""What all shallow variants share: weights that can be taken as a snapshot and restored."""

from pathlib import Path

import pytest
import torch
import yaml

from ae_lightning.models import own_variants, variants
from ae_lightning.models.overcomplete import OvercompleteAutoencoder
from ae_lightning.models.shallow import ShallowAutoencoder
from ae_lightning.models.standard_sae import StandardSAE
from ae_lightning.models.toy_model import ToyModel

CONFIGS = Path(__file__).parents[2] / "configs" / "model"


def shallow_configs() -> list[tuple[str, dict]]:
    """Class name and options of each packaged part of a shallow variant."""
    parts = [yaml.safe_load(path.read_text()) for path in sorted(CONFIGS.glob("*.yaml"))]
    named = [(part["class_path"].rpartition(".")[2], part.get("init_args") or {}) for part in parts]
    return [(name, options) for name, options in named if issubclass(variants()[name], ShallowAutoencoder)]


MODELS = [
    *shallow_configs(),
    ("StandardSAE", {"tied": True}),
    ("StandardSAE", {"instances": 3}),
    ("StandardSAE", {"tied": True, "instances": 3}),
    ("StandardSAE", {"unit_norm": True}),
    ("StandardSAE", {"unit_norm": True, "tied": True, "instances": 3}),
    ("OvercompleteAutoencoder", {"instances": 2, "activation": "sigmoid"}),
    ("ToyModel", {"instances": None}),
]


def build(name: str, options: dict, seed: int) -> ShallowAutoencoder:
    torch.manual_seed(seed)
    sizes = {} if name == "ToyModel" else {"latent_dim": 7}
    sizes |= {"prefixes": [2, 4]} if name == "MatryoshkaSAE" else {}
    sizes |= {option: 3 for option in ("k", "target_l0") if option in options}
    model = variants()[name]((6,), **{**options, **sizes})
    with torch.no_grad():
        for parameter in model.parameters():  # no bias is zero
            parameter.add_(torch.rand_like(parameter))
    return model


@pytest.mark.parametrize(("name", "options"), MODELS, ids=str)
def test_a_snapshot_brings_back_all_that_a_model_does(name, options):
    source, target = build(name, options, 0), build(name, options, 1)
    x = torch.rand(5, 6)
    before, other = source(x), target(x)
    assert not torch.equal(before.x_hat, other.x_hat)
    parameters = list(target.parameters())
    target.restore({part: tensor.clone() for part, tensor in source.snapshot().items()})
    after = target(x)
    assert torch.equal(after.x_hat, before.x_hat)
    assert torch.equal(after.z, before.z)
    for mine, theirs in zip(target.parameters(), source.parameters(), strict=True):
        assert torch.equal(mine, theirs)
        assert mine.requires_grad
        assert mine.grad_fn is None
    assert all(mine is old for mine, old in zip(target.parameters(), parameters, strict=True))


@pytest.mark.parametrize(("name", "options"), MODELS, ids=str)
def test_a_snapshot_s_decoder_rows_are_what_each_latent_writes(name, options):
    if name != "StandardSAE":
        pytest.skip("an activation follows")
    model = build(name, options, 0)
    with torch.no_grad():
        written = model.decode(torch.eye(7).expand(*model.dictionary.b_dec.shape[:-1], 7, 7))
    snapshot = model.snapshot()
    torch.testing.assert_close(snapshot["decoder_vectors"] + snapshot["decoder_bias"].unsqueeze(-2), written)


def test_there_is_a_shallow_config_of_each_kind():
    shallow = {name for name, kind in own_variants().items() if issubclass(kind, ShallowAutoencoder)}
    assert {name for name, _ in shallow_configs()} == shallow
    assert len(shallow) == 11


def test_what_is_restored_is_a_copy():
    model = StandardSAE((6,), 7)
    snapshot = {name: part.clone() for name, part in build("StandardSAE", {}, 0).snapshot().items()}
    model.restore(snapshot)
    kept = model.encoder_vectors.clone()
    snapshot["encoder_vectors"].zero_()
    assert torch.equal(model.encoder_vectors, kept)


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (StandardSAE((6,), 8), r"the snapshot holds decoder_vectors \(7, 6\), .*, but StandardSAE has .*\(8, 6\)"),
        (StandardSAE((5,), 7), r"but StandardSAE has decoder_bias \(5,\)"),
        (StandardSAE((6,), 7, instances=2), r"\(2, 7, 6\)"),
        (ToyModel((6,), 7), r"the snapshot holds encoder_bias \(7,\), which ToyModel has not"),
        (StandardSAE((6,), 7, tied=True), "an encoder and a decoder of its own, .* StandardSAE are tied"),
        (StandardSAE((6,), 7, tied=True, unit_norm=True), "an encoder and a decoder of its own"),
        (StandardSAE((6,), 7, unit_norm=True), r"the snapshot lacks decoder_rows \(7, 6\), which StandardSAE has"),
    ],
    ids=["latents", "input", "instances", "no encoder bias", "tied", "tied, divided", "divided"],
)
def test_a_snapshot_of_another_model_is_refused_and_nothing_is_written(model, message):
    snapshot = build("OvercompleteAutoencoder", {}, 0).snapshot()
    before = [parameter.clone() for parameter in model.parameters()]
    with pytest.raises(ValueError, match=message):
        model.restore(snapshot)
    assert all(torch.equal(old, new) for old, new in zip(before, model.parameters(), strict=True))


def test_a_part_that_is_missing_or_too_much_is_refused():
    model = OvercompleteAutoencoder((6,), 7)
    snapshot = model.snapshot()
    with pytest.raises(ValueError, match="the snapshot holds nothing, but"):
        model.restore({})
    with pytest.raises(ValueError, match=r"more \(1,\)"):
        model.restore({**snapshot, "more": torch.zeros(1)})


def test_weights_that_are_not_finite_come_back_too():
    tied = StandardSAE((6,), 7, tied=True)
    snapshot = {name: torch.full_like(part, torch.nan) for name, part in tied.snapshot().items()}
    tied.restore(snapshot)
    assert tied.encoder_vectors.isnan().all()

"""A dictionary in the network of its store: of texts by hand, of a population, and as a transcoder."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from reading import WORDS, Reader, model_and_tokenizer
from torch import Tensor, nn

from ae_lightning import ActivationsDataModule, DigitsDataModule, SparseFeaturesDataModule
from ae_lightning.errors import ConfigError, DataError
from ae_lightning.evaluation.splice import Splice
from ae_lightning.evaluation.splice.choice import evenly_spaced
from ae_lightning.harvesting.harvest import harvest
from ae_lightning.harvesting.inputs import Inputs
from ae_lightning.models.topk_sae import TopKSAE
from ae_lightning.models.transcoder import Transcoder

READER = "reading:model_and_tokenizer"
LENGTH = 8  # tokens of a sequence, of which the first and the last are special


@pytest.fixture
def text(tmp_path: Path) -> Path:
    drawn = np.random.default_rng(0).integers(3, len(WORDS), 203)
    file = tmp_path / "text.txt"
    file.write_text(" ".join(WORDS[word] for word in drawn))
    return file


@pytest.fixture
def store(text: Path, tmp_path: Path) -> Path:
    harvest(READER, ["mix"], tmp_path / "store", text=[text], context=LENGTH)
    return tmp_path / "store"


def sequences(text: Path) -> list[list[int]]:
    """Six words between two special tokens; the last sequence is shorter."""
    words = [WORDS.index(word) for word in text.read_text().split()]
    return [[1, *words[start : start + LENGTH - 2], 2] for start in range(0, len(words), LENGTH - 2)]


def loss_with(network: Reader, ids: list[int], change: Any) -> float:
    """Sum of the cross entropy of each next token of one sequence, what `mix` gives of words being changed."""
    given = torch.tensor(ids)
    with torch.no_grad():
        rows = network.mix(network.embed(given))
        rows[1:-1] = change(rows[1:-1])
        logits = network.head(rows.relu().cumsum(0))
    return float(F.cross_entropy(logits[:-1], given[1:], reduction="sum"))


def test_next_tokens_of_sequences_that_were_held_out(text: Path, store: Path) -> None:
    data = ActivationsDataModule(str(store), normalize="centered_mean_square", val_fraction=0.3)
    torch.manual_seed(1)
    model = TopKSAE((6,), 8, k=2).eval()
    spliced = Splice(data, READER)(model)
    network, every = model_and_tokenizer()[0].eval(), sequences(text)
    with torch.no_grad():
        rows = torch.cat([network.mix(network.embed(torch.tensor(ids)))[1:-1] for ids in every]).double()
    mean, scale = rows.mean(0), 1 / rows.var(0, unbiased=False).sum().sqrt()

    def reconstructed(part: Tensor) -> Tensor:
        return (model(((part - mean) * scale).float()).x_hat / scale + mean).float()

    held_out = [every[number] for number in data.samples_of("test").tolist()]
    assert spliced["samples"] == len(held_out) == round(0.3 * 34)
    found = spliced["measures"]["cross_entropy"]
    counts = sum(len(ids) - 1 for ids in held_out)
    assert (spliced["loss"], found["positions"]) == ("next_token", counts)
    changes = {
        "original": lambda part: part,
        "spliced": reconstructed,
        "mean_ablated": lambda part: mean.float().expand_as(part),
        "zero_ablated": torch.zeros_like,
    }
    for way, change in changes.items():
        expected = sum(loss_with(network, ids, change) for ids in held_out) / counts
        assert found[way] == pytest.approx(expected, rel=1e-5)


def test_samples_are_taken_evenly_spaced(text: Path, store: Path) -> None:
    data = ActivationsDataModule(str(store), val_fraction=0.5)
    spliced = Splice(data, READER, samples=5, batch_size=2)(TopKSAE((6,), 8, k=2).eval())
    held_out = data.samples_of("test").tolist()
    assert len(held_out) == 17
    every, network = sequences(text), model_and_tokenizer()[0].eval()
    taken = [every[held_out[place]] for place in (0, 4, 8, 12, 16)]
    expected = sum(loss_with(network, ids, lambda part: part) for ids in taken) / sum(len(ids) - 1 for ids in taken)
    assert spliced["measures"]["cross_entropy"]["original"] == pytest.approx(expected, rel=1e-5)
    assert evenly_spaced(torch.tensor([3, 5, 9]), 4).tolist() == [3, 5, 9]


def test_other_texts_are_cut_as_those_of_the_store(text: Path, store: Path) -> None:
    other = text.with_name("other.txt")
    other.write_text("the cat sat on the mat a cat sat")
    spliced = Splice(ActivationsDataModule(str(store)), READER, text=[other])(TopKSAE((6,), 8, k=2).eval())
    assert (spliced["samples"], spliced["held_out"]) == (2, False)
    assert spliced["measures"]["cross_entropy"]["positions"] == 7 + 4


def test_texts_that_have_changed_are_refused(text: Path, store: Path) -> None:
    text.write_text("the cat")
    with pytest.raises(DataError, match="are no longer the same"):
        Splice(ActivationsDataModule(str(store)), READER)
    text.unlink()
    with pytest.raises(DataError, match="there is no such file"):
        Splice(ActivationsDataModule(str(store)), READER)


def network_of_digits() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 16), nn.ReLU(), nn.Linear(16, 10))


def test_a_population_is_measured_one_by_one(tmp_path: Path) -> None:
    network = network_of_digits()
    harvest(network, ["2"], tmp_path / "store", DigitsDataModule())
    data = ActivationsDataModule(str(tmp_path / "store"))
    torch.manual_seed(0)
    population = TopKSAE((16,), 32, k=[1, 4], instances=2).eval()
    splice = Splice(data, network, DigitsDataModule(), samples=60)
    spliced = splice(population)
    assert spliced["instances"] == [splice(population.instance(i))["measures"] for i in (0, 1)]
    first, second = (of["cross_entropy"]["spliced"] for of in spliced["instances"])
    assert first != second
    assert spliced["measures"]["cross_entropy"]["spliced"] == pytest.approx((first + second) / 2)


def test_a_transcoder_stands_in_the_place_of_its_layer(tmp_path: Path) -> None:
    """One that is the layer: a skip with the layer's weights, and latents that write nothing."""
    network = network_of_digits()
    harvest(network, ["3"], tmp_path / "store", DigitsDataModule(), side="both")
    data = ActivationsDataModule(str(tmp_path / "store"), layer="3:input", target="3:output", normalize="mean_norm")
    index = data.index
    model = Transcoder((16,), 4, skip=True, target_shape=(10,), k=1, input_scaling="none", target_scaling="none").eval()
    layer = network[3]
    read, written = (index.statistics(name).mean_norm for name in ("3:input", "3:output"))
    read, written = (width**0.5 / norm for width, norm in ((16, read), (10, written)))
    with torch.no_grad():
        model.dictionary.W_dec.zero_()
        assert model.W_skip is not None
        model.W_skip.copy_(layer.weight.T * written / read)
        model.dictionary.b_dec.copy_(layer.bias * written)
    spliced = Splice(data, network, DigitsDataModule())(model)
    assert (spliced["read"], spliced["replaced"]) == ("the input of 3", "the output of 3")
    found = spliced["measures"]["cross_entropy"]
    assert found["increase"] == pytest.approx(0, abs=1e-6)
    assert found["mean_ablated"] != pytest.approx(found["original"], abs=1e-3)


def wrong_rank(output: Tensor, inputs: Inputs) -> Tensor:
    return output.argmax(7)


def test_what_cannot_be_spliced_is_said_in_a_sentence(tmp_path: Path) -> None:
    network = network_of_digits()
    harvest(network, ["1", "2"], tmp_path / "store", DigitsDataModule())
    root = str(tmp_path / "store")
    with pytest.raises(ConfigError, match="this run reconstructs 2 at once: 1, 2"):
        Splice(ActivationsDataModule(root, layer=["1", "2"]), network)
    with pytest.raises(DataError, match="does not tell what its model was shown: name it with --data or --text"):
        Splice(ActivationsDataModule(root, layer="2"), network)
    untrained, images = TopKSAE((32,), latent_dim=8, k=2), DigitsDataModule()
    data = ActivationsDataModule(root, layer="2")
    with pytest.raises(ConfigError, match=r"does not take these data, \(2, 5\): "):
        Splice(data, network, SparseFeaturesDataModule())(untrained)
    with pytest.raises(ConfigError, match=r"^--loss wrong_rank fails with a \w+ in .*test_splice_into\.py, line \d+: "):
        Splice(data, network, images, loss=wrong_rank)(untrained)
    with torch.no_grad():
        network[3].bias[0] += 1e-3
    with pytest.raises(ConfigError, match=r"has weights .* was harvested from Sequential with weights"):
        Splice(ActivationsDataModule(root, layer="2"), network, DigitsDataModule())
    network = network_of_digits()
    renamed = nn.Sequential()
    for name, part in network.named_children():
        renamed.add_module(name if name != "2" else "act", part)
    with pytest.raises(ConfigError, match="the network has no layer 2, of which"):
        Splice(ActivationsDataModule(root, layer="2"), renamed, DigitsDataModule())

"""Losses with a layer replaced, beside networks that are run by hand in two halves."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from ae_lightning.data.in_memory import InMemoryDataset
from ae_lightning.errors import ConfigError
from ae_lightning.evaluation.splice.losses import classification, next_token
from ae_lightning.evaluation.splice.measure import Cut, reconstruction, splice_losses
from ae_lightning.evaluation.splice.meter import MEAN, ORIGINAL, SPLICED, ZERO
from ae_lightning.evaluation.splice.surgery import Site
from ae_lightning.harvesting.inputs import Inputs
from ae_lightning.models.topk_sae import TopKSAE

WAYS = (ORIGINAL, SPLICED, MEAN, ZERO)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def at(layer: str, width: int, side: str = "output") -> Cut:
    site = Site(layer, side, width)
    return Cut(site, site)


def rough(rows: torch.Tensor) -> torch.Tensor:
    """A reconstruction that loses something."""
    return (rows * 2).round() / 2


class Classifier(nn.Module):
    """Of images (1, 4, 4), through maps (5, 2, 2) that a layer normalizes in place."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.maps = nn.Conv2d(1, 5, 3, stride=2, padding=1)
        self.act = nn.ReLU(inplace=True)
        self.head = nn.Linear(20, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.second(self.act(self.maps(x)))

    def second(self, maps: torch.Tensor) -> torch.Tensor:
        return self.head(maps.flatten(1))


class Language(nn.Module):
    """Of 11 tokens: each position sees itself and those before it; the block gives a tuple, as transformers may.

    What the block reads goes past it too.
    """

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.embed = nn.Embedding(11, 6)
        self.block = Block()
        self.head = nn.Linear(6, 11)

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> dict[str, torch.Tensor]:
        x = self.embed(input_ids)
        return {"logits": self.head(self.block(hidden=x)[0] + x)}


class Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.mix = nn.Linear(6, 6)

    def forward(self, hidden: torch.Tensor) -> tuple[torch.Tensor, str]:
        return hidden + self.mix(hidden).tanh().cumsum(1), "cache"


def images(count: int = 40) -> list[Inputs]:
    x, y = torch.randn(count, 1, 4, 4, generator=generator()), torch.randint(0, 3, (count,), generator=generator())
    return [Inputs((part,), {}, len(part), y=of) for part, of in zip(x.split(16), y.split(16), strict=True)]


def texts() -> list[Inputs]:
    """Twelve sequences of 3 to 8 tokens, of which the first is special."""
    ids = torch.randint(1, 11, (12, 8), generator=generator(2))
    real = torch.arange(8) < torch.randint(3, 9, (12, 1), generator=generator(3))
    kept = real & (torch.arange(8) > 0)
    batches = zip(ids.split(5), real.split(5), kept.split(5), strict=True)
    return [Inputs((), {"input_ids": i, "attention_mask": r.long()}, len(i), k) for i, r, k in batches]


def test_a_classifier_in_two_halves():
    """Rows of a map are its places, from which the mean is taken too."""
    network = Classifier().eval()
    mean = torch.linspace(0, 1, 5)
    [meter] = splice_losses(network, at("act", 5), [rough], mean, images(), classification)
    found = meter.compute()
    x, y = torch.cat([one.args[0] for one in images()]), torch.cat([one.y for one in images()])
    with torch.no_grad():
        maps = network.maps(x).relu()
        halves = {
            ORIGINAL: maps,
            SPLICED: rough(maps),
            MEAN: mean.reshape(1, 5, 1, 1).expand_as(maps),
            ZERO: torch.zeros_like(maps),
        }
        logits = {way: network.second(half) for way, half in halves.items()}
    for way in WAYS:
        assert found["cross_entropy"][way] == pytest.approx(float(F.cross_entropy(logits[way], y)), rel=1e-6)
        assert found["accuracy"][way] == pytest.approx(float((logits[way].argmax(1) == y).float().mean()))
    assert len({found["cross_entropy"][way] for way in WAYS}) == 4
    assert found["cross_entropy"]["positions"] == meter.samples == 40


def by_hand(network: Language, change) -> list[float]:
    """Sum of losses of each sequence, run alone without padding, with what the block reads or gives changed."""
    sums = []
    for inputs in texts():
        for ids, real, kept in zip(*inputs.kwargs.values(), inputs.kept, strict=True):
            ids, kept = ids[real.bool()], kept[real.bool()]
            with torch.no_grad():
                x = network.embed(ids)[None]
                given = network.block(x)[0]
                given[0, kept] = change(given[0, kept])
                sums.append(float(F.cross_entropy(network.head(given + x)[0, :-1], ids[1:], reduction="sum")))
    return sums


def test_a_language_model_of_which_padding_and_special_tokens_are_left_alone():
    network, mean = Language().eval(), torch.linspace(-1, 1, 6)
    [meter] = splice_losses(network, at("block", 6), [rough], mean, texts(), next_token)
    found = meter.compute()["cross_entropy"]
    changes = {
        ORIGINAL: lambda rows: rows,
        SPLICED: rough,
        MEAN: lambda rows: mean.expand_as(rows),
        ZERO: torch.zeros_like,
    }
    counts = np.array([int(one) - 1 for inputs in texts() for one in inputs.kwargs["attention_mask"].sum(1)])
    sums = {way: np.array(by_hand(network, change)) for way, change in changes.items()}
    for way in WAYS:
        assert found[way] == pytest.approx(sums[way].sum() / counts.sum(), rel=1e-5)
        residuals = sums[way] - found[way] * counts
        error = np.sqrt(12 / 11 * (residuals**2).sum()) / counts.sum()
        assert found[f"{way}_se"] == pytest.approx(error, rel=1e-4)
    lost = sums[ZERO].sum() - sums[ORIGINAL].sum()
    assert found["recovered_of_zero"] == pytest.approx((sums[ZERO].sum() - sums[SPLICED].sum()) / lost, rel=1e-4)
    assert found["positions"] == counts.sum()


def test_what_a_layer_reads_by_name_is_replaced_too():
    network = Language().eval()
    [meter] = splice_losses(network, at("block", 6, "input"), [rough], torch.zeros(6), texts(), next_token)
    total, count = 0.0, 0
    for inputs in texts():
        x = network.embed(inputs.kwargs["input_ids"]).detach()
        changed = x.clone()
        changed[inputs.kept] = rough(x[inputs.kept])
        with torch.no_grad():
            logits = network.head(network.block(changed)[0] + x)
        lengths = inputs.kwargs["attention_mask"].sum(1)
        for of, ids, length in zip(logits, inputs.kwargs["input_ids"], lengths, strict=True):
            total += float(F.cross_entropy(of[: length - 1], ids[1:length], reduction="sum"))
            count += int(length) - 1
    assert meter.compute()["cross_entropy"][SPLICED] == pytest.approx(total / count, rel=1e-5)


def test_a_perfect_reconstruction_changes_no_bit():
    classifier, language = Classifier().eval(), Language().eval()
    with torch.no_grad():  # of its own answers it is right, so that it loses something by an ablation
        batches = [one._replace(y=classifier(*one.args).argmax(1)) for one in images()]
    for network, cut, given, loss in (
        (classifier, at("maps", 5), batches, classification),
        (language, at("block", 6), texts(), next_token),
    ):
        [meter] = splice_losses(network, cut, [torch.clone], torch.zeros(cut.write.width), given, loss)
        found = meter.compute()
        for numbers in found.values():
            assert numbers["increase"] == numbers["increase_se"] == 0
            assert numbers["original"] == numbers["spliced"]
        if network is classifier:
            assert found["accuracy"]["original"] == 1
            for numbers in found.values():
                assert (numbers["recovered_of_zero"], numbers["recovered_of_zero_se"]) == (1, 0)


def test_the_output_made_of_the_input():
    """A transcoder that is the layer itself changes nothing but rounding; one that is another one does."""
    network = Classifier().eval()
    cut = Cut(Site("head", "input", 20), Site("head", "output", 3))
    torch.manual_seed(5)
    other = nn.Linear(20, 3)
    changes = [network.head.forward, other.forward]
    same, changed = splice_losses(network, cut, changes, torch.zeros(3), images(), classification)
    assert same.compute()["cross_entropy"]["increase"] == pytest.approx(0, abs=1e-7)
    x, y = torch.cat([one.args[0] for one in images()]), torch.cat([one.y for one in images()])
    with torch.no_grad():
        expected = F.cross_entropy(other(network.maps(x).relu().flatten(1)), y)
    assert changed.compute()["cross_entropy"][SPLICED] == pytest.approx(float(expected), rel=1e-6)


def test_a_reconstruction_is_in_the_units_of_the_network():
    """Of a TopK autoencoder, on samples whose entries lie far from zero, each scaled and moved by itself."""
    torch.manual_seed(0)
    model = TopKSAE((6,), 12, k=3).eval()
    rows = torch.randn(50, 6, generator=generator()) * torch.arange(1.0, 7) + 100
    scale, shift = torch.rand(6, generator=generator(1)) + 0.5, torch.randn(6, generator=generator(2))
    samples = InMemoryDataset(rows, scale=scale, shift=shift, center=100.0)
    with torch.no_grad():
        x_hat = model(((rows.double() - 100) * scale + shift).float()).x_hat
        expected = (x_hat.double() - shift) / scale + 100
        torch.testing.assert_close(reconstruction(model, samples)(rows), expected.float(), rtol=1e-6, atol=1e-5)
    assert samples.take(50)[0].mean().abs() < 3  # they were brought near zero, or the test would be none


def test_what_cannot_be_cut_is_said_in_a_sentence():
    network, ids = Classifier().eval(), Language().eval()

    def cut(network: nn.Module, cut: Cut, batches: list[Inputs]) -> str:
        loss = classification if network is not ids else next_token
        with pytest.raises(ConfigError) as error:
            splice_losses(network, cut, [torch.clone], torch.zeros(cut.write.width), batches, loss)
        return str(error.value)

    assert "without rows of the 7 numbers" in cut(network, at("maps", 7), images())
    backwards = Cut(Site("head", "output", 3), Site("maps", "output", 5))
    assert cut(network, backwards, images()) == (
        "the output of maps is computed before the output of head, and cannot be made of it"
    )
    other_rows = Cut(Site("maps", "output", 5), Site("head", "output", 3))
    assert "has 16 rows where the output of maps has 64" in cut(network, other_rows, images())
    longer = texts()[0]._replace(kept=torch.ones(5, 9) > 0)
    assert "padding cannot be told from the rest" in cut(ids, at("block", 6), [longer])

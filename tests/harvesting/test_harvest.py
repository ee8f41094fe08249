"""Rows in a store against hooks that are written by hand."""

import doctest
import itertools
import json
import math
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import torchvision
from reading import WORDS, Reader, Words
from torch import Tensor, nn

from ae_lightning import DigitsDataModule, harvest, load_autoencoder
from ae_lightning.data.store import StoredArray, StoredSamples, StoreIndex
from ae_lightning.errors import ConfigError, DataError
from ae_lightning.harvesting.collect import Reached
from ae_lightning.harvesting.identity import weights_hash
from ae_lightning.harvesting.shown import source_of
from ae_lightning.harvesting.sources import LoadedModel


def rows_of(store: StoreIndex, name: str) -> Tensor:
    return StoredArray(store, name).read(0, store.rows)


def hooked_by_hand(network: nn.Module, layer: nn.Module, batches: list[Tensor]) -> Tensor:
    """What a layer gives for each batch, one after the other."""
    found: list[Tensor] = []
    handle = layer.register_forward_hook(lambda _, args, output: found.append(output.detach().clone()))
    with torch.no_grad():
        for batch in batches:
            network(batch)
    handle.remove()
    return torch.cat(found)


@pytest.fixture
def images() -> list[Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(n, 3, 32, 32, generator=generator) for n in (4, 4, 2)]


@pytest.fixture(scope="module")
def resnet() -> nn.Module:
    torch.manual_seed(0)
    return torchvision.models.resnet18().eval()


@pytest.fixture
def perceptron() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 12), nn.ReLU(inplace=True), nn.Linear(12, 10)).eval()


@pytest.fixture
def digits() -> DigitsDataModule:
    data = DigitsDataModule()
    data.setup()
    return data


def test_maps_of_a_torchvision_network_give_a_row_for_each_position(
    resnet: nn.Module, images: list[Tensor], tmp_path: Path
) -> None:
    """The first of the two layers is followed by one that works in place."""
    names = ["layer2.0.bn1", "layer2.1"]
    store = harvest(resnet, names, tmp_path / "store", images)
    assert store.shape == (4, 4)
    assert (store.rows, store.samples) == (160, 10)
    for name in names:
        maps = hooked_by_hand(resnet, resnet.get_submodule(name), images)
        assert torch.equal(rows_of(store, name).reshape(10, 4, 4, 128), maps.permute(0, 2, 3, 1))
    assert rows_of(store, "sample").tolist() == [sample for sample in range(10) for _ in range(16)]
    assert rows_of(store, "position").tolist() == list(range(16)) * 10
    assert store.model["weights_sha256"] == weights_hash(resnet)


def test_both_sides_of_a_layer_that_works_in_place(
    perceptron: nn.Module, digits: DigitsDataModule, tmp_path: Path
) -> None:
    store = harvest(perceptron, ["2"], tmp_path / "store", digits, side="both")
    x = digits.development_set.take(10_000)[0]
    before = perceptron[1](x.flatten(1)).detach()
    assert torch.allclose(rows_of(store, "2:input"), before, atol=1e-6)
    assert torch.allclose(rows_of(store, "2:output"), before.relu(), atol=1e-6)
    assert (store.arrays["2:input"]["side"], store.arrays["2:output"]["side"]) == ("input", "output")


def test_an_autoencoder_of_ours_over_its_data_with_classes(
    fit_once: Callable[..., Path], digits: DigitsDataModule, tmp_path: Path
) -> None:
    run = fit_once("--model", "simple", "--trainer.max_epochs", "1", "--trainer.limit_train_batches", "2")
    model = load_autoencoder(run)
    layer = next(name for name, module in model.named_modules() if isinstance(module, nn.ReLU))
    settings = {"class_path": "DigitsDataModule", "init_args": {"batch_size": 32}}
    store = harvest(run, [layer], tmp_path / "store", settings, split="test")
    x, y = digits.test_set.take(10_000)
    assert torch.allclose(rows_of(store, layer), hooked_by_hand(model, model.get_submodule(layer), [x]), atol=1e-6)
    assert torch.equal(rows_of(store, "y"), y)
    assert store.num_classes == 10
    assert store.data["settings"]["init_args"]["batch_size"] == 32


def test_tokens_of_a_network_of_transformers_without_padding_and_special_ones(tmp_path: Path) -> None:
    """Against each sequence alone, which needs no padding."""
    transformers = pytest.importorskip("transformers")
    save_small_bert(transformers, tmp_path / "bert")
    text = tmp_path / "text.txt"
    text.write_text("the cat sat on the mat the cat sat")
    store = harvest(tmp_path / "bert", ["encoder.layer.1"], tmp_path / "store", text=[text], context=6, batch_size=4)
    network = transformers.AutoModel.from_pretrained(tmp_path / "bert").float().eval()
    words = {word: number for number, word in enumerate(BERT_WORDS)}
    sequences = ["the cat sat on", "the mat the cat", "sat"]
    truth = [
        hooked_by_hand(network, network.encoder.layer[1], [torch.tensor([[2, *map(words.get, sequence.split()), 3]])])[
            0, 1:-1
        ]
        for sequence in sequences
    ]
    assert torch.allclose(rows_of(store, "encoder.layer.1"), torch.cat(truth), atol=1e-6)
    assert rows_of(store, "sample").tolist() == [0, 0, 0, 0, 1, 1, 1, 1, 2]
    assert rows_of(store, "position").tolist() == [1, 2, 3, 4, 1, 2, 3, 4, 1]
    assert store.mask["dropped"] == {"padding": 3, "special": 6}
    assert [StoredSamples(store)[number].tolist()[1] for number in range(3)] == [
        words["the"],
        words["the"],
        words["sat"],
    ]


BERT_WORDS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "the", "cat", "sat", "on", "mat")


def save_small_bert(transformers: Any, folder: Path) -> None:
    import tokenizers

    torch.manual_seed(0)
    vocabulary = {word: number for number, word in enumerate(BERT_WORDS)}
    words = tokenizers.Tokenizer(tokenizers.models.WordPiece(vocabulary, unk_token="[UNK]"))
    words.pre_tokenizer = tokenizers.pre_tokenizers.BertPreTokenizer()
    words.post_processor = tokenizers.processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    special = {"pad_token": "[PAD]", "unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]"}
    transformers.PreTrainedTokenizerFast(tokenizer_object=words, **special).save_pretrained(folder)
    sizes = {"hidden_size": 16, "num_hidden_layers": 3, "num_attention_heads": 2, "intermediate_size": 24}
    config = transformers.BertConfig(vocab_size=len(BERT_WORDS), max_position_embeddings=32, **sizes)
    transformers.BertModel(config).save_pretrained(folder)


def test_texts_and_where_they_are_from_stand_in_the_store(texts: list[Path], reader: Reader, tmp_path: Path) -> None:
    model = LoadedModel(reader, Words(), "reading:model_and_tokenizer", "object")
    store = harvest(model, ["mix"], tmp_path / "store", text=texts, context=5, batch_size=2)
    with torch.no_grad():
        each = reader.mix(reader.embed.weight)
    assert torch.allclose(rows_of(store, "mix"), each[[3, 4, 5, 6, 3, 7, 8, 4, 5]], atol=1e-6)
    assert [ids.tolist() for ids in map(StoredSamples(store).__getitem__, range(2))] == [
        [1, 3, 4, 5, 2],
        [1, 6, 3, 7, 2],
    ]
    assert [entry["bytes"] for entry in store.data["texts"]] == [25, 7]
    assert json.loads((store.folder / store.data["tokens"]).read_text()) == list(WORDS)
    again = source_of(store, model)
    assert [batch.tokens[0].tolist() for batch in again.batches()] == [[1, 3, 4, 5, 2]]
    texts[1].write_text("sat cat")
    with pytest.raises(DataError, match="are no longer the same: their texts has changed"):
        source_of(store, model)


def test_positions_count_tokens_where_padding_comes_before_them(reader: Reader, tmp_path: Path) -> None:
    ids, mask = torch.tensor([[0, 0, 1, 3, 4, 2], [1, 5, 6, 3, 7, 2]]), torch.tensor([[0, 0, 1, 1, 1, 1], [1] * 6])
    model = LoadedModel(reader, Words(), "reading:model_and_tokenizer", "object")
    store = harvest(model, ["embed"], tmp_path / "store", [{"input_ids": ids, "attention_mask": mask}])
    assert torch.equal(rows_of(store, "embed"), reader.embed.weight.detach()[[3, 4, 5, 6, 3, 7]])
    samples, positions = rows_of(store, "sample").tolist(), rows_of(store, "position").tolist()
    assert positions == [1, 2, 1, 2, 3, 4]
    tokens = [int(StoredSamples(store)[sample][place]) for sample, place in zip(samples, positions, strict=True)]
    assert tokens == [3, 4, 5, 6, 3, 7]


def test_only_tokens_of_samples_that_rows_are_of_are_told_as_left_out(reader: Reader, tmp_path: Path) -> None:
    ids, mask = torch.tensor([[1, 3, 4, 2, 0], [1, 5, 6, 3, 2]]), torch.tensor([[1] * 4 + [0], [1] * 5])
    model = LoadedModel(reader, Words(), "reading:model_and_tokenizer", "object")
    batches = [{"input_ids": ids, "attention_mask": mask}]
    store = harvest(model, ["embed"], tmp_path / "store", batches, rows=2)
    assert (store.rows, store.samples, len(StoredSamples(store))) == (2, 1, 1)
    assert store.mask["dropped"] == {"padding": 1, "special": 2}


def test_the_network_stops_after_the_last_layer(texts: list[Path], reader: Reader, tmp_path: Path) -> None:
    model = LoadedModel(reader, Words(), "reader", "object")
    harvest(model, ["mix"], tmp_path / "store", text=texts, context=5, batch_size=1)
    assert reader.passes == 1  # when it is looked how often layers are called


def test_tensors_by_name_are_masked_by_their_attention_mask(reader: Reader, tmp_path: Path) -> None:
    batch = {
        "input_ids": torch.tensor([[3, 4, 0], [5, 6, 7]]),
        "attention_mask": torch.tensor([[1, 1, 0], [1, 1, 1]]),
    }
    store = harvest(reader, ["embed"], tmp_path / "store", [batch])
    assert torch.equal(rows_of(store, "embed"), reader.embed.weight[3:8].detach())
    assert store.mask["dropped"] == {"padding": 1, "special": 0}


def test_rows_end_where_they_are_said_to(resnet: nn.Module, images: list[Tensor], tmp_path: Path) -> None:
    store = harvest(resnet, ["layer3.0"], tmp_path / "store", images, rows=18)
    assert (store.rows, store.samples) == (18, 5)
    maps = hooked_by_hand(resnet, resnet.layer3[0], images)
    assert torch.equal(rows_of(store, "layer3.0"), maps.permute(0, 2, 3, 1).flatten(0, 2)[:18])


def test_samples_have_the_format_of_the_weights(perceptron: nn.Module, tmp_path: Path) -> None:
    x = torch.rand(4, 64, generator=torch.Generator().manual_seed(0))
    store = harvest(perceptron.double(), ["1"], tmp_path / "store", [x])
    assert torch.equal(rows_of(store, "1"), perceptron[1](x.double()).detach().float())


def test_batches_may_come_from_what_cannot_begin_anew(perceptron: nn.Module, tmp_path: Path) -> None:
    def batches() -> Iterator[tuple[Tensor, Tensor]]:
        for number in range(3):
            yield torch.full((2, 64), float(number)), torch.tensor([number, number + 1])

    store = harvest(perceptron, ["1"], tmp_path / "store", batches())
    assert rows_of(store, "y").tolist() == [0, 1, 1, 2, 2, 3]
    assert store.rows == 6


def test_the_example_runs_and_gives_what_it_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    runner = doctest.DocTestRunner()
    for example in doctest.DocTestFinder(recurse=False).find(harvest, "harvest"):
        runner.run(example)
    assert (runner.failures, runner.tries) == (0, 5)


class Interrupted(Exception):
    pass


def interrupting(after: int) -> Callable[[Reached], None]:
    """What stops a harvest after so many batches."""
    batches = itertools.count(1)

    def tell(_: Reached) -> None:
        if next(batches) == after:
            raise Interrupted

    return tell


def content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_a_harvest_goes_on_with_the_same_bytes_and_computes_no_shard_twice(
    texts: list[Path], reader: Reader, tmp_path: Path
) -> None:
    model = LoadedModel(reader, Words(), "reader", "object")

    def run(folder: str, tell: Callable[[Reached], None] | None = None) -> StoreIndex:
        """Four batches of 3, 3, 1 and 2 rows in shards of 2."""
        return harvest(model, ["mix"], tmp_path / folder, text=texts, context=5, batch_size=1, shard_rows=2, tell=tell)

    whole = run("whole")
    for after in (1, 2, 3, 4):
        with pytest.raises(Interrupted):
            run(f"stopped_{after}", interrupting(after))
        told: list[Reached] = []
        run(f"stopped_{after}", told.append)
        assert content(tmp_path / f"stopped_{after}") == content(whole.folder)
        assert told[-1].rows == 9
    damaged = shutil.copytree(whole.folder, tmp_path / "damaged")
    (damaged / "rows-00001.safetensors").unlink()
    told = []
    run("damaged", told.append)
    assert content(damaged) == content(whole.folder)
    assert told[-1].computed == 6  # both batches that the shard has rows of, and no other


def test_other_data_do_not_go_on(perceptron: nn.Module, tmp_path: Path) -> None:
    batches = [torch.zeros(4, 64), torch.ones(4, 64)]
    harvest(perceptron, ["1"], tmp_path / "store", batches)
    with torch.no_grad():
        perceptron[1].bias.add_(1)
    with pytest.raises(DataError, match=r"holds a harvest whose model\.weights_sha256 is"):
        harvest(perceptron, ["1"], tmp_path / "store", batches)


def test_it_is_told_how_far_it_is(perceptron: nn.Module, digits: DigitsDataModule, tmp_path: Path) -> None:
    told: list[Reached] = []
    harvest(perceptron, ["1"], tmp_path / "store", digits, batch_size=512, tell=told.append)
    assert [reached.rows for reached in told] == [512, 1024, 1437]
    assert [reached.part for reached in told] == pytest.approx([512 / 1437, 1024 / 1437, 1])
    harvest(perceptron, ["1"], tmp_path / "few", digits, batch_size=512, rows=1000, tell=told.append)
    assert [reached.part for reached in told[3:]] == pytest.approx([0.512, 1])
    harvest(perceptron, ["1"], tmp_path / "batches", [torch.zeros(2, 64)], tell=told.append)
    assert math.isnan(told[-1].part)


@pytest.mark.slow  # each process imports torch
def test_several_processes_write_the_same_bytes(tmp_path: Path, digits: DigitsDataModule) -> None:
    (tmp_path / "perceptron.py").write_text(
        "from torch import nn\n\n\ndef network():\n    return nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU())\n"
    )
    spec = f"{tmp_path / 'perceptron.py'}:network"
    torch.manual_seed(0)  # its weights are drawn when it is made, and sent to each process
    alone = harvest(spec, ["1"], tmp_path / "alone", digits, shard_rows=5000)
    torch.manual_seed(0)
    together = harvest(spec, ["1"], tmp_path / "together", digits, shard_rows=5000, processes=2)
    assert content(alone.folder) == content(together.folder)
    module = nn.Sequential(nn.Flatten(), nn.Linear(64, 3))
    # In another process.
    with pytest.raises(ConfigError, match=r"^the model Sequential does not take these data, \(1, 65\): .*multiplied"):
        harvest(module, ["1"], tmp_path / "refused", [torch.zeros(2, 64), torch.zeros(1, 65)], processes=2)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"layers": ["layer5"]}, "--layers layer5: the model has no such layer; did you mean layer4?"),
        ({"layers": ["bn1x"]}, "--layers bn1x: the model has no such layer; did you mean bn1?"),
        ({"layers": ["0.bn1"]}, "--layers 0.bn1: the model has no such layer; did you mean layer1.0.bn1?"),
        ({"layers": ["zzz"]}, "no such layer; the command without --layers lists them"),
        ({"layers": []}, "name at least one layer"),
        ({"layers": ["conv1", "conv1"]}, "--layers names conv1 twice"),
        ({"layers": ["layer1.0.relu"]}, "--layers layer1.0.relu is called 2 times in a pass of the model"),
        (
            {"layers": ["layer1", "layer2"]},
            "layer1 and layer2 give 8×8 positions of 64 and 4×4 positions of 128",
        ),
        ({"side": "inside"}, "--side is inside; it can be output, input, both"),
        ({"rows": 0}, "--rows is 0; it must be at least 1"),
        ({"processes": 0}, "--processes is 0; it must be at least 1"),
        ({"data": None}, "name what the model is shown"),
        ({"data": []}, "the data hold no batches"),
        ({"data": [3]}, "a batch of the data is a int"),
        ({"layers": "layer5"}, "--layers layer5: the model has no such layer; did you mean layer4?"),
        ({"data": [torch.zeros(2, 5, 8, 8)]}, "the model ResNet does not take these data, (2, 5, 8, 8): "),
        ({"data": None, "text": ["a.txt"]}, "--text needs a tokenizer, and ResNet has none"),
    ],
)
def test_a_mistake_is_one_sentence(
    options: dict[str, Any], sentence: str, resnet: nn.Module, images: list[Tensor], tmp_path: Path
) -> None:
    arguments: dict[str, Any] = {"layers": ["conv1"], "data": images, **options}
    with pytest.raises((ConfigError, DataError)) as refused:
        harvest(resnet, output=tmp_path / "store", **arguments)
    assert sentence in str(refused.value)
    assert not (tmp_path / "store").exists()


def test_a_layer_that_is_never_called_is_refused(tmp_path: Path) -> None:
    network = nn.MultiheadAttention(8, 2, batch_first=True)

    class Attends(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.attention = network

        def forward(self, x: Tensor) -> Tensor:
            return self.attention(x, x, x)[0]

    with pytest.raises(ConfigError, match=r"attention\.out_proj is not called in a pass of the model"):
        harvest(Attends(), ["attention.out_proj"], tmp_path / "store", [torch.zeros(2, 3, 8)])
    store = harvest(Attends(), ["attention"], tmp_path / "store", [torch.zeros(2, 3, 8)])  # of the pair that it gives
    assert (store.rows, store.width("attention")) == (6, 8)


def test_the_width_may_be_said_to_be_last(tmp_path: Path) -> None:
    class Shifted(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x + 1

    network = nn.Sequential(Shifted())
    x = torch.arange(2 * 2 * 3 * 4.0).reshape(2, 2, 3, 4)
    assert harvest(network, ["0"], tmp_path / "first", [x]).width("0") == 2
    store = harvest(network, ["0"], tmp_path / "last", [x], channels="last")
    assert store.shape == (2, 3)
    assert torch.equal(rows_of(store, "0"), x.reshape(12, 4) + 1)

"""Networks by their names."""

import hashlib
import sys
import types
from pathlib import Path
from typing import Any
from urllib.error import URLError

import pytest
import torch
import torchvision
from torch import nn

from ae_lightning import safe_mode
from ae_lightning.errors import ConfigError, Notice
from ae_lightning.harvesting.identity import weights_hash
from ae_lightning.harvesting.sources import load_model

CODE = """
from torch import nn

made = nn.Linear(2, 2)
number = 3


class Net(nn.Linear):
    def __init__(self):
        super().__init__(2, 3)


class Sized(nn.Linear):
    def __init__(self, size, *more, kind=1, **others):
        super().__init__(size, size)


def pair():
    return Net(), "a tokenizer"


def without_weights():
    return open("weights.pt")


def list_of_layers():
    return [nn.Linear(2, 2)]
"""


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with a file of code, and a path of modules and those loaded that are put back."""
    (tmp_path / "own_networks.py").write_text(CODE)
    (tmp_path / "broken.py").write_text("import not_installed_at_all")
    (tmp_path / "unread.py").write_text("\ndef Net(:\n")
    (tmp_path / "failing.py").write_text("number = 1\nnumber / 0\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    for name in ("own_networks", "broken", "unread", "failing"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    return tmp_path


@pytest.mark.parametrize("where", ["own_networks", "own_networks.py"])
def test_code_of_ones_own_gives_a_network(where: str, here: Path) -> None:
    net = load_model(f"{where}:Net")
    assert type(net.module).__name__ == "Net"
    assert (net.tokenizer, net.kind, net.name) == (None, "object", f"{where}:Net")
    assert not net.module.training
    assert isinstance(load_model(f"{where}:made").module, nn.Linear)
    assert load_model(f"{where}:pair").tokenizer == "a tokenizer"


def test_a_network_is_itself() -> None:
    network = nn.Linear(2, 2)
    assert load_model(network).module is network


def test_the_weights_of_torchvision_come_from_its_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.hub, "_hub_dir", str(tmp_path))
    untrained = torchvision.models.squeezenet1_1()
    url = torchvision.models.SqueezeNet1_1_Weights.DEFAULT.url
    (tmp_path / "checkpoints").mkdir()
    torch.save(untrained.state_dict(), tmp_path / "checkpoints" / url.rpartition("/")[2])
    assert weights_hash(load_model("torchvision:squeezenet1_1").module) == weights_hash(untrained)


def test_weights_that_cannot_be_fetched_are_told_with_their_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def offline(*_: Any, **__: Any) -> None:
        raise URLError("no network")

    monkeypatch.setattr(torch.hub, "_hub_dir", str(tmp_path))
    monkeypatch.setattr(torch.hub, "download_url_to_file", offline)
    with pytest.raises(ConfigError) as refused:
        load_model("torchvision:squeezenet1_1")
    assert f"put the file of {torchvision.models.SqueezeNet1_1_Weights.DEFAULT.url} into {tmp_path}" in str(
        refused.value
    )


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("nowhere", "--model nowhere: there is no such file or folder; a model is MODULE:NAME"),
        ("own_networks:", "name an object as MODULE:NAME"),
        ("own_networks:Nett", "own_networks has no Nett; did you mean Net?"),
        ("own_network:Net", "there is no module own_network, neither among the installed packages nor in "),
        ("none.py:Net", "there is no file none.py"),
        ("broken:Net", "broken needs the module not_installed_at_all, which is not there"),
        ("broken.py:Net", "broken.py needs the module not_installed_at_all, which is not there"),
        ("own_networks:Sized", "own_networks:Sized needs the arguments size: name a function that takes none"),
        ("own_networks:number", "own_networks:number gives a int, and not a torch.nn.Module"),
        ("own_networks:list_of_layers", "gives a list, and not a torch.nn.Module"),
        (
            "own_networks.py",
            "name what in this file gives the network, as own_networks.py:NAME",
        ),
        ("unread:Net", "--model unread:Net: unread fails with a SyntaxError in "),
        ("unread.py:Net", "unread.py, line 2: invalid syntax"),
        ("failing:Net", "failing fails with a ZeroDivisionError in "),
        ("failing.py:Net", "failing.py, line 2: division by zero"),
        ("own_networks:without_weights", "own_networks:without_weights fails with a FileNotFoundError in "),
        ("torchvision:resnet81", "torchvision has no such model; did you mean resnet18?"),
        (".", "the folder holds neither a run nor a model of transformers (it has no config.json)"),
    ],
)
def test_a_name_of_nothing_is_one_sentence(name: str, sentence: str, here: Path) -> None:
    with pytest.raises(ConfigError) as refused:
        load_model(name)
    assert sentence in str(refused.value)


def test_code_is_not_run_in_safe_mode(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(safe_mode._state, "on", True)
    for name in ("own_networks:Net", "own_networks.py:Net"):
        with pytest.raises(ConfigError, match=r"runs the code of own_networks.*, which --safe does not allow"):
            load_model(name)
    assert "own_networks" not in sys.modules


@pytest.mark.parametrize(("name", "package"), [("timm:vit_tiny", "timm"), ("bert", "transformers")])
def test_a_missing_extra_is_told_with_what_installs_it(
    name: str, package: str, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (here / "bert").mkdir()
    (here / "bert" / "config.json").write_text("{}")
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ConfigError, match=rf"needs the package {package}: pip install 'ae-lightning\[{package}\]'"):
        load_model(name)


def test_a_network_of_timm_is_asked_for_with_trained_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []

    def create(name: str, pretrained: bool) -> nn.Module:
        asked.append((name, pretrained))
        if name.endswith("offline"):
            raise OSError("no network\nand more lines")
        return nn.Linear(2, 2)

    timm = types.SimpleNamespace(list_models=lambda: ["vit_tiny"], create_model=create)
    monkeypatch.setitem(sys.modules, "timm", timm)
    assert load_model("timm:vit_tiny.trained").kind == "timm"
    assert asked == [("vit_tiny.trained", True)]
    with pytest.raises(ConfigError, match=r"timm:vit_tny: timm has no such model; did you mean vit_tiny\?"):
        load_model("timm:vit_tny")
    with pytest.raises(ConfigError, match=r"its weights cannot be had \(no network\)$"):
        load_model("timm:vit_tiny.offline")


def test_a_folder_of_transformers_has_the_class_that_it_was_saved_as(tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    sizes = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1, "intermediate_size": 8}
    config = transformers.LlamaConfig(vocab_size=10, **sizes)
    model = transformers.LlamaForCausalLM(config).bfloat16()
    model.save_pretrained(tmp_path)
    loaded = load_model(tmp_path)
    assert type(loaded.module).__name__ == "LlamaForCausalLM"
    assert (loaded.kind, loaded.tokenizer) == ("transformers", None)
    assert loaded.module.lm_head.weight.dtype == torch.float32
    assert torch.equal(loaded.module.lm_head.weight, model.lm_head.weight.float())
    (tmp_path / "model.safetensors").write_bytes(b"cut short")
    with pytest.raises(ConfigError, match="transformers cannot open it"):
        load_model(tmp_path)


def test_weights_that_a_folder_lacks_are_told(tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    sizes = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1, "intermediate_size": 8}
    model = transformers.BertModel(transformers.BertConfig(vocab_size=10, **sizes))
    state = {name: value for name, value in model.state_dict().items() if not name.startswith("pooler")}
    model.save_pretrained(tmp_path, state_dict=state)
    with pytest.warns(Notice, match=r"lacks the weights pooler\.dense\.bias, pooler\.dense\.weight: these are random"):
        load_model(tmp_path)


def test_a_hash_is_that_of_names_types_shapes_and_bytes() -> None:
    network = nn.Linear(1, 1)
    with torch.no_grad():
        network.weight.fill_(1.0)
        network.bias.fill_(0.0)
    told = b"bias torch.float32 (1,)\n\0\0\0\0weight torch.float32 (1, 1)\n\0\0\x80\x3f"
    assert weights_hash(network) == hashlib.sha256(told).hexdigest()
    assert weights_hash(network.half()) != hashlib.sha256(told).hexdigest()

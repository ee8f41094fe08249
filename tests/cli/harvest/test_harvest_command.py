"""`ae-lightning harvest`: the list of layers, a whole store, and its mistakes."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from ae_lightning.cli.harvest.progress import telling
from ae_lightning.cli.main import main
from ae_lightning.data.store import StoredArray, StoreIndex
from ae_lightning.harvesting.collect import Reached

pytestmark = pytest.mark.usefixtures("unsafe_again")

NET = """
from torch import nn


class Net(nn.Sequential):
    def __init__(self):
        super().__init__(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(144, 10), nn.Identity())
        self.spare = nn.Linear(1, 1)

    def forward(self, x):
        return self[4](self[4](self[3](self[2](self[1](self[0](x))))))
"""


@pytest.fixture
def answers(ae: Callable[..., Any], tmp_path: Path) -> Callable[..., Any]:
    """Answer what `harvest` prints of a network of this folder."""
    (tmp_path / "net.py").write_text(NET)
    torch.manual_seed(0)
    return lambda *options: ae("harvest", "--model", "net.py:Net", *options)


def test_layers_are_listed_with_what_each_gives(answers: Callable[..., Any]) -> None:
    told = answers("--data", "digits").out.splitlines()
    assert told[:6] == [
        "0      Conv2d    6×6 positions of 4",
        "1      ReLU      6×6 positions of 4",
        "2      Flatten   144",
        "3      Linear    10",
        "4      Identity  10, called 2 times",
        "spare  Linear    (not called)",
    ]
    assert answers("--data", "digits", "--channels", "last").out.splitlines()[0].endswith("4×6 positions of 6")
    names_only = answers()
    assert names_only.out.splitlines()[3] == "3      Linear"
    assert "name data with --data" in names_only.out


def test_a_store_is_filled_gone_on_with_and_shuffled(
    answers: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = ["--data", "digits", "--data.batch_size", "32", "--layers", "2", "--dtype", "float16", "--rows", "1000"]
    told = answers(*options, "-o", "store")
    assert told.code == 0, told.err
    assert "1,000 rows of 2 (144 numbers) in float16, of 1,000 samples, in 1 shard" in told.out
    store = StoreIndex.read(tmp_path / "store")
    assert store.data["settings"]["init_args"]["batch_size"] == 32
    assert store.data["settings"]["class_path"].endswith("DigitsDataModule")
    assert store.command.startswith("ae-lightning harvest --model net.py:Net --data digits")
    torch.manual_seed(0)
    monkeypatch.setattr("ae_lightning.cli.harvest.progress._LINE_EVERY", 0.0)
    told = answers(*options, "-o", "shuffled", "--shuffle", "3")
    assert told.code == 0
    first, second = (line for line in told.err.splitlines() if line.startswith("shuffling: "))
    assert first == "shuffling: 500 rows"  # of two passes half are done
    assert second.startswith("shuffling: 1,000 rows, ")
    shuffled = StoreIndex.read(tmp_path / "shuffled")
    assert shuffled.shuffled == {"seed": 3}
    samples = StoredArray(shuffled, "sample").read(0, 1000)
    assert samples.tolist() != list(range(1000))
    assert samples.sort().values.tolist() == list(range(1000))
    rows = StoredArray(store, "2").read(0, 1000)
    assert torch.equal(StoredArray(shuffled, "2").read(0, 1000), rows[samples])


def test_a_run_is_shown_its_own_data(ae: Callable[..., Any], population: Path, tmp_path: Path) -> None:
    told = ae("harvest", "--model", population)
    assert told.code == 0, told.err
    assert "name some with --layers" in told.out


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--layers", "2", "--data", "digits"], "-o must name the folder of the store"),
        (["--data", "digits", "--text", "a.txt"], "--data and --text are two things to show a model"),
        (["--layres", "2"], "there is no option --layres; did you mean --layers?"),
        (["--rows", "none"], "--rows should be a whole number of at least 1, not 'none'"),
        (["--shuffle", "x"], "--shuffle takes a seed, a whole number of at least 0, not 'x'"),
        (
            ["--data", "digist"],
            "there is no class digist and no packaged part of that name; did you mean digits?",
        ),
        (["--data", "digits", "--data.bach", "3"], "there is no option --data.bach"),
        (["--data", "digits", "--layers", "5", "-o", "store"], "--layers 5: the model has no such layer"),
        (["--data", "digits", "--layers", "2", "-o", "store", "--device", "tpu9"], "--device is tpu9"),
        (["--data", "digits", "--layers", "2", "-o", "store", "--dtype", "int8"], "--dtype is int8"),
        (["--data", "digits", "--split", "val"], "--split is val; it can be development or test"),
        (["--safe"], "runs the code of net.py, which --safe does not allow"),
        (["word"], "word"),
    ],
)
def test_a_mistake_is_one_sentence(
    options: list[str], sentence: str, answers: Callable[..., Any], tmp_path: Path
) -> None:
    told = answers(*options)
    assert told.code == 2
    assert sentence in told.err
    assert told.err.count("\n") == 1
    assert not (tmp_path / "store").exists()


def test_too_little_memory_names_the_options_of_a_harvest(
    answers: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: Any, **__: Any) -> None:
        raise MemoryError

    monkeypatch.setattr("ae_lightning.harvesting.harvest.harvest", fails)
    told = answers("--data", "digits", "--layers", "2", "-o", "store")
    assert (told.code, told.err.count("\n")) == (2, 1)
    assert "not enough memory for this: lower --batch-size" in told.err


def test_the_model_must_be_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["harvest", "--layers", "2"]) == 2
    assert "--model must be given" in capsys.readouterr().err


def test_rate_and_time_left_are_told_now_and_then(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = iter([0.0, 10.0, 40.0, 50.0, 4000.0])
    monkeypatch.setattr("time.monotonic", lambda: next(clock))
    with telling() as tell:
        for rows, computed, part in [(1000, 100, 0.1), (1600, 700, 0.16), (1800, 900, 0.18), (9000, 8100, 0.9)]:
            tell(Reached(rows, computed, part))
    first, second = capsys.readouterr().err.splitlines()
    assert first == "1,600 rows, 20 a second, 7 min 0 s left"  # 0.06 of the whole in 30 s, 0.84 are left
    assert second == "9,000 rows, 2 a second, 8 min 19 s left"  # 0.8 of it in 3,990 s, 0.1 is left


def test_a_store_is_looked_through(ae: Callable[..., Any], answers: Callable[..., Any], tmp_path: Path) -> None:
    assert answers("--data", "digits", "--layers", "3", "-o", "store").code == 0
    told = ae("harvest", "--verify", "store")
    assert told.code == 0, told.err
    assert told.out.splitlines()[-1] == "  all 2 files hold what was written"
    shard = tmp_path / "store" / "rows-00000.safetensors"
    content = bytearray(shard.read_bytes())
    content[-1] ^= 1
    shard.write_bytes(content)
    told = ae("harvest", "--verify=store")
    assert told.code == 2
    assert "rows-00000.safetensors in store holds other bytes than were written" in " ".join(told.err.split())
    told = ae("harvest", "--verify", "none")
    assert told.code == 2
    assert "--verify names none, and there is no such folder" in told.err
    told = answers("--verify", "store")
    assert told.code == 2
    assert "--verify looks through a store that is there, and takes no further options" in " ".join(told.err.split())

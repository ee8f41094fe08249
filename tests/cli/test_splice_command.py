"""`ae-lightning evaluate --splice`: a classifier of digits with a layer reconstructed, beside the same by hand."""

import importlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from ae_lightning import DigitsDataModule
from ae_lightning.data.store import StoreIndex
from ae_lightning.harvesting.harvest import harvest
from ae_lightning.run.run import Run

CLASSIFIER = '''
import torch
from torch import nn

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.hidden = nn.Linear(64, 24)
        self.act = nn.ReLU(inplace=True)
        self.head = nn.Linear(24, 10)

    def forward(self, x):
        return self.head(self.act(self.hidden(x.flatten(1))))

def trained():
    net = Net()
    net.load_state_dict(torch.load(__file__.replace("classifier.py", "weights.pt"), weights_only=True))
    return net

def margin(output, inputs):
    """How far the right class is ahead of the next."""
    right = output.gather(1, inputs.y[:, None])
    return right[:, 0] - output.scatter(1, inputs.y[:, None], -1e9).amax(1)
'''


def train(folder: Path) -> nn.Module:
    """A classifier that gets most digits right, in the folder's `classifier.py` and `weights.pt`."""
    (folder / "classifier.py").write_text(CLASSIFIER)
    namespace: dict[str, Any] = {"__file__": str(folder / "classifier.py"), "__name__": "classifier"}
    exec(CLASSIFIER, namespace)
    net = namespace["Net"]()
    data = DigitsDataModule()
    data.setup()
    x, y = data.train_set.take(2000)
    optimizer = torch.optim.Adam(net.parameters(), lr=0.02)
    for _ in range(60):
        optimizer.zero_grad()
        F.cross_entropy(net(x), y).backward()
        optimizer.step()
    torch.save(net.state_dict(), folder / "weights.pt")
    return net


@pytest.fixture(scope="session")
def made(made_once: Callable[..., Path]) -> Path:
    """A folder with a classifier, a store of both sides of its layer `act`, and runs on it; for reading only."""

    def make(folder: Path) -> None:
        from ae_lightning.cli.main import main

        net = train(folder)
        # Settings that the store can be made again from, as the command has them.
        settings = {"class_path": "ae_lightning.data.DigitsDataModule", "init_args": {}}
        harvest(net, ["act"], folder / "store", settings)
        harvest(net, ["head"], folder / "both", settings, side="both")
        quick = ["--trainer.callbacks", "null", "--trainer.max_epochs", "20", "--trainer.accelerator", "cpu"]
        on = ["--data", "ActivationsDataModule", "--data.normalize", "centered_mean_square", "--data.batch_size", "256"]
        model = ["--model", "TopKSAE", "--model.latent_dim", "64", "--model.optimizer.lr", "0.01"]
        for name, options in {
            "one": ["--model.k", "2", "--data.root", str(folder / "store")],
            "three": ["--model.k", "[1,4,24]", "--data.root", str(folder / "store")],
        }.items():
            root = ["--trainer.default_root_dir", str(folder), "--experiment", name]
            with pytest.MonkeyPatch.context() as environment:
                environment.setenv("PL_GLOBAL_SEED", "0")
                assert main(["fit", *model, *on, *quick, *options, *root]) == 0

    return made_once("spliced", make)


@pytest.fixture
def folder(made: Path, tmp_path: Path) -> Path:
    """A copy in which files may be written, with the paths of the store as they were."""
    return Path(shutil.copytree(made, tmp_path / "copy"))


def run_of(folder: Path, name: str) -> Path:
    return next(folder.glob(f"lightning_logs/{name}/version_0"))


def held_out(run: Path) -> tuple[torch.Tensor, torch.Tensor]:
    """Digits that no row of a run's training is of, and their classes."""
    data = DigitsDataModule()
    data.setup()
    return data.development_set.__getitems__(Run.load(run).data.samples_of("test"))


def by_hand(net: nn.Module, hidden: torch.Tensor, y: torch.Tensor) -> dict[str, torch.Tensor]:
    """Cross entropy and hits of each digit, with these numbers behind the rectifier."""
    logits = net.head(hidden)
    hits = (logits.argmax(1) == y).double()
    return {"cross_entropy": F.cross_entropy(logits, y, reduction="none").double(), "accuracy": hits}


def classifier(folder: Path) -> nn.Module:
    namespace: dict[str, Any] = {"__file__": str(folder / "classifier.py"), "__name__": "classifier"}
    exec(CLASSIFIER, namespace)
    return namespace["trained"]()


def test_the_numbers_are_those_by_hand(ae: Callable[..., Any], folder: Path) -> None:
    run = run_of(folder, "one")
    code, out, err = ae("evaluate", run, "--splice", f"{folder}/classifier.py:trained", "--device", "cpu", "--json")
    assert code == 0, err
    results = json.loads(out)
    assert results == json.loads((run / "metrics.json").read_text())
    spliced = results["splice"]
    assert spliced["network"] == f"{folder}/classifier.py:trained"
    assert (spliced["class"], spliced["loss"], spliced["held_out"]) == ("Net", "classification", True)
    assert spliced["read"] == spliced["replaced"] == "the output of act"
    x, y = held_out(run)
    assert spliced["samples"] == len(x) == 144
    net, opened = classifier(folder), Run.load(run)
    statistics = StoreIndex.read(folder / "store").statistics("act")
    with torch.no_grad():
        hidden = net.hidden(x.flatten(1)).relu()
        scale = 1 / statistics.variance.sum().sqrt()
        x_hat = opened.model(((hidden - statistics.mean) * scale).float()).x_hat
        ways = {
            "original": hidden,
            "spliced": (x_hat / scale + statistics.mean).float(),
            "mean_ablated": statistics.mean.float().expand_as(hidden),
            "zero_ablated": torch.zeros_like(hidden),
        }
        expected = {way: by_hand(net, rows, y) for way, rows in ways.items()}
    for name in ("cross_entropy", "accuracy"):
        found, each = spliced["measures"][name], {way: of[name] for way, of in expected.items()}
        for way in ways:
            assert found[way] == pytest.approx(float(each[way].mean()), rel=1e-5)
            assert found[f"{way}_se"] == pytest.approx(float(each[way].std()) / 12, rel=1e-4)  # the root of 144
        lost = each["mean_ablated"].sum() - each["original"].sum()
        recovered = (each["mean_ablated"].sum() - each["spliced"].sum()) / lost
        assert found["recovered_of_mean"] == pytest.approx(float(recovered), rel=1e-4)
    assert expected["original"]["accuracy"].mean() > 0.9  # or there would be nothing to recover
    assert 0.3 < spliced["measures"]["cross_entropy"]["recovered_of_zero"] < 1


def test_what_is_printed(ae: Callable[..., Any], folder: Path) -> None:
    run = run_of(folder, "one")
    code, out, err = ae("evaluate", run, "--splice", f"{folder}/classifier.py:trained")
    assert code == 0, err
    told = " ".join(out.split())
    assert "with the output of act reconstructed: classification on 144 samples that the run held out of Digits" in told
    numbers = json.loads((run / "metrics.json").read_text())["splice"]["measures"]["cross_entropy"]
    for name in ("original", "spliced", "mean_ablated", "zero_ablated", "increase", "recovered_of_mean"):
        assert f"{numbers[name]:.4f} ± {numbers[f'{name}_se']:.4f}" in told


def test_a_population_has_a_row_for_each(ae: Callable[..., Any], folder: Path) -> None:
    run, name = run_of(folder, "three"), f"{folder}/classifier.py:trained"
    assert ae("evaluate", run, "--splice", name).code == 0
    spliced = json.loads((run / "metrics.json").read_text())["splice"]
    each = [of["cross_entropy"] for of in spliced["instances"]]
    losses = [of["spliced"] for of in each]
    assert losses == sorted(losses, reverse=True)  # the more latents, the less is lost
    assert len({of["original"] for of in each}) == 1
    assert spliced["measures"]["cross_entropy"]["spliced"] == pytest.approx(sum(losses) / 3)
    code, out, _ = ae("evaluate", run, "--splice", name, "--instance", "1", "--json")
    assert code == 0
    assert json.loads(out)["splice"]["measures"] == spliced["instances"][1]


def test_other_data_and_a_loss_of_ones_own(ae: Callable[..., Any], folder: Path) -> None:
    """The test set of digits; how far the right class is ahead."""
    run, of = run_of(folder, "one"), f"{folder}/classifier.py"
    options = ["--data", "digits", "--loss", f"{of}:margin", "--samples", "100", "--batch-size", "64"]
    code, out, err = ae("evaluate", run, "--splice", f"{of}:trained", *options, "--json")
    assert code == 0, err
    spliced = json.loads(out)["splice"]
    assert (spliced["samples"], spliced["held_out"], spliced["loss"]) == (100, False, f"{of}:margin")
    data = DigitsDataModule()
    data.setup()
    x, y = data.test_set.take(1000)
    rows = torch.linspace(0, len(x) - 1, 100, dtype=torch.float64).round().long()
    net = classifier(folder)
    with torch.no_grad():
        logits = net(x[rows])
    others = logits.clone()
    others[torch.arange(100), y[rows]] = -torch.inf
    margin = logits[torch.arange(100), y[rows]] - others.amax(1)
    assert spliced["measures"]["loss"]["original"] == pytest.approx(float(margin.mean()), rel=1e-5)


def test_mistakes_end_with_a_sentence_before_anything_is_measured(
    ae: Callable[..., Any], folder: Path, trained: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    evaluation = importlib.import_module("ae_lightning.evaluation.evaluate")  # the package has a function of that name
    monkeypatch.setattr(evaluation, "_measure", lambda *_: pytest.fail("this takes its time"))
    run, of = run_of(folder, "one"), f"{folder}/classifier.py"
    (run / "metrics.json").unlink()

    def said(*options: Any, of_run: Path = run) -> str:
        code, out, err = ae("evaluate", of_run, *options)
        assert (code, out) == (2, "")
        assert len(err.strip().splitlines()) == 1
        return str(err)

    assert "has weights" in (other := said("--splice", f"{of}:Net"))
    assert f"harvested from {'Net'}" in other
    assert "--splice needs a run on activations" in said("--splice", f"{of}:trained", of_run=trained)
    assert "did you mean next_token?" in said("--splice", f"{of}:trained", "--loss", "next_tokens")
    assert "has no margins; did you mean margin?" in said("--splice", f"{of}:trained", "--loss", f"{of}:margins")
    assert "needs token ids" in said("--splice", f"{of}:trained", "--loss", "next_token")
    assert "--loss tells what a network is run on" not in said("--loss", "next_token", "--splice", f"{of}:no")
    assert "name it with --splice" in said("--data", "digits")
    assert "name one of them" in said("--splice", f"{of}:trained", "--data", "digits", "--text", "a.txt")
    assert "--samples should be a whole number of at least 1" in said("--splice", f"{of}:trained", "--samples", "0")
    assert "needs a tokenizer" in said("--splice", f"{of}:trained", "--text", "a.txt")
    assert not (run / "metrics.json").exists()


@pytest.mark.usefixtures("unsafe_again")
def test_safe_mode_runs_no_code_of_others(ae: Callable[..., Any], folder: Path) -> None:
    code, _, err = ae("--safe", "evaluate", run_of(folder, "one"), "--splice", f"{folder}/classifier.py:trained")
    assert code == 2
    assert "which --safe does not allow" in err

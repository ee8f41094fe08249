"""Mistakes that users make: each is answered by one sentence that says how to mend it, and exit code 2."""

import gzip
import hashlib
import io
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple
from urllib.error import URLError

import numpy as np
import pytest
import torch

from ae_lightning.cli.configs import config_folder
from ae_lightning.cli.main import main
from ae_lightning.errors import ConfigError

MODEL = "model:\n  class_path: OvercompleteAutoencoder\n  init_args:\n    latent_dim: 16\n"
DIGITS = ["fit", "--config", "overcomplete_digits", "--trainer.max_epochs", "1"]
QUIET = [*DIGITS, "--trainer.callbacks", "null"]
SIGMOID = [*QUIET, "--model.output_activation", "sigmoid"]
FULLY = ["fit", "--model", "FullyConnectedAutoencoder"]
ARRAYS = ["fit", "--model", "OvercompleteAutoencoder", "--data", "ArraysDataModule", "--data.train"]
YAML = ["fit", "--config", "mine.yaml"]
MNIST = ["fit", "--config", "overcomplete_mnist", "--data.root", "."]


class Case(NamedTuple):
    """Arguments, facts that the message must hold, and files that lie in the current folder."""

    arguments: list[str]
    words: list[str]
    files: dict[str, str | bytes] = {}  # noqa: RUF012 - never changed


def yaml_case(text: str, *words: str) -> Case:
    return Case(YAML, list(words), {"mine.yaml": text})


def npy(array: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def samples(rows: int = 40) -> np.ndarray:
    return np.random.default_rng(0).random((rows, 6), dtype=np.float32)


def with_nan() -> np.ndarray:
    array = samples()
    array[3, 2] = np.nan
    return array


MNIST_FILES = ("train-images-idx3", "train-labels-idx1", "t10k-images-idx3", "t10k-labels-idx1")
DAMAGED_MNIST = {f"MNIST/raw/{name}-ubyte.gz": gzip.compress(bytes(500))[:-9] for name in MNIST_FILES}

MISSPELT = {
    "model class": Case(["fit", "--model", "OvercompletAutoencoder"], ["--model", "OvercompleteAutoencoder?"]),
    "data class": Case([*QUIET, "--data", "DigitDataModule"], ["--data", "DigitsDataModule?"]),
    "callback class": Case([*DIGITS, "--trainer.callbacks+", "LinearProb"], ["callbacks", "LinearProbe?"]),
    "optimizer class": Case([*QUIET, "--model.optimizer", "Adan"], ["--model.optimizer", "Adam?"]),
    "scheduler class": Case([*QUIET, "--model.lr_scheduler", "StepLRR"], ["--model.lr_scheduler", "StepLR?"]),
    "model class in YAML": yaml_case(MODEL.replace("plete", "plet"), "--model", "OvercompleteAutoencoder?"),
    "data class in YAML": yaml_case(MODEL + "data:\n  class_path: DigitDataModule\n", "DigitsDataModule?"),
    "data name in YAML": yaml_case(MODEL + "data: DigitDataModule\n", "--data", "DigitsDataModule?"),
    "callback class in YAML": yaml_case(
        MODEL + "trainer:\n  callbacks:\n  - class_path: LinearProb\n", "--trainer.callbacks", "LinearProbe?"
    ),
    "optimizer class in YAML": yaml_case(
        MODEL + "    optimizer:\n      class_path: Adan\n", "--model.optimizer", "Adam?"
    ),
    "trainer option": Case([*QUIET, "--trainer.max_epoks", "3"], ["max_epoks", "--trainer.max_epochs?"]),
    "model option": Case([*QUIET, "--model.latent_dims", "3"], ["latent_dims", "--model.latent_dim?"]),
    "model option with parts": Case(
        [*QUIET, "--model.optimzer.lr", "3"], ["option --model.optimzer;", "--model.optimizer?"]
    ),
    "callback option that holds others in YAML": yaml_case(
        MODEL + "trainer:\n  callbacks:\n  - class_path: LinearProbe\n    init_args: {shedule: {every: 5}}\n",
        "option --trainer.callbacks.shedule;",
        "--trainer.callbacks.schedule?",
    ),
    "option within a callback's option in YAML": yaml_case(
        MODEL + "trainer:\n  callbacks:\n  - class_path: LinearProbe\n    init_args: {schedule: {evry: 5}}\n",
        "option --trainer.callbacks.schedule.evry;",
        "--trainer.callbacks.schedule.every?",
    ),
    "data option": Case([*QUIET, "--data.batchsize", "3"], ["batchsize", "--data.batch_size?"]),
    "callback option": Case(
        [*DIGITS, "--trainer.callbacks", "LinearProbe", "--trainer.callbacks.train_siz", "3"],
        ["train_siz", "--trainer.callbacks.train_size?"],
    ),
    "optimizer option": Case([*QUIET, "--model.optimizer.lrr", "3"], ["lrr", "--model.optimizer.lr?"]),
    "learning rate of the model": Case([*QUIET, "--model.lr", "3"], ["--model.lr;", "--model.optimizer.lr?"]),
    "another class's option": Case([*QUIET, "--model.dropout", "0.1"], ["--model.dropout"]),
    "option of no class": Case(
        ["fit", "--model.latent_dim=2"], ["--model.latent_dim", "`--model.help` lists what there is"]
    ),
    "value forgotten": Case(
        [*QUIET, "--model.latent_dim", "--trainer.max_epochs", "1"], ["--model.latent_dim needs a"]
    ),
    "null for the data": Case([*QUIET, "--data", "null"], ["--data is empty; name a class or a part"]),
    "number left out": Case([*QUIET, "--trainer.max_epochs="], ["--trainer.max_epochs", "whole number", "''"]),
    "vectors for a convolution": Case(
        ["fit", "--model", "conv", "--data", "gaussian"], ["ConvAutoencoder", "200", "FullyConnected"]
    ),
    "image too small": Case(
        ["fit", "--model", "deep_conv", "--model.hidden_channels", "[8, 8, 8]"],
        ["1×8×8", "16"],
    ),
    "dropout of all": Case(["fit", "--model", "deep", "--model.dropout", "1"], ["--model.dropout is 1", "less than 1"]),
    "epochs for too few layers": Case(
        ["fit", "--model", "stacked", "--model.pretrain_epochs", "[1, 2]"], ["2 numbers", "4 layers"]
    ),
    "snapshots option": Case([*QUIET, "--snapshots.shedule", "3"], ["shedule", "--snapshots.schedule?"]),
    "schedule option": Case([*QUIET, "--images.schedule.cont", "3"], ["cont", "--images.schedule.count?"]),
    "own option": Case([*QUIET, "--experimnt", "x"], ["--experimnt", "--experiment?"]),
    "trainer option in YAML": yaml_case(
        MODEL + "trainer:\n  max_epoks: 3\n", "trainer.max_epoks", "trainer.max_epochs?"
    ),
    "model option in YAML": yaml_case(MODEL + "    latent_dims: 3\n", "--model.latent_dim?"),
    "data option in YAML": yaml_case(
        MODEL + "data:\n  class_path: DigitsDataModule\n  init_args:\n    batchsize: 3\n", "--data.batch_size?"
    ),
    "callback option in YAML": yaml_case(
        MODEL + "trainer:\n  callbacks:\n  - class_path: LinearProbe\n    init_args:\n      train_siz: 3\n",
        "--trainer.callbacks.train_size?",
    ),
    "callback's schedule in YAML": yaml_case(
        MODEL
        + "trainer:\n  callbacks:\n  - class_path: LinearProbe\n    init_args:\n      schedule:\n        evry: 3\n",
        "--trainer.callbacks.schedule.every?",
    ),
    "optimizer option in YAML": yaml_case(
        MODEL + "    optimizer:\n      class_path: Adam\n      init_args:\n        lrr: 3\n",
        "--model.optimizer.lr?",
    ),
    "snapshots option in YAML": yaml_case(
        MODEL + "snapshots:\n  shedule:\n    count: 3\n", "snapshots.schedule.count?"
    ),
    "schedule option in YAML": yaml_case(MODEL + "snapshots:\n  schedule:\n    cont: 3\n", "snapshots.schedule.count?"),
    "abbreviation": Case([*QUIET, "--trainer.max_epoch", "3"], ["--trainer.max_epoch;", "max_epochs?"]),
    "command": Case(["fitt"], ["fitt", "did you mean fit?"]),
    "command like no other": Case(["qqq"], ["qqq", "evaluate", "configs"]),
    "companion command": Case(["evalute"], ["evalute", "evaluate?"]),
}

VALUES = {
    "number for a list": Case([*FULLY, "--model.hidden_dims", "5"], ["--model.hidden_dims", "a list", "'5'"]),
    "text in a list": Case([*FULLY, "--model.hidden_dims", "[a]"], ["--model.hidden_dims", "whole number", "'a'"]),
    "text for a trainer's number": Case(
        [*QUIET, "--trainer.max_epochs", "three"], ["--trainer.max_epochs", "whole number", "'three'"]
    ),
    "text for a model's number": Case([*QUIET, "--model.latent_dim", "wide"], ["--model.latent_dim", "whole number"]),
    "text for a model's number in YAML": yaml_case(
        MODEL.replace("16", "wide"), "--model.latent_dim", "whole number", "'wide'"
    ),
    "text for a data number": Case([*QUIET, "--data.batch_size", "big"], ["--data.batch_size", "whole number"]),
    "text for the learning rate": Case([*QUIET, "--model.optimizer.lr", "fast"], ["--model.optimizer.lr", "a number"]),
    "text for a schedule's number": Case(
        [*QUIET, "--snapshots.schedule.count", "many"], ["--snapshots.schedule.count", "whole number"]
    ),
    "fraction for a whole number": Case([*QUIET, "--model.latent_dim", "1.5"], ["--model.latent_dim", "1.5"]),
    "activation": Case([*QUIET, "--model.activation", "rellu"], ["--model.activation", "relu, leaky_relu", "rellu"]),
    "loss": Case([*QUIET, "--model.reconstruction_loss", "l2"], ["mse, bce, mae", "'l2'"]),
    "spacing": Case([*QUIET, "--images.schedule.spacing", "logg"], ["linear, log", "logg"]),
    "seed": Case([*QUIET, "--seed_everything", "x"], ["--seed_everything", "whole number"]),
    "no latents": Case([*QUIET, "--model.latent_dim", "0"], ["--model.latent_dim is 0", "at least 1"]),
    "no instances": Case([*QUIET, "--model.instances", "0"], ["--model.instances is 0", "at least 1"]),
    "a hidden layer of nothing": Case([*FULLY, "--model.hidden_dims", "[4, 0]"], ["--model.hidden_dims is 0"]),
    "negative learning rate": Case([*QUIET, "--model.optimizer.lr", "-1"], ["--model.optimizer", "learning rate: -1"]),
    "experiment elsewhere": Case([*QUIET, "--experiment", "../x"], ["--experiment", "slashes", "'../x'"]),
    "empty batch": Case([*QUIET, "--data.batch_size", "0"], ["--data.batch_size is 0", "at least 1"]),
    "no snapshots": Case([*QUIET, "--snapshots.schedule.count", "0"], ["count", "at least 1"]),
    "endless run with a count": Case([*QUIET, "--trainer.max_epochs", "-1"], ["--trainer.max_epochs"]),
    "accelerator": Case([*QUIET, "--trainer.accelerator", "gpuu"], ["--trainer.accelerator gpuu", "cuda", "cpu"]),
    "devices": Case([*QUIET, "--trainer.devices", "-3"], ["--trainer.devices -3"]),
}

CLASSES = {
    "no command": Case([], ["fit", "predict", "evaluate", "configs"]),
    "no model": Case(["fit"], ["--config", "`ae-lightning configs`", "--model", "`ae-lightning fit --model.help`"]),
    "abstract model": Case(["fit", "--model", "Autoencoder"], ["abstract", "`--model.help` lists what there is"]),
    "data for a model": Case(
        ["fit", "--model", "ae_lightning.data.DigitsDataModule"],
        ["DigitsDataModule", "`--model.help` lists what there is"],
    ),
    "class that cannot be imported": Case(["fit", "--model", "no.such.Thing"], ["no.such.Thing"]),
    "missing argument": Case(
        ["fit", "--model", "OvercompleteAutoencoder", "--data", "ArraysDataModule"], ["--data.train"]
    ),
    "argument beside class_path": yaml_case(
        "model:\n  class_path: OvercompleteAutoencoder\n  latent_dim: 16\n", "latent_dim", "under init_args"
    ),
    "predict without checkpoint": Case(["predict", "--config", "overcomplete_digits"], ["--ckpt_path"]),
    "probe without labels": Case(
        [*FULLY, "--data", "GaussianDataModule", "--trainer.max_epochs", "1", "--trainer.callbacks+", "LinearProbe"],
        ["LinearProbe", "GaussianDataModule", "--data.train_labels"],
    ),
    "bce on standardized pixels": Case(
        [*SIGMOID, "--data.normalize", "standard", "--model.reconstruction_loss", "bce"],
        ["bce", "[0, 1]", "--data.normalize unit"],
    ),
    "bce of an unbounded output": Case(
        [*QUIET, "--model.reconstruction_loss", "bce"], ["bce", "--model.output_activation sigmoid"]
    ),
    "sigmoid on standardized pixels": Case(
        [*SIGMOID, "--data.normalize", "standard"],
        ["[0, 1]", "--data.normalize unit", "--model.output_activation none"],
    ),
}

FILES = {
    "config": Case(["fit", "--config", "overcomplete_digit"], ["overcomplete_digits?"]),
    "config of no known name": Case(["fit", "--config", "zzz.yaml"], ["zzz.yaml", "`ae-lightning"]),
    "YAML syntax": yaml_case("model:\n  class_path: [x\nfoo: : 3\n", "mine.yaml", "line 3", "YAML"),
    "YAML that is a list": yaml_case("- 1\n- 2\n", "mine.yaml", "by name"),
    "empty YAML": yaml_case("", "mine.yaml", "by name"),
    "not text": Case(YAML, ["mine.yaml", "YAML"], {"mine.yaml": b"\xff\xfe\x00\x80"}),
    "part": Case(["fit", "--model", "model/overcomplet.yaml"], ["model/overcomplete.yaml?"]),
    "part in YAML": yaml_case("model: model/overcomplet.yaml\n", "model/overcomplete.yaml?"),
    "packaged part named by a copied config": yaml_case(
        "model: model/overcomplete.yaml\n", str(config_folder() / "model" / "overcomplete.yaml")
    ),
    "arrays without their class": Case(
        ["fit", "--model", "OvercompleteAutoencoder", "--data.train", "x.npy"],
        ["no option --data.train here", "train belongs to --data ArraysDataModule"],
        {"x.npy": npy(samples())},
    ),
    "array": Case([*ARRAYS, "x.npy"], ["--data.train", "x.npy", "xx.npy?"], {"xx.npy": b""}),
    "truncated array": Case([*ARRAYS, "x.npy"], ["x.npy", "--data.train"], {"x.npy": npy(samples())[:-40]}),
    "array with NaN": Case([*ARRAYS, "x.npy"], ["x.npy", "1 NaN", "row 3"], {"x.npy": npy(with_nan())}),
    "labels of another length": Case(
        [*ARRAYS, "x.npy", "--data.train_labels", "y.npy"],
        ["y.npy", "30 labels", "40 samples", "--data.train"],
        {"x.npy": npy(samples()), "y.npy": npy(np.arange(30))},
    ),
    "MNIST, no download": Case([*MNIST, "--data.download", "false"], ["MNIST/raw", "--data.root"]),
    "MNIST, no network": Case(MNIST, ["MNIST/raw", "AE_LIGHTNING_DATA"]),
    "MNIST truncated": Case(MNIST, ["train-images-idx3-ubyte.gz", "md5"], DAMAGED_MNIST),
    "run": Case(["evaluate", "nowhere"], ["nowhere"]),
    "folder that is no run": Case(["evaluate", "."], ["config.yaml"]),
    "folder of runs": Case(
        ["evaluate", "."], ["version_0, version_1"],
        {"version_0/config.yaml": "{}", "version_1/config.yaml": "{}"},
    ),
    "checkpoint": Case(
        ["fit", "--ckpt_path", "lost.ckpt"], ["lost.ckpt", "found.ckpt"], {"found.ckpt": b""}
    ),
    "text for a checkpoint": Case(["predict", "--ckpt_path", "x.ckpt"], ["x.ckpt"], {"x.ckpt": "words"}),
    "checkpoint of no run": Case(["evaluate", "x.ckpt"], ["x.ckpt", "run"], {"x.ckpt": "words"}),
}  # fmt: skip

CASES = {
    f"{table}: {name}": case
    for table, cases in {"misspelt": MISSPELT, "value": VALUES, "class": CLASSES, "file": FILES}.items()
    for name, case in cases.items()
}


def files_below(folder: Path) -> dict[str, str]:
    """Hash of each file by its path."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file()
    }


def assert_one_sentence(outcome: Any, *words: str) -> None:
    """Exit code 2 and one paragraph, which holds the words."""
    assert outcome.code == 2, outcome
    message = outcome.err.strip()
    assert message.startswith("ae-lightning: error: ")
    assert "Traceback" not in message
    assert "\n\n" not in message
    assert message.count("ae-lightning: error:") == 1
    for word in words:
        assert word in message, f"{word!r} is not in: {message}"


@pytest.fixture
def no_download(monkeypatch: pytest.MonkeyPatch) -> None:
    """torchvision behaves as it does without a connection, and at once."""

    def fail(*args: Any, **kwargs: Any) -> None:
        raise URLError("no connection")

    monkeypatch.setattr("torchvision.datasets.mnist.download_and_extract_archive", fail)


@pytest.mark.parametrize("name", CASES)
@pytest.mark.usefixtures("no_download")
def test_a_mistake_is_answered_by_one_sentence_and_leaves_nothing_behind(
    name: str, ae: Callable[..., Any], tmp_path: Path
) -> None:
    case = CASES[name]
    for path, content in case.files.items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_bytes(content.encode() if isinstance(content, str) else content)
    given = files_below(tmp_path)

    assert_one_sentence(ae(*case.arguments), *case.words)

    assert files_below(tmp_path) == given
    assert not list(tmp_path.glob("lightning_logs/*"))


def test_a_damaged_archive_is_not_downloaded_again(
    ae: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried = []
    monkeypatch.setattr("torchvision.datasets.mnist.download_and_extract_archive", lambda *a, **k: tried.append(a))
    for path, content in DAMAGED_MNIST.items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_bytes(content)
    assert_one_sentence(ae(*MNIST), "damaged")
    assert tried == []


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_gpu_that_is_not_there(ae: Callable[..., Any], quick: list[str], tmp_path: Path) -> None:
    assert_one_sentence(ae("fit", *quick, "--trainer.accelerator", "gpu"), "--trainer.accelerator gpu", "No supported")
    assert not list(tmp_path.glob("lightning_logs/*"))


def test_a_run_folder_below_a_file(ae: Callable[..., Any], quick: list[str], tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    outcome = ae("fit", *quick, "--trainer.default_root_dir", "file")
    assert_one_sentence(outcome, "file/lightning_logs", "not a directory", "--trainer.default_root_dir")


def test_a_run_folder_that_may_not_be_created(
    ae: Callable[..., Any], quick: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    make = Path.mkdir

    def refuse(self: Path, *args: Any, **kwargs: Any) -> None:  # as root is refused nothing
        if "lightning_logs" in self.parts:
            raise PermissionError(13, "Permission denied", str(self))
        make(self, *args, **kwargs)

    monkeypatch.setattr(Path, "mkdir", refuse)
    assert_one_sentence(ae("fit", *quick), "lightning_logs", "permission denied", "--trainer.default_root_dir")


def test_a_loss_that_is_no_longer_finite(ae: Callable[..., Any], quick: list[str]) -> None:
    outcome = ae("fit", *quick, "--model.optimizer.lr", "1e30", "--trainer.limit_train_batches", "5")
    assert_one_sentence(outcome, "no longer finite at step", "epoch 0", "--model.optimizer.lr", "gradient_clip_val")


# --- checkpoints of a real run ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--model.latent_dim", "7"], ["--model.latent_dim is 7", "trained with 16", "without --ckpt_path"]),
        (["--model.optimizer.lr", "0.1"], ["--model.optimizer.lr is 0.1", "trained with 0.001"]),
        (["--model.optimizer", "SGD"], ["--model.optimizer", "SGD", "Adam"]),
        (["--model", "FullyConnectedAutoencoder"], ["FullyConnectedAutoencoder", "holds the class Overcomplete"]),
        (["--trainer.max_epochs", "1"], ["nothing is left to train", "1 epochs", "2 steps", "raise them"]),
        ([], ["nothing is left to train"]),
    ],
    ids=["latent_dim", "learning rate", "optimizer", "variant", "finished, same length", "finished"],
)
def test_a_run_is_not_continued_with_other_settings(
    options: list[str], words: list[str], ae: Callable[..., Any], trained: Path, tmp_path: Path
) -> None:
    run = shutil.copytree(trained, tmp_path / "logs" / "mine" / "version_0")
    before = files_below(tmp_path)
    assert_one_sentence(ae("fit", "--ckpt_path", run / "checkpoints" / "last.ckpt", *options), *words)
    assert files_below(tmp_path) == before


def test_another_variants_checkpoint(ae: Callable[..., Any], trained: Path) -> None:
    checkpoint = trained / "checkpoints" / "best.ckpt"
    outcome = ae("test", "--config", "fully_connected_gaussian", "--ckpt_path", checkpoint)
    assert_one_sentence(outcome, "--model is FullyConnectedAutoencoder", "holds the class OvercompleteAutoencoder")


@pytest.mark.parametrize("command", ["fit", "test", "predict"])
def test_a_truncated_checkpoint(command: str, ae: Callable[..., Any], trained: Path, tmp_path: Path) -> None:
    whole = (trained / "checkpoints" / "last.ckpt").read_bytes()
    (tmp_path / "cut.ckpt").write_bytes(whole[: len(whole) // 2])
    assert_one_sentence(ae(command, "--ckpt_path", "cut.ckpt"), "cut.ckpt", "not a whole checkpoint")
    assert not (tmp_path / "lightning_logs").exists()


def test_a_checkpoint_of_something_else(ae: Callable[..., Any], tmp_path: Path) -> None:
    torch.save({"state_dict": {}}, tmp_path / "other.ckpt")
    assert_one_sentence(ae("fit", "--ckpt_path", "other.ckpt"), "other.ckpt is not a checkpoint of an ae_lightning")


def test_data_of_another_shape(ae: Callable[..., Any], trained: Path) -> None:
    checkpoint = trained / "checkpoints" / "best.ckpt"
    outcome = ae("test", "--ckpt_path", checkpoint, "--data", "GaussianDataModule")
    assert_one_sentence(outcome, "GaussianDataModule are 200", "trained on 1×8×8", "--data")


def test_a_bare_checkpoint_has_no_data_to_be_evaluated_on(
    ae: Callable[..., Any], trained: Path, tmp_path: Path
) -> None:
    shutil.copy(trained / "checkpoints" / "best.ckpt", tmp_path / "bare.ckpt")
    outcome = ae("evaluate", "bare.ckpt")
    assert_one_sentence(outcome, "bare.ckpt lies in no run's folder", "ae-lightning test --ckpt_path bare.ckpt")


def test_debug_lets_the_exception_through(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match="mean OvercompleteAutoencoder"):
        main(["fit", "--model", "OvercompletAutoencoder", "--debug"])


@pytest.mark.parametrize(
    "arguments",
    [
        ["--config", "toy_model", "--data.instances", "8"],
        ["--config", "toy_model", "--model.instances", "8"],
        ["--model", "FullyConnectedAutoencoder", "--data", "SparseFeaturesDataModule", "--data.instances", "3"],
    ],
)
def test_other_instances_in_the_data_than_in_the_model_are_one_sentence(arguments, ae, tmp_path):
    code, _, err = ae("fit", *arguments)
    assert code == 2
    assert "samples of their own for each of" in err
    assert "Traceback" not in err
    assert not list(tmp_path.glob("lightning_logs/*"))

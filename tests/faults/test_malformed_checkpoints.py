"""Checkpoints that are cut short, of something else, of an older version, or with code in them."""

import io
import pickle
import zipfile
from pathlib import Path

import pytest
import torch

LAST = "run/version_0/checkpoints/last.ckpt"
RESUME = ["fit", "--ckpt_path", LAST, "--trainer.max_epochs", "2"]


def saved(content, **options):
    file = io.BytesIO()
    torch.save(content, file, **options)
    return file.getvalue()


def changed(*path_and_value):
    """A change of a checkpoint: the value at a path of keys, or what is there removed if the value is KeyError."""
    *path, last, value = path_and_value

    def change(checkpoint):
        inner = checkpoint
        for key in path:
            inner = inner[key]
        if value is KeyError:
            del inner[last]
        else:
            inner[last] = value
        return saved(checkpoint)

    return change


def archive(_):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as content:
        content.writestr("a", "b")
    return file.getvalue()


def of_nan(checkpoint):
    for value in checkpoint["state_dict"].values():
        value.fill_(float("nan"))
    return saved(checkpoint)


def moments(shape):
    """Moments of another shape, which a fused optimizer would read beyond their end."""

    def change(checkpoint):
        checkpoint["optimizer_states"][0]["state"][0]["exp_avg"] = torch.zeros(shape)
        return saved(checkpoint)

    return change


OURS = "autoencoder"
OVERCOMPLETE = "ae_lightning.models.overcomplete.OvercompleteAutoencoder"
NOT_OURS = "is not a checkpoint of an ae_lightning autoencoder"

#: What becomes of a good checkpoint, and words of the answer, to whichever command opens it.
CHECKPOINTS = {
    # --- damaged, or something else
    "empty": (lambda _: b"", "is not a checkpoint", "torch.save"),
    "text": (lambda _: b"words", "is not a checkpoint", "torch.save"),
    "cut in half": (lambda c: saved(c)[:5000], "not a whole checkpoint", "cut short", "copy it again"),
    "without its end": (lambda c: saved(c)[:-30], "not a whole checkpoint", "cut short"),
    "another zip file": (archive, "not a whole checkpoint"),
    "a tensor": (lambda _: saved(torch.zeros(3)), NOT_OURS),
    "a list": (lambda _: saved([1]), NOT_OURS),
    "of plain Lightning": (changed(OURS, KeyError), NOT_OURS, "lacks 'state_dict' or 'autoencoder'"),
    "a text for what it is": (changed(OURS, "class_path"), NOT_OURS),
    "a number for its class": (changed(OURS, "class_path", 5), NOT_OURS),
    "a list for its weights": (changed("state_dict", [1]), "its state_dict does not hold tensors"),
    "a list for its settings": (changed("hyper_parameters", [1]), "hyper_parameters are no mapping"),
    "no random state": (changed(OURS, "rng_state", torch.zeros(3)), "rng_state"),
    # --- of another variant or version
    "a class that is gone": (changed(OURS, "class_path", "ae_lightning.models.gone.Gone"), "cannot be imported"),
    "a class without a module": (changed(OURS, "class_path", "Overcomplete"), "cannot be imported"),
    "a class that is abstract": (changed(OURS, "class_path", "ae_lightning.models.base.Autoencoder"), "is abstract"),
    "a class that is no model": (changed(OURS, "class_path", "os.system"), "os.system", "not an Autoencoder"),
    "no weights": (changed("state_dict", {}), "does not fit", "it has no dictionary.W_enc, nor 3 others"),
    "a weight too many": (changed("state_dict", "more", torch.zeros(3)), "does not fit", "it has more"),
    "a weight of another shape": (
        changed("state_dict", "dictionary.b_enc", torch.zeros(3)), "dictionary.b_enc is [3] there, and [8] here",
    ),
}  # fmt: skip

#: What only a training that goes on needs.
TRAINING = {
    "saved without the optimizer": (
        changed("optimizer_states", KeyError),
        "lacks optimizer_states",
        "ae-lightning test",
    ),
    "without the loops": (changed("loops", KeyError), "lacks loops", "ae-lightning test"),
    "without the step": (changed("global_step", KeyError), "lacks global_step"),
    "of no version of Lightning": (changed("pytorch-lightning_version", "x.y"), "training cannot go on"),
    "weights that are no numbers": (of_nan, "NaN", "dictionary.W_enc", "another one"),
    "no optimizer's state": (changed("optimizer_states", []), "optimizer_states are damaged"),
    "moments of other weights": (moments([2]), "optimizer_states are damaged, or those of another model"),
    "a single number for the moments": (moments([]), "optimizer_states are damaged"),
}

#: Settings that the class has not, or no longer takes.
SETTINGS = {
    "a setting that is gone": (changed("hyper_parameters", "gone", 1), "does not fit", "unexpected", "'gone'"),
    "no settings": (changed("hyper_parameters", {}), "does not fit", "input_shape"),
    "a setting of another type": (changed("hyper_parameters", "latent_dim", "wide"), "does not fit", "wide"),
    "a setting out of range": (changed("hyper_parameters", "latent_dim", -3), "latent_dim is -3", "at least 1"),
    "a setting that the weights have not": (
        changed("hyper_parameters", "latent_dim", 4),
        "[64, 8] there, and [64, 4] here",
    ),
}


def put(run: Path, name: str, table) -> list[str]:
    change, *words = table[name]
    checkpoint = torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)
    for file in ("last.ckpt", "best.ckpt"):
        (run / "checkpoints" / file).write_bytes(change(checkpoint) if file == "last.ckpt" else content_of(run))
    return words


def content_of(run: Path) -> bytes:
    return (run / "checkpoints" / "last.ckpt").read_bytes()


@pytest.mark.parametrize("command", ["fit", "evaluate"])
@pytest.mark.parametrize("name", CHECKPOINTS)
def test_a_checkpoint_that_cannot_be_opened_is_refused_in_one_sentence(name, command, run, refused):
    words = put(run, name, CHECKPOINTS)
    refused(RESUME if command == "fit" else ["evaluate", "run/version_0"], *words)


@pytest.mark.parametrize("name", TRAINING)
def test_a_training_that_cannot_go_on_is_refused_before_anything_is_written(name, run, refused):
    refused(RESUME, LAST, *put(run, name, TRAINING))


@pytest.mark.parametrize("name", TRAINING)
def test_what_only_training_needs_is_not_asked_of_a_model_that_is_measured(name, run, ae):
    put(run, name, TRAINING)
    assert ae("evaluate", "run/version_0").code == 0


@pytest.mark.parametrize("name", SETTINGS)
def test_settings_that_a_model_cannot_be_built_with_are_refused_in_one_sentence(name, run, refused):
    refused(["evaluate", "run/version_0"], "best.ckpt", *put(run, name, SETTINGS))


@pytest.mark.parametrize("command", ["latent", "sparsity", "report"])
def test_a_checkpoint_cut_short_is_refused_by_every_command_that_draws(command, run, refused):
    words = put(run, "cut in half", CHECKPOINTS)
    refused([command, "run/version_0"], *words)


def test_a_folder_under_the_name_of_a_checkpoint_is_none(refused, tmp_path):
    (tmp_path / "x.ckpt").mkdir()
    for command in ("fit", "test", "predict"):
        refused([command, "--ckpt_path", "x.ckpt"], "there is no checkpoint at x.ckpt")


@pytest.mark.parametrize("command", ["fit", "test", "predict", "evaluate", "latent", "sparsity"])
@pytest.mark.parametrize("place", ["beside the weights", "in a setting", "old format", "bare pickle"])
def test_code_in_a_checkpoint_is_not_run(place, command, mine, run, refused):
    checkpoint = torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)
    if place == "in a setting":
        checkpoint["hyper_parameters"]["latent_dim"] = mine
    else:
        checkpoint["more"] = mine
    new = place != "old format"
    content = pickle.dumps(mine) if place == "bare pickle" else saved(checkpoint, _use_new_zipfile_serialization=new)
    for name in ("last", "best"):
        (run / "checkpoints" / f"{name}.ckpt").write_bytes(content)
    by_option = command in ("fit", "test", "predict")
    arguments = [command, "--ckpt_path", LAST] if by_option else [command, "run/version_0"]
    refused(arguments, "holds Python objects beside tensors", "could run code")

"""Checkpoints that are cut short, of something else, of an older version, or with code in them."""

import io
import pickle
import zipfile
from pathlib import Path

import pytest
import torch
from changed_checkpoints import changed, saved

from ae_lightning.cli.fit.resume import require_loadable
from ae_lightning.models.checkpoint import load_autoencoder, read_checkpoint

LAST = "run/version_0/checkpoints/last.ckpt"
RESUME = ["fit", "--ckpt_path", LAST, "--trainer.max_epochs", "2"]


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
OUR_PARTS = "'state_dict' or 'autoencoder'"


#: What becomes of a good checkpoint that then cannot be opened, and facts of the answer.
def whole_moments(checkpoint):
    """Moments of the right shape, in numbers that an optimizer cannot go on with."""
    state = checkpoint["optimizer_states"][0]["state"][0]
    state["exp_avg"] = torch.zeros_like(state["exp_avg"], dtype=torch.int64)
    return saved(checkpoint)


CHECKPOINTS = {
    # --- damaged, or something else
    "empty": (lambda _: b"", "torch.save"),
    "text": (lambda _: b"words", "torch.save"),
    "cut in half": (lambda c: saved(c)[:5000], "cut short"),
    "without its end": (lambda c: saved(c)[:-30], "cut short"),
    "another zip file": (archive,),
    "a tensor": (lambda _: saved(torch.zeros(3)), OUR_PARTS),
    "a list": (lambda _: saved([1]), OUR_PARTS),
    "of plain Lightning": (changed(OURS, KeyError), OUR_PARTS),
    "a text for what it is": (changed(OURS, "class_path"), OUR_PARTS),
    "a number for its class": (changed(OURS, "class_path", 5), OUR_PARTS),
    "a list for its weights": (changed("state_dict", [1]), "state_dict"),
    "a list for its settings": (changed("hyper_parameters", [1]), "hyper_parameters"),
    "no random state": (changed(OURS, "rng_state", torch.zeros(3)), "rng_state"),
    # --- of another variant or version
    "a class that is gone": (changed(OURS, "class_path", "ae_lightning.models.gone.Gone"), "models.gone.Gone"),
    "a class without a module": (changed(OURS, "class_path", "Overcomplete"), "Overcomplete"),
    "a class that is abstract": (changed(OURS, "class_path", "ae_lightning.models.base.Autoencoder"), "abstract"),
    "a class that is no model": (changed(OURS, "class_path", "os.system"), "os.system", "Autoencoder"),
    "no weights": (changed("state_dict", {}), "OvercompleteAutoencoder", "dictionary.W_enc", "3 others"),
    "a weight too many": (changed("state_dict", "more", torch.zeros(3)), "OvercompleteAutoencoder", "more"),
    "a weight of another shape": (changed("state_dict", "dictionary.b_enc", torch.zeros(3)), "[3]", "[8]", "b_enc"),
    # --- with settings that the class has not, or no longer takes
    "a setting that is gone": (changed("hyper_parameters", "gone", 1), "'gone'"),
    "no settings": (changed("hyper_parameters", {}), "input_shape"),
    "a setting of another type": (changed("hyper_parameters", "latent_dim", "wide"), "wide"),
    "a setting out of range": (changed("hyper_parameters", "latent_dim", -3), "latent_dim is -3", "at least 1"),
    "a setting that the weights have not": (changed("hyper_parameters", "latent_dim", 4), "[64, 8]", "[64, 4]"),
}

#: What only a training that goes on needs.
TRAINING = {
    "saved without the optimizer": (changed("optimizer_states", KeyError), "optimizer_states", "ae-lightning test"),
    "without the loops": (changed("loops", KeyError), "loops", "ae-lightning test"),
    "without the step": (changed("global_step", KeyError), "global_step"),
    "of no version of Lightning": (changed("pytorch-lightning_version", "x.y"),),
    "weights that are no numbers": (of_nan, "NaN", "dictionary.W_enc"),
    "no optimizer's state": (changed("optimizer_states", []), "optimizer_states"),
    "moments of other weights": (moments([2]), "optimizer_states"),
    "a single number for the moments": (moments([]), "optimizer_states"),
    "moments in whole numbers": (whole_moments, "optimizer_states"),
}


def put(file: Path, trained: Path, row):
    """Write what a row makes of a good checkpoint; answers the facts that its refusal tells."""
    change, *facts = row
    file.write_bytes(change(torch.load(trained / "checkpoints" / "last.ckpt", weights_only=True)))
    return facts


@pytest.mark.parametrize("name", CHECKPOINTS)
def test_a_checkpoint_that_makes_no_model_is_refused_with_its_fault(name, trained, tmp_path, told):
    file = tmp_path / "x.ckpt"
    facts = put(file, trained, CHECKPOINTS[name])
    told(lambda: load_autoencoder(file), *facts)


@pytest.mark.parametrize("name", TRAINING)
def test_a_training_that_cannot_go_on_is_refused_though_its_model_can_be_measured(name, trained, tmp_path, told):
    file = tmp_path / "x.ckpt"
    facts = put(file, trained, TRAINING[name])
    model, checkpoint = load_autoencoder(trained), read_checkpoint(file)
    told(lambda: require_loadable(model, checkpoint, file, resume=True), str(file), *facts)
    require_loadable(model, checkpoint, file, resume=False)
    assert load_autoencoder(file).latent_dim == model.latent_dim


#: One of each kind: no checkpoint, not ours, of a class, of weights, and what only training needs.
KINDS = {
    name: {**CHECKPOINTS, **TRAINING}[name]
    for name in (
        *("cut in half", "of plain Lightning", "a class that is gone", "a weight of another shape"),
        *("saved without the optimizer", "weights that are no numbers", "moments of other weights"),
    )
}


@pytest.mark.parametrize("name", KINDS)
def test_fit_refuses_it_before_anything_is_written(name, run, trained, refused):
    refused(RESUME, *put(run / "checkpoints" / "last.ckpt", trained, KINDS[name]))


@pytest.mark.parametrize("command", ["evaluate", "latent", "sparsity", "report", "explore"])
def test_a_checkpoint_cut_short_is_refused_by_every_command_that_makes_something_of_a_run(
    command, run, trained, refused
):
    facts = put(run / "checkpoints" / "best.ckpt", trained, CHECKPOINTS["cut in half"])
    refused([command, "run/version_0"], "best.ckpt", *facts)


def test_a_model_with_weights_that_are_no_numbers_can_be_measured(run, trained, ae):
    put(run / "checkpoints" / "best.ckpt", trained, TRAINING["weights that are no numbers"])
    assert ae("evaluate", "run/version_0").code == 0


def test_a_folder_under_the_name_of_a_checkpoint_is_none(refused, tmp_path):
    (tmp_path / "x.ckpt").mkdir()
    for command in ("fit", "test", "predict"):
        refused([command, "--ckpt_path", "x.ckpt"], "no checkpoint at x.ckpt")


PLACES = ("beside the weights", "in a setting", "old format", "bare pickle")


def with_code(place: str, mine, trained: Path) -> bytes:
    checkpoint = torch.load(trained / "checkpoints" / "last.ckpt", weights_only=True)
    if place == "bare pickle":
        return pickle.dumps(mine)
    if place == "in a setting":
        checkpoint["hyper_parameters"]["latent_dim"] = mine
    else:
        checkpoint["more"] = mine
    return saved(checkpoint, _use_new_zipfile_serialization=place != "old format")


@pytest.mark.parametrize("place", PLACES)
def test_code_in_a_checkpoint_is_not_run(place, mine, trained, tmp_path, told):
    (tmp_path / "x.ckpt").write_bytes(with_code(place, mine, trained))
    told(lambda: load_autoencoder(tmp_path / "x.ckpt"), "x.ckpt", "Python objects")


@pytest.mark.parametrize("command", ["fit", "test", "predict", "evaluate", "latent", "sparsity", "report", "explore"])
def test_no_command_runs_code_in_a_checkpoint(command, mine, run, trained, refused):
    for name in ("last", "best"):
        (run / "checkpoints" / f"{name}.ckpt").write_bytes(with_code("beside the weights", mine, trained))
    by_option = command in ("fit", "test", "predict")
    arguments = [command, "--ckpt_path", LAST] if by_option else [command, "run/version_0"]
    refused(arguments, "Python objects")

"""Checkpoints that somebody made by hand: what they may not ask for, and what they are told."""

import io
import json
import subprocess
import sys
import zipfile

import pytest
import torch
from changed_checkpoints import changed, saved

from ae_lightning.callbacks.resampling import ResampleDeadLatents
from ae_lightning.cli.fit.resume import require_loadable
from ae_lightning.errors import CheckpointError
from ae_lightning.models.checkpoint import checkpoint_class, load_autoencoder, model_settings, read_checkpoint
from ae_lightning.training.build import build_model

EARLIER = "tests/earlier/checkpoints"


def packed(checkpoint):
    """A gigabyte of zeros in a megabyte: torch.load unpacks what it reads."""
    checkpoint["more"] = torch.zeros(1 << 22)
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(saved(checkpoint))) as plain, zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as to:
        for entry in plain.infolist():
            to.writestr(entry.filename, plain.read(entry))
    assert len(out.getvalue()) < 1 << 20
    return out.getvalue()


def with_pickle(replace):
    """The same archive with bytes of its pickle replaced."""

    def change(checkpoint):
        out = io.BytesIO()
        with zipfile.ZipFile(io.BytesIO(saved(checkpoint))) as plain, zipfile.ZipFile(out, "w") as to:
            for entry in plain.infolist():
                content = plain.read(entry)
                to.writestr(entry.filename, replace(content) if entry.filename.endswith("data.pkl") else content)
        return out.getvalue()

    return change


def shared(checkpoint):
    """Many weights that are all the same numbers: a model of them is many times as large as the file."""
    settings = checkpoint["hyper_parameters"]
    checkpoint["autoencoder"]["class_path"] = "ae_lightning.models.fully_connected.FullyConnectedAutoencoder"
    checkpoint["hyper_parameters"] = {
        "input_shape": settings["input_shape"],
        "hidden_dims": [64] * 12,
        "latent_dim": 64,
    }
    one = torch.zeros(64 * 64)
    model = build_model(checkpoint_class(checkpoint), checkpoint["hyper_parameters"])
    views = {name: one[: value.numel()].view(value.shape) for name, value in model.state_dict().items()}
    checkpoint["state_dict"] = views
    return saved(checkpoint)


def deep():
    value = []
    for _ in range(60):
        value = [value]
    return value


def circle():
    value = {}
    value["again"] = value
    return value


def doubled():
    """Lists of the same list: a few bytes that stand for a billion values."""
    value = [0]
    for _ in range(30):
        value = [value, value]
    return value


HUGE = torch.zeros(1).expand(1 << 40)
SPARSE = torch.sparse_coo_tensor([[0]], [1.0], (1 << 30,))
OUTSIDE = "a/checkpoints/../../../thesis.ckpt"

#: What becomes of a good checkpoint, and facts of the answer; none of them may be opened as a model.
CRAFTED = {
    "packed": (packed, "packed data"),
    "a pickle that makes room": (
        with_pickle(lambda pickle: pickle[:-1] + b"0cbuiltins\nbytearray\n(J\xff\xff\xff\x7ftR."),
        "builtins.bytearray",
    ),
    "a sparse tensor": (changed("more", SPARSE), "_rebuild_sparse_tensor"),
    "a meta tensor": (changed("more", torch.zeros(3, device="meta")), "meta"),
    "a meta weight": (changed("state_dict", "dictionary.b_enc", torch.zeros(8, device="meta")), "meta"),
    "a sparse weight": (changed("state_dict", "dictionary.b_enc", SPARSE), "sparse"),
    "a tensor of a trillion": (changed("more", HUGE), "beyond the numbers"),
    "a weight of a trillion": (changed("state_dict", "dictionary.W_enc", HUGE), "beyond the numbers"),
    "weights that share their numbers": (shared, "share"),
    "a class of dots": (changed("autoencoder", "class_path", ".."), "'..'"),
    "a class of one dot": (changed("autoencoder", "class_path", "."), "'.'"),
    "no class": (changed("autoencoder", "class_path", ""), "''"),
    "a class that paints the terminal": (changed("autoencoder", "class_path", "a.\x1b[31mB"), r"'a.\x1b[31mB'"),
    "a class of a megabyte": (changed("autoencoder", "class_path", "." * 1_000_000), "as its class"),
    "a class relative to nothing": (changed("autoencoder", "class_path", "..os.system"), "..os.system"),
    "a text for the samples": (changed("autoencoder", "images_seen", "many"), "images_seen"),
    "samples below zero": (changed("autoencoder", "images_seen", -1), "images_seen"),
    "no random state": (changed("autoencoder", "rng_state", torch.zeros(16, dtype=torch.uint8)), "rng_state"),
    "a text for the means": (changed("autoencoder", "epoch_means", "none"), "epoch_means"),
    "means without names": (
        changed("autoencoder", "epoch_means", {"names": [], "sums": torch.zeros(3), "weight": 1}),
        "epoch_means",
    ),
    "a number for a setting's name": (changed("hyper_parameters", {5: 6}), "hyper_parameters"),
    "a number for a weight's name": (changed("state_dict", {5: torch.zeros(1)}), "state_dict"),
    "a text for a weight": (changed("state_dict", "dictionary.b_enc", "none"), "state_dict"),
    "whole numbers for a weight": (
        changed("state_dict", "dictionary.b_enc", torch.zeros(8, dtype=torch.int64)), "b_enc", "int64", "float32",
    ),
    "a terabyte of a model": (changed("hyper_parameters", "latent_dim", 10**10), "shape", "10000000000"),
    "lists within lists": (lambda checkpoint: saved({**checkpoint, "more": deep()}), "too deep"),
    "a mapping in itself": (lambda checkpoint: saved({**checkpoint, "more": circle()}), "too deep"),
    "a billion values": (lambda checkpoint: saved({**checkpoint, "more": doubled()}), "too many"),
}  # fmt: skip

GROUP = ("optimizer_states", 0, "param_groups", 0)
CHECKPOINT = "ModelCheckpoint{'monitor': 'val/loss', 'mode': 'min', 'every_n_train_steps': 0, 'every_n_epochs': 1, "
CHECKPOINT += "'train_time_interval': None}"

#: The same for a training that is to go on; its model can be measured.
RESUMED = {
    "a text for the step": (changed("global_step", "1"), "loops"),
    "a truth for the epoch": (changed("epoch", True), "loops"),
    "a text in a loop": (changed("loops", "fit_loop", "epoch_loop.batch_progress", "total", "ready", "x"), "loops"),
    "a number below zero in a loop": (
        changed("loops", "fit_loop", "epoch_progress", "current", "processed", -1), "loops",
    ),
    "a text for the rate": (changed(*GROUP, "lr", "fast"), "optimizer_states"),
    "no number for the rate": (changed(*GROUP, "lr", float("nan")), "optimizer_states"),
    "a text for a setting": (changed(*GROUP, "betas", ("a", "b")), "optimizer_states"),
    "places that there are not": (changed(*GROUP, "params", [0, 1, 2, 99]), "optimizer_states"),
    "a text for a moment": (changed("optimizer_states", 0, "state", 0, "exp_avg", "none"), "optimizer_states"),
    "a text for a schedule's epoch": (changed("lr_schedulers", [{"last_epoch": "x"}]), "schedules"),
    "a text for a schedule's rates": (changed("lr_schedulers", [{"base_lrs": ["x"]}]), "schedules"),
    "a number for a schedule": (changed("lr_schedulers", [5]), "schedules"),
    "a list for the callbacks": (changed("callbacks", []), "callbacks"),
    "a file to be removed elsewhere": (changed("callbacks", CHECKPOINT, "kth_best_model_path", OUTSIDE), "outside"),
    "files to be removed elsewhere": (changed("callbacks", CHECKPOINT, "best_k_models", {OUTSIDE: 1.0}), "outside"),
    "a version in ten thousand digits": (changed("pytorch-lightning_version", "9" * 10_000 + ".0"), "loops"),
}  # fmt: skip


def put(file, trained, change):
    file.write_bytes(change(torch.load(trained / "checkpoints" / "last.ckpt", weights_only=True)))


@pytest.mark.timeout(60)
@pytest.mark.parametrize("name", CRAFTED)
def test_a_crafted_checkpoint_is_refused_in_one_sentence(name, trained, tmp_path, told):
    change, *facts = CRAFTED[name]
    put(tmp_path / "x.ckpt", trained, change)
    message = told(lambda: load_autoencoder(tmp_path / "x.ckpt"), *facts)
    assert "\x1b" not in message


@pytest.mark.parametrize("name", RESUMED)
def test_a_crafted_training_does_not_go_on(name, trained, tmp_path, told):
    change, *facts = RESUMED[name]
    file = tmp_path / "x.ckpt"
    put(file, trained, change)
    model, checkpoint = load_autoencoder(trained), read_checkpoint(file)
    told(lambda: require_loadable(model, checkpoint, file, resume=True), str(file), *facts)
    require_loadable(model, checkpoint, file, resume=False)


def test_a_crafted_checkpoint_takes_no_more_memory_than_its_file(trained, tmp_path):
    """Private memory while such files are refused, in a process of its own."""
    names = ["packed", "a terabyte of a model", "a weight of a trillion", "a pickle that makes room"]
    for name in names:
        put(tmp_path / f"{name}.ckpt", trained, CRAFTED[name][0])
    code = """
import json, resource, sys
from pathlib import Path
from ae_lightning.models.checkpoint import load_autoencoder
from ae_lightning.errors import CheckpointError
load_autoencoder(sys.argv[1])
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
refused = 0
for path in sys.argv[2:]:
    try:
        load_autoencoder(path)
    except CheckpointError:
        refused += 1
print(json.dumps([refused, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before]))
"""
    files = [str(tmp_path / f"{name}.ckpt") for name in names]
    done = subprocess.run([sys.executable, "-c", code, trained, *files], capture_output=True, text=True, check=True)
    refused, kilobytes = json.loads(done.stdout)
    assert refused == len(names)
    assert kilobytes < 10_000


def test_sizes_of_all_our_models_are_known_before_they_are_built(pytestconfig):
    """Each of ours can be built without memory, so that the check of sizes is never left out."""
    files = sorted((pytestconfig.rootpath / EARLIER).glob("*.ckpt"))
    assert len(files) == 9
    for file in files:
        checkpoint = read_checkpoint(file)
        with torch.device("meta"):
            model = build_model(checkpoint_class(checkpoint), model_settings(checkpoint))
        assert {value.device.type for value in model.state_dict().values()} == {"meta"}, file.name


def test_the_old_format_is_refused_before_it_is_read(trained, tmp_path):
    checkpoint = torch.load(trained / "checkpoints" / "last.ckpt", weights_only=True)
    (tmp_path / "x.ckpt").write_bytes(saved(checkpoint, _use_new_zipfile_serialization=False))
    with pytest.raises(CheckpointError, match="old format"):
        read_checkpoint(tmp_path / "x.ckpt")


PARTS = {
    "a loop without its progress": (("loops", "fit_loop", "epoch_loop.batch_progress"), {}),
    "a clock without its seconds": (("callbacks", "Throughput"), {"minutes": 1}),
    "a text for the seconds": (("callbacks", "Throughput", "seconds"), "long"),
}


@pytest.mark.parametrize("name", PARTS)
def test_a_part_that_does_not_take_back_its_state_is_told_in_a_sentence(name, run, trained, ae):
    (*path, last), value = PARTS[name]
    put(run / "checkpoints" / "last.ckpt", trained, changed(*path, last, value))
    kept = {file: file.read_bytes() for file in run.rglob("*") if file.suffix in (".ckpt", ".csv", ".safetensors")}
    outcome = ae("fit", "--ckpt_path", "run/version_0/checkpoints/last.ckpt", "--trainer.max_epochs", "2")
    assert outcome.code == 2
    assert outcome.err.startswith("ae-lightning: error: training cannot go on from run/version_0/checkpoints/last.ckpt")
    assert {file: file.read_bytes() for file in kept} == kept


def test_resampling_takes_back_no_counts_that_are_none():
    with pytest.raises(CheckpointError, match="ResampleDeadLatents"):
        ResampleDeadLatents(every=4, window=2).load_state_dict({"window_start": 1, "counts": "many"})

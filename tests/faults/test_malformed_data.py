"""Data that nothing can be learned from, told with the file and what would be right; and odd data that are as good."""

import gzip
import io
import pickle
import struct
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy
import torch

from ae_lightning.data.array_file import ArrayFile
from ae_lightning.data.arrays import ArraysDataModule
from ae_lightning.data.mnist import MNISTDataModule

X = np.random.default_rng(0).random((40, 6), dtype=np.float32)
LABELS = np.arange(40) % 4
SMALL = [
    *("fit", "--model", "OvercompleteAutoencoder", "--model.latent_dim", "4", "--data", "ArraysDataModule"),
    *("--trainer.max_epochs", "1", "--snapshots.schedule.count", "2", "--images.schedule.count", "1"),
]


def npy(array, **options):
    file = io.BytesIO()
    np.save(file, array, **options)
    return file.getvalue()


def npz(**arrays):
    file = io.BytesIO()
    np.savez(file, **arrays)
    return file.getvalue()


def pt(content, **options):
    file = io.BytesIO()
    torch.save(content, file, **options)
    return file.getvalue()


def safe(**arrays):
    return safetensors.numpy.save(arrays)


def with_value(value, dtype=np.float32):
    array = X.astype(dtype)
    array[3, 2] = value
    return array


T = torch.from_numpy(X)

#: The file of the samples: its name, what is in it, and words of the answer.
FILES = {
    # --- damaged
    "empty npy": ("x.npy", b""),
    "empty npz": ("x.npz", b""),
    "empty pt": ("x.pt", b""),
    "empty safetensors": ("x.safetensors", b"", "header too small"),
    "wrong magic number": ("x.npy", b"\x94" + npy(X)[1:], "first bytes"),
    "text in a npy": ("x.npy", b"1.0 2.0\n", "first bytes"),
    "header cut short": ("x.npy", npy(X)[:40], "array header"),
    "values cut short": ("x.npy", npy(X)[:-40]),
    "npz cut short": ("x.npz", npz(x=X)[:-80], "zip file"),
    "pt cut short": ("x.pt", pt(T)[:-80], "central directory"),
    "safetensors cut short": ("x.safetensors", safe(x=X)[:-40], "not fully covered"),
    "safetensors with a header beyond all": ("x.safetensors", struct.pack("<Q", 1 << 60) + b"{}", "too large"),
    "npy under the name of a pt": ("x.pt", npy(X), "torch.save"),
    "a negative size in the header": ("x.npy", npy(X).replace(b"(40, 6)", b"(-4, 6)"), "negative dimensions"),
    "a size beyond the file": ("x.npy", npy(X).replace(b"(40, 6)", b"(99, 6)")),
    "an ending that is not known": ("x.csv", b"1,2", ".npy, .npz, .pt, .pth, .safetensors"),
    # --- of another shape or type
    "no samples": ("x.npy", npy(X[:0]), "no samples"),
    "one sample": ("x.npy", npy(X[:1]), "a single sample", "--data.val"),
    "too few to hold one out": ("x.npy", npy(X[:4]), "--data.val_fraction 0.1 of 4", "between 0.12 and 0.88"),
    "samples of nothing": ("x.npy", npy(np.zeros((40, 0))), "shape (0,)", "(--data.train)"),
    "a single number": ("x.npy", npy(np.float32(3)), "shape ()", "first dimension"),
    "numbers in a row": ("x.npy", npy(X[:, 0]), "shape (40,)", "first dimension"),
    "words": ("x.npy", npy(np.array([["a", "b"]] * 40)), "<U1", "real numbers"),
    "complex numbers": ("x.npy", npy(X.astype(complex)), "complex128", "real numbers"),
    "dates": ("x.npy", npy(np.zeros((40, 2), "M8[s]")), "datetime64", "real numbers"),
    "records": ("x.npy", npy(np.zeros(40, [("a", "f4")])), "real numbers"),
    "numbers that a signed one cannot hold": ("x.npy", npy(np.full((40, 6), 1 << 63, np.uint64)), "2^63"),
    "a list of numbers": ("x.pt", pt([1, 2]), "a list", "a tensor"),
    "a dict without samples": ("x.pt", pt({"a": T}), "named x", ": a.", "--data.key"),
    "a dict of a text": ("x.pt", pt({"x": "hello"}), "type str", "real numbers"),
    "a sparse tensor": ("x.pt", pt(T.to_sparse()), "sparse_coo", "to_dense"),
    "a quantized tensor": ("x.pt", pt(torch.quantize_per_tensor(T, 0.1, 0, torch.quint8)), "quint8", "real numbers"),
    "a tensor without values": ("x.pt", pt(torch.empty(40, 6, device="meta")), "no values"),
    # --- values
    "not a number": ("x.npy", npy(with_value(np.nan)), "1 NaN", "row 3"),
    "infinity": ("x.npy", npy(with_value(np.inf)), "infinite", "row 3"),
    "minus infinity": ("x.npy", npy(with_value(-np.inf)), "infinite", "row 3"),
    "infinity as a float32": ("x.npy", npy(with_value(1e300, np.float64)), "infinite", "row 3"),
}

#: Labels of samples that are as they should be.
BAD_LABELS = {
    "too few": (npy(LABELS[:30]), "30 labels", "40 samples"),
    "a single number": (npy(np.int64(3)), "a single label", "40 samples"),
    "below zero": (npy(LABELS - 1), "go down to -1", "start from 0"),
    "fractions": (npy(LABELS + 0.5), "float64", "must be integers"),
    "words": (npy(np.array(["a"] * 40)), "<U1", "real numbers"),
    "beyond int64": (npy(np.full(40, (1 << 64) - 1, np.uint64)), "2^63"),
    "three dimensions": (npy(np.zeros((40, 3, 3))), "(40, 3, 3)", "must be integers"),
    "true features that are no numbers": (npy(np.full((40, 3), np.nan)), "true features", "NaN"),
}

#: Settings beside samples that are as they should be.
OPTIONS = {
    "labels that are not there": ({"train_labels": "nope.npy"}, "--data.train_labels", "nope.npy"),
    "a name in a file of one array": ({"key": "z"}, "--data.key"),
    "labels by name without names": ({"label_key": "z"}, "--data.label_key", "--data.train_labels"),
    "a shape that does not fit": ({"sample_shape": [7]}, "6 numbers", "(7,)", "--data.sample_shape"),
    "a shape below zero": ({"sample_shape": [-1]}, "(-1,)", "--data.sample_shape"),
    "validation of another shape": ({"val": "narrow.npy"}, "(3,)", "(6,)", "--data.val"),
    "validation of nothing": ({"val": "none.npy"}, "none.npy", "no samples"),
    "a test set with a NaN": ({"test": "nan.npy"}, "nan.npy", "row 3"),
    "constant values to be normalized": ({"train": "ones.npy", "normalize": "unit"}, "are 1", "none"),
    "constant values to be standardized": ({"train": "ones.npy", "normalize": "standard"}, "are 1", "none"),
    "a folder": ({"train": "folder.npy"}, "folder.npy", "is a folder"),
    "a folder that is not there": ({"train": "nowhere/x.npy"}, "no folder nowhere"),
    "batches larger than the data": ({"batch_size": 99, "drop_last": True}, "36 samples", "99", "--data.drop_last"),
    "a held-out part of more than all": ({"val_fraction": 2}, "--data.val_fraction is 2", "between 0 and 1"),
}

#: Odd data that are as good as any: the array, and further options.
GOOD = {
    "constant pixels": (np.full((40, 6), 0.5, np.float32), []),
    "black images": (np.zeros((40, 6), np.float32), []),
    "one pixel that never changes": (
        np.where(np.arange(6) == 2, 0, X).astype(np.float32),
        ["--data.normalize", "unit"],
    ),
    "one class, and no probe": (X, ["--data.train_labels", "one.npy"]),
    "a class of its own for each": (X, ["--data.train_labels", "each.npy"]),
    "labels that skip numbers": (X, ["--data.train_labels", "skip.npy", "--trainer.callbacks+", "LinearProbe"]),
    "two samples in a batch of one": (X[:2], ["--data.val_fraction", "0.5", "--data.batch_size", "1"]),
    "a last batch of one sample": (X, ["--data.batch_size", "35"]),
}


def at_once_in_unit(array):
    wide = array.astype(np.float64)
    return (wide - wide.min()) / np.ptp(wide)


#: Numbers of other types than float32: the array, how it is normalized, and what a sample then is.
TYPES = {
    "truth values": (X > 0.5, "none", np.where(X > 0.5, 1, 0)),
    "bytes": ((X * 255).astype(np.uint8), "unit", np.floor(X * 255) / 255),
    "unsigned of 64 bits": ((X * 1000).astype(np.uint64), "none", np.floor(X * 1000)),
    "bytes in the other order": (X.astype(">f4"), "none", X),
    "columns first": (np.asfortranarray(X), "none", X),
    "too small for the steps of float32": (X * np.float32(1e-40), "unit", at_once_in_unit(X * np.float32(1e-40))),
    "half precision": (X.astype(np.float16), "none", X.astype(np.float16)),
}


def samples_of(**settings):
    """All training samples of a data module, read and checked as a fit does."""
    data = ArraysDataModule(**settings)
    data.setup()
    return next(iter(data.train_dataloader()))[0]


@pytest.mark.parametrize("name", FILES)
def test_a_file_of_samples_that_cannot_be_used_is_named_with_its_fault(name, write, told, here):
    file, content, *facts = FILES[name]
    write({file: content})
    told(lambda: samples_of(train=file), "--data." if "one out" in name else file, *facts)


@pytest.mark.parametrize("name", BAD_LABELS)
def test_labels_that_cannot_be_used_are_named_with_their_fault(name, write, told, here):
    content, *facts = BAD_LABELS[name]
    write({"x.npy": npy(X), "y.npy": content})
    told(lambda: samples_of(train="x.npy", train_labels="y.npy"), "y.npy", *facts)


@pytest.mark.parametrize("name", OPTIONS)
def test_a_setting_that_does_not_fit_the_data_is_named(name, write, told, here):
    settings, *facts = OPTIONS[name]
    write({"x.npy": npy(X), "narrow.npy": npy(X[:, :3]), "none.npy": npy(X[:0]), "nan.npy": npy(with_value(np.nan))})
    write({"ones.npy": npy(np.ones((40, 6))), "folder.npy/x": b""})
    told(lambda: samples_of(**{"train": "x.npy", **settings}), *facts)


@pytest.mark.parametrize("name", TYPES)
def test_numbers_of_any_type_become_float32(name, write, here):
    array, normalize, wanted = TYPES[name]
    write({"x.npy": npy(array), "val.npy": npy(array[:2])})
    found = samples_of(train="x.npy", val="val.npy", normalize=normalize)
    assert found.dtype == torch.float32
    order = np.lexsort(found.numpy().T), np.lexsort(wanted.astype(np.float32).T)
    np.testing.assert_allclose(found.numpy()[order[0]], wanted[order[1]], rtol=1e-6)


#: What only a fit finds, or one of each kind: the file of the samples, that of the labels, options, and facts.
REFUSED_BY_FIT = {
    "damaged": (npy(X)[:-40], LABELS, [], "x.npy", "--data.train"),
    "not a number": (npy(with_value(np.nan)), LABELS, [], "x.npy", "row 3"),
    "a square beyond float32": (npy(with_value(3e38)), LABELS, [], "first step", "3e+38", "--data.normalize"),
    "too few labels": (npy(X), LABELS[:30], [], "y.npy", "30 labels", "40 samples"),
    "an option": (npy(X), LABELS, ["--data.batch_size", "99", "--data.drop_last", "true"], "36 samples", "of 99"),
    "one class, for a probe": (npy(X), LABELS * 0, ["--trainer.callbacks+", "LinearProbe"], "all 0", "LinearProbe"),
    "one class first": (npy(X), np.arange(40) // 39, ["--trainer.callbacks+", "LinearProbe"], "two classes", "shuffle"),
}


@pytest.mark.parametrize("name", REFUSED_BY_FIT)
def test_a_fit_is_refused_with_the_fault_of_its_data(name, write, refused):
    samples, labels, options, *facts = REFUSED_BY_FIT[name]
    write({"x.npy": samples, "y.npy": npy(labels)})
    refused([*SMALL, "--data.train", "x.npy", "--data.train_labels", "y.npy", *options], *facts)


def test_a_probe_without_labels_is_refused(write, refused):
    write({"x.npy": npy(X)})
    refused([*SMALL, "--data.train", "x.npy", "--trainer.callbacks+", "LinearProbe"], "--data.train_labels")


def train_on(name, write, ae):
    """Train on odd samples; answers the run's folder."""
    array, options = GOOD[name] if name in GOOD else (TYPES[name][0], ["--data.normalize", TYPES[name][1]])
    write(
        {"x.npy": npy(array), "one.npy": npy(LABELS * 0), "each.npy": npy(np.arange(40)), "skip.npy": npy(LABELS * 9)}
    )
    outcome = ae(*SMALL, "--data.train", "x.npy", *options)
    assert outcome.code == 0, outcome.err
    return Path("lightning_logs/OvercompleteAutoencoder/version_0")


@pytest.mark.parametrize("name", GOOD)
def test_odd_data_that_are_as_good_as_any_are_trained_on(name, write, ae):
    assert (train_on(name, write, ae) / "metrics.json").is_file()


@pytest.mark.parametrize(
    "name", [name if name == "constant pixels" else pytest.param(name, marks=pytest.mark.slow) for name in GOOD | TYPES]
)
def test_a_run_on_odd_data_has_a_report(name, write, ae):
    assert ae("report", train_on(name, write, ae)).code == 0


def with_code(ending, mine):
    objects = np.array([[mine] * 2] * 3, dtype=object)
    return {
        "npy": lambda: npy(objects, allow_pickle=True),
        "npz": lambda: npz(x=objects),
        "pt": lambda: pt(mine),
        "pth": lambda: pt([mine]),
        "dict.pt": lambda: pt({"x": T, "more": mine}),
        "old.pt": lambda: pt({"x": mine}, _use_new_zipfile_serialization=False),
    }.get(ending, lambda: pickle.dumps(mine))()


@pytest.mark.parametrize(
    "ending", ["npy", "npz", "pt", "pth", "dict.pt", "old.pt", "pickle.npy", "pickle.npz", "pickle.pt"]
)
def test_code_in_a_file_of_arrays_is_not_run(ending, mine, write, told, here):
    write({f"x.{ending}": with_code(ending, mine)})
    told(lambda: ArrayFile(f"x.{ending}", "--data.train").get(None, "x", ""), f"x.{ending}", "Python objects")


def test_a_fit_does_not_run_code_in_a_file_of_arrays(mine, write, refused):
    write({"x.pt": with_code("pt", mine)})
    refused([*SMALL, "--data.train", "x.pt"], "x.pt", "Python objects", "run code", "plain numeric array")


# --- the four files of MNIST -------------------------------------------------------------------------------------


def idx(array, kind=0x08):
    return struct.pack(f">BBBB{array.ndim}I", 0, 0, kind, array.ndim, *array.shape) + array.astype(np.uint8).tobytes()


IMAGES, DIGITS = np.zeros((20, 28, 28)), np.arange(20) % 10

#: What stands in place of the training images or labels.
MNIST = {
    "wrong magic number": ("images-idx3", b"\x01" + idx(IMAGES)[1:], "idx file"),
    "numbers of four bytes": ("images-idx3", idx(IMAGES, kind=0x0C), "idx file"),
    "cut short": ("images-idx3", idx(IMAGES)[:-9], "15,671", "15,680"),
    "cut within the header": ("images-idx3", idx(IMAGES)[:7], "header"),
    "empty": ("images-idx3", b"", "idx file"),
    "images of another size": ("images-idx3", idx(np.zeros((20, 27, 28))), "20×27×28", "n×28×28"),
    "fewer labels than images": ("labels-idx1", idx(DIGITS[:19]), "19", "20 labels"),
    "an archive cut short": ("images-idx3", gzip.compress(idx(IMAGES))[:-9], "md5"),
}


def put_mnist(write, name):
    """Write the four files with a bad one among them; answers the words of its refusal."""
    which, content, *facts = MNIST[name]
    files = {f"{part}-{kind}-ubyte": idx(array) for part in ("train", "t10k")
             for kind, array in (("images-idx3", IMAGES), ("labels-idx1", DIGITS))}  # fmt: skip
    bad = f"train-{which}-ubyte"
    files.pop(bad)
    files[f"{bad}.gz" if "archive" in name else bad] = content
    write({f"MNIST/raw/{file}": data for file, data in files.items()})
    return bad, *facts


@pytest.mark.parametrize("name", MNIST)
def test_a_damaged_file_of_mnist_is_named_with_its_fault(name, write, told, here):
    facts = put_mnist(write, name)
    data = MNISTDataModule(root=".", download=False)
    data.prepare_data()
    told(data.setup, *facts)


def test_a_fit_is_refused_with_the_fault_of_mnist(write, refused):
    facts = put_mnist(write, "cut short")
    refused(["fit", "--config", "overcomplete_mnist", "--data.root", ".", "--data.download", "false"], *facts)

"""Data that nothing can be learned from, told with the file and what would be right; and odd data that are as good."""

import gzip
import io
import pickle
import struct

import numpy as np
import pytest
import safetensors.numpy
import torch

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
    "empty npy": ("x.npy", b"", "damaged", "write it again"),
    "empty npz": ("x.npz", b"", "damaged", "write it again"),
    "empty pt": ("x.pt", b"", "ends too early", "write it again"),
    "empty safetensors": ("x.safetensors", b"", "header too small", "write it again"),
    "wrong magic number": ("x.npy", b"\x94" + npy(X)[1:], "its first bytes are not those of such a file"),
    "text in a npy": ("x.npy", b"1.0 2.0\n", "its first bytes are not those of such a file"),
    "header cut short": ("x.npy", npy(X)[:40], "reading array header"),
    "values cut short": ("x.npy", npy(X)[:-40], "damaged"),
    "npz cut short": ("x.npz", npz(x=X)[:-80], "damaged", "not a zip file"),
    "pt cut short": ("x.pt", pt(T)[:-80], "damaged", "central directory"),
    "safetensors cut short": ("x.safetensors", safe(x=X)[:-40], "damaged", "not fully covered"),
    "safetensors with a header beyond all": ("x.safetensors", struct.pack("<Q", 1 << 60) + b"{}", "too large"),
    "npy under the name of a pt": ("x.pt", npy(X), "torch.save did not write it"),
    "a negative size in the header": ("x.npy", npy(X).replace(b"(40, 6)", b"(-4, 6)"), "negative dimensions"),
    "a size beyond the file": ("x.npy", npy(X).replace(b"(40, 6)", b"(99, 6)"), "damaged"),
    "an ending that is not known": ("x.csv", b"1,2", "x.csv", "it can be .npy"),
    # --- of another shape or type
    "no samples": ("x.npy", npy(X[:0]), "no samples", "at least one"),
    "one sample": ("x.npy", npy(X[:1]), "a single sample", "--data.val"),
    "too few to hold one out": ("x.npy", npy(X[:4]), "--data.val_fraction 0.1 of 4", "between 0.12 and 0.88"),
    "samples of nothing": ("x.npy", npy(np.zeros((40, 0))), "shape (0,)", "without any values"),
    "a single number": ("x.npy", npy(np.float32(3)), "shape ()", "first dimension counts the samples"),
    "numbers in a row": ("x.npy", npy(X[:, 0]), "shape (40,)", "at least one more"),
    "words": ("x.npy", npy(np.array([["a", "b"]] * 40)), "<U1", "real numbers"),
    "complex numbers": ("x.npy", npy(X.astype(complex)), "complex128", "real numbers"),
    "dates": ("x.npy", npy(np.zeros((40, 2), "M8[s]")), "datetime64", "real numbers"),
    "records": ("x.npy", npy(np.zeros(40, [("a", "f4")])), "real numbers"),
    "numbers that a signed one cannot hold": ("x.npy", npy(np.full((40, 6), 1 << 63, np.uint64)), "2^63"),
    "a list of numbers": ("x.pt", pt([1, 2]), "holds a list", "a tensor"),
    "a dict without samples": ("x.pt", pt({"a": T}), "no array named x", "are: a", "--data.key"),
    "a dict of a text": ("x.pt", pt({"x": "hello"}), "type str", "real numbers"),
    "a sparse tensor": ("x.pt", pt(T.to_sparse()), "sparse_coo", "to_dense"),
    "a quantized tensor": ("x.pt", pt(torch.quantize_per_tensor(T, 0.1, 0, torch.quint8)), "quint8", "real numbers"),
    "a tensor without values": ("x.pt", pt(torch.empty(40, 6, device="meta")), "no values"),
    # --- values
    "not a number": ("x.npy", npy(with_value(np.nan)), "1 NaN", "row 3", "remove or replace"),
    "infinity": ("x.npy", npy(with_value(np.inf)), "infinite", "row 3"),
    "minus infinity": ("x.npy", npy(with_value(-np.inf)), "infinite", "row 3"),
    "infinity as a float32": ("x.npy", npy(with_value(1e300, np.float64)), "infinite", "row 3"),
    "a square beyond float32": ("x.npy", npy(with_value(3e38)), "before the first step", "3e+38", "--data.normalize"),
}

#: Labels of samples that are as they should be.
BAD_LABELS = {
    "too few": (npy(LABELS[:30]), "30 labels", "40 samples"),
    "a single number": (npy(np.int64(3)), "1 labels", "40 samples"),
    "below zero": (npy(LABELS - 1), "go down to -1", "start from 0"),
    "fractions": (npy(LABELS + 0.5), "float64", "must be integers"),
    "words": (npy(np.array(["a"] * 40)), "<U1", "real numbers"),
    "beyond int64": (npy(np.full(40, (1 << 64) - 1, np.uint64)), "2^63"),
    "three dimensions": (npy(np.zeros((40, 3, 3))), "(40, 3, 3)", "must be integers"),
    "true features that are no numbers": (npy(np.full((40, 3), np.nan)), "true features", "NaN"),
    "one class, for a probe": (npy(LABELS * 0), "at least two classes", "are all 0", "LinearProbe"),
    "one class first, for a probe": (npy(np.arange(40) // 39), "at least two classes", "shuffle"),
}

#: Options beside samples that are as they should be.
OPTIONS = {
    "labels that are not there": (["--data.train_labels", "nope.npy"], "--data.train_labels", "does not exist"),
    "a name in a file of one array": (["--data.key", "z"], "without a name", "leave out --data.key"),
    "labels by name without names": (["--data.label_key", "z"], "--data.label_key", "--data.train_labels"),
    "a shape that does not fit": (["--data.sample_shape", "[7]"], "6 numbers", "(7,)", "--data.sample_shape"),
    "a shape below zero": (["--data.sample_shape", "[-1]"], "(-1,)", "--data.sample_shape"),
    "validation of another shape": (["--data.val", "narrow.npy"], "(3,)", "(6,)", "--data.val"),
    "validation of nothing": (["--data.val", "none.npy"], "none.npy", "no samples"),
    "a test set with a NaN": (["--data.test", "nan.npy"], "nan.npy", "row 3"),
    "constant values to be normalized": (["--data.train", "ones.npy", "--data.normalize", "unit"], "are 1", "none"),
    "constant values to be standardized": (["--data.train", "ones.npy", "--data.normalize", "standard"], "are 1"),
    "values too small to be normalized": (["--data.train", "tiny.npy", "--data.normalize", "unit"], "float32"),
    "a folder": (["--data.train", "folder.npy"], "folder.npy", "is a folder"),
    "a folder that is not there": (["--data.train", "nowhere/x.npy"], "there is no folder nowhere"),
    "batches larger than the data": (["--data.batch_size", "99", "--data.drop_last", "true"], "36 samples", "of 99"),
    "a held-out part of more than all": (["--data.val_fraction", "2"], "--data.val_fraction is 2", "between 0 and 1"),
    "a probe without labels": (["--trainer.callbacks+", "LinearProbe"], "needs class labels", "--data.train_labels"),
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
    "truth values": (X > 0.5, []),
    "bytes": ((X * 255).astype(np.uint8), ["--data.normalize", "unit"]),
    "unsigned of 64 bits": ((X * 1000).astype(np.uint64), ["--data.normalize", "standard"]),
    "bytes in the other order": (X.astype(">f4"), []),
    "columns first": (np.asfortranarray(X), []),
    "half precision": (X.astype(np.float16), []),
    "two samples in a batch of one": (X[:2], ["--data.val_fraction", "0.5", "--data.batch_size", "1"]),
    "a last batch of one sample": (X, ["--data.batch_size", "35"]),
}


@pytest.mark.parametrize("name", FILES)
def test_a_file_of_samples_that_cannot_be_used_is_named_with_its_fault(name, write, refused):
    file, content, *words = FILES[name]
    write({file: content})
    refused([*SMALL, "--data.train", file], *words)


@pytest.mark.parametrize("name", BAD_LABELS)
def test_labels_that_cannot_be_used_are_named_with_their_fault(name, write, refused):
    content, *words = BAD_LABELS[name]
    write({"x.npy": npy(X), "y.npy": content})
    probe = ["--trainer.callbacks+", "LinearProbe"] if "probe" in name else []
    refused([*SMALL, "--data.train", "x.npy", "--data.train_labels", "y.npy", *probe], *words)


@pytest.mark.parametrize("name", OPTIONS)
def test_an_option_that_does_not_fit_the_data_is_named(name, write, refused):
    options, *words = OPTIONS[name]
    write({"x.npy": npy(X), "narrow.npy": npy(X[:, :3]), "none.npy": npy(X[:0]), "nan.npy": npy(with_value(np.nan))})
    write({"ones.npy": npy(np.ones((40, 6))), "tiny.npy": npy(X * np.float32(1e-40)), "folder.npy/x": b""})
    refused([*SMALL, "--data.train", "x.npy", *options], *words)


@pytest.mark.parametrize("name", GOOD)
def test_odd_data_that_are_as_good_as_any_are_trained_on(name, write, ae, tmp_path):
    array, options = GOOD[name]
    write(
        {"x.npy": npy(array), "one.npy": npy(LABELS * 0), "each.npy": npy(np.arange(40)), "skip.npy": npy(LABELS * 9)}
    )
    outcome = ae(*SMALL, "--data.train", "x.npy", *options)
    assert outcome.code == 0, outcome.err
    run = tmp_path / "lightning_logs" / "OvercompleteAutoencoder" / "version_0"
    assert (run / "metrics.json").is_file()
    assert ae("report", run).code == 0


@pytest.mark.parametrize(
    "ending", ["npy", "npz", "pt", "pth", "dict.pt", "old.pt", "pickle.npy", "pickle.npz", "pickle.pt"]
)
def test_code_in_a_file_of_arrays_is_not_run(ending, mine, write, refused):
    objects = np.array([[mine] * 2] * 3, dtype=object)
    content = {
        "npy": lambda: npy(objects, allow_pickle=True),
        "npz": lambda: npz(x=objects),
        "pt": lambda: pt(mine),
        "pth": lambda: pt([mine]),
        "dict.pt": lambda: pt({"x": T, "more": mine}),
        "old.pt": lambda: pt({"x": mine}, _use_new_zipfile_serialization=False),
    }.get(ending, lambda: pickle.dumps(mine))()
    write({f"x.{ending}": content})
    refused([*SMALL, "--data.train", f"x.{ending}"], f"x.{ending}", "Python objects", "run code", "plain numeric array")


# --- the four files of MNIST -------------------------------------------------------------------------------------


def idx(array, kind=0x08):
    return struct.pack(f">BBBB{array.ndim}I", 0, 0, kind, array.ndim, *array.shape) + array.astype(np.uint8).tobytes()


IMAGES, DIGITS = np.zeros((20, 28, 28)), np.arange(20) % 10

#: What stands in place of the training images or labels.
MNIST = {
    "wrong magic number": ("images-idx3", b"\x01" + idx(IMAGES)[1:], "its header is not that of an idx file"),
    "numbers of four bytes": ("images-idx3", idx(IMAGES, kind=0x0C), "its header is not that of an idx file"),
    "cut short": ("images-idx3", idx(IMAGES)[:-9], "15,671 bytes of data, expected 15,680"),
    "cut within the header": ("images-idx3", idx(IMAGES)[:7], "ends within its header"),
    "empty": ("images-idx3", b"", "its header is not that of an idx file"),
    "images of another size": ("images-idx3", idx(np.zeros((20, 27, 28))), "20×27×28", "expected n×28×28"),
    "fewer labels than images": ("labels-idx1", idx(DIGITS[:19]), "19", "expected 20 labels"),
    "an archive cut short": ("images-idx3", gzip.compress(idx(IMAGES))[:-9], "damaged", "md5"),
}


@pytest.mark.parametrize("name", MNIST)
def test_a_damaged_file_of_mnist_is_named_with_its_fault(name, write, refused):
    which, content, *words = MNIST[name]
    files = {f"{part}-{kind}-ubyte": idx(array) for part in ("train", "t10k")
             for kind, array in (("images-idx3", IMAGES), ("labels-idx1", DIGITS))}  # fmt: skip
    bad = f"train-{which}-ubyte"
    files.pop(bad)
    files[f"{bad}.gz" if "archive" in name else bad] = content
    write({f"MNIST/raw/{file}": data for file, data in files.items()})
    options = ["--data.root", ".", "--data.download", "false"]
    refused(
        ["fit", "--config", "overcomplete_mnist", *options],
        bad,
        "damaged" if "expected" not in words[-1] else "",
        *words,
    )

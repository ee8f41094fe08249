import pickle
import re

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from ae_lightning.data import ArraysDataModule, array_file, statistics
from ae_lightning.errors import ConfigError, DataError

X = np.arange(60, dtype=np.float32).reshape(20, 3)
Y = np.arange(20) % 4


def write(path, x=X, y=Y) -> str:
    """Write samples, and labels where the kind of file has room for them."""
    if path.suffix == ".npy":
        np.save(path, x)
    elif path.suffix == ".npz":
        np.savez(path, x=x, y=y)
    elif path.suffix == ".safetensors":
        save_file({"x": torch.from_numpy(x), "y": torch.from_numpy(y)}, path)
    else:
        torch.save({"x": torch.from_numpy(x), "y": torch.from_numpy(y)}, path)
    return str(path)


def made(*args, **options) -> ArraysDataModule:
    data = ArraysDataModule(*args, **options)
    data.setup()
    return data


def all_rows(data: ArraysDataModule) -> np.ndarray:
    x = torch.cat([data.train_set.take(100)[0], data.val_set.take(100)[0]]).numpy()
    return x[x[:, 0].argsort()]


@pytest.mark.parametrize("ending", array_file.ENDINGS)
def test_every_kind_of_file(tmp_path, ending):
    data = ArraysDataModule(write(tmp_path / f"a{ending}"))
    assert data.input_shape == (3,)
    assert data.num_classes == (None if ending == ".npy" else 4)
    data.setup()
    assert [len(s) for s in (data.train_set, data.val_set, data.test_set)] == [18, 2, 2]
    assert np.array_equal(all_rows(data), X)
    if ending != ".npy":
        x, y = data.train_set.take(18)
        assert y.tolist() == (x[:, 0] / 3 % 4).tolist()


def test_npy_stays_on_disk(tmp_path):
    assert isinstance(made(write(tmp_path / "a.npy")).train_set.x, np.memmap)


def test_a_plain_tensor(tmp_path):
    torch.save(torch.from_numpy(X), tmp_path / "a.pt")
    assert np.array_equal(all_rows(made(str(tmp_path / "a.pt"))), X)


def test_three_files_and_label_files(tmp_path):
    paths = {}
    for number, name in enumerate(("train", "val", "test")):
        paths[name] = write(tmp_path / f"{name}.npy", X + 100 * number)
        np.save(tmp_path / f"{name}_y.npy", Y + number)
        paths[f"{name}_labels"] = str(tmp_path / f"{name}_y.npy")
    data = made(**paths)
    for number, part in enumerate((data.train_set, data.val_set, data.test_set)):
        x, y = part.take(100)
        assert np.array_equal(x.numpy(), X + 100 * number)
        assert y.tolist() == (Y + number).tolist()
    assert data.num_classes == 6


def test_true_features_as_labels(tmp_path):
    features = np.random.default_rng(0).random((20, 5))
    np.savez(tmp_path / "a.npz", x=X, y=features)
    data = made(str(tmp_path / "a.npz"), normalize="none")
    x, y = data.train_set.take(18)
    assert y.dtype == torch.float32
    np.testing.assert_allclose(y.numpy(), features[(x[:, 0] / 3).int().numpy()], rtol=1e-6)
    assert data.num_classes is None


def test_keys_and_sample_shape(tmp_path):
    np.savez(tmp_path / "a.npz", acts=np.zeros((20, 6)), species=Y)
    data = made(str(tmp_path / "a.npz"), key="acts", label_key="species", sample_shape=[1, 2, 3])
    assert data.input_shape == (1, 2, 3)
    assert data.train_set.take(2)[0].shape == (2, 1, 2, 3)
    assert data.num_classes == 4


def test_home_and_current_folder(tmp_path, monkeypatch):
    write(tmp_path / "a.npy")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert ArraysDataModule("~/a.npy").input_shape == (3,)
    monkeypatch.chdir(tmp_path)
    assert ArraysDataModule("a.npy").input_shape == (3,)


def test_unit_divides_bytes_by_255(tmp_path):
    np.save(tmp_path / "a.npy", np.full((20, 2), 51, dtype=np.uint8))
    data = made(str(tmp_path / "a.npy"), normalize="unit")
    assert data.train_set.take(1)[0].tolist() == [[pytest.approx(0.2)] * 2]
    assert data.value_range == (0.0, 1.0)


def test_unit_of_other_types_uses_the_range_of_the_training_file(tmp_path):
    data = made(write(tmp_path / "a.npy", X + 7), write(tmp_path / "b.npy", X + 66), normalize="unit")
    x = data.train_set.take(20)[0]
    assert (float(x.min()), float(x.max())) == (0.0, pytest.approx(1.0))
    assert float(data.val_set.take(20)[0].max()) == pytest.approx(2.0)


@pytest.mark.parametrize("chunk", [1, 7, 10**6])
def test_standard_uses_the_training_rows_alone(tmp_path, monkeypatch, chunk):
    monkeypatch.setattr(statistics, "CHUNK", chunk)
    x = np.random.default_rng(0).normal(5, 3, (40, 3))
    data = made(write(tmp_path / "a.npy", x), val_fraction=0.25, normalize="standard")
    train = data.train_set.take(40)[0]
    assert float(train.mean()) == pytest.approx(0, abs=1e-5)
    assert float(train.std(unbiased=False)) == pytest.approx(1, abs=1e-5)
    assert float(data.val_set.take(40)[0].mean()) != pytest.approx(0, abs=1e-3)
    assert data.value_range == (pytest.approx(float(train.min())), pytest.approx(float(train.max())))


def test_range_without_normalization(tmp_path):
    assert ArraysDataModule(write(tmp_path / "a.npy"), write(tmp_path / "b.npy", X * 9)).value_range == (
        0,
        59,
    )


def test_test_set_is_the_validation_set_by_default(tmp_path):
    data = made(write(tmp_path / "a.npy"), write(tmp_path / "b.npy", X + 1))
    assert np.array_equal(data.test_set.take(20)[0].numpy(), X + 1)


def test_missing_file_with_the_nearest_name(tmp_path):
    write(tmp_path / "activations.npy")
    with pytest.raises(DataError, match=r"--data\.train names .*actvations\.npy, .* did you mean activations\.npy\?"):
        made(str(tmp_path / "actvations.npy"))
    with pytest.raises(DataError, match=r"--data\.val names .*nothing in .* has a similar name"):
        made(str(tmp_path / "activations.npy"), str(tmp_path / "zzz.pt"))
    with pytest.raises(DataError, match=r"which does not exist: there is no folder .*nowhere"):
        made(str(tmp_path / "nowhere" / "a.npy"))


def test_unknown_ending(tmp_path):
    with pytest.raises(DataError, match=r"--data\.train is a\.csv, whose ending is unknown; .*\.npy, \.npz, \.pt"):
        made("a.csv")


@pytest.mark.parametrize("ending", array_file.ENDINGS)
@pytest.mark.parametrize("kept", [0, 7, 0.5])
def test_truncated_file(tmp_path, ending, kept):
    path = tmp_path / f"a{ending}"
    content = open(write(path), "rb").read()  # noqa: SIM115
    path.write_bytes(content[: kept if isinstance(kept, int) else int(kept * len(content))])
    message = rf"{re.escape(str(path))} \(--data\.train\) is damaged or not a {ending} file \(.+\); write it again"
    with pytest.raises(DataError, match=message):
        made(str(path))


@pytest.mark.parametrize("ending", array_file.ENDINGS)
def test_a_file_of_something_else(tmp_path, ending):
    path = tmp_path / f"a{ending}"
    path.write_bytes(b"version https://git-lfs.github.com/spec/v1\n" * 3)
    with pytest.raises(DataError, match=r"\(--data\.train\) is damaged or not a"):
        made(str(path))


class Thing:
    pass


@pytest.mark.parametrize("name", ["object.npy", "object.npz", "object.pt", "pickle.npy", "pickle.pt"])
def test_python_objects_are_refused(tmp_path, name):
    path = tmp_path / name
    if name.startswith("pickle"):
        path.write_bytes(pickle.dumps([Thing()]))
    elif path.suffix == ".pt":
        torch.save({"x": Thing()}, path)
    elif path.suffix == ".npy":
        np.save(path, np.array([[1, None]], dtype=object), allow_pickle=True)
    else:
        np.savez(path, x=np.array([[1, None]], dtype=object))
    with pytest.raises(DataError, match=r"\(--data\.train\) holds Python objects.*save a plain numeric array"):
        made(str(path))


@pytest.mark.parametrize("ending", [".npz", ".pt", ".safetensors"])
def test_missing_key_lists_the_others(tmp_path, ending):
    path = write(tmp_path / f"a{ending}")
    with pytest.raises(DataError, match=r"no array named z; the names there are: x, y\. Choose one with --data\.key"):
        made(path, key="z")
    with pytest.raises(DataError, match=r"no array named label; .* x, y\. Choose one with --data\.label_key"):
        made(path, label_key="label")


@pytest.mark.parametrize(
    ("x", "found"),
    [
        (np.array([["a", "b"]]), "<U1"),
        (np.zeros((3, 2), dtype=np.complex64), "complex64"),
        (np.zeros((3, 2), dtype="datetime64[s]"), r"datetime64\[s\]"),
    ],
)
def test_values_that_are_not_numbers(tmp_path, x, found):
    with pytest.raises(DataError, match=rf"holds values of type {found}; save an array of real numbers"):
        made(write(tmp_path / "a.npy", x))


def test_complex_tensors_and_other_content_of_pt(tmp_path):
    torch.save(torch.zeros(3, 2, dtype=torch.complex64), tmp_path / "a.pt")
    with pytest.raises(DataError, match="holds values of type complex64"):
        made(str(tmp_path / "a.pt"))
    torch.save([1, 2], tmp_path / "b.pt")
    with pytest.raises(DataError, match="holds a list; save a tensor, or a dict of tensors"):
        made(str(tmp_path / "b.pt"))
    torch.save({"x": [1, 2]}, tmp_path / "c.pt")
    with pytest.raises(DataError, match="holds values of type list"):
        made(str(tmp_path / "c.pt"))


@pytest.mark.parametrize("chunk", [1, 10**6])
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_values_that_are_not_finite(tmp_path, monkeypatch, chunk, bad):
    monkeypatch.setattr(statistics, "CHUNK", chunk)
    x = X.astype(np.float64)
    x[13, 1] = x[13, 2] = x[17, 0] = bad
    path = write(tmp_path / "bad.npy", x)
    message = rf"{re.escape(path)} holds 3 NaN or infinite values, the first in row 13 \("
    with pytest.raises(DataError, match=message):
        made(path, write(tmp_path / "good.npy"))
    with pytest.raises(DataError, match=message):
        made(write(tmp_path / "good.npy"), path)
    with pytest.raises(DataError, match=message):
        made(write(tmp_path / "good.npy"), test=path)


def test_the_split_does_not_hide_a_bad_row(tmp_path):
    for row in range(20):
        x = X.copy()
        x[row, 0] = np.nan
        with pytest.raises(DataError, match=rf"a\.npy holds 1 NaN or infinite values, the first in row {row} "):
            made(write(tmp_path / "a.npy", x), val_fraction=0.5)


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (np.zeros((0, 3)), "holds no samples; it needs at least one"),
        (np.zeros(5), r"array of shape \(5,\); the first dimension counts the samples"),
        (np.array(5.0), r"array of shape \(\); the first dimension"),
    ],
)
def test_shapes_that_hold_no_samples(tmp_path, x, message):
    np.savez(tmp_path / "a.npz", x=x)
    for path in (write(tmp_path / "a.npy", x), str(tmp_path / "a.npz")):
        with pytest.raises(DataError, match=message):
            made(path)


def test_sample_shapes_that_differ(tmp_path):
    train, other = write(tmp_path / "a.npy"), write(tmp_path / "b.npy", X[:, :2])
    for name in ("val", "test"):
        with pytest.raises(DataError, match=rf"--data\.{name} have the shape \(2,\) and those of --data\.train \(3,\)"):
            made(train, **{name: other})


@pytest.mark.parametrize(
    ("y", "message"),
    [
        (np.zeros(19, dtype=int), r"holds 19 labels for the 20 samples of --data\.train"),
        (np.zeros(20), r"are float64 of shape \(20,\); they must be integers"),
        (np.full(20, -1), "go down to -1; class numbers start from 0"),
        (np.zeros((20, 2, 2)), r"float64 of shape \(20, 2, 2\)"),
    ],
)
def test_labels_that_do_not_fit(tmp_path, y, message):
    path = write(tmp_path / "a.npy")
    np.save(tmp_path / "y.npy", y)
    with pytest.raises(DataError, match=message):
        made(path, train_labels=str(tmp_path / "y.npy"))


def test_labels_without_samples(tmp_path):
    with pytest.raises(ConfigError, match=r"--data\.val_labels is given without --data\.val; give both or neither"):
        ArraysDataModule("a.npy", val_labels="y.npy")


def test_constant_data_cannot_be_scaled(tmp_path):
    path = write(tmp_path / "a.npy", np.full((20, 2), 3.0))
    for normalize in ("unit", "standard"):
        with pytest.raises(DataError, match=rf"All values of .* are 3, .*--data\.normalize {normalize} is not"):
            made(path, normalize=normalize)


def test_unknown_normalization():
    with pytest.raises(ConfigError, match=r"--data\.normalize is 'zca'; it can be none, unit or standard"):
        ArraysDataModule("a.npy", normalize="zca")


def test_one_sample_cannot_be_split(tmp_path):
    with pytest.raises(DataError, match=r"a\.npy .* a single sample, .* with --data\.val"):
        made(write(tmp_path / "a.npy", X[:1]))


def test_it_is_known_where_the_test_set_is_the_validation_set(tmp_path):
    for seed, name in enumerate(("train", "other")):
        np.save(tmp_path / f"{name}.npy", np.random.default_rng(seed).random((20, 3), dtype=np.float32))
    train, other = (str(tmp_path / f"{name}.npy") for name in ("train", "other"))
    without = ArraysDataModule(train)
    named_twice = ArraysDataModule(train, val=other, test=other)
    apart = ArraysDataModule(train, test=other)
    for data, same in ((without, True), (named_twice, True), (apart, False)):
        data.setup()
        assert data.test_is_validation is same
        assert ("the test set being the validation set" in data.description) is same


TARGETS = np.stack([X.sum(1) * 10 + 1, X.sum(1) * 10 + 3], axis=1)


def rows_and_targets(data: ArraysDataModule) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    sets = {"train": data.train_set, "val": data.val_set, "test": data.test_set}
    return {name: (one.take(99)[0].numpy(), one.take(99)[2].numpy()) for name, one in sets.items()}


def test_targets_from_files_follow_their_samples_into_each_set(tmp_path):
    np.save(tmp_path / "y.npy", TARGETS)
    np.savez(tmp_path / "test.npz", x=X[:4] + 1, target=TARGETS[:4], other=TARGETS[4:8])
    named = str(tmp_path / "test.npz")
    data = made(write(tmp_path / "x.npy"), test=named, target=str(tmp_path / "y.npy"), test_target=named)
    assert data.target_shape == (2,)
    found = rows_and_targets(data)
    assert [len(x) for x, _ in found.values()] == [18, 2, 4]
    for name, (x, target) in found.items():
        of_rows = (x - (name == "test")).sum(1) * 10
        assert np.array_equal(target, np.stack([of_rows + 1, of_rows + 3], axis=1)), name
    other = made(named, target=named, target_key="other", val_fraction=0.3)
    x, target = rows_and_targets(other)["train"]
    assert np.array_equal(target[:, 0], (x - 1).sum(1) * 10 + 361)  # four rows later: 3 · 12 more in each of ten


def test_targets_are_normalized_by_their_own_numbers(tmp_path):
    np.save(tmp_path / "y.npy", TARGETS)
    data = made(write(tmp_path / "x.npy"), target=str(tmp_path / "y.npy"), normalize="standard")
    x, target = rows_and_targets(data)["train"]
    of_rows = TARGETS[data.train_set.indices.numpy()].astype(np.float64)
    np.testing.assert_allclose(target, (of_rows - of_rows.mean()) / of_rows.std(), rtol=1e-5, atol=1e-6)
    assert abs(float(x.mean())) < 1e-5
    pairs = data.example_pairs(5, torch.Generator().manual_seed(0))
    places = [np.flatnonzero((x == row).all(1))[0] for row in pairs[0].numpy()]
    assert np.array_equal(target[places], pairs[1].numpy())


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"target": "y", "val": "x"}, ConfigError, "only one of --data.target and --data.val_target is given"),
        ({"test_target": "y", "test": "x"}, ConfigError, "only one of --data.target and --data.test_target is given"),
        ({"val_target": "y"}, ConfigError, "--data.val_target is given without --data.val"),
        ({"target_key": "a"}, ConfigError, "target_key is a, but no file of targets is named by --data.target"),
        ({"target": "missing"}, DataError, r"--data.target names .*missing.npy, which does not exist"),
        (
            {"target": "short"},
            DataError,
            r"short.npy \(--data.target\) holds 19 targets for the 20 samples of --data.t",
        ),
        ({"target": "flat"}, DataError, r"flat.npy \(--data.target\) holds an array of shape \(20,\)"),
        (
            {"target": "y", "val": "x", "val_target": "x"},
            DataError,
            r"samples of --data.val_target have the shape \(3,\) and those of --data.target \(2,\)",
        ),
        ({"target": "broken"}, DataError, r"broken.npy holds 1 NaN or infinite values, the first in row 7"),
    ],
)
def test_wrong_targets_are_refused_in_a_sentence(tmp_path, options, error, message):
    broken = TARGETS.copy()
    broken[7, 0] = np.nan
    contents = {"x": X, "y": TARGETS, "short": TARGETS[:19], "flat": TARGETS[:, 0], "broken": broken}
    for name, array in contents.items():
        np.save(tmp_path / f"{name}.npy", array)
    paths = {k: v if k == "target_key" else str(tmp_path / f"{v}.npy") for k, v in options.items()}
    with pytest.raises(error, match=message):
        ArraysDataModule(str(tmp_path / "x.npy"), seed=1, **paths).setup()

import gzip
import hashlib
import os
import re
import socket
import struct
import time

import pytest
import torch

from ae_lightning.data import MNISTDataModule
from ae_lightning.data import mnist as module
from ae_lightning.errors import ConfigError, DataError

SIZES = (40, 10)


def idx(array: torch.Tensor) -> bytes:
    header = bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape)
    return header + array.to(torch.uint8).numpy().tobytes()


def images(n: int) -> torch.Tensor:
    """Image i has the value i at row 1, column 2, and 0 elsewhere."""
    x = torch.zeros(n, 28, 28, dtype=torch.uint8)
    x[:, 1, 2] = torch.arange(n)
    return x


def contents() -> list[bytes]:
    arrays = []
    for n in SIZES:
        arrays += [images(n), torch.arange(n) % 10]
    return [idx(array) for array in arrays]


@pytest.fixture(autouse=True)
def offline(monkeypatch):
    def refuse(*args, **kwargs):
        raise OSError("no network in tests")

    monkeypatch.setattr(socket, "socket", refuse)
    monkeypatch.setattr(socket, "create_connection", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


@pytest.fixture
def root(tmp_path, monkeypatch):
    """Four small archives, and checksums that fit them."""
    folder = tmp_path / "MNIST" / "raw"
    folder.mkdir(parents=True)
    sums = []
    for name, content in zip(module.FILES, contents(), strict=True):
        packed = gzip.compress(content, mtime=0)
        (folder / f"{name}.gz").write_bytes(packed)
        sums.append(hashlib.md5(packed).hexdigest())
    monkeypatch.setitem(module.MD5, "MNIST", tuple(sums))
    return tmp_path


def made(root, **options) -> MNISTDataModule:
    data = MNISTDataModule(root=str(root), **options)
    data.prepare_data()
    data.setup()
    return data


def test_checksums_are_those_of_torchvision():
    from torchvision import datasets

    for name, sums in module.MD5.items():
        resources = getattr(datasets, name).resources
        assert [(f"{file}.gz", md5) for file, md5 in zip(module.FILES, sums, strict=True)] == resources


def test_answers_before_anything_is_loaded(tmp_path):
    data = MNISTDataModule(root=str(tmp_path / "nowhere"))
    assert data.input_shape == (1, 28, 28)
    assert data.value_range == (0.0, 1.0)
    assert data.num_classes == 10
    low, high = MNISTDataModule(normalize=(0.5, 0.25)).value_range
    assert (low, high) == (pytest.approx(-2), pytest.approx(2))


def test_reads_archives_without_unpacking_them(root):
    before = sorted(path.name for path in (root / "MNIST" / "raw").iterdir())
    data = made(root)
    assert sorted(path.name for path in (root / "MNIST" / "raw").iterdir()) == before
    assert [len(s) for s in (data.train_set, data.val_set, data.test_set)] == [36, 4, 10]
    x, y = data.test_set.take(10)
    assert x.shape == (10, 1, 28, 28)
    assert x[:, 0, 1, 2].tolist() == pytest.approx([i / 255 for i in range(10)])
    assert float(x.sum()) == pytest.approx(45 / 255)
    assert y.dtype == torch.int64
    assert y.tolist() == list(range(10))
    values = [round(float(x[0, 1, 2]) * 255) for part in (data.train_set, data.val_set) for x, _ in part]
    assert sorted(values) == list(range(40))


def test_unpacked_files_do_as_well(root):
    folder = root / "MNIST" / "raw"
    expected = made(root).fingerprint()
    for path in folder.glob("*.gz"):
        path.with_suffix("").write_bytes(gzip.decompress(path.read_bytes()))
        path.unlink()
    assert made(root).fingerprint() == expected


def test_root_comes_from_the_environment(root, monkeypatch):
    monkeypatch.setenv("AE_LIGHTNING_DATA", str(root))
    data = MNISTDataModule()
    data.setup()
    assert len(data.test_set) == 10
    monkeypatch.delenv("AE_LIGHTNING_DATA")
    assert str(MNISTDataModule().root) == "data"


def test_missing_and_offline(root, monkeypatch):
    # torchvision is told that each mirror is out of reach, as it is without a network.
    import torchvision.datasets.mnist as mirror

    asked = []

    def unreachable(url, **kwargs):
        asked.append(url)
        raise mirror.URLError("Name or service not known")

    monkeypatch.setattr(mirror, "download_and_extract_archive", unreachable)
    folder = root / "MNIST" / "raw"
    (folder / "t10k-images-idx3-ubyte.gz").unlink()
    with pytest.raises(DataError) as caught:
        made(root)
    lines = str(caught.value).split("\n")
    assert lines[0].startswith(f"MNIST is not complete in {folder}. Downloading failed: ")
    assert "Name or service not known" in lines[0]
    assert lines[1] == "  found: train-images-idx3-ubyte, train-labels-idx1-ubyte, t10k-labels-idx1-ubyte"
    assert lines[2] == "  missing: t10k-images-idx3-ubyte.gz"
    assert all(option in lines[3] for option in ("--data.root", "AE_LIGHTNING_DATA", "--data.download true"))
    assert asked


def test_missing_without_download(tmp_path):
    data = MNISTDataModule("KMNIST", root=str(tmp_path), download=False)
    message = (
        rf"KMNIST is not complete in {re.escape(str(tmp_path))}/KMNIST/raw\. --data\.download is false\.\n"
        r"  found: none of the four files\n  missing: train-images-idx3-ubyte\.gz, train-labels"
    )
    with pytest.raises(DataError, match=message):
        data.prepare_data()
    with pytest.raises(DataError, match="KMNIST is not complete"):
        data.setup()


def test_damaged_archive_is_named(root):
    path = root / "MNIST" / "raw" / "train-images-idx3-ubyte.gz"
    path.write_bytes(path.read_bytes()[:-5])
    expected = module.MD5["MNIST"][0]
    where = re.escape(str(path.parent))
    message = rf"train-images-idx3-ubyte\.gz in {where} is damaged \(md5 \w+, expected {expected}\); replace it"
    with pytest.raises(DataError, match=message):
        made(root)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda content: content[:-1], r"31,359 bytes of data, expected 31,360 by its header"),
        (lambda content: content[:9], "it ends within its header"),
        (lambda content: b"", "not that of an idx file of bytes"),
        (lambda content: b"<html>" + content, "not that of an idx file of bytes"),
    ],
)
def test_damaged_unpacked_file_is_named(root, change, message):
    path = root / "MNIST" / "raw" / "train-images-idx3-ubyte.gz"
    path.with_suffix("").write_bytes(change(contents()[0]))
    path.unlink()
    with pytest.raises(DataError, match=rf"train-images-idx3-ubyte in .* is damaged \(.*{message}\)"):
        made(root)


@pytest.mark.parametrize(
    ("file", "array", "message"),
    [
        (0, torch.zeros(40, 14, 14), r"train-images.* array of 40×14×14; expected n×28×28 images"),
        (1, torch.zeros(39), r"train-labels.* array of 39; expected 40 labels"),
    ],
)
def test_other_shapes(root, file, array, message):
    path = root / "MNIST" / "raw" / module.FILES[file]
    path.write_bytes(idx(array))
    path.with_name(f"{path.name}.gz").unlink()
    with pytest.raises(DataError, match=message):
        made(root)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_unreadable_file(root):
    path = root / "MNIST" / "raw" / "train-images-idx3-ubyte.gz"
    path.chmod(0)
    with pytest.raises(DataError, match=r"train-images.* cannot be read \(Permission denied\)"):
        made(root)


@pytest.mark.parametrize(("split", "shift", "classes"), [("balanced", 0, 47), ("letters", 1, 26)])
def test_emnist_stands_upright(tmp_path, split, shift, classes):
    folder = tmp_path / "EMNIST" / "raw"
    folder.mkdir(parents=True)
    for part, n in zip(("train", "test"), SIZES, strict=True):
        # As in the original files, rows and columns are exchanged; the letters count from 1.
        (folder / f"emnist-{split}-{part}-images-idx3-ubyte").write_bytes(idx(images(n).mT))
        labels = torch.arange(n) % 10 + shift
        (folder / f"emnist-{split}-{part}-labels-idx1-ubyte.gz").write_bytes(gzip.compress(idx(labels)))
    data = made(tmp_path, name="EMNIST", split=split)
    x, y = data.test_set.take(10)
    assert x[:, 0, 1, 2].tolist() == pytest.approx([i / 255 for i in range(10)])
    assert y.tolist() == list(range(10))
    assert data.num_classes == classes
    assert data.description == f"EMNIST {split}: 36 train, 4 validation, 10 test images of 1×28×28"


def test_emnist_damaged_archive_without_known_checksum(tmp_path):
    folder = tmp_path / "EMNIST" / "raw"
    folder.mkdir(parents=True)
    data = MNISTDataModule("EMNIST", root=str(tmp_path))
    for file in data.files:
        (folder / f"{file}.gz").write_bytes(gzip.compress(contents()[0])[:-20])
    with pytest.raises(DataError, match=r"emnist-balanced-train-images-idx3-ubyte\.gz in .* is damaged \("):
        data.setup()


def test_unknown_names():
    with pytest.raises(ConfigError, match=r"--data\.name is 'CIFAR10'; it can be MNIST, FashionMNIST"):
        MNISTDataModule("CIFAR10")
    with pytest.raises(ConfigError, match=r"--data\.split is 'big'; it can be balanced, byclass"):
        MNISTDataModule("EMNIST", split="big")


@pytest.mark.mnist
def test_real_mnist_is_what_torchvision_makes_of_it(mnist_root, tmp_path):
    from torchvision import datasets, transforms

    for path in (mnist_root / "MNIST" / "raw").glob("*.gz"):
        target = tmp_path / "MNIST" / "raw" / path.name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(path.read_bytes())
    start = time.process_time()
    data = made(tmp_path, normalize="standard")
    assert time.process_time() - start < 5  # it takes 1 s
    steps = transforms.Compose([transforms.ToTensor(), transforms.Normalize((0.1307,), (0.3081,))])
    truth = datasets.MNIST(tmp_path, train=False, download=True, transform=steps)
    x, y = data.test_set.take(100)
    for number in range(100):
        image, label = truth[number]
        torch.testing.assert_close(x[number], image, rtol=1e-6, atol=1e-6)
        assert int(y[number]) == label
    training = datasets.MNIST(tmp_path, train=True)
    assert torch.equal(data.train_set.x, training.data)
    assert torch.equal(data.train_set.y, training.targets)
    assert data.description == "MNIST: 54,000 train, 6,000 validation, 10,000 test images of 1×28×28"
    whole = torch.cat([data.train_set.take(54_000)[0], data.val_set.take(6_000)[0]])
    assert float(whole.mean()) == pytest.approx(0, abs=1e-3)
    assert float(whole.std()) == pytest.approx(1, abs=1e-3)

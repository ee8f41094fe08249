import json
from pathlib import Path

import pytest

from ae_lightning.files import replacing, write_json, write_text


def test_the_name_appears_when_the_file_is_whole(tmp_path):
    path = tmp_path / "a.bin"
    with replacing(path) as temporary:
        temporary.write_bytes(b"whole")
        assert temporary.parent == tmp_path  # a rename over file systems would be a copy
        assert not path.exists()
    assert path.read_bytes() == b"whole"
    assert list(tmp_path.iterdir()) == [path]


def fail(path: Path, error: BaseException) -> None:
    """Fail with half of the file written."""
    with replacing(path) as temporary:
        temporary.write_bytes(b"ha")
        raise error


@pytest.mark.parametrize("error", [OSError("disk full"), KeyboardInterrupt()], ids=["error", "interrupt"])
def test_a_failure_leaves_what_was_there_and_nothing_else(error, tmp_path):
    path = tmp_path / "a.bin"
    with pytest.raises(type(error)):
        fail(path, error)
    assert list(tmp_path.iterdir()) == []
    path.write_bytes(b"old")
    with pytest.raises(type(error)):
        fail(path, error)
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_failure_before_anything_was_written(tmp_path):
    with pytest.raises(ZeroDivisionError), replacing(tmp_path / "a.bin"):
        raise ZeroDivisionError
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("own", [False, True], ids=["of a full disk", "of its own file"])
def test_a_file_that_cannot_be_written_is_named(own, tmp_path):
    path = tmp_path / "a.bin"
    with pytest.raises(OSError, match="No space left on device") as caught, replacing(path) as temporary:
        raise OSError(28, "No space left on device", *([str(temporary)] if own else []))
    assert caught.value.filename == str(path)


def test_another_file_that_fails_meanwhile_keeps_its_name(tmp_path):
    other = tmp_path / "other"
    with pytest.raises(FileNotFoundError) as caught, replacing(tmp_path / "a.bin"):
        other.read_bytes()
    assert caught.value.filename == str(other)


def test_no_glob_for_the_file_s_ending_finds_the_temporary(tmp_path):
    with replacing(tmp_path / "step_00000001.safetensors") as temporary:
        temporary.touch()
        assert list(tmp_path.glob("step_*.safetensors")) == []


def test_text_is_utf_8_in_a_folder_that_need_not_exist(tmp_path):
    path = tmp_path / "new" / "folder" / "a.txt"
    write_text(path, "x̂ → ∞\n")
    assert path.read_bytes() == "x̂ → ∞\n".encode()
    write_text(path, "again")
    assert path.read_text() == "again"


def test_json_comes_back_and_a_failure_keeps_the_old(tmp_path):
    path = tmp_path / "a.json"
    content = {"steps": [0, 1], "loss": 0.1, "name": None}
    write_json(path, content)
    assert json.loads(path.read_text()) == content
    with pytest.raises(TypeError):
        write_json(path, {"bad": object()})
    assert json.loads(path.read_text()) == content

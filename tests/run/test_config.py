"""`config.yaml` and what it was before."""

import pytest

from ae_lightning.errors import RunFolderError
from ae_lightning.run.config import amend_config, is_run, read_config, read_purpose, write_config


def test_settings_that_change_keep_the_earlier_ones(tmp_path):
    assert not is_run(tmp_path)
    write_config(tmp_path, "a: 1\n")
    assert is_run(tmp_path)
    write_config(tmp_path, "# the same\na:   1\n")
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {"config.yaml": "a: 1\n"}
    write_config(tmp_path, "a: 2\n")
    write_config(tmp_path, "a: 1\n")
    names = {path.name: path.read_text() for path in tmp_path.iterdir()}
    assert names == {"config.1.yaml": "a: 1\n", "config.2.yaml": "a: 2\n", "config.yaml": "a: 1\n"}
    assert read_config(tmp_path) == {"a": 1}


def test_the_first_line_says_what_a_run_was_for(tmp_path):
    write_config(tmp_path, "# What does it find?\n# More.\na: 1\n")
    assert read_purpose(tmp_path) == "What does it find?"
    assert read_config(tmp_path) == {"a": 1}
    amend_config(tmp_path, "a: 1  # no line of its own\n")
    assert read_purpose(tmp_path) == ""
    # What YAML takes for the end of a line ends it here too: the rest would be read as a setting.
    (tmp_path / "config.yaml").write_bytes("# one\N{LINE SEPARATOR}b: 2".encode())
    assert read_purpose(tmp_path) == "one"
    (tmp_path / "config.yaml").write_bytes(b"# \xff")
    with pytest.raises(RunFolderError, match="the settings of a run are damaged"):
        read_purpose(tmp_path)


@pytest.mark.parametrize("text", ["a: [1", "a: 1\na: 2\n", "- a\n", ""], ids=["cut", "twice", "a list", "nothing"])
def test_damaged_settings_are_named_and_stay(text, tmp_path):
    (tmp_path / "config.yaml").write_text(text)
    for use in (read_config, lambda folder: write_config(folder, "a: 1\n")):
        with pytest.raises(RunFolderError, match=r"the settings of a run are damaged: \S+config\.yaml"):
            use(tmp_path)
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {"config.yaml": text}

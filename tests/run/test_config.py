"""`config.yaml` and what it was before."""

import pytest

from ae_lightning.errors import RunFolderError
from ae_lightning.run.config import is_run, read_config, write_config


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


@pytest.mark.parametrize("text", ["a: [1", "a: 1\na: 2\n", "- a\n", ""], ids=["cut", "twice", "a list", "nothing"])
def test_damaged_settings_are_named_and_stay(text, tmp_path):
    (tmp_path / "config.yaml").write_text(text)
    for use in (read_config, lambda folder: write_config(folder, "a: 1\n")):
        with pytest.raises(RunFolderError, match=r"the settings of a run are damaged: \S+config\.yaml"):
            use(tmp_path)
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {"config.yaml": text}

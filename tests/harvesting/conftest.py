from pathlib import Path

import pytest
from reading import Reader, model_and_tokenizer


@pytest.fixture
def reader() -> Reader:
    return model_and_tokenizer()[0].eval()


@pytest.fixture
def texts(tmp_path: Path) -> list[Path]:
    """Two files of seven words and of two."""
    first, second = tmp_path / "first.txt", tmp_path / "second.txt"
    first.write_text("the cat sat on\nthe mat a\n")
    second.write_text("cat sat")
    return [first, second]

"""Where runs live, and that two never share a folder."""

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from ae_lightning.errors import RunFolderError
from ae_lightning.run.place import claim, continues_in_place, run_of


def test_versions_count_up_and_a_gap_is_not_filled(tmp_path: Path) -> None:
    assert claim(tmp_path, "a") == tmp_path / "a" / "version_0"
    (tmp_path / "a" / "version_7").mkdir()
    (tmp_path / "a" / "version_x").mkdir()
    assert claim(tmp_path, "a") == tmp_path / "a" / "version_8"
    assert claim(tmp_path, "b") == tmp_path / "b" / "version_0"


def test_threads_never_share_a_folder(tmp_path: Path) -> None:
    with ThreadPoolExecutor(16) as pool:
        folders = list(pool.map(lambda _: claim(tmp_path, "a"), range(64)))
    assert sorted(int(folder.name[8:]) for folder in folders) == list(range(64))
    assert all(folder.is_dir() for folder in folders)


@pytest.mark.slow  # imports; the threads above run the same race
def test_processes_never_share_a_folder(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from ae_lightning.run.place import claim\n"
        "sys.stdin.readline()\n"
        "for _ in range(20): print(claim(Path(sys.argv[1]), 'a').name)"
    )
    processes = [
        subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        for _ in range(2)
    ]
    for process in processes:
        assert process.stdin is not None
        process.stdin.write(b"go\n")
        process.stdin.flush()
    names = [name for process in processes for name in process.communicate()[0].split()]
    assert len(names) == len(set(names)) == 40


def test_an_experiment_may_not_be_a_file(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("")
    with pytest.raises(RunFolderError, match=r"cannot be created in .*/a .*--trainer.default_root_dir"):
        claim(tmp_path, "a")


def test_a_checkpoint_knows_its_run(tmp_path: Path) -> None:
    run = tmp_path / "version_0"
    (run / "checkpoints").mkdir(parents=True)
    last, best = run / "checkpoints" / "last.ckpt", run / "checkpoints" / "best.ckpt"
    assert run_of(last) is None
    assert not continues_in_place(last)
    (run / "config.yaml").write_text("{}")
    assert run_of(last) == run
    assert continues_in_place(last)
    assert not continues_in_place(best)
    assert run_of(tmp_path / "bare.ckpt") is None

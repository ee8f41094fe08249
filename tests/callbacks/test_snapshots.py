import errno
import io
import json
from pathlib import Path

import pytest
import safetensors.torch
import torch
from lightning.pytorch import Callback

from ae_lightning.callbacks.schedule import Schedule
from ae_lightning.callbacks.snapshots import WeightSnapshots
from ae_lightning.models.fully_connected import FullyConnectedAutoencoder
from ae_lightning.models.overcomplete import OvercompleteAutoencoder
from ae_lightning.run.loggers import run_loggers
from ae_lightning.run.snapshots import read_index

EVERY_STEP = Schedule(every=1, unit="steps")


class Witness(Callback):
    """Clones all parameters when the fit starts and after every optimizer step."""

    def __init__(self) -> None:
        self.seen: dict[int, dict[str, torch.Tensor]] = {}

    def _look(self, trainer, pl_module) -> None:
        state = {name: value.detach().clone() for name, value in pl_module.named_parameters()}
        self.seen.setdefault(trainer.global_step, state)

    def on_train_start(self, trainer, pl_module) -> None:
        self._look(trainer, pl_module)

    def on_train_batch_end(self, trainer, pl_module, *args) -> None:
        self._look(trainer, pl_module)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "experiment" / "version_0"


def steps_in(folder: Path) -> list[int]:
    return sorted(int(path.stem.removeprefix("step_")) for path in (folder / "snapshots").glob("*.safetensors"))


def load(folder: Path, step: int) -> dict[str, torch.Tensor]:
    return safetensors.torch.load_file(folder / "snapshots" / f"step_{step:08d}.safetensors")


@pytest.mark.parametrize("instances", [None, 2])
def test_they_hold_the_weights_of_their_moments(instances, make_trainer, digits, folder):
    witness = Witness()
    model = OvercompleteAutoencoder((1, 8, 8), 70, instances=instances)
    trainer = make_trainer(witness, WeightSnapshots(Schedule(count=4)), max_epochs=2, logger=run_loggers(folder))
    trainer.fit(model, digits)
    assert steps_in(folder) == [0, 4, 8, 12]
    lead = () if instances is None else (instances,)
    for step in steps_in(folder):
        found, seen = load(folder, step), witness.seen[step]
        assert found["encoder_vectors"].shape == found["decoder_vectors"].shape == (*lead, 70, 64)
        # A row is one latent: the encoder's weight, (input, latent), is turned, the decoder's is not.
        assert torch.equal(found["encoder_vectors"], seen["dictionary.W_enc"].transpose(-1, -2))
        assert torch.equal(found["decoder_vectors"], seen["dictionary.W_dec"])
        assert torch.equal(found["encoder_bias"], seen["dictionary.b_enc"])
        assert torch.equal(found["decoder_bias"], seen["dictionary.b_dec"])
        assert len(found) == 4
    assert not torch.equal(load(folder, 0)["encoder_vectors"], load(folder, 12)["encoder_vectors"])


def test_of_a_deep_model_they_hold_every_parameter_by_name(make_trainer, digits, folder):
    witness = Witness()
    model = FullyConnectedAutoencoder((1, 8, 8), 3, (5,))
    make_trainer(witness, WeightSnapshots(Schedule()), logger=run_loggers(folder)).fit(model, digits)
    for step in (0, 6):
        found = load(folder, step)
        assert found.keys() == witness.seen[step].keys() == dict(model.named_parameters()).keys()
        assert all(torch.equal(found[name], value) for name, value in witness.seen[step].items())


def test_the_index_lists_them_in_order_with_their_moments(make_trainer, digits, folder):
    snapshots = WeightSnapshots(Schedule(every=1))
    make_trainer(snapshots, max_epochs=2, logger=run_loggers(folder)).fit(OvercompleteAutoencoder((1, 8, 8), 3), digits)
    assert json.loads((folder / "snapshots" / "index.json").read_text()) == [
        {"step": 0, "epoch": 0, "images_seen": 0, "file": "step_00000000.safetensors"},
        {"step": 6, "epoch": 0, "images_seen": 1293, "file": "step_00000006.safetensors"},
        {"step": 12, "epoch": 1, "images_seen": 2586, "file": "step_00000012.safetensors"},
    ]


def test_batches_that_do_not_step_take_none(make_trainer, digits, folder):
    witness = Witness()
    make_trainer(witness, WeightSnapshots(EVERY_STEP), accumulate_grad_batches=4, logger=run_loggers(folder)).fit(
        OvercompleteAutoencoder((1, 8, 8), 3), digits
    )
    assert steps_in(folder) == [0, 1, 2]
    assert [entry["step"] for entry in read_index(folder / "snapshots")] == [0, 1, 2]
    assert torch.equal(load(folder, 1)["decoder_vectors"], witness.seen[1]["dictionary.W_dec"])


def test_a_run_that_ends_early_has_its_last_state(make_trainer, digits, folder):
    class EndsAt(Callback):
        def on_train_batch_end(self, trainer, *args) -> None:
            trainer.should_stop = trainer.global_step == 4

    witness = Witness()
    make_trainer(witness, EndsAt(), WeightSnapshots(Schedule(count=2)), max_epochs=9, logger=run_loggers(folder)).fit(
        OvercompleteAutoencoder((1, 8, 8), 3), digits
    )
    assert steps_in(folder) == [0, 4]
    assert torch.equal(load(folder, 4)["decoder_vectors"], witness.seen[4]["dictionary.W_dec"])


def test_a_save_that_fails_leaves_nothing_behind(make_trainer, digits, folder, monkeypatch):
    opened = Path.open

    class FullDisk(io.FileIO):
        def write(self, content) -> int:
            super().write(bytes(content)[:12])
            raise OSError(errno.ENOSPC, "No space left on device")

    def full_at_the_third(path, mode="r", *args, **kwargs):
        is_third = mode == "wb" and len(steps_in(folder)) == 2
        return FullDisk(path, "w") if is_third else opened(path, mode, *args, **kwargs)

    monkeypatch.setattr(Path, "open", full_at_the_third)
    with pytest.raises(OSError, match="No space left"):
        make_trainer(WeightSnapshots(EVERY_STEP), logger=run_loggers(folder)).fit(
            OvercompleteAutoencoder((1, 8, 8), 3), digits
        )
    names = sorted(path.name for path in (folder / "snapshots").iterdir())
    assert names == ["index.json", "step_00000000.safetensors", "step_00000001.safetensors"]
    assert [entry["step"] for entry in read_index(folder / "snapshots")] == [0, 1]
    assert load(folder, 1)["encoder_bias"].shape == (3,)


def test_a_resumed_run_forgets_what_came_after_its_checkpoint(make_trainer, digits, folder, tmp_path):
    class KeepAt4(Callback):
        def on_train_batch_end(self, trainer, *args) -> None:
            if trainer.global_step == 4:
                trainer.save_checkpoint(tmp_path / "four.ckpt")

    def run(ckpt_path: Path | None, **options) -> Witness:
        witness = Witness()
        trainer = make_trainer(
            witness, WeightSnapshots(Schedule(every=3, unit="steps")), KeepAt4(), logger=run_loggers(folder), **options
        )
        trainer.fit(OvercompleteAutoencoder((1, 8, 8), 3), digits, ckpt_path=ckpt_path, weights_only=True)
        return witness

    run(None, max_epochs=2)
    assert steps_in(folder) == [0, 3, 6, 9, 12]
    untouched = (folder / "snapshots" / "step_00000003.safetensors").stat()
    # The second time the run ends at step 6, and the files of steps 9 and 12 belong to nothing.
    witness = run(tmp_path / "four.ckpt", max_epochs=1)
    assert steps_in(folder) == [0, 3, 6]
    assert [entry["step"] for entry in read_index(folder / "snapshots")] == [0, 3, 6]
    assert torch.equal(load(folder, 6)["decoder_vectors"], witness.seen[6]["dictionary.W_dec"])
    assert (folder / "snapshots" / "step_00000003.safetensors").stat().st_mtime_ns == untouched.st_mtime_ns


def test_a_second_fit_into_the_same_folder_starts_the_index_anew(make_trainer, digits, folder):
    for _ in range(2):
        witness = Witness()
        make_trainer(witness, WeightSnapshots(Schedule(every=3, unit="steps")), logger=run_loggers(folder)).fit(
            OvercompleteAutoencoder((1, 8, 8), 3), digits
        )
    assert [entry["step"] for entry in read_index(folder / "snapshots")] == [0, 3, 6]
    assert torch.equal(load(folder, 0)["decoder_vectors"], witness.seen[0]["dictionary.W_dec"])


def test_without_a_logger_they_go_where_lightning_s_checkpoints_go(make_trainer, digits, tmp_path):
    make_trainer(WeightSnapshots(Schedule())).fit(OvercompleteAutoencoder((1, 8, 8), 3), digits)
    assert steps_in(tmp_path) == [0, 6]


def test_a_fast_dev_run_writes_nothing(make_trainer, digits, tmp_path):
    make_trainer(WeightSnapshots(EVERY_STEP), fast_dev_run=2).fit(OvercompleteAutoencoder((1, 8, 8), 3), digits)
    assert list(tmp_path.rglob("*")) == []


def test_a_fast_dev_run_leaves_the_snapshots_of_the_fit_before_it(make_trainer, digits, folder):
    snapshots = WeightSnapshots(EVERY_STEP)
    make_trainer(snapshots, logger=run_loggers(folder)).fit(OvercompleteAutoencoder((1, 8, 8), 3), digits)
    before = {path.name: path.read_bytes() for path in (folder / "snapshots").iterdir()}
    make_trainer(snapshots, fast_dev_run=2).fit(OvercompleteAutoencoder((1, 8, 8), 3), digits)
    assert {path.name: path.read_bytes() for path in (folder / "snapshots").iterdir()} == before


def test_taking_them_does_not_change_training(make_trainer, digits, folder):
    states = []
    for callbacks in ([], [WeightSnapshots(EVERY_STEP)]):
        torch.manual_seed(0)
        model = OvercompleteAutoencoder((1, 8, 8), 70)
        make_trainer(*callbacks, logger=run_loggers(folder)).fit(model, digits)
        states.append([*model.state_dict().values(), torch.get_rng_state()])
    assert all(torch.equal(without, with_them) for without, with_them in zip(*states, strict=True))


def test_a_folder_without_an_index_has_none(tmp_path):
    assert read_index(tmp_path / "snapshots") == []

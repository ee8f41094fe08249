"""When a row of metrics is due, and how its number reaches Lightning without staying there."""

import ast
from pathlib import Path

import pytest
from lightning.pytorch import Callback

import ae_lightning
from ae_lightning.models.overcomplete import OvercompleteAutoencoder
from ae_lightning.training.rows import is_due_after

CHANGES = {"pop", "popitem", "update", "clear", "setdefault"}


def test_rows_are_due_every_log_every_n_steps(make_trainer):
    trainer = make_trainer(log_every_n_steps=5)
    assert [step for step in range(1, 16) if is_due_after(step, trainer)] == [5, 10, 15]
    trainer = make_trainer(log_every_n_steps=0)
    assert not any(is_due_after(step, trainer) for step in range(16))


def test_lightning_hands_out_the_metrics_that_it_goes_on_with(make_trainer, digits):
    """What `rows.py` relies on: were it a copy, a number forgotten there would come back in a checkpoint's name."""

    class Meddler(Callback):
        known: list[set[str]]

        def on_train_end(self, trainer, pl_module) -> None:
            before = dict(trainer.callback_metrics)
            trainer.callback_metrics.pop("val/loss")
            trainer.callback_metrics["mine"] = before["val/loss"]
            self.known = [set(before), set(trainer.callback_metrics)]

    meddler = Meddler()
    make_trainer(meddler).fit(OvercompleteAutoencoder((1, 8, 8), 3), digits)
    before, after = meddler.known
    assert "val/loss" in before
    assert after == before - {"val/loss"} | {"mine"}


@pytest.mark.parametrize("bar", [True, False])
def test_the_losses_of_a_row_can_be_monitored_with_a_progress_bar_and_without(bar, make_trainer, digits, capsys):
    class Witness(Callback):
        def __init__(self) -> None:
            self.rows: list[tuple[float, float]] = []

        def on_train_batch_end(self, trainer, pl_module, outputs, *args) -> None:
            known = trainer.callback_metrics
            self.rows.append((float(known["train/loss"]), float(outputs["loss"])))

    witness = Witness()
    trainer = make_trainer(witness, enable_progress_bar=bar, log_every_n_steps=1)
    assert (trainer.progress_bar_callback is not None) == bar
    trainer.fit(OvercompleteAutoencoder((1, 8, 8), 3), digits)
    assert len(witness.rows) == 6
    assert all(known == loss for known, loss in witness.rows)


def test_a_row_s_number_does_not_outlive_its_row(make_trainer, digits):
    class Witness(Callback):
        def __init__(self) -> None:
            self.numbers: list[int] = []
            self.left: list[str] = []

        def on_validation_end(self, trainer, *args) -> None:
            if not trainer.sanity_checking:
                self.numbers.append(int(trainer.callback_metrics["step"]))

        def on_train_batch_end(self, trainer, *args) -> None:
            self.left += [name for name in trainer.callback_metrics if name == "step"]

    witness = Witness()
    make_trainer(witness, max_epochs=2).fit(OvercompleteAutoencoder((1, 8, 8), 3), digits)
    assert witness.numbers == [6, 12]
    assert witness.left == []


def test_only_one_file_changes_what_lightning_hands_out():
    changing = set()
    package = Path(ae_lightning.__file__).parent
    for path in package.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            called = isinstance(node, ast.Attribute) and node.attr in CHANGES
            assigned = isinstance(node, ast.Subscript) and not isinstance(node.ctx, ast.Load)
            owner = node.value if called or assigned else None
            if isinstance(owner, ast.Attribute) and owner.attr == "callback_metrics":
                changing.add(path.relative_to(package).as_posix())
    assert changing == {"training/rows.py"}

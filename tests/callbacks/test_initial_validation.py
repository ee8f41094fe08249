import pytest
import torch
import torch.nn.functional as F

from ae_lightning.callbacks.initial_validation import InitialValidation
from ae_lightning.data.digits import DigitsDataModule
from ae_lightning.models.overcomplete import OvercompleteAutoencoder


@pytest.mark.parametrize("instances", [None, 3])
def test_it_is_the_error_of_the_untrained_model_on_all_validation_images(instances, make_trainer, recorder):
    data = DigitsDataModule(eval_batch_size=100)
    model = OvercompleteAutoencoder((1, 8, 8), 70, instances=instances)
    untrained = OvercompleteAutoencoder((1, 8, 8), 70, instances=instances)
    untrained.load_state_dict(model.state_dict())
    make_trainer(InitialValidation(), logger=recorder).fit(model, data)
    x, _ = data.val_set.take(1000)
    assert len(x) == 144
    with torch.no_grad():
        x_hat = untrained(x).x_hat
    expected = float(F.mse_loss(x_hat, x.expand_as(x_hat)))  # with instances the mean over them
    for name in ("val/loss", "val/reconstruction"):
        series = recorder.series(name)
        assert list(series) == [0, 6]
        assert series[0] == pytest.approx(expected, rel=1e-5)
        assert series[6] < series[0]


def test_it_says_what_lightning_s_own_validation_says(make_trainer, recorder, digits):
    torch.manual_seed(0)
    model = OvercompleteAutoencoder((1, 8, 8), 70)
    (truth,) = make_trainer().validate(model, digits, verbose=False)
    make_trainer(InitialValidation(), logger=recorder).fit(model, digits)
    assert recorder.series("val/loss")[0] == pytest.approx(truth["val/loss"], rel=1e-6)


def test_a_resumed_run_and_one_without_validation_log_none(make_trainer, recorder, digits, tmp_path):
    model = OvercompleteAutoencoder((1, 8, 8), 70)
    trainer = make_trainer(InitialValidation(), logger=recorder, limit_val_batches=0)
    trainer.fit(model, digits)
    assert not [name for _, metrics in recorder.rows for name in metrics if name.startswith("val/")]
    trainer.save_checkpoint(tmp_path / "a.ckpt")
    trainer = make_trainer(InitialValidation(), logger=recorder, max_epochs=2)
    trainer.fit(model, digits, ckpt_path=tmp_path / "a.ckpt", weights_only=True)
    assert list(recorder.series("val/loss")) == [12]


def test_training_goes_on_as_without_it(make_trainer, digits):
    states = []
    for callbacks in ([], [InitialValidation()]):
        torch.manual_seed(0)
        model = OvercompleteAutoencoder((1, 8, 8), 70)
        make_trainer(*callbacks).fit(model, digits)
        states.append([*model.state_dict().values(), torch.get_rng_state()])
    assert all(torch.equal(without, with_it) for without, with_it in zip(*states, strict=True))

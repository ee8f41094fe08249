import pytest
import torch

from ae_lightning import OvercompleteAutoencoder, StandardSAE, ToyModel, load_autoencoder
from ae_lightning.data.digits import DigitsDataModule


@pytest.mark.parametrize(
    ("model", "shape"),
    [
        (lambda: OvercompleteAutoencoder((1, 8, 8), 16), (10, 1, 8, 8)),
        (lambda: StandardSAE((1, 8, 8), 16, penalty_weight=0.1), (10, 1, 8, 8)),
        (lambda: ToyModel((5,), 2, instances=3), (10, 3, 5)),
    ],
    ids=["overcomplete", "standard_sae", "toy_model"],
)
def test_loss_and_gradients_are_the_same(model, shape):
    torch.manual_seed(0)
    plain = model()
    compiled = model()
    compiled.load_state_dict(plain.state_dict())
    compiled.compile_loss(backend="aot_eager")  # needs no compiler of C++, and gives the same operations
    for batch in (shape[0], 3):  # the last one of an epoch is smaller
        x = torch.rand(batch, *shape[1:])
        (ours, output), (theirs, expected) = compiled.loss(x), plain.loss(x)
        torch.testing.assert_close(ours, theirs)
        torch.testing.assert_close(output, expected)
        ours["loss"].backward()
        theirs["loss"].backward()
    for one, other in zip(compiled.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(one.grad, other.grad)


def test_checkpoints_are_those_of_the_model_as_it_is(make_trainer, tmp_path):
    model = OvercompleteAutoencoder((1, 8, 8), 16)
    names = list(model.state_dict())
    model.compile_loss(backend="aot_eager")
    trainer = make_trainer(max_epochs=1, limit_train_batches=3)
    trainer.fit(model, DigitsDataModule(batch_size=64))
    trainer.save_checkpoint(tmp_path / "compiled.ckpt")
    assert list(torch.load(tmp_path / "compiled.ckpt", weights_only=True)["state_dict"]) == names
    loaded = load_autoencoder(tmp_path / "compiled.ckpt")
    x = torch.rand(4, 1, 8, 8)
    torch.testing.assert_close(loaded(x).x_hat, model.eval()(x).x_hat)

import pickle
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml

from ae_lightning.cli.main import main
from ae_lightning.errors import CheckpointError
from ae_lightning.models.base import Autoencoder
from ae_lightning.models.checkpoint import best_checkpoint, load_autoencoder
from ae_lightning.models.fully_connected import FullyConnectedAutoencoder
from ae_lightning.models.overcomplete import OvercompleteAutoencoder


@pytest.fixture
def saved(make_trainer, digits, tmp_path) -> tuple[FullyConnectedAutoencoder, Path]:
    """A model after two steps, and its checkpoint."""
    model = FullyConnectedAutoencoder((1, 8, 8), latent_dim=3, hidden_dims=(7, 5), latent_activation="tanh")
    trainer = make_trainer(max_steps=2)
    trainer.fit(model, digits)
    path = tmp_path / "kept" / "model.ckpt"
    trainer.save_checkpoint(path)
    return model, path


def change(path: Path, **changes: Any) -> None:
    """Replace top-level entries of a checkpoint."""
    torch.save(torch.load(path, weights_only=True) | changes, path)


def output(model: Autoencoder, x: torch.Tensor) -> torch.Tensor:
    with torch.no_grad():
        return model.eval()(x).x_hat


# --- round trips -----------------------------------------------------------------------------------------------------


def test_a_model_made_in_python_comes_back_with_class_settings_and_weights(saved, digits):
    model, path = saved
    loaded = load_autoencoder(path)
    assert type(loaded) is FullyConnectedAutoencoder
    assert not loaded.training
    assert (loaded.latent_shape, loaded.input_shape, loaded.images_seen) == ((3,), (1, 8, 8), 512)
    x, _ = digits.test_set.take(50)
    assert torch.equal(output(loaded, x), output(model, x))


@pytest.mark.parametrize("folder", [True, False], ids=["its folder", "its file"])
def test_a_run_of_the_command_line_comes_back(folder, tmp_path, monkeypatch, capsys, digits):
    monkeypatch.chdir(tmp_path)
    options = ["--data.batch_size", "256", "--trainer.max_epochs", "1", "--model.latent_dim", "70"]
    options += ["--model.optimizer", "torch.optim.SGD", "--model.optimizer.lr", "0.5", "--model.instances", "2"]
    assert main(["fit", "--model", "OvercompleteAutoencoder", *options, "--trainer.accelerator", "cpu"]) == 0
    (run,) = tmp_path.glob("lightning_logs/*/version_0")
    path = run / "checkpoints" / "last.ckpt"
    loaded = load_autoencoder(run if folder else path)
    assert type(loaded) is OvercompleteAutoencoder
    assert loaded.encoder_vectors.shape == (2, 70, 64)
    # The one file says what the other holds; after one epoch best and last are the same moment.
    stored = torch.load(path, weights_only=True)["state_dict"]
    x = digits.test_set.take(20)[0]
    flat = x.flatten(1)
    z = torch.relu(flat @ stored["dictionary.W_enc"] + stored["dictionary.b_enc"][:, None])
    x_hat = z @ stored["dictionary.W_dec"] + stored["dictionary.b_dec"][:, None]
    torch.testing.assert_close(output(loaded, x), x_hat.unflatten(-1, (1, 8, 8)))
    # The optimizer asked for is there again, as a function of the parameters.
    optimizer = loaded.configure_optimizers()
    assert (type(optimizer), optimizer.defaults["lr"]) == (torch.optim.SGD, 0.5)
    assert yaml.safe_load((run / "config.yaml").read_text())["model"]["init_args"]["latent_dim"] == 70


def test_every_file_of_a_fit_loads_without_running_code(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    probe = ["--trainer.callbacks+=LinearProbe", "--trainer.callbacks.train_size=200"]
    options = ["--data.batch_size=256", "--trainer.max_steps=8", "--trainer.accelerator=cpu", "--model.latent_dim=5"]
    assert main(["fit", "--model=FullyConnectedAutoencoder", *options, *probe]) == 0
    files = list(tmp_path.rglob("*.ckpt"))
    assert {path.name for path in files} == {"best.ckpt", "last.ckpt"}
    for path in files:
        assert "LinearProbe" in torch.load(path, weights_only=True)["callbacks"]
        assert load_autoencoder(path).latent_shape == (5,)


def test_an_optimizer_function_is_left_out_and_can_be_given_again(make_trainer, digits, tmp_path):
    model = FullyConnectedAutoencoder((1, 8, 8), 3, optimizer=lambda params: torch.optim.SGD(params, lr=0.1))
    trainer = make_trainer(max_steps=1)
    trainer.fit(model, digits)
    trainer.save_checkpoint(tmp_path / "a.ckpt")
    assert type(load_autoencoder(tmp_path / "a.ckpt").configure_optimizers()) is torch.optim.Adam
    again = load_autoencoder(tmp_path / "a.ckpt", optimizer=lambda params: torch.optim.SGD(params, lr=0.1))
    assert type(again.configure_optimizers()) is torch.optim.SGD
    trainer = make_trainer(max_steps=3, max_epochs=2)
    trainer.fit(again, digits, ckpt_path=tmp_path / "a.ckpt", weights_only=True)
    assert trainer.global_step == 3


def test_settings_may_be_numbers_of_numpy(make_trainer, digits, tmp_path):
    model = FullyConnectedAutoencoder((1, 8, 8), latent_dim=np.int64(6), hidden_dims=tuple(np.array([9, 8])))
    trainer = make_trainer(max_steps=1)
    trainer.fit(model, digits)
    trainer.save_checkpoint(tmp_path / "a.ckpt")
    loaded = load_autoencoder(tmp_path / "a.ckpt")
    assert [p.shape for p in loaded.parameters()] == [p.shape for p in model.parameters()]
    assert loaded.latent_shape == (6,)


class Scaled(OvercompleteAutoencoder):
    """A variant of the user's own, which chooses an argument of its parent's: the width."""

    def __init__(self, input_shape: tuple[int, ...], expansion: float = 2.0, **kwargs: Any) -> None:
        super().__init__(input_shape, latent_dim=round(64 * expansion), **kwargs)


def test_a_subclass_that_chooses_its_parent_s_arguments_comes_back(make_trainer, digits, tmp_path, monkeypatch):
    monkeypatch.setattr("ae_lightning.models.overcomplete.Scaled", Scaled, raising=False)
    monkeypatch.setattr(Scaled, "__module__", "ae_lightning.models.overcomplete")
    trainer = make_trainer(max_steps=1)
    # A float of numpy's is a Python float too, and yet pickled as code.
    trainer.fit(Scaled((1, 8, 8), expansion=np.float64(1.5), activation="sigmoid"), digits)
    trainer.save_checkpoint(tmp_path / "a.ckpt")
    loaded = load_autoencoder(tmp_path / "a.ckpt")
    assert isinstance(loaded, Scaled)
    assert loaded.latent_shape == (96,)
    assert isinstance(loaded.dictionary.activation, torch.nn.Sigmoid)


# --- which file ------------------------------------------------------------------------------------------------------


def test_of_a_run_s_folder_the_best_checkpoint_is_taken_else_the_last(tmp_path):
    (tmp_path / "checkpoints").mkdir()
    with pytest.raises(CheckpointError, match=r"has no checkpoint: neither checkpoints/best\.ckpt nor"):
        best_checkpoint(tmp_path)
    (tmp_path / "checkpoints" / "last.ckpt").touch()
    assert best_checkpoint(tmp_path).name == "last.ckpt"
    (tmp_path / "checkpoints" / "best.ckpt").touch()
    assert best_checkpoint(tmp_path).name == "best.ckpt"


def test_a_missing_file_names_those_that_are_there(saved):
    _, path = saved
    (path.parent / "other.ckpt").touch()
    with pytest.raises(CheckpointError, match=r"no checkpoint at .*modle\.ckpt; .* model\.ckpt, other\.ckpt$"):
        load_autoencoder(path.with_name("modle.ckpt"))
    with pytest.raises(CheckpointError, match=r"no checkpoint at .*nowhere/model\.ckpt$"):
        load_autoencoder(path.parent / "nowhere" / "model.ckpt")


# --- files that are no checkpoints -----------------------------------------------------------------------------------


# torch's reader stumbles in its own way over nearly every first letter.
@pytest.mark.parametrize("text", [b"", b"e", b"0", b"hello\n", b"to be\n", b"step,epoch\r\n", bytes(range(256))])
def test_a_file_of_another_kind(text, tmp_path):
    path = tmp_path / "notes.ckpt"
    path.write_bytes(text)
    with pytest.raises(CheckpointError, match=r"notes\.ckpt is not a checkpoint: it is no file that torch\.save wrote"):
        load_autoencoder(path)


@pytest.mark.parametrize("keep", [0.999, 0.5, 0.1])
def test_a_truncated_file(keep, saved):
    _, path = saved
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * keep)])
    with pytest.raises(CheckpointError, match=r"model\.ckpt is not a whole checkpoint"):
        load_autoencoder(path)


class Bomb:
    """Creates a file when it is unpickled."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (self.target,))


@pytest.mark.parametrize("place", ["top", "hyper_parameters", "plain pickle"])
def test_code_in_a_file_is_not_run(place, saved, tmp_path):
    _, path = saved
    target = tmp_path / "fired"
    if place == "top":
        content = torch.load(path, weights_only=True) | {"bomb": Bomb(target)}
        torch.save(content, path)
    elif place == "hyper_parameters":
        change(path, hyper_parameters={"latent_dim": Bomb(target)})
    else:
        path.write_bytes(pickle.dumps({"state_dict": {}, "autoencoder": Bomb(target)}))
    with pytest.raises(CheckpointError, match=r"holds Python objects .* could run code"):
        load_autoencoder(path)
    assert not target.exists()
    torch.load(path, weights_only=False) if place != "plain pickle" else pickle.loads(path.read_bytes())
    assert target.exists()  # the bomb was live


@pytest.mark.parametrize(
    "class_path", ["pathlib.Path", "os.system", "torch.nn.Linear", "ae_lightning.models.base.Batch"]
)
def test_a_class_that_is_no_autoencoder_is_not_called(class_path, saved):
    _, path = saved
    change(path, autoencoder={"class_path": class_path})
    with pytest.raises(CheckpointError, match=f"names {class_path} as its class, which is not an Autoencoder"):
        load_autoencoder(path)


@pytest.mark.parametrize(
    "content",
    [
        {"weight": torch.zeros(2)},
        {"state_dict": {"weight": torch.zeros(2)}},
        {"state_dict": {}, "autoencoder": {}},
        [torch.zeros(2)],
        torch.zeros(2),
    ],
    ids=["state dict", "Lightning's", "our keys, empty", "list", "tensor"],
)
def test_a_torch_file_of_something_else(content, tmp_path):
    path = tmp_path / "other.ckpt"
    torch.save(content, path)
    with pytest.raises(CheckpointError, match=r"other\.ckpt is not a checkpoint of an ae_lightning autoencoder"):
        load_autoencoder(path)


# --- checkpoints that belong to something that changed ---------------------------------------------------------------


@pytest.mark.parametrize(
    "class_path", ["ae_lightning.models.overcomplete.Gone", "ae_lightning.gone.Variant", "Variant", "__main__.Mine"]
)
def test_a_class_that_no_longer_exists(class_path, saved):
    _, path = saved
    change(path, autoencoder={"class_path": class_path})
    with pytest.raises(CheckpointError, match=f"belongs to the class {class_path}, which cannot be imported"):
        load_autoencoder(path)


def test_weights_that_do_not_fit(saved):
    _, path = saved
    with pytest.raises(CheckpointError, match=r"does not fit FullyConnected.* now: the shape of .* is \[3, 5\] there"):
        load_autoencoder(path, latent_dim=4)
    stored = torch.load(path, weights_only=True)["state_dict"]
    change(path, state_dict={name: value for name, value in stored.items() if "decoder" not in name})
    with pytest.raises(CheckpointError, match=r"does not fit .* now: it has no decoder\.0\.0\.weight"):
        load_autoencoder(path)


def test_settings_that_do_not_fit(saved):
    _, path = saved
    hyper_parameters = torch.load(path, weights_only=True)["hyper_parameters"]
    change(path, hyper_parameters=hyper_parameters | {"depth": 3})
    with pytest.raises(CheckpointError, match=r"does not fit FullyConnectedAutoencoder as it is now: .*depth"):
        load_autoencoder(path)


def test_a_checkpoint_can_be_moved(saved, tmp_path):
    model, path = saved
    moved = tmp_path / "elsewhere.ckpt"
    shutil.move(path, moved)
    x = torch.rand(4, 1, 8, 8)
    assert torch.equal(output(load_autoencoder(str(moved)), x), output(model, x))

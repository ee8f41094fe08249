import shutil

import pytest
import torch
from torch import Tensor

RUN = [
    *("--config", "overcomplete_digits", "--model.latent_dim", "8", "--trainer.callbacks", "null"),
    *("--trainer.max_epochs", "1", "--trainer.limit_train_batches", "3", "--trainer.enable_progress_bar", "false"),
]


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs a C++ compiler on the CPU")
def test_a_compiled_run_trains_and_its_checkpoint_goes_on_without(ae, tmp_path):
    assert ae("fit", *RUN, "--compile", "true").code == 0
    checkpoint = tmp_path / "lightning_logs" / "overcomplete_digits" / "version_0" / "checkpoints" / "last.ckpt"
    more = ["--trainer.max_epochs", "2", "--compile", "false"]
    assert ae("fit", "--ckpt_path", checkpoint, *more).code == 0
    assert torch.load(checkpoint, weights_only=True)["global_step"] == 6


def test_where_it_cannot_be_compiled_one_sentence_says_so(ae, monkeypatch):
    from torch._inductor.exc import InvalidCxxCompiler

    def refuse(x: Tensor, target: Tensor) -> None:
        raise InvalidCxxCompiler

    monkeypatch.setattr(torch, "compile", lambda terms: refuse)
    found = ae("fit", *RUN, "--compile", "true")
    assert found.code == 2
    assert "--compile true does not work here (No working C++ compiler found" in found.err
    assert "leave it out, or install a C++ compiler (g++)" in found.err

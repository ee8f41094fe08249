"""A report promises an explorer only where there can be one."""

from types import SimpleNamespace

import pytest
import torch

from ae_lightning.errors import ConfigError
from ae_lightning.explorer.manifest import Choice, Content
from ae_lightning.models.standard_sae import StandardSAE
from ae_lightning.report.sections.explorer import ExplorerSection
from ae_lightning.run.run import Run


class Doubled(StandardSAE):
    """A variant that does more than its layers say."""

    def decode(self, z):
        return 2 * super().decode(z)


class Unfoldable(StandardSAE):
    """A variant that would have to be folded, and cannot be."""

    is_folded = False

    def fold(self, norms=True):
        raise ConfigError("each sample is scaled by its own norm")


@pytest.mark.parametrize(("variant", "shown"), [(StandardSAE, True), (Doubled, False), (Unfoldable, False)])
def test_what_the_explorer_refuses_is_not_promised(variant, shown, digits_sae, tmp_path, monkeypatch):
    run = Run.load(digits_sae)
    run.data.setup()
    model = variant((1, 8, 8), latent_dim=20)
    model.load_state_dict(run.model.state_dict())
    model.to(torch.float64)
    section = ExplorerSection(SimpleNamespace(run=run, data=run.data, model=model, folder=tmp_path, instance=None))
    assert bool(section.sentences()) == shown
    assert section.links() == []
    assert next(model.parameters()).dtype == torch.float64
    monkeypatch.setattr("ae_lightning.explorer.manifest.load_autoencoder", lambda path: model)
    if shown:
        assert Content(run, run.checkpoint, Choice(1, 5), pytest.fail).manifest["snapshots"]
    else:
        with pytest.raises(ConfigError, match="the explorer computes chains of fully connected layers"):
            Content(run, run.checkpoint, Choice(1, 5), pytest.fail)

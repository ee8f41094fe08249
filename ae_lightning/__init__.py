"""A PyTorch Lightning training framework for people who study what autoencoders represent.

The public names are imported when first used, so that `import ae_lightning` costs nothing.
"""

import importlib

from ae_lightning.version import __version__

_HOMES = {
    "Autoencoder": "models.base",
    "AutoencoderOutput": "models.base",
    "load_autoencoder": "models.checkpoint",
    "AutoencoderDataModule": "data.base",
    "ActivationsDataModule": "data.activations",
    "ArraysDataModule": "data.arrays",
    "DigitsDataModule": "data.digits",
    "GaussianDataModule": "data.gaussian",
    "MNISTDataModule": "data.mnist",
    "ShapesDataModule": "data.shapes",
    "SparseFeaturesDataModule": "data.sparse_features",
    "ToyActivationsDataModule": "data.toy_activations",
    "World": "data.worlds",
    "WorldDataModule": "data.world",
    "CalibrateThreshold": "callbacks.calibrate_threshold",
    "DecoderNorm": "callbacks.decoder_norm",
    "Figures": "callbacks.figures",
    "Gallery": "gallery",
    "LinearProbe": "callbacks.linear_probe",
    "ResampleDeadLatents": "callbacks.resampling",
    "Schedule": "callbacks.schedule",
    "WeightSnapshots": "callbacks.snapshots",
    "Run": "run.run",
    "evaluate": "evaluation",
    "Splice": "evaluation.splice",
    "harvest": "harvesting.harvest",
    "UserError": "errors",
}

__all__ = ["__version__", *_HOMES]


def __getattr__(name: str) -> object:
    """Import a public name, or a variant by its class name, when it is first used (PEP 562)."""
    if name in _HOMES:
        return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
    if name[:1].isupper():  # as a class is; a submodule looked up before it is imported is not
        from ae_lightning import models

        if hasattr(models, name):
            return getattr(models, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    """The public names and those of all variants of this package."""
    from ae_lightning.models import own_variants

    return sorted({*__all__, *own_variants()})

"""The trainer that a module is in, if it is in one."""

from lightning.pytorch import LightningModule, Trainer


def trainer_of(module: LightningModule) -> Trainer | None:
    """The trainer that fits or measures a module; None for a module by itself or in a loop of Fabric's.

    `module.trainer` raises for the former, and for the latter answers something that has next to nothing of a trainer.
    """
    if module.fabric is not None:
        return None
    try:
        return module.trainer
    except RuntimeError:
        return None

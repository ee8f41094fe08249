"""The trainer that a module is in, if it is in one, and where a fit goes on."""

from lightning.pytorch import LightningModule, Trainer

from ae_lightning.upstream import private


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


def continue_batches(trainer: Trainer) -> None:
    """Let an interrupted epoch go on at the batch where its checkpoint was written; call before the first batch.

    Lightning sees to it as it sets the loaders up, which comes before it has read the checkpoint where optimizers are
    built for the length of the run.
    """
    private(trainer.fit_loop, "_load_combined_loader_states", lambda: None)()

"""Options of fit that a lab has another word for."""

from ae_lightning.cli.command_line import CommandLine
from ae_lightning.cli.sweep.grid import plain_key
from ae_lightning.errors import ConfigError

_OTHERWISE = {
    "model": "name models with --models",
    "data": "name a world with --world",
    "model.k": "name numbers of active latents with --l0",
    "model.target_l0": "name numbers of active latents with --l0",
    "model.latent_dim": "say it with --latent-dim",
    "model.instances": "instances are the L0s, which --l0 names",
    "data.instances": "all L0s of a model see the same samples",
    "seed_everything": "name seeds with --seeds",
    "model.seed": "name seeds with --seeds",
    "data.seed": "name seeds with --seeds",
    "data.world_seed": "name seeds with --seeds",
    "trainer.max_steps": "say it with --steps",
    "trainer.max_epochs": "say how long a fit is with --steps",
    "trainer.default_root_dir": "name the lab's folder with -o",
    "experiment": "name the lab's folder with -o",
    "ckpt_path": "every fit of a lab begins anew",
    "trainer.logger": "a lab reads what our own loggers write",
    "trainer.fast_dev_run": "such a fit leaves no numbers",
}


def refuse_options(line: CommandLine) -> None:
    """Check that no option is one that a lab has another word for, and none a word alone.

    Raises:
        ConfigError: One is.
    """
    for option in line.options:
        key = plain_key(option.name)
        if not option.name:
            raise ConfigError(f"{option.value} is no option of a lab (`ae-lightning lab --help` tells more)")
        if key in _OTHERWISE:
            raise ConfigError(f"--{key} is not for a lab: {_OTHERWISE[key]}")

"""The instances of a population: how they differ, and each as a single model."""

from typing import Any, TypeVar

from lightning.pytorch import LightningModule

from ae_lightning.errors import ConfigError
from ae_lightning.training.build import build_model
from ae_lightning.training.population import listed, require_instance

Model = TypeVar("Model", bound="Instances")


class Instances(LightningModule):
    """A module that may be several independent models side by side, whose weights and state have instances first."""

    instances: int | None
    images_seen: int

    @property
    def instance_settings(self) -> list[dict[str, Any]]:
        """For each instance of a population the options that were given as lists, with its value, by name.

        The dictionaries are empty where instances differ by nothing but their random numbers. A single model has none.
        """
        count = self.instances or 0
        lists = {name: each for name, each in listed(self.hparams).items() if len(each) == count}
        return [{name: each[number] for name, each in lists.items()} for number in range(count)]

    def settings_of(self, instance: int) -> dict[str, Any]:
        """Constructor arguments, as far as they are known, of a single model in an instance's place."""
        settings = {name: value for name, value in self.hparams.items() if not name.startswith("_")}
        if self.instances is None:
            return settings
        return {**settings, **self.instance_settings[instance], "instances": None}

    def instance(self: Model, index: int, **overrides: Any) -> Model:
        """A single model that computes what an instance of this population does, with a copy of its weights and state.

        It is in no trainer, in the same mode, and on the same device.

        Args:
            index: Which instance, from 0 on. A model without instances has number 0 alone: itself.
            **overrides: Constructor arguments in place of its own. Of a population that was built in Python with an
                optimizer function it has the default one without `optimizer=`.

        Raises:
            ConfigError: There is none of this number, or the class makes populations alone.
        """
        require_instance(self, index)
        single: Model = build_model(type(self), self.settings_of(index) | overrides)
        if single.instances is not None:
            raise ConfigError(f"{type(self).__name__} cannot be a single model: its constructor fixes its instances")
        weights = next(self.parameters())
        single.to(weights.device, weights.dtype)
        own = single.state_dict()
        single.load_state_dict(
            {name: value if value.ndim == own[name].ndim else value[index] for name, value in self.state_dict().items()}
        )
        single.images_seen = self.images_seen
        return single.train(self.training)

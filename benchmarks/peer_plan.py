"""How much the benchmark beside other libraries measures: sizes, steps, rounds."""

from collections.abc import Sequence
from typing import NamedTuple

from peer_processes import PEERS


class Size(NamedTuple):
    """Inputs and latents of a dictionary, and samples in a batch."""

    inputs: int
    latents: int
    batch: int

    def __str__(self) -> str:
        return f"{self.inputs} → {self.latents:,}, batch {self.batch:,}"


class Plan(NamedTuple):
    """What is measured; the defaults are what the wanted figures belong to."""

    kinds: Sequence[str] = tuple(PEERS)
    rounds: int = 3
    k: int = 32
    sizes: Sequence[Size] = (Size(512, 4096, 1024), Size(512, 4096, 4096), Size(512, 16_384, 1024))
    warmup: int = 2
    timed: int = 8
    memory_size: Size = Size(512, 16_384, 1024)
    memory_kinds: Sequence[str] = ("topk", "standard")
    error_size: Size = Size(128, 1024, 1024)
    error_steps: int = 1000
    error_samples: int = 262_144
    held_out: int = 16_384
    features: int = 1024
    active: float = 24
    error_runs: int = 6
    rates: Sequence[float] = (3e-3, 1e-2)
    instances: int = 16
    population_sizes: Sequence[Size] = (Size(512, 1024, 1024), Size(32, 256, 1024))
    population_kinds: Sequence[str] = ("topk", "standard")
    command_steps: int = 100

    @classmethod
    def tiny(cls, rounds: int | None) -> "Plan":
        """Little of everything."""
        small = Size(16, 128, 64)
        return cls(
            rounds=rounds or 1,
            k=4,
            sizes=(small,),
            warmup=1,
            timed=2,
            memory_size=small,
            memory_kinds=("topk",),
            error_size=small,
            error_steps=20,
            error_samples=1024,
            held_out=512,
            features=32,
            active=3,
            error_runs=2,
            rates=(1e-2,),
            instances=2,
            population_sizes=(small,),
            population_kinds=("topk",),
            command_steps=3,
        )

    def only(
        self,
        kinds: Sequence[str] | None,
        sizes: Sequence[str] | None,
        rates: Sequence[float] | None,
        steps: int | None,
    ) -> "Plan":
        """A part of it."""
        plan = self
        if kinds:
            plan = plan._replace(
                kinds=tuple(kinds),
                memory_kinds=tuple(kind for kind in plan.memory_kinds if kind in kinds),
                population_kinds=tuple(kind for kind in plan.population_kinds if kind in kinds),
            )
        if sizes:
            plan = plan._replace(sizes=tuple(Size(*map(int, size.split("x"))) for size in sizes))
        return plan._replace(rates=rates or plan.rates, error_steps=steps or plan.error_steps)

"""Parts of the benchmark beside other libraries: each measures by the processes, and answers figures and a table."""

import sys
from pathlib import Path
from typing import Any

from peer_plan import Plan, Size
from peer_processes import (
    BARE,
    DICTIONARY_LEARNING,
    FIT,
    OVERCOMPLETE,
    PEERS,
    PRODUCTS,
    SAE_LENS,
    SELECTING,
    SPARSIFY,
    Process,
    Processes,
)
from peer_search import fvu_at, points_about
from peer_tables import Claim, Ratio, claims, ratio, table
from peer_world import write_noise, write_world

NAMES = {
    "standard": "standard",
    "jumprelu": "JumpReLU",
    "gated": "Gated",
    "topk": "TopK",
    "batch_topk": "BatchTopK",
    "matryoshka": "Matryoshka",
}
#: Products of a step that are dense whatever is done: encode, decode, and three gradients; the gate's reconstruction
#: adds one product and one gradient; of a selected code the encoder alone.
FLOORS = {"standard": 5, "jumprelu": 5, "gated": 7, "topk": 1, "batch_topk": 1, "matryoshka": 1}
COLUMNS = (BARE, FIT, SAE_LENS, DICTIONARY_LEARNING, SPARSIFY, OVERCOMPLETE)
OF_DENSE, OF_FLOOR, OF_SPARSIFY, OF_BEST_ERROR, OF_BEST_MEMORY = 0.6, 1.25, 1.0, 1.02, 1.0
#: Of SAELens and dictionary_learning, by the number of latents.
OF_SELECTING = {4096: 0.5, 16_384: 0.35}
#: Of as many single fits: a population's steps by its inputs, and its whole command.
OF_SINGLE_STEPS, OF_SINGLE_COMMANDS = {512: 1.0, 32: 0.5}, 0.7
#: Where the search for an L0 begins; a coefficient at which none of the libraries is far from it.
FIRST_COEFFICIENTS = {"standard": 3.0, "jumprelu": 1.0, "gated": 3.0}
_MIB = 1 << 20


def times(plan: Plan, processes: Processes, folder: Path) -> tuple[Any, str]:
    """Milliseconds of a step, and the ratios that are wanted."""
    figures: dict[str, dict[str, list[float]]] = {}
    wanted: list[Claim] = []
    for size in plan.sizes:
        data = str(write_noise(folder / f"{size.inputs}-{size.batch}", size.inputs, _rows(plan, size)))
        for kind in plan.kinds:
            title = f"{NAMES[kind]}, {size}"
            figures[title] = _step_times(plan, processes, kind, size, data)
            wanted += _wanted_times(title, kind, size, figures[title])
    shown = _milliseconds(figures)
    for row in shown.values():
        row["floor"] = row.pop(PRODUCTS)
    text = table(shown, ("floor", *COLUMNS), "milliseconds a step, median (range)", "–")
    return figures, f"{text}\n\n{claims(wanted)}"


def memory(plan: Plan, processes: Processes, folder: Path) -> tuple[Any, str]:
    """Peak memory of a step above weights, the optimizer's state and the samples; a process for each figure."""
    size = plan.memory_size
    data = str(write_noise(folder / "memory", size.inputs, _rows(plan, size)))
    figures: dict[str, dict[str, list[int]]] = {}
    wanted: list[Claim] = []
    for kind in plan.memory_kinds:
        row = figures[f"{NAMES[kind]}, {size}"] = {}
        for name in (BARE, FIT, *PEERS[kind]):
            with processes.fresh(name) as process:
                process.ask("prepare", setup=_setup(kind, size, plan.k), data=data)
                row[name] = process.ask("memory", warmup=plan.warmup)
            _say(f"{NAMES[kind]}, {name}", {"above": row[name][0] / _MIB, "in all": row[name][1] / _MIB}, "MiB")
        best = min((row[name][0], name) for name in PEERS[kind])
        for name in (BARE, FIT):
            title = f"{NAMES[kind]}, {size}: {name} / {best[1]}"
            wanted.append(Claim(title, ratio([row[name][0]], [best[0]]), OF_BEST_MEMORY))
    shown = {
        title: {name: f"{above / _MIB:.0f} ({total / _MIB:.0f})" for name, (above, total) in row.items()}
        for title, row in figures.items()
    }
    array = 4 * size.latents * size.batch / _MIB
    text = table(shown, COLUMNS, f"MiB above what is held (in all); batch × latents is {array:.0f}", "–")
    return figures, f"{text}\n\n{claims(wanted)}"


def errors(plan: Plan, processes: Processes, folder: Path) -> tuple[Any, str]:
    """Held-out FVU at an L0 of k: what selects has it, and of penalties the coefficient is searched."""
    size = plan.error_size
    rows = (size.inputs, plan.features, plan.active, plan.error_samples, plan.held_out)
    data = write_world(folder / "world", *rows)
    figures: dict[str, dict[str, float]] = {}
    runs: list[dict[str, Any]] = []
    wanted: list[Claim] = []
    for kind in plan.kinds:
        title = f"{NAMES[kind]}, {size}"
        found = figures[title] = {}
        for name in (FIT, *PEERS[kind]):
            if (fvu := _best_fvu(plan, processes[name], name, kind, data, runs)) is not None:
                found[name] = fvu
        best = min(((found[name], name) for name in PEERS[kind] if name in found), default=None)
        if best and FIT in found:
            wanted.append(Claim(f"{title}: {FIT} / {best[1]}", ratio([found[FIT]], [best[0]]), OF_BEST_ERROR))
    shown = {title: {name: f"{fvu:.4f}" for name, fvu in row.items()} for title, row in figures.items()}
    text = table(shown, COLUMNS, f"held-out FVU at L0 {plan.k}, {plan.error_steps:,} steps", "–")
    return {"fvu": figures, "runs": runs}, f"{text}\n\n{claims(wanted)}"


def populations(plan: Plan, processes: Processes, folder: Path) -> tuple[Any, str]:
    """A population's steps and whole command as a ratio to as many single fits'."""
    many, process = plan.instances, processes[FIT]
    figures: dict[str, dict[str, list[float]]] = {}
    wanted: list[Claim] = []
    for size in plan.population_sizes:
        data = str(write_noise(folder / f"population-{size.inputs}", size.inputs, _rows(plan, size)))
        for kind in plan.population_kinds:
            title = f"{NAMES[kind]}, {many} of {size}"
            row = figures[title] = {"one population": [], "single fits": []}
            for _ in range(plan.rounds):
                for column, instances, times_over in (("one population", many, 1), ("single fits", None, many)):
                    process.ask("prepare", setup=_setup(kind, size, plan.k, instances=instances), data=data)
                    row[column].append(times_over * process.ask("steps", warmup=plan.warmup, timed=plan.timed))
                _say(title, {name: 1e3 * each[-1] for name, each in row.items()}, "ms")
            limit = OF_SINGLE_STEPS.get(size.inputs)
            wanted += _claim(f"{title}: steps", row["one population"], row["single fits"], limit)
    size = plan.population_sizes[0]
    data = str(write_noise(folder / "commands", size.inputs, _rows(plan, size)))
    for kind in plan.population_kinds:
        title = f"{NAMES[kind]}, {many} of {size}, whole commands of {plan.command_steps} steps"
        row = figures[title] = {"one population": [], "single fits": []}
        for _ in range(plan.rounds):
            for column, instances, commands in (("one population", many, 1), ("single fits", None, many)):
                process.ask("prepare", setup=_setup(kind, size, plan.k, instances=instances), data=data)
                row[column].append(sum(process.ask("command", steps=plan.command_steps) for _ in range(commands)))
            _say(title, {name: each[-1] for name, each in row.items()}, "s")
        wanted += _claim(title, row["one population"], row["single fits"], OF_SINGLE_COMMANDS)
    shown = _milliseconds(figures)
    text = table(shown, ("one population", "single fits"), "milliseconds of a step, or of the commands")
    return figures, f"{text}\n\n{claims(wanted)}"


def _step_times(plan: Plan, processes: Processes, kind: str, size: Size, data: str) -> dict[str, list[float]]:
    """Seconds of a step by competitor, one for each round, in turn."""
    found: dict[str, list[float]] = {name: [] for name in (PRODUCTS, BARE, FIT, *PEERS[kind])}
    for name in found:
        setup = _setup(kind, size, FLOORS[kind] if name == PRODUCTS else plan.k)
        processes[name].ask("prepare", setup=setup, data=data)
    for number in range(plan.rounds):
        for name, each in found.items():
            each.append(processes[name].ask("steps", warmup=plan.warmup, timed=plan.timed))
        title = f"round {number + 1} of {plan.rounds}, {NAMES[kind]}, {size}"
        _say(title, {name: 1e3 * each[-1] for name, each in found.items()}, "ms")
    return found


def _wanted_times(title: str, kind: str, size: Size, seconds: dict[str, list[float]]) -> list[Claim]:
    """The ratios that are wanted of a fit's step."""
    limits: dict[str, float | None] = {SAE_LENS: OF_DENSE, PRODUCTS: OF_FLOOR}
    if kind in SELECTING:
        limit = OF_SELECTING.get(size.latents)
        limits = {SAE_LENS: limit, DICTIONARY_LEARNING: limit, SPARSIFY: OF_SPARSIFY}
    names = {name: limit for name, limit in limits.items() if name in seconds}
    return [
        claim
        for name, limit in names.items()
        for claim in _claim(f"{title}: {FIT} / {name}", seconds[FIT], seconds[name], limit)
    ]


def _best_fvu(
    plan: Plan, process: Process, name: str, kind: str, data: Path, runs: list[dict[str, Any]]
) -> float | None:
    """The least FVU at the wanted L0 over the rates; None where no run came near it."""
    found: list[float] = []
    held_out = str(data.with_name("val.npy"))
    for rate in plan.rates:

        def run(coefficient: float, rate: float = rate) -> tuple[float, float]:
            options = {"rate": rate, "coefficient": coefficient, "steps": plan.error_steps, "moves": True}
            # For all the same: a latent is dead that was silent for a tenth of the run.
            options["dead_after"] = plan.error_steps * plan.error_size.batch // 10
            process.ask("prepare", setup=_setup(kind, plan.error_size, plan.k, **options), data=str(data))
            outcome = process.ask("train", held_out=held_out)
            runs.append({"name": name, "kind": kind, "rate": rate, "coefficient": coefficient, **outcome})
            _say(f"{NAMES[kind]}, {name}, rate {rate:g}, coefficient {coefficient:.4g}", outcome, "")
            return outcome["l0"], outcome["fvu"]

        if kind in SELECTING:
            found.append(run(1.0)[1])
            continue
        # dictionary_learning's JumpReLU takes the L0 itself.
        rises = kind == "jumprelu" and name == DICTIONARY_LEARNING
        points = points_about(plan.k, plan.k if rises else FIRST_COEFFICIENTS[kind], run, plan.error_runs, rises)
        if (fvu := fvu_at(points, plan.k, farthest=2.0)) is not None:
            found.append(fvu)
    return min(found, default=None)


def _setup(kind: str, size: Size, k: int, **options: Any) -> dict[str, Any]:
    """Of which `Setup` is made in the process."""
    return {"kind": kind, **size._asdict(), "k": k, **options}


def _rows(plan: Plan, size: Size) -> int:
    """Samples of an epoch that is longer than the steps that are measured, so that nothing else falls among them."""
    return (plan.warmup + plan.timed + 3) * size.batch


def _claim(title: str, mine: list[float], theirs: list[float], limit: float | None) -> list[Claim]:
    """A ratio beside what is wanted of it, if anything is."""
    return [] if limit is None else [Claim(title, ratio(mine, theirs), limit)]


def _milliseconds(figures: dict[str, dict[str, list[float]]]) -> dict[str, dict[str, str]]:
    return {
        title: {name: _span([1e3 * seconds for seconds in each]) for name, each in row.items()}
        for title, row in figures.items()
    }


def _span(values: list[float]) -> str:
    """The median and the range."""
    middle = ratio(values, [1.0] * len(values))
    digits = 0 if middle.middle >= 10 else 2
    shown = [f"{value:,.{digits}f}" for value in Ratio(*middle)]
    return shown[0] if len(values) == 1 else f"{shown[0]} ({shown[1]}–{shown[2]})"


def _say(title: str, figures: dict[str, float], unit: str) -> None:
    told = ", ".join(f"{name} {value:.4g}{f' {unit}' if unit else ''}" for name, value in figures.items())
    print(f"{title}: {told}", file=sys.stderr, flush=True)

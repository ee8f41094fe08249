"""The figures of a lab's page, each with a sentence that says how to read it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from matplotlib.figure import Figure

from ae_lightning.data.worlds.world import World
from ae_lightning.evaluation.lab.leaderboard import MEASURES
from ae_lightning.evaluation.lab.results import Results
from ae_lightning.evaluation.lab.scores import ORACLE
from ae_lightning.metrics.matching import Matching
from ae_lightning.metrics.recovery import cosine_matrix
from ae_lightning.plots.frontier import FrontierPoint, frontier
from ae_lightning.plots.lab_scores import Panels, Reached, Reaching, missed, reached
from ae_lightning.plots.lab_truths import Family, families, forest, match_matrices

_TITLES = {measure.name: measure.title for measure in MEASURES}
# Truths that the drawing of trees has room for.
_MOST_IN_TREES = 250
_MOST_CHILDREN = 8


class Drawing(NamedTuple):
    """A figure of the page."""

    name: str
    title: str
    reading: str
    make: Callable[[], Figure]


def recovered(results: Results) -> list[Drawing]:
    """What is recovered, and what that costs."""
    return [
        Drawing(
            "recovery",
            "What is recovered",
            "MCC and F1 tell how true latents are, FVU how well samples are rebuilt, which is another question.",
            lambda: reached(_panels(results, ("mcc", "f1", "fvu"))),
        ),
        Drawing(
            "frontier",
            "What sparsity costs",
            "The fraction of variance unexplained (FVU) over L0, as measured. The oracle's codes are those of "
            "matching pursuit in the true dictionary: a dictionary made for the samples may leave less.",
            lambda: frontier(_frontier(results)),
        ),
    ]


def failing(results: Results) -> list[Drawing]:
    """How latents fail."""
    shown = [name for name in ("absorption", "absorbed_share", "hedging", "hedging_rate") if _is_known(results, name)]
    return [
        Drawing(
            "failures",
            "Absorption and hedging",
            "Absorption: how often the latent of a parent is silent because a child fires. Hedging: how far latents "
            "lean toward what occurs together with their truths; 0 is none.",
            lambda: reached(_panels(results, shown)),
        )
    ]


def missing(results: Results) -> list[Drawing]:
    """Which truths are missed."""
    kinds = {"F1 of its best latent": results.kinds("f1"), "|cosine| with its latent": results.kinds("cosine")}
    if not all(kinds.values()):
        return []
    return [
        Drawing(
            "missed",
            "Which truths are missed",
            f"Means over kinds of truths, all seeds together, at L0 {results.shown_l0:g}: by how often a truth is "
            "there, by how many ancestors it has, and by how much it is correlated with another.",
            lambda: missed(kinds),
        )
    ]


def single(results: Results) -> list[Drawing]:
    """Dictionaries of one seed, truth by truth."""
    seed = next((seed for seed in results.scores if any((name, seed) in results.runs for name in results.models)), None)
    if seed is None:
        return []
    models = [name for name in results.models if (name, seed) in results.runs]
    world, where = results.worlds[seed], f"Of seed {seed} at L0 {results.shown_l0:g}."
    found = [
        Drawing(
            "matches",
            "Truths and their latents",
            f"{where} Where all is recovered, the diagonal is dark and all else light.",
            lambda: match_matrices({name: _sorted_cosines(results.match(name, seed), world) for name in models}),
        )
    ]
    if (world.parents >= 0).any():
        found += [
            Drawing(
                "absorbing",
                "Latents that absorb",
                f"{where} The family whose parent is most absorbed by each model: a child's latent that leans to the "
                "parent speaks for it too, and a parent's that leans away from a child falls silent with it. Truths "
                "that are not recovered have latents that mean little.",
                lambda: families(_families(results, models, seed)),
            ),
            Drawing(
                "trees",
                "Trees of truths",
                f"{where} Each dot is a truth, below it its children.",
                lambda: _forest(results, models, seed),
            ),
        ]
    return found


def _is_known(results: Results, name: str) -> bool:
    return any(entry.values(name) for entry in results.board.trained)


def _panels(results: Results, measures: Sequence[str]) -> Panels:
    board, panels = results.board, {}
    for measure in measures:
        models: dict[str, list[Reached]] = {}
        for entry in board.entries:
            found = entry.interval(measure)
            if found.seeds:
                seeds = list(entry.values(measure).values())
                at = entry.interval("l0").mean
                models.setdefault(entry.model, []).append(Reached(at, found.mean, found.half, seeds))
        baselines = {entry.model for entry in board.entries if entry.is_baseline}
        order = [*results.models, *(name for name in models if name in baselines)]
        panels[_TITLES[measure]] = {name: Reaching(models[name], name in baselines) for name in order if name in models}
    return panels


def _frontier(results: Results) -> dict[str, list[FrontierPoint]]:
    lines: dict[str, list[FrontierPoint]] = {}
    for name in (*results.models, ORACLE):
        for entry in results.board.entries:
            l0, fvu = entry.values("l0"), entry.values("fvu")
            seeds = [seed for seed in l0 if l0[seed] > 0 and fvu.get(seed, 0) > 0]
            if entry.model == name and seeds:
                lines.setdefault(name, []).append(
                    FrontierPoint([l0[seed] for seed in seeds], [fvu[seed] for seed in seeds])
                )
    return lines


def _sorted_cosines(match: Matching, world: World) -> np.ndarray:
    """Cosines (truths, latents), the most frequent truths first, latents in the order of what they are matched with."""
    order = world.probabilities.argsort(descending=True, stable=True)
    latents = match.latent_of[order]
    matched = latents[latents >= 0]
    rest = torch.ones(match.latents, dtype=torch.bool)
    rest[matched] = False
    chosen = torch.cat([matched, rest.nonzero().flatten()])
    return cosine_matrix(match.rows[chosen], world.directions[order]).mT.numpy()


def _families(results: Results, models: Sequence[str], seed: int) -> dict[str, Family]:
    """For each model the family that it absorbs most."""
    world = results.worlds[seed]
    shown: dict[str, Family] = {}
    for name in models:
        parent = _most_absorbed(world, results.truths(name, seed, "absorption"))
        members = [parent, *(world.parents == parent).nonzero().flatten()[:_MOST_CHILDREN].tolist()]
        match = results.match(name, seed)
        known = [member for member in members if match.latent_of[member] >= 0]
        if not known:
            continue
        rows = F.normalize(match.rows[match.latent_of[known]], dim=-1) * match.cosine_of[known].sign().unsqueeze(-1)
        truths = ["parent" if member == parent else f"child {member}" for member in members]
        latents = [f"latent of {'parent' if member == parent else f'child {member}'}" for member in known]
        cosines = cosine_matrix(rows, world.directions[members])
        shown[f"{name}: parent {parent}"] = Family(cosines.numpy(), latents, truths)
    return shown


def _most_absorbed(world: World, rates: np.ndarray | None) -> int:
    """The parent with the largest absorption by its children, weighted by how often these are there."""
    children = (world.parents >= 0).nonzero().flatten()
    weights = world.probabilities[children]
    known = torch.zeros(len(children)) if rates is None else torch.from_numpy(rates)[children].nan_to_num(0).clamp(0)
    totals = torch.zeros(world.features, dtype=torch.float64)
    totals.index_add_(0, world.parents[children], known.double() * weights + 1e-12 * weights)
    return int(totals.argmax())


def _forest(results: Results, models: Sequence[str], seed: int) -> Figure:
    world = results.worlds[seed]
    kept = _whole_trees(world.parents)
    place = torch.full((world.features,), -1)
    place[kept] = torch.arange(len(kept))
    above = world.parents[kept]
    parents = torch.where(above >= 0, place[above.clamp(min=0)], -1)
    cosines = {name: results.truths(name, seed, "cosine") for name in models}
    return forest(
        parents.numpy(),
        {name: np.nan_to_num(of[kept.numpy()]).clip(0, 1) for name, of in cosines.items() if of is not None},
    )


def _whole_trees(parents: torch.Tensor) -> torch.Tensor:
    """Features (n,) of the first trees, as many as there is room for, one at least; roots without children are none."""
    root = torch.arange(len(parents))
    while bool((parents[root] >= 0).any()):
        root = torch.where(parents[root] >= 0, parents[root], root)
    sizes = torch.bincount(root, minlength=len(parents))
    trees = (sizes > 1).nonzero().flatten()
    count = max(1, int((sizes[trees].cumsum(0) <= _MOST_IN_TREES).sum()))
    return torch.isin(root, trees[:count]).nonzero().flatten()

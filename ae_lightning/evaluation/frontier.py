"""The points of the frontier, what sparsity costs: from rows of final numbers to what is drawn."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ae_lightning.plots.frontier import FrontierPoint

FEWEST_POINTS = 2
"""Fewer are no frontier."""


def frontier_lines(settings: Iterable[Sequence[Mapping[str, Any]]]) -> dict[str, list[FrontierPoint]]:
    """Points by the name of their architecture, as `ae_lightning.plots.frontier` draws them.

    Codes that nothing makes sparse are left out, and models of which a number cannot stand on a logarithmic axis: one
    without active latents, one whose error is not finite.

    Args:
        settings: For each setting the rows of its models, which differ by chance, as `ae_lightning.run.instances`
            makes them of final numbers.

    Returns:
        A line for each class; with the number of latents where those of a class differ. Empty where there are fewer
        than two points in all.
    """
    points = [shown for rows in settings if (shown := [row for row in rows if _can_be_drawn(row)])]
    if len(points) < FEWEST_POINTS:
        return {}
    widths: dict[str, set[int]] = {}
    for rows in points:
        widths.setdefault(rows[0]["class"], set()).add(rows[0]["latent_size"])
    lines: dict[str, list[FrontierPoint]] = {}
    for rows in points:
        kind, width = rows[0]["class"], rows[0]["latent_size"]
        name = f"{kind}, {width:,} latents" if len(widths[kind]) > 1 else kind
        lines.setdefault(name, []).append(FrontierPoint([row["l0"] for row in rows], [row["fvu"] for row in rows]))
    return lines


def _can_be_drawn(row: Mapping[str, Any]) -> bool:
    l0, fvu = (row.get(name) or 0 for name in ("l0", "fvu"))
    return bool(row.get("is_penalized")) and l0 > 0 and fvu > 0

"""Axes that are logarithmic where their values ask for it, with labels as plain numbers."""

from __future__ import annotations

import math

from matplotlib.axes import Axes
from matplotlib.ticker import FormatStrFormatter, LogLocator

from ae_lightning.plots.tiles import Array


def log_if_spanning(ax: Axes, values: Array) -> bool:
    """A logarithmic axis for values that are positive and span more than a decade; whether it is one."""
    low, high = values.min(), values.max()
    if not (low > 0 and high > 10 * low):
        return False
    ax.set_yscale("log")
    if high < 1000 * low:  # powers of ten alone would label next to nothing
        ax.yaxis.set_minor_locator(LogLocator(subs=(2, 5)))
        for set_formatter in (ax.yaxis.set_major_formatter, ax.yaxis.set_minor_formatter):
            set_formatter(FormatStrFormatter("%g"))
    return True


def log_above_small(ax: Axes, top: float, last: float) -> None:
    """An axis from 0 that is logarithmic above the power of ten at or below `last`, if that is far below its top."""
    if 0 < 10 * last < top:
        start = 10.0 ** math.floor(math.log10(last))
        ax.set_yscale("symlog", linthresh=start, linscale=1)
        ax.set_yticks([0, *(start * 10**i for i in range(math.floor(math.log10(top / start)) + 1))])
        ax.yaxis.set_major_formatter(FormatStrFormatter("%g"))

"""Figures that show names as they are."""

from typing import Any

from matplotlib import figure
from matplotlib.text import Text
from matplotlib.ticker import LogFormatter


class Figure(figure.Figure):
    r"""matplotlib's figure, in which a dollar sign is a dollar sign.

    Labels are names of runs, settings and metrics, which may come from anybody's file: as mathematics, `x$\frac{$y`
    could not be drawn at all. Only powers on logarithmic axes are mathematics.
    """

    def draw(self, renderer: Any) -> None:
        """Draw everything."""
        powers = {id(text) for axes in self.axes for text in _powers_of(axes)}
        for text in self.findobj(Text):
            text.set_parse_math(id(text) in powers)
        super().draw(renderer)


def _powers_of(axes: Any) -> list[Text]:
    """Labels beside the ticks of logarithmic axes; asking for labels makes those of all axes, before they are drawn."""
    powers: list[Text] = []
    for axis in (axes.xaxis, axes.yaxis):
        for is_minor, formatter in ((False, axis.get_major_formatter()), (True, axis.get_minor_formatter())):
            labels = axis.get_ticklabels(minor=is_minor)
            if isinstance(formatter, LogFormatter):
                powers += labels
    return powers

"""The list of a network's layers, as it is printed."""

from collections.abc import Sequence

from ae_lightning.harvesting.listing import Layer
from ae_lightning.printable import printable


def print_layers(layers: Sequence[Layer], shown: bool) -> None:
    """Print a line for each layer: its name, its class, and what it gives for a sample.

    Args:
        layers: The layers.
        shown: Whether the network was shown data; without any it is not known what its layers give.
    """
    name_width = max((len(layer.name) for layer in layers), default=0)
    kind_width = max((len(layer.kind) for layer in layers), default=0)
    for layer in layers:
        line = f"{layer.name:<{name_width}}  {layer.kind:<{kind_width}}  {_gives(layer)}"
        print(printable(line.rstrip()))
    if shown:
        print("\nname some with --layers and a store with -o; each position of a sample gives a row")
    else:
        print("\nname data with --data, or files with --text, to see what each of them gives")


def _gives(layer: Layer) -> str:
    if layer.calls is None:
        return ""
    if layer.calls == 0:
        return "(not called)"
    gives = layer.gives or "(no rows)"
    return gives if layer.calls == 1 else f"{gives}, called {layer.calls} times"

"""Which samples show most: of different classes, where there are classes."""

from collections.abc import Sequence


def pairs_of_classes(classes: Sequence[int], count: int, most: int) -> list[tuple[int, int]]:
    """Pairs of samples, by index: the first of each class with that of the next; else the first samples.

    Args:
        classes: Classes of the first samples; empty where there are none.
        count: How many samples there are.
        most: How many pairs are wanted at most.
    """
    firsts = [classes.index(name) for name in sorted(set(classes))]
    chosen = firsts if len(firsts) > 1 else list(range(min(2 * most, count)))
    return list(zip(chosen[::2], chosen[1::2], strict=False))[:most]


def triple_of_classes(classes: Sequence[int]) -> tuple[int, int, int]:
    """Samples a, b, c, by index, with a and c of one class and b of another; the first three where there are none.

    Args:
        classes: Classes of the first samples; empty where there are none.
    """
    for a, name in enumerate(classes):
        others = [i for i, other in enumerate(classes) if other != name]
        if name in classes[a + 1 :] and others:
            return a, others[0], classes.index(name, a + 1)
    return 0, 1, 2

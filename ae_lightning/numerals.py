"""How a number is written in tables, reports and notices."""

import math

# What is at least so large has more digits before the point than anybody reads; of whole numbers all are told.
_LARGE, _LARGE_WHOLE = 1e7, 1e15
# What is smaller has a digit at most in five places, and none in fewer.
_SMALL = 1e-3


def numeral(value: float, form: str = ".5f") -> str:
    """A number in a form of Python's, such as `.5f` or `.1%`; in scientific notation where that is too narrow or long.

    Args:
        value: The number; NaN and infinity are written as such.
        form: A format specification. Only forms of fixed places can be too narrow or too long.

    Returns:
        `0.03824` as it is, but `1.2e-07` instead of 0.00000, and `3.4e+61` instead of sixty digits.

    Example:
        >>> numeral(0.038241), numeral(1.2e-7), numeral(3.4e61), numeral(0.25, ".1%"), numeral(-3.4e61, ".1%")
        ('0.03824', '1.2e-07', '3.4e+61', '25.0%', '-3.4e+63%')
    """
    if not _fits(value, form):
        return f"{100 * value:.3g}%" if form.endswith("%") else f"{value:.3g}"
    return f"{value:{form}}"


def with_error(value: float, error: float | None, form: str = ".5f") -> str:
    """A number and its error or spread, `0.03824 ± 0.00012`, in the form that suits the number.

    Args:
        value: The number.
        error: Its error; None or NaN where that is not known, and the number stands alone.
        form: A format specification, as for `numeral`.
    """
    if error is None or math.isnan(error):
        return numeral(value, form)
    shown_as_zero = error != 0 and float(f"{error:{form}}".rstrip("%").replace(",", "")) == 0
    fits = _fits(value, form) and not shown_as_zero and not abs(error) >= _LARGE
    return f"{numeral(value, form)} ± {error:{form if fits else '.2g'}}"


def _fits(value: float, form: str) -> bool:
    """Whether a form of fixed places shows something of a number, and not too much."""
    kind = form[-1]
    if kind not in "f%" or not math.isfinite(value) or value == 0:
        return True
    size = abs(value) * (100 if kind == "%" else 1)
    places = int(form[:-1].partition(".")[2] or 6)
    if places == 0:
        return size < _LARGE_WHOLE
    return min(_SMALL, 10.0 ** (1 - places)) <= size < _LARGE

import pytest

from ae_lightning.data.normalization import scale_and_shift
from ae_lightning.errors import ConfigError


@pytest.mark.parametrize(
    ("normalize", "black", "white"),
    [("unit", 0.0, 1.0), ("standard", -0.5, 2.0), ((0.5, 0.25), -2.0, 2.0), ([0.5, 0.25], -2.0, 2.0)],
)
def test_black_and_white(normalize, black, white):
    scale, shift = scale_and_shift(normalize, 16, standard=(0.2, 0.4))
    assert shift == pytest.approx(black)
    assert 16 * scale + shift == pytest.approx(white)


@pytest.mark.parametrize("normalize", ["none", (0.1, 0.2, 0.3), (0.1,), 3.0, None, ("a", "b")])
def test_neither_a_name_nor_two_numbers(normalize):
    with pytest.raises(ConfigError, match=r"--data\.normalize is .*; it can be unit, standard, or two numbers"):
        scale_and_shift(normalize, 255, (0, 1))


@pytest.mark.parametrize("pair", [(0.1, 0.0), (0.1, -1.0), (0.1, float("nan")), (float("inf"), 1.0)])
def test_impossible_numbers(pair):
    with pytest.raises(ConfigError, match=r"--data\.normalize is \[.*the standard deviation, must be positive"):
        scale_and_shift(pair, 255, (0, 1))

import itertools

import pytest
import torch
import torch.nn.functional as F

from ae_lightning.nn.conv import DownStage, doubling, halved, sizes_through, smallest_side


def test_pooling_leaves_out_an_odd_row_and_a_stride_keeps_it():
    assert halved((28, 7), "pool") == (14, 3)
    assert halved((28, 7), "stride") == (14, 4)
    assert sizes_through((28, 28), 3, "pool") == [(28, 28), (14, 14), (7, 7), (3, 3)]
    assert sizes_through((28, 28), 3, "stride") == [(28, 28), (14, 14), (7, 7), (4, 4)]


@pytest.mark.parametrize(("downsampling", "size"), itertools.product(("pool", "stride"), [(8, 8), (7, 10), (5, 2)]))
def test_a_stage_gives_the_announced_size(downsampling, size):
    stage = DownStage(3, 4, downsampling=downsampling)
    assert stage(torch.rand(2, 3, *size)).shape == (2, 4, *halved(size, downsampling))


def test_a_stage_written_out():
    torch.manual_seed(0)
    stage = DownStage(2, 3, "relu", batch_norm=True)
    x = torch.randn(5, 2, 6, 6)
    convolution = stage[0]
    maps = torch.relu(F.conv2d(x, convolution.weight, convolution.bias, padding=1))
    mean, var = maps.mean((0, 2, 3), keepdim=True), maps.var((0, 2, 3), keepdim=True, correction=0)
    truth = F.max_pool2d((maps - mean) / (var + 1e-5).sqrt(), 2)
    torch.testing.assert_close(stage(x), truth)


@pytest.mark.parametrize("stages", [1, 2, 3])
@pytest.mark.parametrize("downsampling", ["pool", "stride"])
def test_the_smallest_side_is_the_smallest_that_every_stage_can_halve(stages, downsampling):
    def works(side):
        before_each = sizes_through((side, side), stages, downsampling)[:-1]
        return all(height >= 2 for height, _ in before_each)

    assert smallest_side(stages, downsampling) == next(side for side in range(1, 50) if works(side))


@pytest.mark.parametrize("upsampling", ["transpose", "bilinear"])
@pytest.mark.parametrize("kernel", [2, 3])
@pytest.mark.parametrize("target", [(7, 14), (6, 13), (8, 15)])
def test_every_pixel_of_the_target_is_written_by_the_input(upsampling, kernel, target):
    # Twice (3…4, 7) or a pixel more or less; the bias alone may write none.
    size = ((target[0]) // 2, 7)
    torch.manual_seed(0)
    layer = doubling(2, 3, size, target, upsampling, kernel)
    x = torch.rand(1, 2, *size) + 1
    out = layer(x)
    assert out.shape == (1, 3, *target)
    moved = (layer(2 * x) - out).abs()
    assert float(moved.detach().min()) > 1e-6


def test_a_side_that_doubles_exactly_takes_the_kernel_asked_for():
    layer = doubling(2, 3, (3, 7), (7, 14), "transpose", kernel=2)
    assert layer.kernel_size == (3, 2)


def test_bilinear_up_sampling_keeps_a_plain_image_plain_inside():
    # No checkerboard: where the input is constant, so is the output, but for the border that sees the padding.
    torch.manual_seed(0)
    x = torch.ones(1, 1, 6, 6)
    inside = doubling(1, 1, (6, 6), (12, 12), "bilinear")(x)[..., 1:-1, 1:-1].detach()
    assert float(inside.max() - inside.min()) < 1e-6
    checkered = doubling(1, 1, (6, 6), (12, 12), "transpose", kernel=3)(x)[..., 1:-1, 1:-1].detach()
    assert float(checkered.max() - checkered.min()) > 1e-3


def test_aligned_corners_stay_in_the_corners_and_what_is_between_them_is_on_a_line():
    """2×2 to 4×4: pixel i of four lies at i/3 of the way from the first to the second."""
    x = torch.tensor([[[[0.0, 3.0], [6.0, 9.0]]]])
    aligned = doubling(1, 1, (2, 2), (4, 4), "bilinear_aligned")[0](x)[0, 0]
    assert aligned.tolist() == [pytest.approx([2 * row + column for column in range(4)]) for row in range(4)]
    areas = doubling(1, 1, (2, 2), (4, 4), "bilinear")[0](x)[0, 0]
    assert areas[0].tolist() == pytest.approx([0, 0.75, 2.25, 3])

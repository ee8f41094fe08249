import pytest
import torch
from torch import nn

from ae_lightning.nn.modes import frozen_running_statistics, running_statistics_in_use


@pytest.fixture
def net():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 8), nn.BatchNorm1d(8), nn.Linear(8, 5))


@pytest.fixture
def x():
    return torch.randn(6, 3, generator=torch.Generator().manual_seed(1))


def copy_of(net):
    return {name: value.clone() for name, value in net.state_dict().items()}


def test_a_batch_is_not_counted_while_frozen_and_counts_again_afterwards(net, x):
    expected, before = nn.functional.batch_norm(net[0](x), None, None, net[1].weight, net[1].bias, True), copy_of(net)
    with frozen_running_statistics(net):
        found = net[:2](x)
    torch.testing.assert_close(found, expected)
    assert all(torch.equal(net.state_dict()[name], value) for name, value in before.items())
    net(x)
    assert int(net[1].num_batches_tracked) == 1
    torch.testing.assert_close(net[1].running_mean, 0.1 * net[0](x).mean(0))


def test_samples_are_independent_by_running_statistics_which_do_not_move(net, x):
    net(x)
    before = copy_of(net)
    with running_statistics_in_use(net):
        together, alone = net(x), torch.cat([net(one[None]) for one in x])
    torch.testing.assert_close(together, alone)
    assert all(torch.equal(net.state_dict()[name], value) for name, value in before.items())
    assert all(part.training for part in net)


def test_what_was_in_evaluation_stays_there(net, x):
    net.eval()
    with running_statistics_in_use(net):
        net(x)
    assert not any(part.training for part in net)

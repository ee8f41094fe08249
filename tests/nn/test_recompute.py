import pytest
import torch
from torch import nn

from ae_lightning.nn.recompute import recomputed

X = torch.randn(32, 6, generator=torch.Generator().manual_seed(1))


def network():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Linear(6, 64), nn.ReLU(), nn.BatchNorm1d(64), nn.Linear(64, 64), nn.Tanh(), nn.BatchNorm1d(64)
    )


def trained(again):
    """Parameters and buffers after three steps, and the gradient with respect to the last input."""
    net = network()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    for _ in range(3):
        x = X.clone().requires_grad_()
        optimizer.zero_grad()
        out = recomputed(net, x, net) if again else net(x)
        out.pow(3).mean().backward()
        optimizer.step()
    return net.state_dict() | {"x": x.grad}


def test_training_is_the_same_bit_for_bit_with_running_statistics():
    plain, again = trained(False), trained(True)
    assert int(plain["2.num_batches_tracked"]) == 3
    assert float((plain["2.running_mean"]).abs().max()) > 0
    for name, value in plain.items():
        assert torch.equal(again[name], value), name


def bytes_kept(again):
    """Bytes of tensors that autograd keeps between the passes, weights aside."""
    net, kept = network(), {}
    weights = {parameter.data_ptr() for parameter in net.parameters()}

    def pack(tensor):
        if tensor.data_ptr() not in weights:
            kept[tensor.data_ptr()] = tensor.numel() * tensor.element_size()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        out = recomputed(net, X, net) if again else net(X)
    return sum(kept.values()), out


def test_only_the_input_is_kept():
    (much, _), (little, _) = bytes_kept(False), bytes_kept(True)
    assert much > 4 * 32 * 64 * 3
    assert little <= X.numel() * 4


def test_batch_normalization_is_as_it_was_after_a_failure():
    class Failing(nn.Sequential):
        fail = False

        def forward(self, x):
            if self.fail:
                raise RuntimeError("on purpose")
            return super().forward(x)

    net = Failing(nn.BatchNorm1d(6, momentum=0.3), nn.Linear(6, 2))
    out = recomputed(net, X, net)
    net.fail = True
    with pytest.raises(RuntimeError, match="on purpose"):
        out.sum().backward()
    assert net[0].momentum == 0.3
    assert int(net[0].num_batches_tracked) == 1


def test_nothing_is_kept_or_changed_without_gradients():
    net = network().eval()
    with torch.no_grad():
        out = recomputed(net, X, net)
        assert torch.equal(out, net(X))
    assert not out.requires_grad

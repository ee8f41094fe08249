import math

import pytest
import torch
from torch import Tensor

from ae_lightning.data import SparseFeaturesDataModule
from ae_lightning.data.generated import GeneratedLoader
from ae_lightning.errors import ConfigError
from ae_lightning.models.toy_model import ToyModel


def small(features: int = 5, hidden: int = 2, seed: int = 0, **options) -> ToyModel:
    """A toy model whose bias is not zero any more."""
    torch.manual_seed(seed)
    model = ToyModel((features,), hidden, **options)
    with torch.no_grad():
        model.dictionary.b_dec.normal_(std=0.1)
    return model


def published(w: Tensor, b: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
    """As Elhage et al. write it: W (instance, hidden, features), b and x (instance, …, features)."""
    h = torch.einsum("ihf,ibf->ibh", w, x)
    return h, torch.relu(torch.einsum("ihf,ibh->ibf", w, h) + b[:, None])


# --- forward and loss ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("own_samples", [False, True])
def test_it_is_the_published_formula(own_samples):
    model = small(instances=3)
    x = torch.rand(7, 3, 5) if own_samples else torch.rand(7, 5)
    w, b = model.dictionary.W_enc.mT, model.dictionary.b_dec
    h, x_hat = published(w, b, x.transpose(0, 1) if own_samples else x.expand(3, 7, 5))
    losses, output = model.loss(x)
    torch.testing.assert_close(output.z, h)
    torch.testing.assert_close(output.x_hat, x_hat)
    by_hand = sum(
        float((x_hat[i, s, f] - (x[s, i, f] if own_samples else x[s, f])).detach()) ** 2
        for i in range(3)
        for s in range(7)
        for f in range(5)
    )
    assert float(losses["loss"].detach()) == pytest.approx(by_hand / (7 * 5), rel=1e-5)  # a sum over instances
    assert float(model.per_instance(losses)["loss"]) == pytest.approx(by_hand / (3 * 7 * 5), rel=1e-5)


def test_without_instances_it_is_the_same_model():
    model, x = small(), torch.rand(7, 5)
    h, x_hat = published(model.dictionary.W_enc.mT[None], model.dictionary.b_dec[None], x[None])
    output = model(x)
    torch.testing.assert_close(output.z, h[0])
    torch.testing.assert_close(output.x_hat, x_hat[0])
    assert {name for name, _ in model.named_parameters()} == {"dictionary.W_enc", "dictionary.b_dec"}


#: A single sample of two features that no weights can change: W is zero, and x̂ = ReLU(b) = (0.5, 0).
X, BIAS = [1.0, 0.25], [0.5, -1.0]


@pytest.mark.parametrize(
    ("importance", "instances", "truth"),
    [
        (1.0, None, (0.25 + 0.0625) / 2),
        (2.0, None, (2 * 0.25 + 2 * 0.0625) / 2),
        ([3.0, 8.0], None, (3 * 0.25 + 8 * 0.0625) / 2),
        ([0.0, 16.0], None, (0 + 1) / 2),
        ([3.0, 8.0], 2, 2 * (3 * 0.25 + 8 * 0.0625) / 2),
        ([[3.0, 8.0], [1.0, 0.0]], 2, ((3 * 0.25 + 8 * 0.0625) + 0.25) / 2),
        ([[4.0], [0.0]], 2, 4 * (0.25 + 0.0625) / 2),
    ],
    ids=str,
)
@pytest.mark.parametrize("own_samples", [False, True])
def test_errors_are_multiplied_by_the_importance_of_their_feature(importance, instances, truth, own_samples):
    model = ToyModel((2,), 1, importance, instances=instances)
    with torch.no_grad():
        model.dictionary.W_enc.zero_()
        model.dictionary.b_dec.copy_(torch.tensor(BIAS))
    x = torch.tensor([X]).repeat(3, 1)
    if own_samples and instances:
        x = x[:, None].repeat(1, instances, 1)
    assert float(model.loss(x)[0]["loss"].detach()) == pytest.approx(truth)


@pytest.mark.parametrize("importance", [1.0, [0.9**i for i in range(5)], [[1.0] * 5, [0.5] * 5, [2, 1, 0, 1, 3.0]]])
@pytest.mark.parametrize("own_samples", [False, True])
def test_each_instance_learns_as_it_would_alone(importance, own_samples):
    many = small(instances=3, importance=importance)
    x = torch.rand(9, 3, 5) if own_samples else torch.rand(9, 5)
    many.loss(x)[0]["loss"].backward()
    for i in range(3):
        own = importance[i] if isinstance(importance, list) and isinstance(importance[0], list) else importance
        alone = small(importance=own)
        alone.load_state_dict({name: value[i] for name, value in many.state_dict().items()})
        alone.loss(x[:, i] if own_samples else x)[0]["loss"].backward()
        for (name, one), several in zip(alone.named_parameters(), many.parameters(), strict=True):
            torch.testing.assert_close(several.grad[i], one.grad, msg=name)


def test_an_unimportant_feature_is_not_learned():
    model = small(importance=[1.0, 1.0, 0.0, 1.0, 1.0])
    model.loss(torch.rand(9, 5))[0]["loss"].backward()
    assert model.dictionary.b_dec.grad[2] == 0
    assert model.dictionary.b_dec.grad.count_nonzero() == 4


def test_importance_works_for_samples_of_any_shape_and_other_losses():
    torch.manual_seed(0)
    importance = [float(i) for i in range(12)]
    x = torch.rand(4, 3, 2, 2)
    for name, error in (("mae", lambda a, b: (a - b).abs()), ("mse", lambda a, b: (a - b) ** 2)):
        model = ToyModel((3, 2, 2), 4, importance, reconstruction_loss=name)
        losses, output = model.loss(x)
        by_hand = (error(output.x_hat, x).flatten(1) * torch.arange(12.0)).sum() / (4 * 12)
        torch.testing.assert_close(losses["loss"], by_hand)


# --- weights -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("instances", [None, 3])
def test_a_direction_is_the_hidden_state_of_its_feature_alone_and_edits_write_through(instances):
    model = small(instances=instances)
    lead = () if instances is None else (instances,)
    assert model.feature_directions.shape == (*lead, 5, 2)
    torch.testing.assert_close(model.encode(torch.eye(5)), model.feature_directions)
    with torch.no_grad():
        model.feature_directions[..., 3, :] = torch.tensor([7.0, -2.0])
    torch.testing.assert_close(model.encode(torch.eye(5))[..., 3, :], torch.tensor([7.0, -2.0]).expand(*lead, 2))
    torch.testing.assert_close(model.decoder_vectors, model.feature_directions.mT)


@pytest.mark.parametrize("instances", [None, 2, 40])
def test_weights_start_as_glorot_and_bengio_say_in_every_instance_and_biases_at_zero(instances):
    torch.manual_seed(0)
    model = ToyModel((60,), 20, instances=instances)
    weights = model.dictionary.W_enc.detach().reshape(-1, 1200)
    truth = math.sqrt(2 / (60 + 20))
    # The standard deviation of n normal numbers has a relative error of 1/√(2n).
    for one in weights:
        assert float(one.std()) == pytest.approx(truth, rel=4.5 / math.sqrt(2 * 1200))
    assert float(weights.abs().max()) > 2.5 * truth  # normal, and not uniform, which ends at 1.73
    assert not model.dictionary.b_dec.any()
    assert model.dictionary.b_enc is None


def test_the_importance_is_a_setting_and_no_weight():
    model = small(importance=[1.0, 2.0, 3.0, 4.0, 5.0])
    assert "importance" not in model.state_dict()
    assert model.hparams["importance"] == [1.0, 2.0, 3.0, 4.0, 5.0]


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"importance": [1.0, 2.0]}, "--model.importance has 2 numbers for 5 features; give one for each"),
        (
            {"importance": [[1.0], [2.0]], "instances": 3},
            "--model.importance has a list for each of 2 instances, but there are 3 instances",
        ),
        ({"importance": -1.0}, "--model.importance has a number below 0; each must be at least 0"),
        ({"hidden": 0}, "--model.latent_dim is 0; it must be at least 1"),
        ({"instances": 0}, "--model.instances is 0; it must be at least 1"),
    ],
    ids=str,
)
def test_what_makes_no_sense_is_refused(options, sentence):
    with pytest.raises(ConfigError) as error:
        small(**options)
    assert str(error.value) == sentence


# --- superposition -------------------------------------------------------------------------------------------------


def trained(steps: int, batch_size: int, lr: float, instances: int, **features) -> tuple[ToyModel, Tensor]:
    """A toy model with two hidden dimensions, and the cosines (instances, features, features) of its directions."""
    torch.manual_seed(2)
    data = SparseFeaturesDataModule(instances=instances, **features)
    model = ToyModel(data.input_shape, 2, instances=instances)
    optimizer = torch.optim.Adam(model.parameters(), lr=lr, fused=True)
    for x, _ in GeneratedLoader(data.draw_steps, batch_size, steps):
        optimizer.zero_grad()
        model.loss(x)[0]["loss"].backward()
        optimizer.step()
    directions = model.feature_directions.detach()
    units = directions / directions.norm(dim=-1, keepdim=True)
    return model, units @ units.mT


def test_five_sparse_features_become_a_regular_pentagon():
    model, _ = trained(1000, 1024, 1e-2, instances=2, features=5, probability=0.025)
    directions = model.feature_directions.detach().double()
    spread = directions.norm(dim=-1).std(-1)
    best = directions[int(spread.argmin())]
    assert best.norm(dim=-1).tolist() == pytest.approx([float(best.norm(dim=-1).mean())] * 5, rel=0.03)
    angles = torch.atan2(best[:, 1], best[:, 0]).rad2deg().sort().values
    between = [*angles.diff().tolist(), float(angles[0] + 360 - angles[4])]
    assert between == pytest.approx([72] * 5, abs=3)


def instances_where(cosines: Tensor, low: float, high: float) -> int:
    """In how many instances the cosine lies between these two for both pairs, features 0 with 1 and 2 with 3."""
    pairs = cosines[:, [0, 2], [1, 3]]
    return int(((pairs >= low) & (pairs <= high)).all(-1).sum())


# What configs/toy_correlated.yaml and configs/toy_anticorrelated.yaml show, which miss it in one instance of twenty.


def test_features_that_come_together_become_orthogonal():
    model, cosines = trained(1500, 256, 1e-2, instances=8, features=4, probability=0.1, correlated=4)
    assert instances_where(cosines, -0.1, 0.1) >= 7
    # All four are kept in two dimensions, so that each is opposite to one of the other pair.
    assert int((model.feature_directions.norm(dim=-1) > 0.9).all(-1).sum()) >= 7
    assert int((cosines[:, :2, 2:].amin(-1) < -0.95).all(-1).sum()) >= 7


def test_features_that_never_come_together_become_opposite():
    model, cosines = trained(800, 256, 1e-2, instances=8, features=4, probability=0.45, anticorrelated=4)
    assert instances_where(cosines, -1.01, -0.95) >= 6
    assert int((model.feature_directions.norm(dim=-1) > 0.9).all(-1).sum()) >= 6
    # Features that are as frequent, but independent, are so by chance: there are three ways to pair four.
    _, cosines = trained(800, 256, 1e-2, instances=8, features=4, probability=0.45)
    assert instances_where(cosines, -1.01, -0.95) <= 4


def test_all_instances_may_start_as_one_tensor():
    """The workshop's tensor is (16, 2, 5), for which torch's function has fans of 2 · 5 and 16 · 5."""
    torch.manual_seed(0)
    weights = torch.stack([ToyModel((5,), 2, instances=16, init="xavier_joint").encoder_vectors for _ in range(20)])
    assert weights.shape[1:] == (16, 2, 5)
    assert float(weights.detach().std()) == pytest.approx(math.sqrt(2 / (10 + 80)), rel=4.5 / math.sqrt(2 * 3200))

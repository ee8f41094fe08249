"""The chain of layers gives what PyTorch's model gives, for every variant and option that it can hold."""

import copy
import math
from functools import partial

import pytest
import torch
from torch import nn

from ae_lightning.errors import ConfigError
from ae_lightning.explorer.chain import check_network, dense_layers, flat_samples, network_of
from ae_lightning.explorer.network import Network
from ae_lightning.models import variants
from ae_lightning.models.fully_connected import FullyConnectedAutoencoder
from ae_lightning.models.gated_sae import GatedSAE
from ae_lightning.models.jumprelu_sae import JumpReLUSAE
from ae_lightning.models.matryoshka_sae import MatryoshkaSAE
from ae_lightning.models.overcomplete import OvercompleteAutoencoder
from ae_lightning.models.sparse import SparseAutoencoder, TiedSparseAutoencoder
from ae_lightning.models.standard_sae import StandardSAE
from ae_lightning.models.topk_sae import BatchTopKSAE, TopKSAE
from ae_lightning.models.toy_model import ToyModel
from ae_lightning.models.transcoder import Transcoder
from ae_lightning.nn.batch_topk import BatchTopK
from ae_lightning.nn.code_activation import CodeActivation
from ae_lightning.nn.dictionary import Dictionary
from ae_lightning.nn.jumprelu import JumpReLU
from ae_lightning.nn.scaling import AffineScaling

SHAPE = (1, 8, 8)
NOT_DENSE = {"ConvAutoencoder", "DeepConvAutoencoder"}
DENSE = sorted(set(variants()) - NOT_DENSE - {"Transcoder", "VQVAE"})  # whose code is chosen from a codebook
SMALL = {"hidden_dims": (12, 9), "latent_dim": 5}
OPTIONS = {
    "sigmoid": partial(OvercompleteAutoencoder, latent_dim=70, output_activation="sigmoid"),
    "elu": partial(OvercompleteAutoencoder, latent_dim=70, activation="elu"),
    "instances": partial(OvercompleteAutoencoder, latent_dim=10, instances=3, output_activation="sigmoid"),
    "sae": partial(StandardSAE, latent_dim=70),
    "tied_sae": partial(StandardSAE, latent_dim=70, tied=True),
    "unit_norm_sae": partial(StandardSAE, latent_dim=70, unit_norm=True),
    "tied_unit_norm_saes": partial(StandardSAE, latent_dim=7, instances=3, tied=True, unit_norm=True),
    "scaled_sae": partial(StandardSAE, latent_dim=70, input_scaling="centered_mean_norm", tied=True),
    "unweighted_topk": partial(TopKSAE, latent_dim=70, k=9, norm_weighted=False),
    "groups": partial(TopKSAE, latent_dim=70, k=10, groups=True),
    "topks": partial(TopKSAE, latent_dim=30, k=9, instances=3, unit_norm=True),
    "batch_topks": partial(BatchTopKSAE, latent_dim=30, k=4.5, instances=3, tied=True),
    "matryoshkas": partial(MatryoshkaSAE, latent_dim=32, k=9, select="sample", instances=3),
    "jumprelus": partial(JumpReLUSAE, latent_dim=30, instances=3),
    "gates": partial(GatedSAE, latent_dim=30, instances=3, tied=True, input_scaling="mean_norm"),
    "saes": partial(StandardSAE, latent_dim=7, instances=3),
    "tied_saes": partial(StandardSAE, latent_dim=7, instances=3, tied=True),
    "toy_models": partial(ToyModel, latent_dim=2, instances=3),
    "toy_gelu": partial(ToyModel, latent_dim=2, output_activation="gelu"),
    "batch_norm": partial(FullyConnectedAutoencoder, **SMALL, batch_norm=True, dropout=0.3),
    "leaky": partial(FullyConnectedAutoencoder, **SMALL, activation="leaky_relu", latent_activation="tanh"),
    "no_hidden": partial(FullyConnectedAutoencoder, hidden_dims=(), latent_dim=3),
    "sparse": partial(SparseAutoencoder, **SMALL, unit_norm="all", latent_activation="relu", batch_norm=True),
    "soft": partial(SparseAutoencoder, **SMALL, latent_activation="soft_threshold", threshold=0.05),
    "hard": partial(SparseAutoencoder, **SMALL, latent_activation="hard_threshold", threshold=0.05),
    "tied": partial(TiedSparseAutoencoder, **SMALL, batch_norm=True, output_activation="sigmoid"),
    "tied_unit_norm": partial(TiedSparseAutoencoder, **SMALL, unit_norm="all"),
    "tied_last": partial(TiedSparseAutoencoder, **SMALL, unit_norm="last"),
}


def drawn(model):
    """The model with every number drawn at random, batch statistics too, as after some training."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(0.3 * torch.randn(parameter.shape, generator=generator))
        for part in model.modules():
            if isinstance(part, nn.BatchNorm1d):
                part.running_mean.copy_(torch.randn(part.num_features, generator=generator))
                part.running_var.copy_(0.2 + torch.rand(part.num_features, generator=generator))
                part.running_var[0] = 1e-4  # so small that eps counts
                part.num_batches_tracked.fill_(5)
            if isinstance(part, JumpReLU):
                part.advance(lambda value, operation: value)  # no threshold is below zero
            if isinstance(part, BatchTopK):
                part.threshold.fill_(0.4)
            if isinstance(part, AffineScaling):
                part.factor.fill_(1.5)
                if part.mean is not None:
                    part.mean.copy_(torch.rand(part.mean.shape, generator=generator))
    return model.eval()


def samples(n=20):
    return torch.rand((n, *SHAPE), generator=torch.Generator().manual_seed(0))


def compare(model):
    x = samples()
    for instance in range(model.instances or 1):
        network = Network(tuple(dense_layers(model, instance)))
        with torch.no_grad():
            wanted_x, wanted_z = model(x)
            outputs = network.outputs(flat_samples(model, x, instance))
        if model.instances is not None:
            wanted_x, wanted_z = wanted_x[instance], wanted_z[instance]
        if getattr(model, "compares_norms", False):  # the page's codes have the norms in them
            norms = model.decoder_vectors.detach().norm(dim=-1)
            wanted_z = wanted_z * (norms if model.instances is None else norms[instance])
        torch.testing.assert_close(outputs[-1], wanted_x.flatten(1), rtol=1e-5, atol=2e-5)
        torch.testing.assert_close(outputs[network.code], wanted_z, rtol=1e-5, atol=2e-5)
        check_network(network, model, x, instance)
        assert [layer.name for layer in network.layers].count("code") == 1
        assert network.layers[-1].name == "reconstruction"
        assert not any(part.requires_grad for layer in network.layers for part in (layer.weight, layer.bias))
        torch.testing.assert_close(network.finish(0, outputs[0]), outputs[-1])


@pytest.mark.parametrize("name", DENSE)
def test_every_dense_variant_is_computed_as_pytorch_does(name):
    compare(drawn(variants()[name](SHAPE)))


@pytest.mark.parametrize("name", OPTIONS)
def test_every_option_is_computed_as_pytorch_does(name):
    compare(drawn(OPTIONS[name](SHAPE)))


@pytest.mark.parametrize("name", sorted(NOT_DENSE))
def test_a_convolutional_model_gets_one_sentence(name):
    with pytest.raises(ConfigError) as caught:
        dense_layers(variants()[name](SHAPE if name == "ConvAutoencoder" else (1, 16, 16)))
    message = str(caught.value)
    assert name in message
    assert "Conv2d" in message
    assert "fully connected" in message
    assert "`ae-lightning report`" in message
    assert "\n" not in message


def test_a_transcoder_gets_one_sentence():
    for model in (Transcoder(SHAPE, 70, target_shape=(5,)), Transcoder(SHAPE, 70, skip=True)):
        with pytest.raises(ConfigError, match="this Transcoder: it gives something else than its input again"):
            dense_layers(model)


def test_a_tied_layer_of_a_shallow_model_is_stored_by_what_units_read_and_write():
    model = drawn(OvercompleteAutoencoder(SHAPE, latent_dim=70))
    network = Network(tuple(dense_layers(model)))
    torch.testing.assert_close(network.rows(0), model.encoder_vectors.detach())
    torch.testing.assert_close(network.rows(1), model.decoder_vectors.detach())


def test_activations_are_those_before_a_batch_norm():
    model = drawn(OPTIONS["batch_norm"](SHAPE))
    x = samples().flatten(1)
    with torch.no_grad():
        first = model.encoder[0][:2](x)  # linear and activation, without batch norm and dropout
    torch.testing.assert_close(Network(tuple(dense_layers(model))).outputs(x)[0], first)


def test_names_count_the_layers_from_each_side():
    names = [layer.name for layer in dense_layers(drawn(OPTIONS["batch_norm"](SHAPE)))]
    assert names == ["encoder 1", "encoder 2", "code", "decoder 1", "decoder 2", "reconstruction"]
    thresholds = [layer.activation.threshold for layer in dense_layers(drawn(OPTIONS["hard"](SHAPE)))]
    assert thresholds == [None, None, 0.05, None, None, None]


@pytest.mark.parametrize("instance", [-1, 3])
def test_an_instance_that_there_is_not(instance):
    with pytest.raises(ConfigError, match=rf"asked for is {instance}, .*StandardSAE has 3 instances, 0 to 2"):
        dense_layers(OPTIONS["saes"](SHAPE), instance)
    with pytest.raises(ConfigError, match=f"asked for is {instance}, .*has no instances, so that it must be 0"):
        dense_layers(OPTIONS["sae"](SHAPE), instance)


class Scaled(OvercompleteAutoencoder):
    """A variant that does more than its layers say."""

    def decode(self, z):
        return 2 * super().decode(z)


class Elsewhere(FullyConnectedAutoencoder):
    """A variant whose layers are under other names."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.down, self.encoder = self.encoder, None


class Prelu(FullyConnectedAutoencoder):
    """A variant with an activation that the page does not know."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.encoder[0][1] = nn.PReLU()


class Steeper(FullyConnectedAutoencoder):
    """A variant whose activation has another constant."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.encoder[0][1] = nn.LeakyReLU(0.5)


class NormFirst(FullyConnectedAutoencoder):
    """A variant with batch normalization before the activation."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.encoder[0].insert(1, nn.BatchNorm1d(12))


class NormLast(FullyConnectedAutoencoder):
    """A variant that ends in a batch normalization."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.decoder.append(nn.BatchNorm1d(math.prod(SHAPE)))


@pytest.mark.parametrize(
    ("variant", "why"),
    [
        (partial(Scaled, latent_dim=5), "it computes something else than its layers say"),
        (partial(Elsewhere, **SMALL), "its layers are not those of an encoder and a decoder"),
        (partial(Prelu, **SMALL), "it has a PReLU"),
        (partial(Steeper, **SMALL), "it computes something else than its layers say"),
        (partial(NormFirst, **SMALL), "a ReLU follows something else than a linear layer"),
        (partial(NormLast, **SMALL), "it ends in a batch normalization"),
    ],
    ids=lambda value: value.func.__name__ if isinstance(value, partial) else "",
)
def test_a_model_that_is_no_chain_of_known_layers_is_refused(variant, why):
    model = drawn(variant(SHAPE))
    with pytest.raises(ConfigError, match=why):
        check_network(Network(tuple(dense_layers(model))), model, samples())


@pytest.mark.parametrize("number", [math.nan, math.inf])
def test_weights_that_are_not_finite_are_refused(number):
    model = drawn(OvercompleteAutoencoder(SHAPE, latent_dim=5))
    with torch.no_grad():
        model.decoder_vectors[1, 2] = number
    with pytest.raises(ConfigError, match="the OvercompleteAutoencoder has weights that are not finite"):
        check_network(Network(tuple(dense_layers(model))), model, samples())


def test_samples_of_each_instance_are_its_own():
    model = drawn(StandardSAE((6,), latent_dim=7, instances=3))
    x = torch.rand((20, 3, 6), generator=torch.Generator().manual_seed(0))
    for instance in range(3):
        torch.testing.assert_close(flat_samples(model, x, instance), x[:, instance])
        network = Network(tuple(dense_layers(model, instance)))
        check_network(network, model, x, instance)
        with torch.no_grad():
            torch.testing.assert_close(network.outputs(x[:, instance])[-1], model(x)[0][instance])


class TopKCode(CodeActivation):
    """The k largest of each sample, or with groups the largest of each of k."""

    def __init__(self, k, groups=False):
        super().__init__()
        self.chosen, self.groups = k, groups

    @property
    def k(self):
        return self.chosen

    def forward(self, pre, norms=None):
        scores = pre if norms is None else pre * norms.unsqueeze(-2)
        if self.groups:
            scores = scores.unflatten(-1, (self.k, -1))
        least = scores.topk(1 if self.groups else self.k, dim=-1).values[..., -1:]
        return (pre * (scores >= least).reshape(pre.shape)).relu()


class JumpCode(CodeActivation):
    """What is above a threshold, of all or of each latent."""

    def __init__(self, *shape, per_latent=True):
        super().__init__()
        self.threshold = nn.Parameter(0.2 * torch.rand(shape, generator=torch.Generator().manual_seed(3)))
        self.per_latent = per_latent

    def forward(self, pre, norms=None):
        threshold = self.threshold.unsqueeze(-2) if self.per_latent else self.threshold[..., None, None]
        return pre * (pre > threshold) * (pre > 0)


class CalibratedCode(JumpCode):
    """One with another threshold outside training."""

    @property
    def inference_threshold(self):
        return self.threshold + 0.3

    def forward(self, pre, norms=None):
        return pre * (pre > self.inference_threshold[..., None, None])


class GatedCode(CodeActivation):
    """Gate and magnitude of one product."""

    def __init__(self, *shape):
        super().__init__()
        numbers = torch.randn((3, *shape), generator=torch.Generator().manual_seed(4)) / 3
        self.b_gate, self.b_mag, self.r_mag = (nn.Parameter(part) for part in numbers)

    def forward(self, pre, norms=None):
        gate, shift, factor = (part.unsqueeze(-2) for part in (self.b_gate, self.b_mag, self.r_mag.exp()))
        return (pre + gate > 0) * (pre * factor + shift).relu()


SELECTING = {
    "topk": (TopKCode(9), None),
    "group max": (TopKCode(10, groups=True), None),
    "topk of each": (TopKCode(9), 3),
    "batch_topk": (JumpCode(per_latent=False), None),
    "calibrated": (CalibratedCode(per_latent=False), None),
    "batch_topk of each": (JumpCode(3, per_latent=False), 3),
    "jumprelu": (JumpCode(70), None),
    "jumprelu of each": (JumpCode(3, 70), 3),
    "gated": (GatedCode(70), None),
    "gated of each": (GatedCode(3, 70), 3),
}


def selecting(activation, instances=None, variant=StandardSAE):
    model = drawn(variant(SHAPE, latent_dim=70, instances=instances))
    model.dictionary.activation = activation
    return model


@pytest.mark.parametrize("name", SELECTING)
def test_what_selects_is_computed_as_pytorch_does(name):
    model = selecting(*SELECTING[name])
    z = model(samples()).z
    assert 0.05 < float((z != 0).float().mean()) < 0.7
    compare(model)


@pytest.mark.parametrize(("activation", "why"), [(TopKCode(9), None), (CodeActivation(), "it has a")])
def test_a_selection_that_the_page_does_not_know_is_refused(activation, why):
    if why is None:  # as if norms of the decoder were compared, and not folded
        norms, why = torch.linspace(0.2, 2, 70), "it computes something else than its layers say"
        forward = activation.forward
        activation.forward = lambda pre, _: forward(pre, norms)
    model = selecting(activation)
    with pytest.raises(ConfigError, match=why):
        check_network(network_of(model), model, samples())


class Doubling(OvercompleteAutoencoder):
    """A variant that reads twice its input, until that is folded into its weights."""

    factor = 2.0

    def inputs(self, x):
        return self.factor * super().inputs(x)

    def fold(self):
        whole = copy.deepcopy(self)
        whole.factor = 1.0
        with torch.no_grad():
            whole.dictionary.W_enc.mul_(2)
        return whole


class Unfoldable(Doubling):
    """One that cannot be folded."""

    def fold(self):
        raise ConfigError("each sample is divided by its own norm")


def test_a_model_is_folded_first():
    model = selecting(TopKCode(9), variant=Doubling)
    network = network_of(model)
    torch.testing.assert_close(network.layers[0].weight, 2 * model.dictionary.W_enc.detach())
    compare(model)
    assert model.factor == 2
    with pytest.raises(ConfigError, match="of this Unfoldable: each sample is divided by its own norm; `ae-lightning"):
        network_of(selecting(TopKCode(9), variant=Unfoldable))


def test_samples_that_are_scaled_each_by_itself_are_refused_in_one_sentence():
    with pytest.raises(ConfigError) as caught:
        network_of(TopKSAE(SHAPE, latent_dim=70, k=9, input_scaling="standardized"))
    message = str(caught.value)
    assert "this TopKSAE: an input scaling that depends on each sample (standardized) cannot be folded" in message
    assert "\n" not in message


def test_codes_are_the_model_s_own_unless_latents_are_compared_by_norms():
    model = drawn(GatedSAE(SHAPE, latent_dim=70))
    torch.testing.assert_close(network_of(model).outputs(samples().flatten(1))[0], model.encode(samples()).detach())
    plain = drawn(StandardSAE(SHAPE, latent_dim=70))
    assert network_of(plain).layers[0].weight.data_ptr() == plain.dictionary.W_enc.data_ptr()  # nothing is folded


def test_an_output_of_another_width_is_refused():
    model = drawn(StandardSAE((6,), latent_dim=7))
    model.dictionary = Dictionary(6, 7, nn.ReLU(), output_dim=5)
    with pytest.raises(ConfigError, match="it gives something else than its input again"):
        network_of(model)


def test_one_near_tie_is_no_reason_to_refuse_a_code_that_selects_but_three_are():
    model = selecting(TopKCode(9))
    for few, accepted in ((1, True), (3, False)):
        network = network_of(model)
        x = samples(32)
        wrong = x[:few].flatten(1) + 5

        def outputs(flat, network=network, few=few, wrong=wrong):
            return Network.outputs(network, torch.cat([wrong, flat[few:]]))

        object.__setattr__(network, "outputs", outputs)
        if accepted:
            check_network(network, model, x)
        else:
            with pytest.raises(ConfigError, match="it computes something else"):
                check_network(network, model, x)

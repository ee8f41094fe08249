import pytest
import torch

from ae_lightning.analysis.contributions import contributions
from ae_lightning.models.overcomplete import OvercompleteAutoencoder
from ae_lightning.models.standard_sae import StandardSAE


def test_a_sum_that_can_be_done_by_hand():
    z = torch.tensor([0.0, 1.0, -3.0, 0.5, 2.0])
    vectors = torch.tensor([[9.0, 9.0], [0.0, 2.0], [1.0, 0.0], [0.0, 1.0], [4.0, 0.0]])
    found = contributions(z, vectors, torch.tensor([0.1, 0.2]), most=2)
    assert found.latents.tolist() == [4, 2]  # norms 8 and 3; then 2 and 0.5
    assert found.latents.dtype == torch.int64
    assert found.codes.tolist() == [2, -3]
    assert found.parts.tolist() == [[8, 0], [-3, 0]]
    assert found.rest.tolist() == [0, 2.5]
    assert found.rest_count == 2
    torch.testing.assert_close(found.total, torch.tensor([5.1, 2.7]))


def test_the_length_of_a_decoder_row_counts_as_much_as_the_code():
    vectors = torch.tensor([[1.0, 0.0], [0.0, 10.0]])
    assert contributions(torch.tensor([5.0, 1.0]), vectors, torch.zeros(2)).latents.tolist() == [1, 0]


def test_equal_contributions_are_in_the_order_of_their_numbers():
    z = torch.tensor([1.0, -2, 2, 0, 2, -2, 1] * 50)
    found = contributions(z, torch.ones(350, 3), torch.zeros(3), most=1000)
    equal = found.latents[found.codes.abs() == 2].tolist()
    assert equal == sorted(equal)
    assert found.latents[: len(equal)].tolist() == equal


@pytest.mark.parametrize("most", [1, 5, 30])
def test_the_total_is_the_matrix_product_whatever_is_listed(most):
    generator = torch.Generator().manual_seed(0)
    z, bias = torch.randn(30, generator=generator), torch.randn(7, generator=generator)
    vectors = torch.randn(30, 7, generator=generator)
    found = contributions(z, vectors, bias, most)
    torch.testing.assert_close(found.total, z @ vectors + bias)
    assert len(found.latents) + found.rest_count == 30
    assert len(found.latents) == most


def test_fewer_active_latents_than_asked_for_leave_no_rest():
    found = contributions(torch.tensor([0.0, 3.0, 0.0]), torch.ones(3, 2), torch.zeros(2), most=8)
    assert found.latents.tolist() == [1]
    assert (found.rest_count, found.rest.tolist()) == (0, [0, 0])


def test_a_code_of_zeros_leaves_the_bias():
    bias = torch.tensor([0.5, -1.0])
    found = contributions(torch.zeros(3), torch.ones(3, 2), bias)
    assert (found.latents.shape, found.parts.shape) == ((0,), (0, 2))
    assert found.total.tolist() == bias.tolist()


@pytest.mark.parametrize(
    ("kind", "options"), [(StandardSAE, {}), (StandardSAE, {"tied": True}), (OvercompleteAutoencoder, {})]
)
def test_the_parts_of_a_model_add_up_to_its_reconstruction(kind, options):
    torch.manual_seed(0)
    model = kind((1, 8, 8), latent_dim=32, **options)
    with torch.no_grad():
        model.dictionary.b_dec.normal_()
    x = torch.rand(3, 1, 8, 8)
    z = model.encode(x)
    found = contributions(z[1], model.decoder_vectors, model.dictionary.b_dec)
    torch.testing.assert_close(found.total.reshape(1, 8, 8), model.decode(z)[1].detach())
    assert found.latents.numel() == 8
    assert found.rest_count == int((z[1] > 0).sum()) - 8
    assert not found.total.requires_grad


def test_what_an_output_activation_is_applied_to_is_taken_apart():
    torch.manual_seed(0)
    model = OvercompleteAutoencoder((16,), latent_dim=32, output_activation="sigmoid")
    z = model.encode(torch.rand(1, 16))
    found = contributions(z[0], model.decoder_vectors, model.dictionary.b_dec)
    torch.testing.assert_close(found.total.sigmoid(), model.decode(z)[0].detach())


def test_training_on_does_not_change_what_was_found():
    bias, vectors = torch.ones(2), torch.ones(3, 2)
    found = contributions(torch.ones(3), vectors, bias)
    bias.zero_()
    vectors.zero_()
    assert found.total.tolist() == [4, 4]


@pytest.mark.parametrize(
    ("z", "vectors", "bias", "most", "message"),
    [
        ((2, 3), (3, 4), (4,), 8, r"theirs are \(2, 3\)"),
        ((3,), (2, 4), (4,), 8, r"\(2, 4\)"),
        ((3,), (5, 3, 4), (4,), 8, "one of each"),
        ((3,), (3, 4), (1,), 8, r"\(1,\)"),
        ((3,), (3, 4), (4,), 0, "most is 0"),
    ],
)
def test_what_does_not_fit_is_refused(z, vectors, bias, most, message):
    with pytest.raises(ValueError, match=message):
        contributions(torch.ones(z), torch.ones(vectors), torch.ones(bias), most)

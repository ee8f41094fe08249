"""Products of sparse codes, and their gradients, against dense products and finite differences."""

import pytest
import torch
from torch import Tensor
from torch.autograd import gradcheck

from ae_lightning.nn import sparse_products
from ae_lightning.nn.sparse_code import Places, SparseCode
from ae_lightning.nn.sparse_products import decode_prefixes, decode_sparse, known_at

SAMPLES, LATENTS, INPUT, OUTPUT = 4, 6, 3, 5
WIDTHS = [1, 4, LATENTS]
ROW = torch.arange(SAMPLES) * LATENTS
#: Places of the entries of one instance, by what is special about them.
ENTRIES = {
    "a sample and latents without": torch.tensor([1, 3, 12, 13, 15, 21]),
    "repeated": torch.tensor([1, 1, 3, 12, 15, 15, 15]),
    "one of each": ROW + torch.tensor([5, 0, 5, 2]),
    "the same of each": (ROW.unsqueeze(-1) + torch.tensor([2, 4])).flatten(),
    "all": torch.arange(SAMPLES * LATENTS),
    "none": torch.tensor([], dtype=torch.int64),
}

each_case = pytest.mark.parametrize("entries", ENTRIES)
with_and_without_instances = pytest.mark.parametrize("lead", [(), (1,), (2,)], ids=str)


def places(entries: str, lead: tuple[int, ...], samples: int = SAMPLES) -> Places:
    """The same places in each instance, of the first samples."""
    flat = ENTRIES[entries]
    flat = flat[flat < samples * LATENTS]
    every = [flat + instance * samples * LATENTS for instance in range(sum(lead) or 1)]
    return Places.of_flat(torch.cat(every), (*lead, samples, LATENTS))


def drawn(*shape: int, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(*shape, dtype=dtype).requires_grad_()


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(0)


@each_case
@with_and_without_instances
@pytest.mark.parametrize("samples", [SAMPLES, 1], ids=["batch", "batch of one"])
def test_decoding(entries, lead, samples):
    where = places(entries, lead, samples)
    values, rows, bias = drawn(len(where.latents)), drawn(*lead, LATENTS, OUTPUT), drawn(*lead, OUTPUT)

    def decode(values: Tensor, rows: Tensor, bias: Tensor | None) -> Tensor:
        return decode_sparse(SparseCode(values, where), rows, bias)

    z = SparseCode(values, where).to_dense()
    torch.testing.assert_close(decode(values, rows, bias), z @ rows + bias.unsqueeze(-2), rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(decode(values, rows, None), z @ rows, rtol=1e-10, atol=1e-10)
    assert gradcheck(decode, (values, rows, bias))


@each_case
@with_and_without_instances
def test_decoding_prefixes(entries, lead):
    where = places(entries, lead)
    values, rows, bias = drawn(len(where.latents)), drawn(*lead, LATENTS, OUTPUT), drawn(*lead, OUTPUT)

    def decode(values: Tensor, rows: Tensor, bias: Tensor | None) -> tuple[Tensor, ...]:
        return tuple(decode_prefixes(SparseCode(values, where), rows, bias, WIDTHS))

    z = SparseCode(values, where).to_dense()
    for width, found, without in zip(WIDTHS, decode(values, rows, bias), decode(values, rows, None), strict=True):
        wanted = z[..., :width] @ rows[..., :width, :]
        torch.testing.assert_close(without, wanted, rtol=1e-10, atol=1e-10)
        torch.testing.assert_close(found, wanted + bias.unsqueeze(-2), rtol=1e-10, atol=1e-10)
    assert gradcheck(decode, (values, rows, bias))


@each_case
@pytest.mark.parametrize(
    ("lead", "own"), [((), False), ((2,), False), ((2,), True)], ids=["single", "shared samples", "own samples"]
)
@pytest.mark.parametrize("samples", [SAMPLES, 1], ids=["batch", "batch of one"])
def test_encoding_at_places(entries, lead, own, samples):
    where = places(entries, lead, samples)
    x = drawn(*(lead if own else ()), samples, INPUT)
    weight, bias, center = drawn(*lead, INPUT, LATENTS), drawn(*lead, LATENTS), drawn(*lead, INPUT)

    def encode(x: Tensor, weight: Tensor, bias: Tensor | None, center: Tensor | None) -> Tensor:
        """Known values from a dense product, with the gradient of a sparse one."""
        with torch.no_grad():
            dense = (x if center is None else x - center.unsqueeze(-2)) @ weight
            dense = dense if bias is None else dense + bias.unsqueeze(-2)
        return known_at(dense.flatten()[where.flat], where, x, weight, bias, center)

    assert gradcheck(encode, (x, weight, bias, center))
    if len(where.latents):  # without entries nothing depends on what it is given
        assert gradcheck(lambda x, weight: encode(x, weight, None, None), (x, weight))


def test_columns_of_a_gradient_are_found_some_at_a_time(monkeypatch):
    """Of latents that no multiple of a piece's width are, in each instance."""
    where = places("a sample and latents without", (2,))
    x, weight = drawn(SAMPLES, INPUT), drawn(2, INPUT, LATENTS)
    upon = torch.randn(len(where.latents), dtype=torch.float64)
    values = torch.randn_like(upon)
    whole = torch.autograd.grad(known_at(values, where, x, weight, None) @ upon, weight)
    monkeypatch.setattr(sparse_products, "_COLUMNS", 4)
    torch.testing.assert_close(torch.autograd.grad(known_at(values, where, x, weight, None) @ upon, weight), whole)
    assert whole[0].count_nonzero() > 0


def test_values_that_are_known_are_kept_and_get_the_gradient():
    where = places("all", ())
    x, weight, bias, center = drawn(SAMPLES, INPUT), drawn(INPUT, LATENTS), drawn(LATENTS), drawn(INPUT)
    values = torch.randn(len(where.latents), dtype=torch.float64)
    known = known_at(values, where, x, weight, bias, center)
    assert torch.equal(known, values)
    parts = (x, weight, bias, center)
    upon = torch.randn_like(values)
    dense = ((x - center) @ weight + bias).flatten()
    for found, wanted in zip(
        torch.autograd.grad(known @ upon, parts), torch.autograd.grad(dense @ upon, parts), strict=True
    ):
        torch.testing.assert_close(found, wanted, rtol=1e-10, atol=1e-10)


def test_half_precision_is_added_up_in_float32():
    where = places("all", ())
    code = SparseCode(torch.rand(SAMPLES * LATENTS), where)
    rows = torch.randn(LATENTS, OUTPUT).bfloat16().requires_grad_()
    found = decode_sparse(code, rows)
    torch.testing.assert_close(found, code.to_dense() @ rows.float())
    found.sum().backward()
    assert rows.grad.dtype == torch.bfloat16

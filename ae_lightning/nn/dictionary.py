"""The shallow pair of one linear encoder and one linear decoder that every dictionary learner shares."""

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ae_lightning.nn.active_latents import ActiveLatents
from ae_lightning.nn.affine import affine
from ae_lightning.nn.code_activation import CodeActivation, is_rectified
from ae_lightning.nn.precision import at_least_float32
from ae_lightning.nn.sparse_code import SparseCode
from ae_lightning.nn.sparse_encoding import encode_selected
from ae_lightning.nn.sparse_products import decode_sparse

DictionaryInit = Literal["linear", "kaiming", "kaiming_joint", "xavier", "xavier_joint", "transpose", "directions"]
"""How weights start.

`linear`: weights and biases uniform within ±1/√fan_in, as `torch.nn.Linear` has them. `kaiming`: weights uniform
within ±√(6/fan_in) (He et al. 2015), biases zero. `xavier`: weights N(0, 2/(fan_in + fan_out)) (Glorot and Bengio
2010), biases zero, each instance for itself. `kaiming_joint` and `xavier_joint`: the same functions of torch on all
instances as one tensor (instances, out, in), of which torch takes instances for outputs: fan_in is out × in and fan_out
instances × in, so that weights start smaller; without instances nothing changes. `transpose`: decoder rows are random
directions of norm 1, the encoder is the decoder transposed, biases zero, so that every latent starts by reading what it
writes. `directions`: encoder rows are random directions too, for an output that is not the input.
"""


# Rows are drawn as directions, not entry by entry.
_DIRECTIONS = ("transpose", "directions")


class Dictionary(nn.Module):
    """Encoder z = activation(x W_enc + b_enc) and decoder ŷ = z W_dec + b_dec; ŷ stands for x unless it is wider.

    With `instances` the weights carry a leading dimension and a whole population is computed by the same
    matrix products; x may then be (batch, input), shared by all, or (instances, batch, input).

    Args:
        input_dim: Width of the input.
        latent_dim: Number of latents.
        activation: Activation of the code: elementwise, or a `CodeActivation` for as many latents and instances.
        instances: Number of independent copies, or None for a single one without the extra dimension.
        tied: Whether the decoder is the encoder transposed; then there is no parameter W_dec (it is None), and the
            output is as wide as the input.
        centered: Whether the encoder reads x − b_dec instead of x.
        encoder_bias: Whether the encoder has a bias; without one there is no parameter b_enc (it is None).
        init: How weights start.
        unit_norm: Whether decoding divides each decoder row by its norm. The parameter keeps its lengths, and the
            gradient flows through the division. With tied weights the decoder alone is so divided: the encoder reads
            with rows of any length.
        row_norm: Norm of rows that start as directions (`transpose`, `directions`), of the decoder and the encoder.
        output_dim: Width of the output, or None for that of the input. A centered encoder needs the same width.
        seeds: One for each instance, or one in all without instances, from which its weights are drawn as those of a
            single dictionary with that seed are; None draws from torch's global random numbers.

    Shapes:
        W_enc (…, input, latent), b_enc (…, latent), W_dec (…, latent, output), b_dec (…, output), where … is
        nothing or (instances,).

    Raises:
        ValueError: The output has a width of its own, but weights are tied or the encoder is centered.
    """

    W_dec: nn.Parameter | None
    b_enc: nn.Parameter | None

    def __init__(
        self,
        input_dim: int,
        latent_dim: int,
        activation: nn.Module,
        instances: int | None = None,
        tied: bool = False,
        centered: bool = False,
        encoder_bias: bool = True,
        init: DictionaryInit = "linear",
        unit_norm: bool = False,
        row_norm: float = 1.0,
        output_dim: int | None = None,
        seeds: Sequence[int] | None = None,
    ) -> None:
        super().__init__()
        lead = () if instances is None else (instances,)
        output_dim = input_dim if output_dim is None else output_dim
        if output_dim != input_dim and (tied or centered):
            raise ValueError(f"an output of {output_dim} numbers for {input_dim} can be neither tied nor centered")
        self.latent_dim = latent_dim
        self.instances = instances
        self.centered = centered
        self.init: DictionaryInit = init
        self.unit_norm = unit_norm
        self.row_norm = row_norm
        self.seeds = seeds
        self.W_enc = nn.Parameter(torch.empty(*lead, input_dim, latent_dim))
        self.register_parameter("b_enc", nn.Parameter(torch.empty(*lead, latent_dim)) if encoder_bias else None)
        self.register_parameter("W_dec", None if tied else nn.Parameter(torch.empty(*lead, latent_dim, output_dim)))
        self.b_dec = nn.Parameter(torch.empty(*lead, output_dim))
        self.activation = activation
        self.reset_parameters()

    @torch.no_grad()
    def reset_parameters(self) -> None:
        """Draw all weights and biases anew, as `init` says."""
        whole = (self.W_enc, self.b_enc, self.W_dec, self.b_dec)
        if self.seeds is None:
            self._start(whole, None)
            return
        for number, seed in enumerate(self.seeds):
            generator = torch.Generator().manual_seed(seed)
            self._start([part if part is None or self.instances is None else part[number] for part in whole], generator)

    def _start(self, parts: Sequence[Any], generator: torch.Generator | None) -> None:
        """Draw the weights of all instances, or of one, by a generator or from the global random numbers."""
        W_enc, b_enc, W_dec, b_dec = parts
        input_dim, latent_dim = W_enc.shape[-2:]
        if self.init in _DIRECTIONS:
            rows, reading = W_enc.mT if W_dec is None else W_dec, W_enc.mT
            self._draw_directions(rows, generator)
            if self.init == "transpose" and rows.shape == reading.shape:
                reading.copy_(rows)
            else:
                self._draw_directions(reading, generator)
        for weight, bias, fan_in in ((W_enc, b_enc, input_dim), (W_dec, b_dec, latent_dim)):
            if weight is not None:
                self._draw(weight, fan_in, generator)
            if bias is not None and self.init == "linear":
                bias.uniform_(-(fan_in**-0.5), fan_in**-0.5, generator=generator)
            elif bias is not None:
                bias.zero_()

    def _draw_directions(self, rows: Tensor, generator: torch.Generator | None) -> None:
        rows.normal_(generator=generator)
        rows.div_(rows.norm(dim=-1, keepdim=True)).mul_(self.row_norm)

    def _draw(self, weight: Tensor, fan_in: int, generator: torch.Generator | None) -> None:
        if self.init in ("kaiming_joint", "xavier_joint"):
            draw = nn.init.kaiming_uniform_ if self.init == "kaiming_joint" else nn.init.xavier_normal_
            columns = weight.mT.clone(memory_format=torch.contiguous_format)
            weight.copy_(draw(columns, generator=generator).mT)
        elif self.init == "xavier":
            weight.normal_(std=math.sqrt(2 / sum(weight.shape[-2:])), generator=generator)
        elif self.init not in _DIRECTIONS:
            bound = math.sqrt((6 if self.init == "kaiming" else 1) / fan_in)
            weight.uniform_(-bound, bound, generator=generator)

    def pre_activations(self, x: Tensor) -> Tensor:
        """What the activation is applied to: x (…, batch, input) to (…, batch, latent)."""
        return affine(x, self.W_enc, self.b_enc, center=self._center)

    def encode(self, x: Tensor) -> Tensor:
        """Code of x: (…, batch, input) to (…, batch, latent)."""
        if isinstance(self.activation, CodeActivation):  # one that looks at more than a number at a time
            return self.activation(self.pre_activations(x))
        return affine(x, self.W_enc, self.b_enc, self.activation, self._center)

    def encode_sparsely(self, x: Tensor, norms: Tensor | None = None) -> SparseCode:
        """The same code as indices and values, where the activation keeps a fixed number of latents.

        Only the encoder's product is dense, and no array of all pre-activations is kept.

        Args:
            x: (…, batch, input).
            norms: Norms (…, latent) of the decoder's rows, where latents are compared by what they write.
        """
        assert isinstance(self.activation, ActiveLatents)
        code = encode_selected(self.activation, x, self.W_enc, self.b_enc, self._center, norms)
        return SparseCode(code.values.relu(), code.places)

    def decode(self, z: Tensor | SparseCode, activation: Callable[[Tensor], Tensor] | None = None) -> Tensor:
        """Output from codes: (…, batch, latent) to (…, batch, output), through an activation if there is one."""
        if isinstance(z, SparseCode):
            y = decode_sparse(z, self.decoder_vectors, self.b_dec)
            return y if activation is None else activation(y)
        return affine(z, self.decoder_vectors, self.b_dec, activation)

    def parts(self, which: Tensor) -> Iterator[tuple[Tensor, Tensor | None, Tensor]]:
        """Encoder (input, some), its bias (some,) and decoder rows (some, output) of some latents of each instance.

        They have gradients, and read x − b_dec where the encoder is centered.

        Args:
            which: Which latents, (…, latent).
        """
        rows = self.decoder_vectors
        for instance, mine in enumerate(which.view(-1, self.latent_dim)):
            own = () if self.instances is None else (instance,)
            chosen = mine.nonzero().squeeze(-1)
            bias = None if self.b_enc is None else self.b_enc[own].index_select(-1, chosen)
            yield self.W_enc[own].index_select(-1, chosen), bias, rows[own].index_select(-2, chosen)

    @property
    def is_rectified(self) -> bool:
        """Whether codes are nowhere negative, and exactly zero where a latent does not fire."""
        return is_rectified(self.activation)

    @property
    def decoder_norms(self) -> Tensor:
        """Euclidean norms (…, latent) of the rows that decoding uses, in float32 or wider."""
        return torch.linalg.vector_norm(at_least_float32(self.decoder_vectors), dim=-1)

    @property
    def _center(self) -> Tensor | None:
        return self.b_dec if self.centered else None

    @property
    def encoder_vectors(self) -> Tensor:
        """A view (…, latent, input) of the encoder: row i is what latent i reads."""
        return self.W_enc.mT

    @property
    def decoder_vectors(self) -> Tensor:
        """Rows (…, latent, output) that decoding uses: row i is what latent i writes. A view, unless `unit_norm`."""
        rows = self._stored_rows
        return F.normalize(at_least_float32(rows), dim=-1).to(rows.dtype) if self.unit_norm else rows

    @property
    def decoder_rows(self) -> Tensor | None:
        """A view (…, latent, output) of the rows that the decoder keeps, to be edited.

        None where it keeps none: tied rows that are divided as they are used are the encoder's.
        """
        return None if self.unit_norm and self.W_dec is None else self._stored_rows

    @property
    def _stored_rows(self) -> Tensor:
        return self.W_enc.mT if self.W_dec is None else self.W_dec

    @torch.no_grad()
    def set_latents(self, which: Tensor, encoder: Tensor, decoder: Tensor) -> None:
        """Give some latents new rows, the encoder bias 0, and the activation's own parameters their start values.

        Args:
            which: Which latents, (…, latent), true for k of them in all.
            encoder: Their encoder rows (k, input), in the order of the instances.
            decoder: Their decoder rows (k, output). With tied weights these are the rows of both, unless decoding
                divides rows by their norm: then those of the encoder are.
        """
        self.encoder_vectors[which] = encoder.to(self.W_enc)
        if self.decoder_rows is not None:
            self.decoder_rows[which] = decoder.to(self.W_enc)
        if self.b_enc is not None:
            self.b_enc[which] = 0.0
        if isinstance(self.activation, CodeActivation):
            self.activation.reset_latents(which)

    @property
    def latent_axes(self) -> dict[nn.Parameter, int]:
        """The axis, counted from the end, along which each parameter has one entry for each latent."""
        axes = {self.W_enc: -1, self.b_enc: -1, self.W_dec: -2}
        own = self.activation.latent_axes if isinstance(self.activation, CodeActivation) else {}
        return {parameter: axis for parameter, axis in axes.items() if parameter is not None} | own

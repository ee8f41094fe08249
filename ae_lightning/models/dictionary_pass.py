"""One pass through a sparse dictionary: how its code is computed, and the terms of the loss, in scaled units.

The code is dense or sparse, and where it is dense and wide it is computed some latents at a time. What a variant adds
to the loss reads a `Pass`, and need not know which.
"""

from functools import partial

from torch import Tensor

from ae_lightning.losses.reconstruction import reconstruction_loss
from ae_lightning.losses.sparsity import l1_of_sums, weighted_l1
from ae_lightning.models.base import AutoencoderOutput
from ae_lightning.models.scaled_dictionary import ScaledDictionary
from ae_lightning.nn.arithmetic import Arithmetic, can_be_sparse, is_faster_sparsely
from ae_lightning.nn.blocked_pass import block_code, blocked_pass, is_wide
from ae_lightning.nn.code_activation import CodeActivation
from ae_lightning.nn.dictionary import Dictionary
from ae_lightning.nn.sparse_code import SparseCode
from ae_lightning.training.batch import Pass, SparseOutput, StepOutput

# Methods that get codes, of those that a variant may override.
_READERS = ("sparsity_terms", "decode")
# Methods of which a pass that is computed some latents at a time takes the place.
_STEPS_OF_A_PASS = ("coded", "outputs", "_decoded")


class DictionaryPass(ScaledDictionary):
    """A scaled dictionary whose loss is the error of x̂, AuxK, and what a variant asks for beside them."""

    #: How codes are computed with that keep a fixed number of latents.
    arithmetic: Arithmetic

    def encode(self, x: Tensor) -> Tensor:
        """Code: x (batch, *input_shape) to (…, batch, latent)."""
        return self._dense(self.code(x))

    def code(self, x: Tensor) -> Tensor | SparseCode:
        """The same code as it is computed: where the arithmetic is sparse, as indices and values."""
        return self.coded(self.inputs(x))[1]

    def forward(self, x: Tensor) -> AutoencoderOutput:
        """Encode and decode x (batch, *input_shape)."""
        flat = self.flatten(x)
        vectors = self.scaling(flat)
        _, z = self.coded(vectors)
        if self.decodes_to_data:
            return AutoencoderOutput(self.decode(z), self._dense(z))
        x_hat = self.output_scaling.undo(self._past(vectors, self._decoded(z)), flat)
        return AutoencoderOutput(self.unflatten(x_hat), self._dense(z))

    def _dense(self, z: Tensor | SparseCode) -> Tensor:
        """A code as a tensor; where its values are wider than weights of half precision, in their format."""
        return z.to_dense().to(self.dictionary.W_enc.dtype) if isinstance(z, SparseCode) else z

    def terms(self, x: Tensor, target: Tensor) -> tuple[dict[str, Tensor], StepOutput]:
        """Forward pass of x, and the terms of the loss in the units that the dictionary reads."""
        flat = self.flatten(x)
        vectors = self.scaling(flat)
        done = self._pass(vectors, self.scaled_target(target))
        # Before the code is decoded: the decoder's gradient of it is then the first, and others are added in place.
        sparsity = self.sparsity_terms(done)
        losses = self.reconstruction_terms(done) | sparsity
        if self.silence is not None:
            losses |= self.auxk_term(vectors, done.pre, done.target, done.x_hat)
        x_hat, z = self.unflatten(self.output_scaling.undo(done.x_hat, flat)), done.z
        return losses, SparseOutput(x_hat, z) if isinstance(z, SparseCode) else AutoencoderOutput(x_hat, z)

    def _pass(self, vectors: Tensor, target: Tensor) -> Pass:
        """One pass of vectors (…, batch, input) that the encoder reads."""
        code = block_code(self.dictionary.activation) if self._can_be_blocked(vectors) else None
        if code is None:
            pre, z = self.coded(vectors)
            return Pass(target, pre, z, lambda z: [self._past(vectors, y) for y in self.outputs(z)])
        done = blocked_pass(self.dictionary, vectors, code, with_norms=self.norm_weighted and code.summed == 0)
        later = partial(self.dictionary.pre_activations, vectors)
        return Pass(target, later, done.codes[0], lambda z: [self._past(vectors, done.decoded[0])], done)

    def _can_be_blocked(self, vectors: Tensor) -> bool:
        """Whether the pass may be computed some latents at a time: it is large, and nothing else is asked of it."""
        own = any(getattr(type(self), name) is not getattr(DictionaryPass, name) for name in _STEPS_OF_A_PASS)
        plain = type(self.dictionary) is Dictionary and self.output_activation_name == "none" and not own
        return plain and self.silence is None and self._compiled_terms is None and is_wide(self.dictionary, vectors)

    def _past(self, vectors: Tensor, x_hat: Tensor) -> Tensor:
        """x̂ (…, batch, output) with what reaches it of the inputs (…, batch, input) past the code: nothing here."""
        return x_hat

    def outputs(self, z: Tensor | SparseCode) -> list[Tensor]:
        """What a code z is decoded to for the loss: x̂ alone, in the units that the dictionary reads."""
        return [self._decoded(z)]

    def reconstruction_terms(self, done: Pass) -> dict[str, Tensor]:
        """The error of x̂."""
        return {"reconstruction": self.error(done.x_hat, done.target)}

    def error(self, x_hat: Tensor, target: Tensor) -> Tensor:
        """The reconstruction's loss between two of (…, batch, output): summed over instances, or of each."""
        return reconstruction_loss(self.reconstruction_loss, x_hat, target, self.instances, each=self.tells_apart)

    def sparsity_terms(self, done: Pass) -> dict[str, Tensor]:
        """What makes the code sparse beside its activation, a value for each instance; nothing unless overridden."""
        return {}

    @property
    def penalty_norms(self) -> Tensor | None:
        """Norms (…, latent) of decoder rows that penalties are weighed by, with their gradient; None for no weights."""
        return self.dictionary.decoder_norms if self.norm_weighted else None

    def weighted_l1(self, done: Pass) -> Tensor:
        """Σ z ‖w‖ of a rectified code, of each instance: a mean over the batch; unweighted as `norm_weighted` says."""
        blocked = done.blocked
        if blocked is None or blocked.sums is None or blocked.code.summed != 0:  # not the sums of z
            return weighted_l1(done.z, self.penalty_norms, rectified=True)
        return l1_of_sums(blocked.sums, blocked.code.samples, blocked.norms)

    @property
    def selection_norms(self) -> Tensor | None:
        """The same norms without a gradient."""
        return self.dictionary.decoder_norms.detach() if self.norm_weighted else None

    def _decoded(self, z: Tensor | SparseCode) -> Tensor:
        """x̂ (…, batch, output), in the units that the dictionary reads."""
        return self.dictionary.decode(z, self.output_activation)

    @property
    def is_sparse(self) -> bool:
        """Whether codes are computed as indices and values, as things stand."""
        activation = self.dictionary.activation
        if self.arithmetic == "dense" or not can_be_sparse(activation) or self._compiled_terms is not None:
            return False
        if self.dictionary.W_enc.device.type != "cpu":
            return False
        if self.arithmetic == "sparse":
            return True
        return self.reads_sparse_codes and is_faster_sparsely(activation)

    @property
    def reads_sparse_codes(self) -> bool:
        """Whether all that gets codes takes indices and values; a variant's own may know codes as tensors alone."""
        return all(getattr(type(self), name) is getattr(DictionaryPass, name) for name in _READERS)

    @property
    def untraceable(self) -> str:
        """Why the loss cannot be compiled."""
        sparse = "--model.arithmetic sparse calls products that cannot be traced"
        return sparse if self.arithmetic == "sparse" else super().untraceable

    def coded(self, vectors: Tensor) -> tuple[Tensor | None, Tensor | SparseCode]:
        """Pre-activations, as far as they are kept, and the code, both (…, batch, latent)."""
        activation = self.dictionary.activation
        if self.is_sparse:
            return None, self.dictionary.encode_sparsely(vectors, self.selection_norms)
        if not isinstance(activation, CodeActivation):
            return super().coded(vectors)
        pre = self.dictionary.pre_activations(vectors)
        return pre, activation(pre, self.selection_norms if activation.weighted else None)

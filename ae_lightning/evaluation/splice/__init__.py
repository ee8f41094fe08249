"""Whether a model still works with a reconstruction in place of what one of its layers gives."""

from ae_lightning.evaluation.splice.into import Splice

__all__ = ["Splice"]

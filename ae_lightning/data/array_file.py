"""Arrays read from the files that people keep them in, with an error that says what is wrong with a file."""

from __future__ import annotations

import difflib
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ae_lightning.data.array_sizes import require_room
from ae_lightning.data.array_types import Array, not_real, readable
from ae_lightning.errors import DataError

ENDINGS = (".npy", ".npz", ".pt", ".pth", ".safetensors")


class ArrayFile:
    """A file of one array or of several named ones.

    Args:
        path: A .npy (memory-mapped), .npz, .pt, .pth (a tensor or a dict of tensors) or .safetensors file;
            ``~`` is expanded, and a relative path starts from the current folder.
        option: The option that named the file, for error messages, such as ``--data.train``.

    Raises:
        DataError: If the file is missing, of an unknown kind, damaged, larger than the memory though it has to be
            read as a whole, or holds Python objects.
    """

    def __init__(self, path: str, option: str) -> None:
        self.path = Path(path).expanduser()
        self.option = option
        if self.path.suffix not in ENDINGS:
            raise DataError(f"{option} is {path}, whose ending is unknown; it can be {', '.join(ENDINGS)}.")
        if self.path.is_dir():
            raise DataError(f"{option} names {path}, which is a folder; name a file in it.")
        if not self.path.is_file():
            raise DataError(f"{option} names {path}, which does not exist{self._nearest()}.")
        self._content: Any = self._read(self._load)

    def get(self, key: str | None, default: str, key_option: str) -> Array:
        """The array under ``key``, or under ``default`` if that is None; a file of one array has no keys.

        Raises:
            DataError: If there is no such key, or its content is not an array of real numbers.
        """
        array = self._content
        if not isinstance(array, Array):
            wanted = key or default
            if wanted not in array:
                keys = ", ".join(str(key) for key in sorted(array, key=str)) or "none"
                raise DataError(
                    f"{self.path} has no array named {wanted}; the names there are: {keys}. "
                    f"Choose one with {key_option}."
                )
            array = self._read(lambda: self._content[wanted])
        return self._checked(array)

    @property
    def named(self) -> bool:
        """Whether the file holds arrays by name, and not just one."""
        return not isinstance(self._content, Array)

    def has(self, key: str) -> bool:
        """Whether the file has an array of this name."""
        return self.named and key in self._content

    def _load(self) -> Any:
        require_room(self.path, self._source)
        if self.path.suffix == ".npy":
            return np.load(self.path, mmap_mode="r", allow_pickle=False)
        if self.path.suffix == ".npz":
            return np.load(self.path, allow_pickle=False)
        if self.path.suffix == ".safetensors":
            from safetensors.torch import load_file

            return load_file(self.path)
        content = torch.load(self.path, map_location="cpu", weights_only=True)
        if not isinstance(content, (Tensor, dict)):
            raise DataError(
                f"{self.path} holds a {type(content).__name__}; save a tensor, or a dict of tensors x and y."
            )
        return content

    def _read(self, load: Callable[[], Any]) -> Any:
        try:
            return load()
        except (DataError, MemoryError):
            raise
        except pickle.UnpicklingError as error:
            # torch's own message advises to allow any code to run.
            objects = self._starts_with(b"PK", b"\x80")
            raise (self._python_objects() if objects else self._damaged("torch.save did not write it")) from error
        except Exception as error:  # readers raise nearly anything over a file that is not their own
            # Of torch's paragraphs the first sentence says it all.
            reason = str(error).strip().split("\n")[0].partition(". ")[0].rstrip(".") or "it ends too early"
            objects = "Object arrays" in reason or "Python objects" in reason or self._starts_with(b"\x80")
            if reason.startswith("Dtype not understood: "):  # safetensors knows it, and torch has none like it
                raise not_real(reason.partition(": ")[2], self._source) from error
            if "pickled" in reason:  # what numpy takes any other file for, with the advice to allow it to run code
                reason = "its first bytes are not those of such a file"
            raise self._python_objects() if objects else self._damaged(reason) from error

    def _checked(self, array: Any) -> Array:
        if not isinstance(array, Array):
            raise not_real(type(array).__name__, self._source)
        if isinstance(array, Tensor):
            if array.layout != torch.strided or array.is_meta:
                kind = "no values" if array.is_meta else f"a {str(array.layout).removeprefix('torch.')} tensor"
                raise DataError(f"{self._source} holds {kind}; save a dense array, such as tensor.to_dense().")
            if array.untyped_storage().nbytes() < array.numel() * array.element_size():
                raise DataError(
                    f"{self._source} holds an expanded tensor of shape {tuple(array.shape)}, whose numbers are not all "
                    "in the file; save tensor.contiguous()."
                )
            array = array.detach()
        return readable(array, self._source)

    @property
    def _source(self) -> str:
        return f"{self.path} ({self.option})"

    def _python_objects(self) -> DataError:
        return DataError(
            f"{self._source} holds Python objects, which can run code when read; save a plain numeric array."
        )

    def _damaged(self, reason: str) -> DataError:
        return DataError(f"{self._source} is damaged or not a {self.path.suffix} file ({reason}); write it again.")

    def _starts_with(self, *starts: bytes) -> bool:
        # A zip file (PK), which torch.save writes, or a bare pickle (0x80).
        with self.path.open("rb") as file:
            return file.read(2).startswith(starts)

    def _nearest(self) -> str:
        folder = self.path.parent
        if not folder.is_dir():
            return f": there is no folder {folder}"
        names = [entry.name for entry in folder.iterdir()]
        near = difflib.get_close_matches(self.path.name, names, n=1)
        return f"; did you mean {near[0]}?" if near else f" (nothing in {folder} has a similar name)"

"""Arrays from one file, or from several whose rows come one after another."""

from __future__ import annotations

from ae_lightning.data.array_file import ArrayFile
from ae_lightning.data.array_types import Array
from ae_lightning.data.row_arrays import JoinedRows
from ae_lightning.errors import ConfigError, DataError

Paths = str | list[str]


class ArrayFiles:
    """A file of arrays, or a list of such files.

    Args:
        paths: The file or files, each as `ArrayFile` has it.
        option: The option that named them, for messages, such as ``--data.train``.

    Raises:
        ConfigError: The list is empty.
        DataError: A file is none, see `ArrayFile`.
    """

    def __init__(self, paths: Paths, option: str) -> None:
        self.is_list = isinstance(paths, list)
        names = paths if isinstance(paths, list) else [paths]
        if not names:
            raise ConfigError(f"{option} names no file; give it one or more.")
        self._option = option
        self._files = [ArrayFile(name, option) for name in names]
        self.path = said_paths(paths)
        #: Whether the files hold arrays by name, and not just one.
        self.named = all(file.named for file in self._files)

    def has(self, key: str) -> bool:
        """Whether all files have an array of this name."""
        return all(file.has(key) for file in self._files)

    def get(self, key: str | None, default: str, key_option: str) -> Array | JoinedRows:
        """The array of a name, see `ArrayFile.get`; of a list of files, the rows of all.

        Raises:
            DataError: Rows of the files have several shapes or types.
        """
        arrays = [file.get(key, default, key_option) for file in self._files]
        if not self.is_list:
            return arrays[0]
        kinds = [(str(array.dtype).removeprefix("torch."), tuple(array.shape[1:])) for array in arrays]
        for file, kind, array in zip(self._files, kinds, arrays, strict=True):
            if kind != kinds[0] or array.ndim == 0:
                raise DataError(
                    f"{file.path} ({self._option}) holds {kind[0]} of the shape {kind[1]} for each row, and "
                    f"{self._files[0].path} {kinds[0][0]} of {kinds[0][1]}; files of one list need the same."
                )
        return JoinedRows(arrays)


def said_paths(paths: Paths) -> str:
    """A file or files, for a person."""
    if not isinstance(paths, list):
        return str(paths)
    return paths[0] if len(paths) == 1 else f"{paths[0]} and {len(paths) - 1} more"

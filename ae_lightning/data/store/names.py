"""What a store of activations is made of: its files, their names, and the types of its numbers."""

import torch

SCHEMA = 1
INDEX = "index.json"
"""Written last: a folder that has it is whole."""
SETTINGS = "harvest.json"
"""What a harvest was asked for: written first, and a harvest goes on only where it is asked for the same."""
TOKENS = "tokens.json"
"""All tokens by their ids as the tokenizer writes them, of a store of a text's activations."""
MERGED = "merged.safetensors"
"""Statistics of the first shards, while a harvest is unfinished."""

DTYPES = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}
EXTRAS = {"sample": torch.int64, "position": torch.int32, "y": torch.int64}
"""What is kept of each row beside its numbers."""

# Bytes of a shard's activations, and what the rows of one are a multiple of.
_SHARD_BYTES = 128 * 2**20
_SHARD_STEP = 1024


def rows_file(number: int, shuffled: bool = False) -> str:
    """Name of a shard of rows."""
    return f"{'shuffled' if shuffled else 'rows'}-{number:05}.safetensors"


def samples_file(number: int) -> str:
    """Name of a file of the token ids of samples."""
    return f"samples-{number:05}.safetensors"


def statistics_file(number: int) -> str:
    """Name of the file of an array's mean, variance and covariance; arrays are counted in the index's order."""
    return f"statistics-{number:05}.safetensors"


def dtype_named(name: str | torch.dtype) -> torch.dtype:
    """The type of numbers that a store can have.

    Raises:
        ValueError: A store cannot have it.
    """
    found = DTYPES.get(str(name).removeprefix("torch."))
    if found is None:
        raise ValueError(f"{name} is none of {', '.join(DTYPES)}")
    return found


def default_shard_rows(row_bytes: int) -> int:
    """Rows of a shard of about 128 MB."""
    return max(1, _SHARD_BYTES // (row_bytes * _SHARD_STEP)) * _SHARD_STEP

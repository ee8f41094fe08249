"""What a checkpoint file would make of itself when it is opened, found out before it is: its size, and what it names.

`torch.load(weights_only=True)` runs no code, but unpacks what is compressed, and makes arrays of any size that a file
asks for. What `torch.save` writes for a training takes no more memory than its file has bytes.
"""

import pickletools
import re
import zipfile
from pathlib import Path

_PLAIN = re.compile(
    r"collections (OrderedDict|Counter)|torch\._utils (_rebuild_tensor_v2|_rebuild_parameter)|torch (Size|device)"
    r"|torch \w+Storage|torch (float|bfloat|int|uint|complex)\d+|torch bool|builtins (set|complex)|_codecs encode"
)
"""Names in a file of tensors and plain values."""

_OWN_NAMES = ("torch", "collections", "builtins")  # of packages whose names a checkpoint can hold and run no code


def fault_of(path: Path) -> str:
    """What is wrong with a file that no training of ours has written; empty where nothing is.

    Args:
        path: The file.

    Raises:
        OSError: It cannot be read.
        ValueError, zipfile.BadZipFile, KeyError: It is no whole file of torch's, which `torch.load` tells better.
    """
    with zipfile.ZipFile(path) as archive:
        entries = archive.infolist()
        packed = any(entry.compress_type != zipfile.ZIP_STORED for entry in entries)
        if packed or sum(entry.file_size for entry in entries) > path.stat().st_size:
            return "holds packed data, which torch.save never writes, and is not opened: it could fill the memory"
        content = next((entry for entry in entries if entry.filename.endswith("/data.pkl")), None)
        return "" if content is None else _strange_name(archive.read(content))


def _strange_name(content: bytes) -> str:
    """What a pickle names besides plain values; it is read, but not followed."""
    for operation, argument, _ in pickletools.genops(content):
        if operation.name in ("STACK_GLOBAL", "INST", "EXT1", "EXT2", "EXT4"):
            return "holds Python objects beside tensors and is not opened, since they could run code"
        if operation.name == "GLOBAL" and not _PLAIN.fullmatch(str(argument)):
            name = str(argument).replace(" ", ".")
            if name.partition(".")[0] in _OWN_NAMES:
                return f"holds a {name}, which no training of ours writes, and is not opened"
            return f"holds Python objects beside tensors ({name}) and is not opened, since they could run code"
    return ""

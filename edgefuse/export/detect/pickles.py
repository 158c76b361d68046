"""Tells a state_dict from a pickled module by the names that its pickle would import, without unpickling it.

Standard library only. This is a classification, not a safeguard: the loaders pass ``weights_only=True``
besides.
"""

from __future__ import annotations

import io
import pickletools
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

LEGACY_MAGIC = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."
"""torch.save before 1.6: a pickle of the number 0x1950a86a20f9469cfc6c, two more small ones, then the
object's."""

HARMLESS = re.compile(
    r"torch\._utils _rebuild\w*|torch\._tensor _rebuild_from_type_v2|torch\.nn\.parameter (Parameter|Buffer)"
    r"|torch (\w+Storage|Size|device|dtype|Tensor|b?float\d*|u?int\d+|bool|double|half|long)"
    r"|torch\.storage (UntypedStorage|TypedStorage)|torch\.serialization _get_layout|_codecs encode"
    r"|collections (OrderedDict|Counter|defaultdict)"
    r"|(builtins|__builtin__) (set|dict|list|tuple|bytearray|complex)"
)
"""``module name`` of what a checkpoint of tensors needs; all of it is in torch's own ``weights_only`` list.
Not ``torch.storage _load_from_bytes``: that unpickles its argument without any such list."""


def looks_like_state_dict(file: Any) -> bool:
    """Whether the pickle at *file*'s position imports nothing but torch's tensors. Raises ``ValueError``."""
    return all(HARMLESS.fullmatch(name) for name in imported_names(file))


def imported_names(file: Any) -> Iterator[str]:
    """``"module name"`` of everything that unpickling would import."""
    memo: dict[int, str] = {}
    strings: list[str] = [""]  # the last pushed strings: STACK_GLOBAL takes two of them
    for opcode, argument, _ in pickletools.genops(file):
        if opcode.name in ("GLOBAL", "INST"):
            yield str(argument)
        elif opcode.name == "STACK_GLOBAL":
            yield " ".join(strings[-2:])
        elif opcode.name.startswith("EXT"):
            yield f"copyreg extension {argument}"
        _follow_strings(opcode.name, argument, memo, strings)


def _follow_strings(opcode: str, argument: Any, memo: dict[int, str], strings: list[str]) -> None:
    if opcode.endswith("UNICODE") or opcode.endswith("UNICODE8"):
        strings.append(argument)
    elif opcode == "MEMOIZE":
        memo[len(memo)] = strings[-1]
    elif opcode.endswith("PUT"):
        memo[int(argument)] = strings[-1]
    elif opcode.endswith("GET"):
        strings.append(memo.get(int(argument), ""))


def skip_legacy_header(file: Any) -> None:
    """Move to the fourth pickle of an old torch.save file: magic number, version and machine come first."""
    file.seek(0)
    for _ in range(3):
        for _ in pickletools.genops(file):
            pass


def foreign_names(path: Path) -> list[str]:
    """``module.name`` of what a torch.save file would import beyond tensors."""
    with path.open("rb") as file:
        if file.read(4) == b"PK\x03\x04":
            with zipfile.ZipFile(file) as archive:
                data = next(name for name in archive.namelist() if name.endswith("/data.pkl"))
                names = list(imported_names(io.BytesIO(archive.read(data))))
        else:
            skip_legacy_header(file)
            names = list(imported_names(file))
    return [name.replace(" ", ".") for name in dict.fromkeys(names) if not HARMLESS.fullmatch(name)]

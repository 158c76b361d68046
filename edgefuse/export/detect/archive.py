"""Whether a torch.export archive carries code that torch.export.load would run. Standard library only.

torch 2.13 loads some members with ``weights_only=False`` (``torch/export/pt2_archive/_package.py``), falls
back to it for the others (``deserialize_torch_artifact``), evaluates shape expressions with ``sympy.sympify``
and looks operators up by name in all of ``torch``, ``math`` and ``operator``. So a .pt2 file is no safer than
a pickle unless scanned.
"""

from __future__ import annotations

import io
import json
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from edgefuse.export.detect.pickles import HARMLESS, imported_names

OPERATOR = re.compile(
    r"(?!.*\.__(?!i?(and|or|xor|lshift|rshift)__\.))"
    r"(torch\.ops\.\w+(\.\w+)+|torch\.(_?sym_\w+)|math\.\w+|#.*|_operator\.(add|sub|mul|truediv|floordiv|mod|pow|neg"
    r"|pos|abs|eq|ne|lt|le|gt|ge|and_|or_|not_|xor|invert|lshift|rshift|getitem|index|matmul))"
)
"""No ``_operator.call`` and no ``torch.load``: a node may call whatever its target names."""
EXPRESSION = re.compile(r"(?!.*__)(?:Symbol\('\w+'|[\w\s+\-*/%<>=!&|~^(),]|(?<=\d)\.(?=\d))*")
"""Arithmetic over symbols: no attributes, no strings but a symbol's name, no subscripts."""
TREE_MODULES = re.compile(r"default_factory_module\W+(?!builtins\b|collections\b)\w")


def code_in_archive(path: Path) -> str:
    """What in *path* could run code, or an empty string."""
    with zipfile.ZipFile(path) as archive:
        for name in archive.namelist():
            found = _code_in_member(archive, name)
            if found:
                return f"{found} in {name}"
    return ""


def _code_in_member(archive: zipfile.ZipFile, name: str) -> str:
    file = name.rpartition("/")[2]
    if file.startswith(("custom_obj_", "opaque_obj_")):
        return "a pickled object"
    with archive.open(name) as member:
        head = member.read(4)
    if head.startswith((b"PK\x03\x04", b"\x80")):  # raw weights may begin like that as well, and hold no names
        return _unsafe_pickle(archive.read(name))
    if file.endswith(".json"):
        return next(_unsafe_values(json.loads(archive.read(name))), "")
    return ""


def _unsafe_pickle(data: bytes) -> str:
    for pickle in _pickles(data):
        for name in _all_imports(io.BytesIO(pickle)):
            if re.fullmatch(r"[\w.]+ [\w.]+", name) and not HARMLESS.fullmatch(name):
                return f"it imports {name.replace(' ', '.')}"
    return ""


def _pickles(data: bytes) -> Iterator[bytes]:
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as inner:
            yield from (inner.read(name) for name in inner.namelist() if name.endswith(".pkl"))
    except zipfile.BadZipFile:
        yield data


def _all_imports(stream: io.BytesIO) -> Iterator[str]:
    """Of all pickles in *stream*, one after the other, up to the first byte that is none: that is as far as
    unpickling would come."""
    try:
        while True:
            yield from imported_names(stream)
    except ValueError:
        return


def _unsafe_values(value: Any, key: str = "") -> Iterator[str]:
    if isinstance(value, dict):
        for name, item in value.items():
            yield from _unsafe_values(item, name)
    elif isinstance(value, list):
        for item in value:
            yield from _unsafe_values(item, key)
    elif isinstance(value, str) and not _is_safe(key, value):
        yield f"{key} {value[:80]!r}"


def _is_safe(key: str, value: str) -> bool:
    if key == "expr_str":
        return EXPRESSION.fullmatch(value) is not None
    if key == "target":
        return OPERATOR.fullmatch(value) is not None
    if key in ("name", "forward_arg_names"):
        return value == "" or value.isidentifier()
    return key not in ("in_spec", "out_spec") or not TREE_MODULES.search(value)

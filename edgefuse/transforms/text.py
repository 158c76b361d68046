"""Transforms of texts, (length,) int64 each. Standard library and numpy; a tokenizer needs HF's ``tokenizers``."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np

from edgefuse.errors import MissingToolError
from edgefuse.spec import Array
from edgefuse.transforms.given import Given

Encode = Callable[[str], Array]
LONGEST = 1 << 20


def characters(given: Given) -> Encode:
    """``characters = { alphabet = "abc…", length = 12, lower = true, pad = 0, unknown = 0, first = 1 }``: each
    character as its place in *alphabet*, counted from *first*. What is longer is cut off, what is shorter filled up."""
    table = given.read("alphabet", "length", "lower", "pad", "unknown", "first")
    alphabet, first, lower = table.text("alphabet"), table.whole("first", 1), table.flag("lower", False)
    if len(set(alphabet)) < len(alphabet):
        raise given.refuse("has a character twice", "alphabet")
    numbers = {letter: first + place for place, letter in enumerate(alphabet)}
    fill = _filler(table, unknown=0)
    return lambda text: fill(numbers, text.lower() if lower else text)


def words(given: Given) -> Encode:
    """``words = { vocabulary = […], length = 8, lower = true, pad = 0, unknown = 1, first = 2 }``: each word,
    between spaces, as its place in *vocabulary*, counted from *first*; *file* instead: a text file, a word a line."""
    table = given.read("vocabulary", "file", "length", "lower", "pad", "unknown", "first")
    if table.has("vocabulary") == table.has("file"):
        raise given.refuse("expected vocabulary or file")
    vocabulary = table.texts("vocabulary") if table.has("vocabulary") else _lines(table)
    first, lower = table.whole("first", 2), table.flag("lower", True)
    numbers = {(word.lower() if lower else word): first + place for place, word in enumerate(vocabulary)}
    fill = _filler(table, unknown=1)
    return lambda text: fill(numbers, (text.lower() if lower else text).split())


def tokenizer(given: Given) -> Encode:
    """``tokenizer = { file = "tokenizer.json", length = 32, pad = 0, give = "ids" }``: as the file of HF's tokenizers
    says, cut off or filled up; *give* "mask" is 1 for each token and 0 for what fills up."""
    table = given.read("file", "length", "pad", "give")
    path, length, pad = table.file("file"), _length(table), table.whole("pad", 0)
    wanted = table.choice("give", ("ids", "mask"), "ids")
    try:
        from tokenizers import Tokenizer
    except ImportError as error:
        raise MissingToolError(
            "the package 'tokenizers' is not installed", where=given.where, hint="pip install 'edgefuse[text]'"
        ) from error
    try:
        loaded: Any = Tokenizer.from_file(str(path))
    except Exception as error:  # its Rust raises no class of its own
        raise given.refuse(f"{path} is no tokenizer: {error}", "file") from None
    loaded.no_padding()
    loaded.enable_truncation(length)

    def encode(text: str) -> Array:
        ids = loaded.encode(text).ids
        return _filled(ids if wanted == "ids" else [1] * len(ids), length, pad if wanted == "ids" else 0)

    return encode


def _filler(table: Given, unknown: int) -> Callable[[Mapping[str, int], Iterable[str]], Array]:
    """What looks up and fills up, by the keys that characters and words have in common."""
    length, pad, other = _length(table), table.whole("pad", 0), table.whole("unknown", unknown)
    return lambda numbers, parts: _filled([numbers.get(part, other) for part in parts][:length], length, pad)


def _filled(ids: list[int], length: int, pad: int) -> Array:
    return np.array(ids + [pad] * (length - len(ids)), np.int64)


def _length(table: Given) -> int:
    length = table.whole("length", least=1)
    if length > LONGEST:
        raise table.refuse(f"is {length}; expected at most {LONGEST}", "length")
    return length


def _lines(table: Given) -> tuple[str, ...]:
    path = table.file("file")
    try:
        return tuple(path.read_text(encoding="utf-8").splitlines())
    except UnicodeDecodeError:
        raise table.refuse(f"{path} is not UTF-8 text", "file") from None

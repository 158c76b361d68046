"""What a Jetson says of itself, and what its JetPack brings (``devices/tables/jetpack.toml``).

TensorRT, CUDA and Python come with JetPack and not from PyPI, so a Jetson's versions follow from its L4T release.
Standard library only.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from edgefuse.errors import RecipeError, nearest
from edgefuse.resources import shipped
from edgefuse.tables import check_keys, read_toml, typed

MODEL_FILE = Path("/proc/device-tree/model")
RELEASE_FILE = Path("/etc/nv_tegra_release")
TEXTS = ("jetpack", "l4t_first", "l4t_last", "python", "cuda", "tensorrt", "rule", "source")
KEYS = (*TEXTS, "boards", "opset_max")


@dataclass(frozen=True)
class JetPack:
    """``l4t_first`` to ``l4t_last``, both included, are its L4T releases ("" unknown); ``opset_max`` is what its ONNX
    parser takes at most (None unknown); ``rule`` says what EdgeFuse makes of it."""

    jetpack: str
    l4t_first: str
    l4t_last: str
    boards: tuple[str, ...]
    python: str
    cuda: str
    tensorrt: str
    opset_max: int | None
    rule: str
    source: str

    def fits(self, board: str) -> bool:
        """Whether it is for a board whose name the regular expression *board* finds; "" finds none."""
        return bool(board) and any(re.search(board, name) for name in self.boards)


@dataclass(frozen=True)
class Jetson:
    """This machine's board as its device tree spells it, and its L4T release ("" where a container hides it)."""

    model: str
    l4t: str


@cache
def jetpacks() -> tuple[JetPack, ...]:
    """The whole table, oldest first."""
    path = shipped("devices") / "tables" / "jetpack.toml"
    table = read_toml(path)
    check_keys(table, ("row",), str(path))
    return tuple(
        _row(row, f"{path}, row {number}") for number, row in enumerate(typed(table, "row", list, [], str(path)))
    )


def _row(row: dict[str, Any], where: str) -> JetPack:
    check_keys(row, KEYS, where)
    texts = {key: typed(row, key, str, "", where) for key in TEXTS}
    boards = tuple(typed(row, "boards", list, [], where))
    return JetPack(boards=boards, opset_max=typed(row, "opset_max", int, None, where), **texts)


def jetpack_named(name: str, where: str) -> JetPack:
    """The row called *name*; raises :class:`RecipeError`, since a device profile asked for it."""
    for row in jetpacks():
        if row.jetpack == name:
            return row
    known = [row.jetpack for row in jetpacks()]
    raise RecipeError(
        f"there is no JetPack {name!r} in devices/tables/jetpack.toml", where=where, hint=nearest(name, known)
    )


def jetpack_of(l4t: str) -> JetPack | None:
    """The row that the L4T release ("36.4.3") falls into; None for one that the table does not know."""
    found = _numbers(l4t)
    for row in jetpacks():
        first, last = _numbers(row.l4t_first), _numbers(row.l4t_last)
        if found and last and found[: len(first)] >= first and found[: len(last)] <= last:
            return row
    return None


def _numbers(release: str) -> tuple[int, ...]:
    return tuple(map(int, release.split("."))) if release else ()


def l4t_release(text: str) -> str:
    """ "36.4.3" for "# R36 (release), REVISION: 4.3, GCID: …", as ``/etc/nv_tegra_release`` begins; "" for another."""
    match = re.search(r"R(\d+) \(release\), REVISION: (\d+(?:\.\d+)*)", text)
    return f"{match[1]}.{match[2]}" if match else ""


def this_jetson(model_file: Path = MODEL_FILE, release_file: Path = RELEASE_FILE) -> Jetson | None:
    """This machine's board; None where neither file speaks of a Jetson (a Raspberry Pi has a device tree, too)."""
    model, l4t = _text(model_file).strip("\0 \n"), l4t_release(_text(release_file))
    if "Jetson" in model or l4t:
        return Jetson(model or "a Jetson", l4t)
    return None


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""

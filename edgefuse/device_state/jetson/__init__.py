"""The state of a Jetson, by NVIDIA's own programs: ``nvpmodel``, ``jetson_clocks``, ``tegrastats``, and devfreq.

Nothing here asks for a password: what only root may read is null, with that reason.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from edgefuse.device_state.jetson.clocks import read_clocks
from edgefuse.device_state.jetson.gpu import read_gpu
from edgefuse.device_state.jetson.nvpmodel import CONFIGURATION, parse_modes, read_mode
from edgefuse.device_state.jetson.tegrastats import read_tegrastats
from edgefuse.device_state.reading import Unreadable, known, read_text
from edgefuse.jetpack import Jetson, jetpack_of, this_jetson


def read_jetson(root: Path = Path("/")) -> dict[str, Any]:
    return known("jetson", lambda: _read(root))


def _read(root: Path) -> dict[str, Any]:
    jetson = this_jetson(root / "proc/device-tree/model", root / "etc/nv_tegra_release")
    if jetson is None:
        raise Unreadable("not a Jetson")
    return {
        "board": jetson.model,
        **known("l4t", lambda: _l4t(jetson)),
        **known("jetpack", lambda: _jetpack(jetson)),
        **known("power_mode", read_mode),
        **known("power_modes", lambda: parse_modes(read_text(root / CONFIGURATION))),
        **known("clocks", read_clocks),
        **known("gpu", lambda: read_gpu(root)),
        **known("tegrastats", read_tegrastats),
    }


def _l4t(jetson: Jetson) -> str:
    if not jetson.l4t:
        raise Unreadable("a container hides /etc/nv_tegra_release")
    return jetson.l4t


def _jetpack(jetson: Jetson) -> str:
    found = jetpack_of(_l4t(jetson))
    if found is None:
        raise Unreadable(f"no JetPack with L4T {jetson.l4t} is known to this version of EdgeFuse")
    return found.jetpack

"""The committed graphs with what ONNX Runtime answers; numpy only."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from edgefuse.spec import Array, DimRange, ModelSpec, TensorSpec

REFERENCES = Path(__file__).parent / "references"
BATCHES = DimRange(1, 4)


def spec(name: str) -> ModelSpec:
    if name == "integers":
        return ModelSpec((TensorSpec("ids", (1, 5), "int64"),), ("rows", "next"))
    batch = BATCHES if name == "dynamic" else 1
    return ModelSpec((TensorSpec("image", (batch, 3, 32, 32)), TensorSpec("imu", (batch, 50, 6))), ("velocity",))


def onnx_path(name: str) -> Path:
    return REFERENCES / f"{name}.onnx"


def samples(name: str) -> list[tuple[dict[str, Array], dict[str, Array]]]:
    """Feeds and the answers to them."""
    found: dict[int, tuple[dict[str, Array], dict[str, Array]]] = {}
    with np.load(REFERENCES / f"{name}.npz", allow_pickle=False) as archive:
        for key in archive.files:
            side, index, tensor = key.split("/")
            pair = found.setdefault(int(index), ({}, {}))
            pair[side == "out"][tensor] = archive[key]
    return [found[index] for index in sorted(found)]


def sqnr_db(expected: Any, found: Any) -> float:
    """10 log10(power of the signal / power of the error), over all samples of one output together."""
    expected, found = np.concatenate(expected).astype(np.float64), np.concatenate(found).astype(np.float64)
    noise = float(np.square(expected - found).sum())
    return float("inf") if noise == 0 else 10 * float(np.log10(np.square(expected).sum() / noise))

"""Bundles that are changed and signed again, so that only what they answer is wrong."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from onnx import numpy_helper

from edgefuse.bundle_writer import write_manifest
from tests.blame.damage import damage, double_scales


def sign(bundle: Path, **changes: object) -> Path:
    """Write the manifest again, for what the files are now, with *changes* to its ``limits``."""
    manifest = json.loads((bundle / "manifest.json").read_text(encoding="utf-8"))
    manifest["limits"] = {**manifest["limits"], **changes}
    write_manifest(bundle, manifest)
    return bundle


def keep_golden(bundle: Path, count: int) -> Path:
    """The first *count* golden samples only."""
    with np.load(bundle / "golden.npz") as arrays:
        kept = {name: array[:count] for name, array in arrays.items()}
    np.savez_compressed(bundle / "golden.npz", **kept)
    return sign(bundle)


def spoil(bundle: Path, part: str = "camera") -> Path:
    """The scales of one part 16 times as large, in the graph and in what was compiled of it."""

    def change(model, nodes):
        double_scales(model, nodes)
        for tensor in model.graph.initializer:
            if tensor.name.endswith(".doubled"):
                tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor) * 8, tensor.name))

    return damage(bundle, [part], double=change)

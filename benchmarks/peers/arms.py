"""The arms: every way to make a model fast on this CPU that is compared, and where its code lies.

Names of functions, not functions: each process imports the one library that it needs.
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from peers.case import Case


@dataclass(frozen=True)
class Arm:
    """``module`` has ``build(case, folder)`` (none: what it opens is there already) and ``open(case, folder)``, which
    gives a runner. ``from_onnx``: its build begins with the export to ONNX. ``artifact``: another arm's folder."""

    title: str
    module: str
    open: str
    build: str | None = None
    from_onnx: bool = True
    artifact: str | None = None

    def runner(self, case: Case, folder: Path) -> Any:
        return getattr(importlib.import_module(self.module), self.open)(case, folder)

    def make(self, case: Case, folder: Path) -> None:
        assert self.build is not None
        getattr(importlib.import_module(self.module), self.build)(case, folder)


BASE, OURS, AGAIN = "openvino-f32", "edgefuse", "edgefuse-again"

_ORT, _OV = "peers.arm_onnxruntime", "peers.arm_openvino"
ARMS = {
    "torch": Arm("torch eager", "peers.arm_torch", "open_eager", from_onnx=False),
    "torch-compile": Arm("torch.compile", "peers.arm_torch", "open_compiled", "build_compiled", from_onnx=False),
    "ort": Arm("ONNX Runtime float", _ORT, "open_float"),
    "ort-int8": Arm("ONNX Runtime static INT8", _ORT, "open_int8", "build_int8"),
    BASE: Arm("OpenVINO f32", _OV, "open_f32"),
    "openvino": Arm("OpenVINO default", _OV, "open_default"),
    "nncf": Arm("NNCF INT8", _OV, "open_int8", "build_int8"),
    "nncf-transformer": Arm("NNCF INT8, transformer", _OV, "open_int8", "build_transformer"),
    "nncf-control": Arm("NNCF accuracy control", _OV, "open_int8", "build_controlled"),
    OURS: Arm("EdgeFuse", "peers.arm_edgefuse", "open_bundle", "command", from_onnx=False),
    AGAIN: Arm("EdgeFuse again (A/A)", "peers.arm_edgefuse", "open_bundle", from_onnx=False, artifact=OURS),
}
PEERS = [name for name in ARMS if name not in (OURS, AGAIN)]

"""What a TensorRT version reads and a GPU computes: the versions that the rules ask for.

Sources: ``docs/operators.md`` and ``docs/Changelog.md`` of onnx/onnx-tensorrt at each release, for 11.x NVIDIA's ONNX
Opset Guide. TensorRT 10.11 states no opset; it is built with ONNX 1.18, whose opset is 23.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from onnx import TensorProto

from edgefuse.errors import UsageError

Version = tuple[int, ...]

NEWEST = "11.4.1"
OLDEST_OPSET = 9
OPSETS: tuple[tuple[Version, int], ...] = (
    ((8, 0), 13),
    ((8, 5), 17),
    ((9, 0), 19),
    ((10, 0), 20),
    ((10, 6), 22),
    ((10, 11), 23),
    ((10, 15), 24),
    ((11, 0), 25),
)
"""From this version on, the newest opset that the parser documents."""

REDUCE_AXES: Version = (9, 0)
"""Before, a Reduce other than ReduceSum looks for its axes among the attributes only, and reduces over all axes where
they are an input (onnx-tensorrt 8.5, ``builtin_op_importers.cpp``; NVIDIA/TensorRT issue 3467)."""

SCATTER_REDUCTION: Version = (10, 0)
ATTENTION: Version = (10, 14)
SINCE: dict[str, Version] = {
    "LayerNormalization": (8, 6),
    "GroupNormalization": (8, 6),
    "IsInf": (8, 6),
    "CastLike": (9, 0),
    "Hardmax": (9, 2),
    "Gelu": (10, 0),
    "Mish": (10, 0),
    "DeformConv": (10, 1),
    "BlackmanWindow": (10, 4),
    "HammingWindow": (10, 4),
    "HannWindow": (10, 4),
    "STFT": (10, 5),
    "RMSNormalization": (10, 15),
    "RotaryEmbedding": (10, 15),
    "TensorScatter": (10, 15),
    "CausalConvWithState": (11, 0),
    "LinearAttention": (11, 0),
    "Swish": (11, 0),
}
"""The first version whose parser has the operator; what is not named here is older than TensorRT 8.5."""

PRECISIONS: dict[int, tuple[str, Version, Version]] = {
    TensorProto.BFLOAT16: ("BF16", (9, 0), (8, 0)),
    TensorProto.FLOAT8E4M3FN: ("FP8", (9, 0), (8, 9)),
    TensorProto.INT4: ("INT4", (10, 0), (0, 0)),
    TensorProto.FLOAT4E2M1: ("FP4", (10, 8), (10, 0)),
}
"""Name, first TensorRT version, first compute capability. TensorRT-RTX 1.7 refused BF16 for 7.5, FP8 for 7.5 to 8.6
and FP4 for 8.9 ("the model contains HW-specific datatypes")."""


@dataclass(frozen=True)
class Target:
    """``tensorrt`` as the user reads it; ``compute_capability`` () where the GPU is unknown."""

    tensorrt: str
    version: Version
    compute_capability: Version

    @property
    def newest_opset(self) -> int:
        return [opset for first, opset in OPSETS if self.version >= first][-1]


def read_target(tensorrt: str | None, compute_capability: str | None) -> Target:
    """The target of the versions as texts, such as "10.3.0" and "8.7"; None is the newest, or any GPU."""
    version = _version(tensorrt or NEWEST, "TensorRT version")
    if version < OPSETS[0][0]:
        raise UsageError(f"TensorRT {tensorrt} is not known; expected {text(OPSETS[0][0])} or later")
    return Target(
        tensorrt or NEWEST, version, _version(compute_capability, "compute capability") if compute_capability else ()
    )


def _version(value: str, what: str) -> Version:
    if not re.fullmatch(r"\d+\.\d+(\.\d+)*", value):
        raise UsageError(f"the {what} is {value!r}; expected numbers with dots, such as 10.3")
    return tuple(int(part) for part in value.split("."))


def text(version: Version) -> str:
    return ".".join(map(str, version))

"""What an engine consists of, from the vendor's inspector: kernels and the precision that each runs in."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

from edgefuse.errors import ToolchainError

PRECISIONS = (
    ("integer", ("uint8", "int32", "int64", "bool")),
    ("int8", ("int8",)),
    ("fp8", ("fp8",)),
    ("bf16", ("bf16", "bfloat16")),
    ("fp16", ("fp16", "half")),
    ("f32", ("fp32", "float")),
)
"""Words for the type of a tensor: "Row major linear FP32" (8.x, 10.x), "Float" (generated kernels, RTX). The
order tells "uint8" from "int8" and "bfloat16" from "float"."""


def read_layers(text: str) -> list[dict[str, str]]:
    """``name``, ``precision`` (of the first input) and ``kernel`` of every layer in the inspector's JSON.

    Layers are mere names in an engine that was built without detailed verbosity; their precision is "unknown".
    """
    try:
        return [_layer(layer) for layer in json.loads(text)["Layers"]]
    except (ValueError, KeyError, TypeError) as error:
        raise ToolchainError(f"the engine inspector answers in another form: {text[:200]!r}") from error


def count_precisions(layers: list[dict[str, str]]) -> dict[str, int]:
    return dict(Counter(layer["precision"] for layer in layers))


def _layer(layer: Any) -> dict[str, str]:
    if not isinstance(layer, dict):
        return {"name": str(layer), "precision": "unknown", "kernel": ""}
    inputs = layer.get("Inputs") or layer.get("Outputs") or []
    return {
        "name": str(layer.get("Name", "")),
        "precision": _precision(inputs[0]) if inputs else "unknown",
        "kernel": str(layer.get("TacticName") or layer.get("LayerType", "")),
    }


def _precision(tensor: dict[str, Any]) -> str:
    said = str(tensor.get("Datatype") or tensor.get("Format/Datatype") or tensor.get("Format", "")).lower()
    return next((name for name, words in PRECISIONS if any(word in said for word in words)), "unknown")

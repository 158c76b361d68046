"""The precisions that a model can run in: which graph holds each, and what the toolchain is told. Standard library
only."""

from __future__ import annotations

from collections.abc import Sequence

FLOAT = "float"
PRECISIONS = {
    # precision: (the graph that holds it, what the toolchain may run that graph's float32 operations in)
    FLOAT: (FLOAT, "f32"),
    "tf32": (FLOAT, "tf32"),
    "bf16": (FLOAT, "bf16"),
    "fp16": ("fp16", "f32"),
    "int8": ("int8", "f32"),
    "int8+bf16": ("int8", "bf16"),
    "int8+fp16": ("int8+fp16", "f32"),
}
GRAPHS = tuple(dict.fromkeys(graph for graph, _ in PRECISIONS.values()))


def base_of(graph: str) -> str:
    """The graph that *graph* is a variant of: "int8" for "int8-residuals"."""
    return graph.partition("-")[0]


def possible_precisions(supported: Sequence[str]) -> list[str]:
    """The precisions that can be put together from what is *supported*, in the table's order."""
    return [name for name in PRECISIONS if set(name.split("+")) <= set(supported)]

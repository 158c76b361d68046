"""The pre-flight linter for TensorRT: what a graph would fail on, or lose in silence, told before a board is at hand.

It knows what NVIDIA's parser does (``docs/lint.md``) and needs none of NVIDIA's code: onnx and numpy alone. Imports
neither torch nor onnxruntime.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import onnx
from onnx import inliner, shape_inference

from edgefuse.errors import ModelError
from edgefuse.export.blame import one_sentence
from edgefuse.export.detect import detect_kind
from edgefuse.lint.datatypes import check_data_types, check_types_of_inputs
from edgefuse.lint.finding import ERROR, RULES, WARNING, Finding
from edgefuse.lint.operators import check_operator
from edgefuse.lint.parser import check_age, check_opset
from edgefuse.lint.placement import check_placement
from edgefuse.lint.quantization import check_quantization
from edgefuse.lint.scope import Scope, main_scope
from edgefuse.lint.target import NEWEST, Target, read_target

__all__ = ["ERROR", "NEWEST", "RULES", "WARNING", "Finding", "lint_file", "lint_model"]

GRAPH_CHECKS = (check_opset, check_data_types)
NODE_CHECKS = (check_operator, check_age, check_quantization, check_placement, check_types_of_inputs)


def lint_file(path: Path, tensorrt: str | None = None, compute_capability: str | None = None) -> list[Finding]:
    """:func:`lint_model` of the ONNX file *path*, of whose external data only scales and zero points are read.

    Raises :class:`ModelError` when it is missing, cut short or not ONNX.
    """
    kind = detect_kind(path)
    if kind != "onnx":
        raise ModelError(f"is a file of the kind {kind!r}; expected ONNX", where=str(path), hint="Export it first.")
    with _valid(str(path)):
        model = onnx.load(str(path), load_external_data=False)
        _check_order(path)
    return _lint(model, path.parent, str(path), read_target(tensorrt, compute_capability))


def _check_order(path: Path) -> None:
    """Raise where a node reads what no node before it makes; what else onnx's checker minds is no matter here."""
    try:
        onnx.checker.check_model(str(path))
    except onnx.checker.ValidationError as error:
        if "topologically sorted" in str(error):
            raise


def lint_model(
    model: onnx.ModelProto, tensorrt: str | None = None, compute_capability: str | None = None
) -> list[Finding]:
    """What TensorRT *tensorrt* ("10.3.0"; None: the newest known) on a GPU of *compute_capability* ("8.7"; None: any)
    refuses in *model*, or does other than the graph says: in the graph's order, a body after the node that has it.

    *model* carries its weights, or has the external data in the working folder. It is not changed.
    """
    return _lint(model, Path(), "", read_target(tensorrt, compute_capability))


def _lint(model: onnx.ModelProto, folder: Path, where: str, target: Target) -> list[Finding]:
    with _valid(where):
        inlined = inliner.inline_local_functions(model) if model.functions else model
        inferred = shape_inference.infer_shapes(inlined)
    return list(_findings(main_scope(inferred, folder), target))


@contextmanager
def _valid(where: str) -> Iterator[None]:
    try:
        yield
    except Exception as error:  # DecodeError, InferenceError, ValueError …: all say that the file is not sound
        hint = "Export it again, and check it with onnx.checker.check_model."
        raise ModelError(f"is not a valid ONNX model: {one_sentence(error)}", where=where, hint=hint) from error


def _findings(scope: Scope, target: Target) -> Iterator[Finding]:
    for check in GRAPH_CHECKS:
        yield from check(scope, target)
    for node in scope.nodes:
        for rule in NODE_CHECKS:
            yield from rule(scope, node, target)
        for body in scope.bodies(node):
            yield from _findings(body, target)

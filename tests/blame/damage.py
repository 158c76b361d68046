"""Bundles that are wrong on purpose: every hash is right, and only the accuracy is not."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import onnx
from onnx import numpy_helper

from edgefuse.assembled import part_spec
from edgefuse.backends import Settings, load_backend
from edgefuse.bundle import Bundle, open_bundle
from edgefuse.bundle_writer import write_manifest
from edgefuse.partition import split
from edgefuse.partition.split import cut_simplified

ALL = ("graph", "artifact")
QDQ = ("QuantizeLinear", "DequantizeLinear")


def damage(
    bundle: Path, parts: Sequence[str], what: Sequence[str] = ALL, shipped: Sequence[str] | None = None,
    double: Callable[[onnx.ModelProto, set[str]], None] | None = None,
) -> Path:  # fmt: skip
    """Double the scales of *parts* of the bundle in place: in ``model.onnx`` ("graph"), in what was compiled from it
    ("artifact"), or in both. *shipped*: which artifacts become damaged ("whole": that of the whole graph); None: all.
    *double* does something else to the nodes, given by name."""
    with open_bundle(bundle) as opened:
        path, spec = opened.path / "model.onnx", opened.spec
        model = onnx.load(path)
        found = split(model, spec, dict(opened.partition.state))
        named = _named(model, spec)
        (double or double_scales)(named, {node for node, part in found.node_parts.items() if part in parts})
        with tempfile.TemporaryDirectory() as folder:
            damaged = Path(folder) / "model.onnx"
            onnx.save(named, damaged)
            if "artifact" in what:
                compile_again(opened, damaged, shipped)
            if "graph" in what:
                shutil.copyfile(damaged, path)
        write_manifest(opened.path, opened.manifest)
    return bundle


def _named(model: onnx.ModelProto, spec) -> onnx.ModelProto:
    """Nodes by the names that :func:`split` gives them."""
    assert all(node.name for node in model.graph.node), "the names in node_parts are the graph's own"
    return model


def double_scales(model: onnx.ModelProto, nodes: set[str]) -> None:
    """The scale of every Q and DQ among *nodes*; where another node reads it too, that one keeps the old."""
    graph = model.graph
    scales = {tensor.name: tensor for tensor in graph.initializer}
    own = [node for node in graph.node if node.op_type in QDQ and node.name in nodes]
    assert own, f"nothing is quantized there: {sorted(nodes)}"
    for name in dict.fromkeys(node.input[1] for node in own):
        doubled = numpy_helper.from_array(np.asarray(numpy_helper.to_array(scales[name])) * 2, f"{name}.doubled")
        graph.initializer.append(doubled)
        for node in own:
            node.input[1] = doubled.name if node.input[1] == name else node.input[1]


def compile_again(bundle: Bundle, path: Path, only: Sequence[str] | None = None) -> None:
    """What *path* compiles to, in the place of the bundle's artifacts; *only* those named."""
    made, state = bundle.manifest["artifact"], dict(bundle.partition.state)
    backend = load_backend(made["backend"])
    if only is None or "whole" in only:
        backend.compile(path, _emptied(bundle.artifact), bundle.spec, bundle.settings)
    models = cut_simplified(split(onnx.load(path), bundle.spec, state).model, bundle.partition) if made["parts"] else {}
    for item in made["parts"]:
        if only is None or item["name"] in only:
            cut = path.with_name("part.onnx")
            onnx.save(models[item["name"]], cut)
            spec = part_spec(bundle.partition[item["name"]], bundle.partition, bundle.spec)
            backend.compile(cut, _emptied(bundle.path / item["path"]), spec, Settings(**item["settings"]))


def _emptied(folder: Path) -> Path:
    shutil.rmtree(folder)
    folder.mkdir()
    return folder

"""What the float graph and ``model.onnx`` say of the golden samples, before any device is asked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import onnx

from edgefuse.assembled import Assembled, part_spec
from edgefuse.backends.onnxruntime import open_graph
from edgefuse.blame.basis import COMPILED, FLOAT, Basis
from edgefuse.blame.evidence import Evidence
from edgefuse.blame.rest import tensors_of
from edgefuse.blame.seams import Seam, find_seam, settle
from edgefuse.bundle import Bundle
from edgefuse.check import EXPORT_MIN_SQNR_DB, Judge
from edgefuse.fidelity import Fidelity
from edgefuse.golden import GoldenSample
from edgefuse.part_answers import PartAnswers, Row, run_alone, run_in_a_row
from edgefuse.parts import Partition
from edgefuse.precision import FLOAT as FLOAT_GRAPH
from edgefuse.quantize.graph import Graph
from edgefuse.spec import ModelSpec


def gather(
    bundle: Bundle, judge: Judge, model: onnx.ModelProto, partition: Partition, samples: Sequence[GoldenSample],
    onnx_paths: Mapping[str, Path],
) -> Evidence:  # fmt: skip
    """Run the float graph and *model*, ``model.onnx`` as it was cut at *partition*, over *samples*; *onnx_paths* are
    its parts."""
    graph, boundary = Graph(model), partition.tensors
    floats, notes = _float_model(bundle, samples)
    known = {name for node in floats.graph.node for name in node.output} if floats is not None else set()
    seams = {item.name: find_seam(graph, item.name, item.dtype, known) for item in boundary}
    basis = None
    if floats is not None:
        values = _values(floats, [str(seam.source) for seam in seams.values() if seam.source], samples)
        seams = {name: _settled(seam, graph, values) for name, seam in seams.items()}
        basis = Basis(FLOAT, floats, {name: seam for name, seam in seams.items() if seam.source}, samples, values)
        notes += [_not_found(seam) for seam in seams.values() if not seam.source]
        notes += [_disagreement(seam) for seam in seams.values() if seam.disagree]
    own = {item.name: Seam(item.name, item.name, item.dtype) for item in boundary}
    compiled = Basis(COMPILED, model, own, samples, _values(model, list(own), samples))
    in_a_row, given, alone = _emulate(bundle.spec, partition, onnx_paths, samples, basis)
    return Evidence(
        bundle, judge, partition, samples, seams, basis, compiled, given, PartAnswers([], in_a_row, alone), tuple(notes)
    )


def _settled(seam: Seam, graph: Graph, values: Sequence[Row]) -> Seam:
    return seam if seam.source is None else settle(seam, graph, [row[seam.source] for row in values])


def _values(model: onnx.ModelProto, names: Sequence[str], samples: Sequence[GoldenSample]) -> list[Row]:
    found = tensors_of(model, names, [sample.feed for sample in samples])
    return [{**sample.feed, **row} for sample, row in zip(samples, found)]


def _float_model(bundle: Bundle, samples: Sequence[GoldenSample]) -> tuple[onnx.ModelProto | None, list[str]]:
    """The float graph, if it gives the answers of the golden samples; else why not."""
    if FLOAT_GRAPH not in bundle.graphs:
        return None, ["the bundle holds no float graph: parts can be held against model.onnx only"]
    path = bundle.graphs[FLOAT_GRAPH]
    bundle.check_files(path)
    model = onnx.load(path)
    found = {name: Fidelity(name) for name in bundle.spec.outputs}
    for sample, row in zip(samples, tensors_of(model, [], [sample.feed for sample in samples])):
        for name, item in found.items():
            item.add(sample.reference[name], row[name])
    if min(item.sqnr_db for item in found.values()) >= EXPORT_MIN_SQNR_DB:
        return model, []
    why = f"{path.relative_to(bundle.path).as_posix()} does not give the float answers that the golden samples hold"
    return None, [f"{why}: parts can be held against model.onnx only"]


def _not_found(seam: Seam) -> str:
    why = "which crosses between parts, has no counterpart in the float graph"
    return f"{seam.name}, {why}: the parts that it joins can be held against model.onnx only"


def _disagreement(seam: Seam) -> str:
    return f"{seam.name} is written with one scale and read with another"


def _emulate(
    spec: ModelSpec,
    partition: Partition,
    onnx_paths: Mapping[str, Path],
    samples: Sequence[GoldenSample],
    floats: Basis | None,
) -> tuple[list[Row], list[Row], dict[str, list[Row]]]:
    """The parts of model.onnx as they are written, in a row and alone; between the two, what they are given alone: the
    float values as a faultless part would hand them on, or where there are none model.onnx's own."""
    runners = {
        part.name: open_graph(onnx_paths[part.name], part_spec(part, partition, spec), emulate=True)
        for part in partition.parts
    }
    parts = Assembled(partition, runners, spec)
    try:
        in_a_row = run_in_a_row(parts, samples)
        given = [{tensor.name: row[tensor.name] for tensor in partition.tensors} for row in in_a_row]
        for name, seam in (floats.seams if floats is not None else {}).items():
            for row, real in zip(given, floats.real(name) if floats is not None else ()):
                row[name] = seam.encode(real)
        return in_a_row, given, run_alone(parts, samples, given)
    finally:
        parts.close()

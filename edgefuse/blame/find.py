"""The straight line from a bundle to the part at fault."""

from __future__ import annotations

import math
import tempfile
from pathlib import Path

import onnx

from edgefuse.blame.gather import gather
from edgefuse.blame.places import RunParts
from edgefuse.blame.verdict import Blame, PartRow, Whole, decide, settle_stage, suspects
from edgefuse.bundle import Bundle
from edgefuse.check import Judge, make_judge
from edgefuse.errors import BundleError, RecipeError
from edgefuse.golden import GoldenSample, check_golden
from edgefuse.manifest import GOLDEN, MODEL
from edgefuse.metrics import SQNR
from edgefuse.part_answers import Question, read_rows
from edgefuse.partition import Split, split
from edgefuse.partition.split import cut_simplified
from edgefuse.parts import Partition
from edgefuse.recheck import stored_judge
from edgefuse.recipe import Accuracy
from edgefuse.spec import DimRange, TensorSpec

SAMPLES = 64
MAX_BYTES = 256 << 20
"""Of boundary tensors; beyond it fewer samples are used."""


def find_parts_at_fault(
    bundle: Bundle, run_parts: RunParts, samples: int = SAMPLES, judge: Judge | None = None
) -> Blame:
    """Which part of *bundle*'s model the error starts in on the device where *run_parts* runs, from at most *samples*
    golden samples, spread over all of them.

    *judge*: None for the bundle's own rule. Raises :class:`BundleError` for a bundle that no device has compiled yet,
    and what *run_parts* raises.
    """
    _refuse_portable(bundle)
    judge, unjudged = (judge, []) if judge is not None else _own_judge(bundle)
    bundle.check_files(bundle.path / MODEL)
    found = split(onnx.load(bundle.path / MODEL), bundle.spec, dict(bundle.partition.state))
    shipped, strange = _shipped(bundle, found)
    partition = bundle.partition if shipped else found.partition
    places, golden = _choose(bundle, partition, samples, judge)
    with tempfile.TemporaryDirectory(prefix="edgefuse-") as folder:
        cut = _write_cut(found, partition, Path(folder))
        known = gather(bundle, judge, found.model, partition, golden, cut)
        fresh = Question(places, partition)
        answers = run_parts(Question(places) if shipped else fresh, known.given, {} if shipped else cut)
        rows, whole = [known.judge_part(part, answers) for part in partition.parts], known.judge_whole(answers, shipped)
        again: dict[str, PartRow] = {}
        if shipped and _graph_is_right(rows, whole):  # then is it the artifact, or the toolchain?
            answers = run_parts(fresh, known.given, cut)
            again = {part.name: known.judge_part(part, answers) for part in partition.parts}
    return decide(
        [settle_stage(row, again.get(row.name), whole) for row in rows], whole, [*unjudged, *strange, *known.notes]
    )


def _refuse_portable(bundle: Bundle) -> None:
    if bundle.portable:
        raise BundleError(
            "is portable: nothing has been compiled yet that could be at fault",
            where=str(bundle.shown),
            hint=f"On its device: edgefuse compile {bundle.shown.name}",
        )


def _own_judge(bundle: Bundle) -> tuple[Judge, list[str]]:
    """The bundle's own rule; by SQNR where its metric is code that is not here, which is said."""
    try:
        return stored_judge(bundle, None, None), []
    except RecipeError as error:
        return make_judge(Accuracy(metric=SQNR), None, bundle.spec.outputs), [f"{error.what}: judged by SQNR"]


def _shipped(bundle: Bundle, found: Split) -> tuple[bool, list[str]]:
    """Whether the bundle ships parts that can be compared with those of its graph."""
    if not bundle.manifest["artifact"]["parts"]:
        return False, []
    known = {name for node in found.model.graph.node for name in node.output}
    strange = [tensor.name for tensor in bundle.partition.tensors if tensor.name not in known]
    said = [f"{MODEL} does not have {name!r}, which the shipped parts hand on: it was cut afresh" for name in strange]
    return not strange, said[:1]


def _choose(
    bundle: Bundle, partition: Partition, samples: int, judge: Judge
) -> tuple[tuple[int, ...], list[GoldenSample]]:
    """Places of golden samples, spread over all of them, and the samples."""
    path = bundle.path / GOLDEN
    bundle.check_files(path)
    total = check_golden(path, bundle.spec, judge.labelled)
    size = sum(_float_bytes(tensor) for tensor in partition.tensors)
    count = max(1, min(samples, total, MAX_BYTES // max(size, 1)))
    places = tuple(index * total // count for index in range(count))
    return places, read_rows(path, places)


def _float_bytes(tensor: TensorSpec) -> int:
    return 4 * math.prod(dim.max if isinstance(dim, DimRange) else dim for dim in tensor.shape)


def _write_cut(found: Split, partition: Partition, folder: Path) -> dict[str, Path]:
    """The parts of model.onnx as files, by name."""
    paths = {}
    for place, (name, model) in enumerate(cut_simplified(found.model, partition).items()):
        paths[name] = folder / f"{place}.onnx"
        onnx.save(model, paths[name])
    return paths


def _graph_is_right(rows: list[PartRow], whole: Whole) -> bool:
    """Whether a part is wrong on the device that is not wrong in model.onnx."""
    return any(row.graph_db >= whole.limit_db for row in suspects(rows, whole))

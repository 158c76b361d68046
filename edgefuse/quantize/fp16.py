"""FP16 as casts in the graph: what fits runs in half precision, what would overflow stays in float32.

Written here because ``onnxruntime.transformers.float16`` casts to FP16 also between two operations that were both
told to stay in float32 (onnxruntime 1.32), which is where the overflow is. Inputs and outputs keep their types.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from edgefuse.backends.onnxruntime import open_session
from edgefuse.errors import ModelError
from edgefuse.export.blame import one_sentence
from edgefuse.export.onnx_rules import opset_of
from edgefuse.quantize.graph import Graph, fresh_names, replace_nodes
from edgefuse.quantize.observe import Range, observe_ranges
from edgefuse.spec import Feed

MAX_ACTIVATION = 512.0
"""Beyond it a product or a sum of squares inside the operation nears 65504, FP16's largest number (the default limit of
NVIDIA ModelOpt's AutoCast)."""

FP16_MAX = float(np.finfo(np.float16).max)
FP16_SMALLEST = float(np.finfo(np.float16).smallest_subnormal)
MAX_SCALE_ERROR = 2.0**-9
"""An FP16 scale this far off moves a full-range INT8 value by a quarter of a step."""

MAX_WEIGHT_ERROR = 2.0**-9
"""Rounding to FP16 moves a weight by 2⁻¹² of its size on average; where a tensor is moved by more than this, most of
its values are too small."""

QDQ = ("QuantizeLinear", "DequantizeLinear")
QDQ_FP16_OPSET = 19
"""The first whose Q/DQ take FP16 scales."""

FLOAT32_OPS = frozenset(
    {
        *("Bernoulli", "BlackmanWindow", "CumSum", "DFT", "EyeLike", "HammingWindow", "HannWindow", "MelWeightMatrix"),
        *("Multinomial", "RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike", "RoiAlign", "STFT"),
        *("TopK", "Upsample"),
    }
)
"""What has no FP16 form in onnxruntime, or has its type in an attribute."""

RECURRENT = ("LSTM", "GRU", "RNN")

FLOAT32_INPUTS = {"Resize": (1, 2)}
"""Inputs that ONNX wants in float32 whatever the data is (the region and the scales)."""


def observe_floats(float_path: Path, samples: Iterable[Feed]) -> dict[str, Range]:
    """The range of the finite values of every float32 tensor of *float_path* (a mask's −inf stays what it is)."""
    model = onnx.load(float_path)
    constant = {tensor.name for tensor in model.graph.initializer}
    return observe_ranges(model, sorted(_float_tensors(model) - constant), samples, finite_part=True)


def to_fp16(path: Path, out: Path, ranges: Mapping[str, Range]) -> tuple[str, ...]:
    """Write *path* (float32, or INT8 with float32 glue) with FP16 casts to *out*; returns the nodes left in float32.

    *ranges* are the float graph's, from :func:`observe_floats`. Raises :class:`ModelError` for a graph with If, Loop or
    Scan, whose bodies read tensors of the outer graph.
    """
    model = onnx.load(path)
    _refuse_bodies(model)
    if any(node.op_type in QDQ for node in model.graph.node):
        model = _with_opset(model, QDQ_FP16_OPSET)
    kept = _kept_in_float32(Graph(model), ranges)
    _Caster(model, kept).write()
    onnx.save(model, out)
    try:
        onnx.checker.check_model(model)
        open_session(str(out), optimize="none")
    except Exception as error:  # onnx's or onnxruntime's own, which share no base but Exception
        raise ModelError(
            f"its FP16 form is not valid ONNX: {one_sentence(error)}",
            hint="Use --precision float or int8, and report the graph.",
        ) from error
    return tuple(node.name for node in model.graph.node if node.name in kept)


def _refuse_bodies(model: onnx.ModelProto) -> None:
    for node in model.graph.node:
        if any(attr.HasField("g") or attr.graphs for attr in node.attribute):
            raise ModelError(
                f"has the operation {node.op_type} ({node.name}), and FP16 is not written into its body",
                hint="Use --precision float or int8.",
            )


def _with_opset(model: onnx.ModelProto, opset: int) -> onnx.ModelProto:
    """*model* raised to *opset*. From 18 to 19 operators only gained types, so that step is the number alone."""
    has = opset_of(model)
    if has >= opset:
        return model
    try:
        raised = onnx.version_converter.convert_version(model, opset - 1) if has < opset - 1 else model
    except Exception as error:  # the converter raises whatever its C++ half does
        raise ModelError(f"opset {has} cannot be raised to {opset}, which FP16 scales need: {error}") from error
    for item in raised.opset_import:
        if item.domain in ("", "ai.onnx"):
            item.version = opset
    return raised


def _kept_in_float32(graph: Graph, ranges: Mapping[str, Range]) -> set[str]:
    """Names of the nodes that would overflow or lose their weights, and of the Q/DQ around these."""
    wide = {name for name, found in ranges.items() if found.peak > MAX_ACTIVATION}
    wide |= {name for name in graph.constants if _unfit(graph, name)}
    wide |= {name for node in graph.model.graph.node if node.op_type in QDQ for name in _lost_scale(graph, node)}
    opset = opset_of(graph.model)
    kept = {
        node.name
        for node in graph.model.graph.node
        if not wide.isdisjoint([*node.input, *node.output]) or _without_fp16(node, opset)
    }
    return _with_qdq(graph, kept)


def _with_qdq(graph: Graph, kept: set[str]) -> set[str]:
    """*kept*, and whatever shares Q/DQ with it: a cast between a DQ and its reader would keep that out of INT8."""
    groups = []  # nodes of which all are kept or none
    for node in graph.model.graph.node:
        if node.op_type == "DequantizeLinear":
            maker = graph.makers.get(node.input[0])
            pair = [node.name, *([maker.name] if maker is not None else [])]
            groups.append({*pair, *(reader.name for reader in graph.readers[node.output[0]])})
    while grown := [group for group in groups if not group.isdisjoint(kept) and not group <= kept]:
        kept = kept.union(*grown)
    return kept


def _without_fp16(node: onnx.NodeProto, opset: int) -> bool:
    """Whether the operator's definition has no FP16 form of what *node* uses of it."""
    if node.op_type in RECURRENT and any(node.input[4:5]):  # lengths: TensorRT refuses it in FP16
        return True
    if node.op_type in FLOAT32_OPS or not onnx.defs.has(node.op_type, opset, node.domain):
        return True
    if node.op_type == "Constant":
        return not any(attr.name == "value" for attr in node.attribute)
    schema, stays = onnx.defs.get_schema(node.op_type, opset, node.domain), FLOAT32_INPUTS.get(node.op_type, ())
    inputs = [port for index, port in enumerate(schema.inputs[: len(node.input)]) if index not in stays]
    ports = [*inputs, *schema.outputs[: len(node.output)]]
    return any("tensor(float)" in port.types and "tensor(float16)" not in port.types for port in ports)


def _lost_scale(graph: Graph, node: onnx.NodeProto) -> list[str]:
    """The node's scale and tensors, where rounding the scale to FP16 would cost accuracy."""
    scale = graph.constant(node.input[1])
    if scale is None or scale.dtype != np.float32:
        return []
    with np.errstate(over="ignore"):
        rounded = scale.astype(np.float16).astype(np.float64)
    lost = bool((np.abs(rounded - scale) > MAX_SCALE_ERROR * scale).any())
    return [node.input[1], node.output[0], node.input[0]] if lost else []


def _unfit(graph: Graph, name: str) -> bool:
    """A finite weight beyond FP16 (infinities stay infinite: a mask is meant to), or weights that FP16 rounds away,
    such as an epsilon of 1e-12."""
    value = graph.constant(name)
    if value is None or value.dtype != np.float32:
        return False
    finite = value[np.isfinite(value)].astype(np.float64)
    if (np.abs(finite) > FP16_MAX).any():
        return True
    lost = finite - finite.astype(np.float16)
    return bool(np.sum(lost**2) > MAX_WEIGHT_ERROR**2 * np.sum(finite**2))


class _Caster:
    """Rewrites *model* in place: nodes not in *kept* compute in FP16, with one Cast for each tensor that crosses."""

    def __init__(self, model: onnx.ModelProto, kept: set[str]) -> None:
        self.graph = model.graph
        self.model, self.kept = model, kept
        self.floats = _float_tensors(model)
        self.weights = {tensor.name: tensor for tensor in self.graph.initializer}
        self.outputs = {value.name for value in self.graph.output}
        self.names = fresh_names(model)
        self.half: dict[str, str] = {}  # float32 tensor of the old graph → its FP16 form, where there is one
        self.single: dict[str, str] = {}  # the same → its float32 form, for those that are made in FP16
        self.nodes: list[onnx.NodeProto] = []

    def write(self) -> None:
        for node in list(self.graph.node):
            touched = [name for name in [*node.input, *node.output] if name in self.floats]
            if touched and node.name not in self.kept:
                self._in_half(node)
            else:
                self._in_float32(node)
        replace_nodes(self.graph, self.nodes)
        del self.graph.value_info[:]  # it describes tensors that have another type now

    def _in_half(self, node: onnx.NodeProto) -> None:
        stays = FLOAT32_INPUTS.get(node.op_type, ())
        for index, name in enumerate(node.input):
            if name in self.floats:
                node.input[index] = self._as_float32(name) if index in stays else self._as_half(name)
        _halve_attributes(node)
        self.nodes.append(node)
        for index, name in enumerate(node.output):
            if name not in self.floats:
                continue
            if name in self.outputs:
                node.output[index] = self.half[name] = self.names(f"{name}.fp16")
                self._cast(self.half[name], name, TensorProto.FLOAT)
                self.single[name] = name
            else:
                self.half[name] = name

    def _in_float32(self, node: onnx.NodeProto) -> None:
        for index, name in enumerate(node.input):
            if name in self.floats:
                node.input[index] = self._as_float32(name)
        self.nodes.append(node)

    def _as_half(self, name: str) -> str:
        if name not in self.half:
            self.half[name] = self.names(f"{name}.fp16")
            if name in self.weights:
                value = np.asarray(numpy_helper.to_array(self.weights[name]))
                self.graph.initializer.append(numpy_helper.from_array(_to_half(value), self.half[name]))
            else:
                self._cast(name, self.half[name], TensorProto.FLOAT16)
        return self.half[name]

    def _as_float32(self, name: str) -> str:
        if self.half.get(name) != name:
            return name
        if name not in self.single:
            self.single[name] = self.names(f"{name}.fp32")
            self._cast(name, self.single[name], TensorProto.FLOAT)
        return self.single[name]

    def _cast(self, source: str, target: str, to: int) -> None:
        self.nodes.append(helper.make_node("Cast", [source], [target], name=self.names(f"{target}.cast"), to=to))


def _float_tensors(model: onnx.ModelProto) -> set[str]:
    try:
        graph = onnx.shape_inference.infer_shapes(model).graph
    except onnx.shape_inference.InferenceError as error:
        raise ModelError(f"the types of its tensors cannot be told: {str(error).splitlines()[0][:300]}") from error
    typed = [*graph.value_info, *graph.input, *graph.output]
    found = {value.name for value in typed if value.type.tensor_type.elem_type == TensorProto.FLOAT}
    return found | {tensor.name for tensor in graph.initializer if tensor.data_type == TensorProto.FLOAT}


def _to_half(value: np.ndarray) -> np.ndarray:
    """Rounded to nearest; what is not 0 does not become 0 (a divisor's epsilon)."""
    rounded = value.astype(np.float16)
    vanished = (rounded == 0) & (value != 0)
    return np.where(vanished, np.copysign(np.float16(FP16_SMALLEST), value).astype(np.float16), rounded)


def _halve_attributes(node: onnx.NodeProto) -> None:
    """The types that an operation carries itself: Cast's target, and the value of constants."""
    for attr in node.attribute:
        if attr.name == "to" and node.op_type == "Cast" and attr.i == TensorProto.FLOAT:
            attr.i = TensorProto.FLOAT16
        if attr.name == "value" and attr.t.data_type == TensorProto.FLOAT:
            attr.t.CopyFrom(numpy_helper.from_array(_to_half(np.asarray(numpy_helper.to_array(attr.t)))))
    if node.op_type == "ConstantOfShape" and not node.attribute:
        node.attribute.append(helper.make_attribute("value", helper.make_tensor("", TensorProto.FLOAT16, [1], [0])))

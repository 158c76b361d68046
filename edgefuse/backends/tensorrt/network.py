"""From an ONNX file to the vendor's network: parsing, and the shapes that it is built for."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgefuse.backends.tensorrt.vendor import last_words
from edgefuse.errors import ModelError, ToolchainError
from edgefuse.spec import DimRange, ModelSpec, TensorSpec

OURS = ("INTERNAL_ERROR", "MEM_ALLOC_FAILED")
"""Parser errors that say nothing about the model."""


@dataclass(frozen=True)
class Network:
    """The parsed network with what must live as long: the parser owns the weights' memory."""

    builder: Any
    definition: Any
    parser: Any


def parse(trt: Any, onnx_path: Path, log: Any) -> Network:
    """Read *onnx_path* as a strongly typed network; raises ``ModelError`` that names the node and its operator."""
    builder = trt.Builder(log)
    # Needed on 10.x, the only kind of network on 11 and on RTX, where the flag may go.
    typed = getattr(trt.NetworkDefinitionCreationFlag, "STRONGLY_TYPED", None)
    definition = builder.create_network(1 << int(typed) if typed is not None else 0)
    parser = trt.OnnxParser(definition, log)
    if not parser.parse_from_file(str(onnx_path)):
        errors = [parser.get_error(index) for index in range(parser.num_errors)]
        raise _refusal(errors, log, onnx_path)
    return Network(builder, definition, parser)


def _refusal(errors: list[Any], log: Any, onnx_path: Path) -> Exception:
    """The first error of the parser; later ones are mostly its consequences."""
    if not errors:
        return ModelError(f"the parser refused the graph: {last_words(log)}", where=onnx_path.name)
    first = errors[0]
    code = str(first.code()).rsplit(".", 1)[-1]
    kind = ToolchainError if code in OURS else ModelError
    where = f"{onnx_path.name}, {first.node_operator()} node {first.node_name()!r}" if first.node_name() else ""
    more = f" (and {len(errors) - 1} more)" if len(errors) > 1 else ""
    said = first.desc().strip()
    if len(said.split()) < 2:  # the description of an unsupported operator is just "false"
        said = f"{code}, and no more than {said!r}"
    return kind(f"the parser refused the graph: {said}{more}", where=where or onnx_path.name)


def add_profile(network: Network, config: Any, spec: ModelSpec) -> None:
    """One optimization profile for all dynamic inputs, from the ranges in *spec*.

    The shape that kernels are tuned for is the largest: a control loop waits for its slowest call, and nothing says
    which size is the usual one. A dimension that the graph leaves open and *spec* fixes gets a range of one size.
    """
    tensors = [network.definition.get_input(index) for index in range(network.definition.num_inputs)]
    dynamic = [tensor for tensor in tensors if -1 in tuple(tensor.shape)]
    if not dynamic:
        return
    wanted = {tensor.name: tensor for tensor in spec.inputs}
    profile = network.builder.create_optimization_profile()
    for tensor in dynamic:
        _set_shapes(profile, tensor, wanted.get(tensor.name))
    if config.add_optimization_profile(profile) < 0:
        raise ModelError(
            "the ranges of the dynamic inputs contradict each other",
            where=", ".join(tensor.name for tensor in dynamic),
            hint="Inputs that share a dimension in the graph need the same range in the recipe.",
        )


def _set_shapes(profile: Any, tensor: Any, wanted: TensorSpec | None) -> None:
    if wanted is None or len(wanted.shape) != len(tensor.shape):
        found = wanted.shape_text if wanted else "nothing"
        raise ModelError(
            f"the graph leaves dimensions of the input open ({tuple(tensor.shape)}); the recipe says {found} of it",
            where=tensor.name,
        )
    largest = tuple(dim.max if isinstance(dim, DimRange) else dim for dim in wanted.shape)
    profile.set_shape(tensor.name, wanted.smallest(), largest, largest)

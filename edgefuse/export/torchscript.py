"""A TorchScript file (``torch.jit.save``), scripted or traced; the recipe says what its inputs look like.

torch 2.13's exporters fail on scripts with fused attention, so the script is first captured operator by
operator (make_fx). A script that decides by a tensor's value cannot be captured that way: the legacy exporter
keeps its If.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.fx import GraphModule
from torch.fx.experimental.proxy_tensor import make_fx

from edgefuse.errors import ModelError
from edgefuse.export import Source
from edgefuse.export.blame import one_sentence
from edgefuse.export.capture.attention import FUSED
from edgefuse.export.capture.program import Capture, FixedDimError, capture
from edgefuse.export.capture.sizes import size_arithmetic
from edgefuse.export.capture.torch_model import FlatModule, example_tensors, put_in_eval_mode, try_model
from edgefuse.export.capture.torch_source import flat_module, torch_source
from edgefuse.export.quiet import quiet
from edgefuse.recipe import Recipe
from edgefuse.spec import TensorSpec


def _convolution(*args: Any, **kwargs: Any) -> Tensor:
    """Without the last arguments, which say how cuDNN is to do it."""
    return torch.ops.aten.convolution.default(*args[:9])  # type: ignore[no-any-return]


TRACED: dict[Any, Callable[..., Any]] = {
    torch.ops.aten._convolution.default: _convolution,
    torch.ops.aten._convolution.deprecated: _convolution,
}
"""Operators that only a trace holds, spelled as torch.onnx knows them."""


def load(path: Path, recipe: Recipe, trust: bool) -> Source:
    """The script in *path*, called with the recipe's inputs."""
    where = str(path)
    try:
        with quiet():
            script = torch.jit.load(str(path), map_location="cpu")  # type: ignore[no-untyped-call]
    except Exception as error:  # RuntimeError mostly: a damaged file, or operators of a missing extension
        raise ModelError(f"torch cannot load the script: {one_sentence(error)}", where=where) from error
    notes = put_in_eval_mode(script)
    flat = flat_module(script, recipe, where)
    flat.eval()
    trial = try_model(flat.structured, dict(script.named_buffers()), recipe.inputs, where)
    captured = capture_script(flat, recipe.inputs)
    return torch_source("torchscript", flat, trial, captured, recipe, where, notes)


def capture_script(flat: FlatModule, inputs: Sequence[TensorSpec]) -> Capture:
    """The program of a script's operators. Never raises: the legacy exporter may still do."""
    dynamic = [spec.name for spec in inputs if spec.dynamic]
    if dynamic:
        what = f"TorchScript is captured for fixed shapes only; {', '.join(dynamic)} has a dynamic one"
        return Capture(None, FixedDimError(what))
    with quiet() as chatter:
        try:
            graph = _operators(flat, example_tensors(inputs))
        except Exception as error:  # control flow by value, and whatever the script raises
            return Capture(None, error, chatter.text)
    _name_weights(graph, flat.module)
    return capture(graph, inputs)


def _operators(flat: FlatModule, tensors: tuple[Tensor, ...]) -> GraphModule:
    """Two settings matter: pre_dispatch keeps an LSTM one operator, and with gradients on, attention takes
    its plain path and not the fused one, where masks become nested tensors."""
    for parameter in flat.parameters():
        if parameter.is_floating_point():
            parameter.requires_grad_(True)
    call: Callable[..., Any] = flat.forward
    with torch.enable_grad():
        graph = make_fx(
            call,
            tracing_mode="real",
            _allow_non_fake_inputs=True,
            pre_dispatch=True,
            decomposition_table={**FUSED, **TRACED, **size_arithmetic()},
        )(*tensors)
    graph.graph.eliminate_dead_code()
    return graph


def _name_weights(graph: GraphModule, module: nn.Module) -> None:
    """make_fx calls the weights ``_tensor_constant0``, …; give them their names in the script again."""
    state = [*module.named_parameters(), *module.named_buffers()]
    names = {(tensor.data_ptr(), tensor.shape): name for name, tensor in state}
    for node in graph.graph.nodes:
        if node.op != "get_attr" or not isinstance(getattr(graph, node.target, None), Tensor):
            continue
        tensor = getattr(graph, node.target)
        name = names.get((tensor.data_ptr(), tensor.shape))
        if name:
            _register(graph, name, tensor)
            node.target = name
    graph.recompile()


def _register(graph: GraphModule, name: str, tensor: Tensor) -> None:
    owner: nn.Module = graph
    *folders, leaf = name.split(".")
    for folder in folders:
        if not hasattr(owner, folder):
            owner.add_module(folder, nn.Module())
        owner = getattr(owner, folder)
    if not hasattr(owner, leaf):
        owner.register_buffer(leaf, tensor.detach())

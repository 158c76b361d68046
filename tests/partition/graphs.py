"""Small graphs written by hand, and their parts run one after another."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from edgefuse.backends.onnxruntime import open_session
from edgefuse.partition import split
from edgefuse.spec import DimRange, ModelSpec, TensorSpec


def node(op, inputs, output, name="", **attributes):
    return helper.make_node(op, inputs.split(), output.split(), name=name or f"n_{output.split()[0]}", **attributes)


def weights(*shape, seed=0):
    return np.random.default_rng(seed + sum(shape)).normal(size=shape).astype(np.float32)


def build(nodes, inputs, outputs, opset=18, **constants):
    """*inputs*: a spec, or name → shape (float32), each a stream of its own. Returns the model and its spec."""
    specs = [
        value if isinstance(value, TensorSpec) else TensorSpec(name, tuple(value), stream=name)
        for name, value in inputs.items()
    ]
    graph = helper.make_graph(
        nodes,
        "g",
        [_input(spec) for spec in specs],
        [helper.make_empty_tensor_value_info(name) for name in outputs],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=10)
    model = onnx.shape_inference.infer_shapes(model, data_prop=True)
    for value in model.graph.output:
        if not value.type.tensor_type.elem_type:
            value.type.tensor_type.elem_type = TensorProto.FLOAT
    return model, ModelSpec(tuple(specs), tuple(outputs))


def _input(spec):
    dims = [f"{spec.name}_{i}" if isinstance(dim, DimRange) else dim for i, dim in enumerate(spec.shape)]
    return helper.make_tensor_value_info(spec.name, helper.np_dtype_to_tensor_dtype(np.dtype(spec.dtype)), dims)


def feed_of(spec, seed=0, largest=False):
    rng = np.random.default_rng(seed)
    feed = {}
    for item in spec.inputs:
        shape = [d if isinstance(d, int) else d.max if largest else d.min for d in item.shape]
        whole = np.dtype(item.dtype).kind in "iub"
        values = rng.integers(0, 2, shape) if whole else rng.normal(size=shape)
        feed[item.name] = values.astype(item.dtype)
    return feed


def session_of(model, optimize="none"):
    return open_session(model.SerializeToString(), optimize=optimize)


def run(session, feed, names=None):
    names = names or [value.name for value in session.get_outputs()]
    present = {value.name for value in session.get_inputs()}
    return dict(zip(names, session.run(names, {k: v for k, v in feed.items() if k in present})))


def open_parts(models, optimize="none"):
    return {name: session_of(model, optimize) for name, model in models.items()}


def run_parts(sessions, partition, feed):
    """Every tensor that the parts read and make, the parts run in their order."""
    known = dict(feed)
    for part in partition.parts:
        if sessions[part.name].get_inputs():
            assert {v.name for v in sessions[part.name].get_inputs()} == set(part.inputs), part.name
        made = run(sessions[part.name], {name: known[name] for name in part.inputs}, list(part.outputs))
        for name, value in made.items():
            assert name in feed or name not in known, f"{name} is made twice"
            known[name] = value
    return known


def same(a, b):
    """Bit for bit, with the type and the shape."""
    return a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()


def check_composition(model, spec, state=None, feeds=None, optimize="none"):
    """Cut, compare the parts in a row with the whole, and hand back the split."""
    found = split(model, spec, state)
    whole, sessions = session_of(model, optimize), open_parts(found.models(), optimize)
    for feed in feeds or [feed_of(spec, seed, largest) for seed, largest in ((0, False), (1, True))]:
        wanted, got = run(whole, feed, list(spec.outputs)), run_parts(sessions, found.partition, feed)
        for name in spec.outputs:
            assert same(wanted[name], got[name]), name
        for tensor in found.partition.tensors:
            assert tensor.fits(got[tensor.name].shape) and tensor.dtype == got[tensor.name].dtype, tensor
    return found


def names(partition):
    return [part.name for part in partition.parts]

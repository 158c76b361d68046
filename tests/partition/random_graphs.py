"""Random fusion graphs for the property tests: up to four sensors, static or with an open number of rows."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from hypothesis import strategies as st
from onnx import TensorProto, helper

from edgefuse.spec import DimRange, TensorSpec
from tests.partition.graphs import build, node, weights

ROWS = DimRange(2, 4)


@dataclass
class Growing:
    """*pool* holds (name, rows, columns) of float32 tensors; the number of rows is a ``DimRange`` where it is open."""

    draw: object
    nodes: list = field(default_factory=list)
    pool: list = field(default_factory=list)
    constants: dict = field(default_factory=dict)

    def pick(self, fits=lambda t: True):
        found = [tensor for tensor in self.pool if fits(tensor)]
        found = found[-self.draw(st.sampled_from([3, 8, 99])) :]  # recent ones more often: deep graphs
        return self.draw(st.sampled_from(found)) if found else None

    def number(self, low, high):
        return self.draw(st.integers(low, high))

    def constant(self, value):
        name = f"k{len(self.constants)}"
        self.constants[name] = np.asarray(value)
        return name

    def add(self, op, inputs, rows, columns, **attributes):
        name = self.temporary(op, inputs, **attributes)
        self.pool.append((name, rows, columns))
        return name

    def temporary(self, op, inputs, **attributes):
        name = f"t{len(self.nodes)}"
        self.nodes.append(node(op, inputs, name, **attributes))
        return name


def unary(g):
    name, rows, columns = g.pick()
    op = g.draw(st.sampled_from(["Relu", "Tanh", "Neg", "Identity", "Softmax", "Abs"]))
    g.add(op, name, rows, columns)


def product(g):
    name, rows, columns = g.pick()
    wider = g.number(1, 5)
    g.add("MatMul", f"{name} {g.constant(weights(columns, wider, seed=len(g.nodes)))}", rows, wider)


def binary(g):
    a, rows, columns = g.pick()
    b = g.pick(lambda t: t[1:] == (rows, columns) or t[1:] == (1, columns))[0] if rows != 1 else None
    b = b or g.pick(lambda t: t[1:] == (rows, columns))[0]
    g.add(g.draw(st.sampled_from(["Add", "Mul", "Max"])), f"{a} {b}", rows, columns)


def concat(g):
    a, rows, columns = g.pick()
    b, _, more = g.pick(lambda t: t[1] == rows)
    name = g.add("Concat", f"{a} {b}", rows, columns + more, axis=1)
    if g.draw(st.booleans()):
        start = g.number(0, columns + more - 1)
        end = g.number(start + 1, columns + more)
        places = " ".join(g.constant(np.array([i])) for i in (start, end, 1))
        g.add("Slice", f"{name} {places}", rows, end - start)


def split_again(g):
    a, rows, columns = g.pick()
    b, _, more = g.pick(lambda t: t[1] == rows)
    joined = g.temporary("Concat", f"{a} {b}", axis=1)
    first = g.number(1, columns + more - 1) if columns + more > 1 else 1
    names = f"s{len(g.nodes)} r{len(g.nodes)}"
    g.nodes.append(node("Split", f"{joined} {g.constant(np.array([first, columns + more - first]))}", names, axis=1))
    g.pool += [(names.split()[0], rows, first), (names.split()[1], rows, columns + more - first)]


def stack(g):
    a, rows, columns = g.pick()
    b = g.pick(lambda t: t[1:] == (rows, columns))[0]
    axis = g.constant(np.array([0]))
    lifted = [g.temporary("Unsqueeze", f"{name} {axis}") for name in (a, b)]
    joined = g.temporary("Concat", " ".join(lifted), axis=0)
    g.add("Gather", f"{joined} {g.constant(np.array(g.number(-2, 1)))}", rows, columns, axis=0)


def gather(g):
    name, rows, columns = g.pick()
    places = np.array([g.number(0, columns - 1) for _ in range(g.number(1, 6))])
    g.add("Gather", f"{name} {g.constant(places)}", rows, len(places), axis=1)


def reduce(g):
    name, rows, _ = g.pick()
    g.add("ReduceSum", f"{name} {g.constant(np.array([1]))}", rows, 1)


def fold_rows(g):
    name, _, columns = g.pick()
    g.add("ReduceMax", f"{name} {g.constant(np.array([0]))}", 1, columns)


def quantize(g):
    name, rows, columns = g.pick()
    how = f"{g.constant(np.float32(0.1))} {g.constant(np.uint8(120))}"
    g.add("DequantizeLinear", f"{g.temporary('QuantizeLinear', f'{name} {how}')} {how}", rows, columns)


def like_the_shape(g):
    """Data of one tensor, as large as another: a static shape is to be a constant, an open one a shape input."""
    shape, rows, columns = g.pick()
    found = g.pick(lambda t: t[1] == 1 and t[2] in (1, columns))
    if found:
        g.add("Expand", f"{found[0]} {g.temporary('Shape', shape)}", rows, columns)


def zeros_like(g):
    shape, rows, columns = g.pick()
    zeros = g.temporary("ConstantOfShape", g.temporary("Shape", shape))
    other = g.pick(lambda t: t[1:] == (rows, columns))[0]
    g.add("Add", f"{zeros} {other}", rows, columns)


def grow(g):
    name, rows, columns = g.pick()
    if rows == 1:
        g.add("Tile", f"{name} {g.constant(np.array([3, 1]))}", 3, columns)


def branch(g):
    a, rows, columns = g.pick()
    b = g.pick(lambda t: t[1:] == (rows, columns))[0]
    mean = g.temporary("ReduceMean", g.pick()[0], keepdims=0)
    flag = g.temporary("Greater", f"{mean} {g.constant(np.float32(0))}")
    bodies = [
        helper.make_graph(
            [helper.make_node(op, [name], ["out"])],
            "b",
            [],
            [helper.make_tensor_value_info("out", TensorProto.FLOAT, None)],
        )
        for op, name in (("Neg", a), ("Tanh", b))
    ]
    g.add("If", flag, rows, columns, then_branch=bodies[0], else_branch=bodies[1])


def meet(g):
    """One row of each of two to four tensors, side by side."""
    picked = [g.pick() for _ in range(g.number(2, 4))]
    single = [g.temporary("ReduceMax", f"{name} {g.constant(np.array([0]))}") for name, _, _ in picked]
    g.add("Concat", " ".join(single), 1, sum(columns for _, _, columns in picked), axis=1)


def constants_only(g):
    name, rows, columns = g.pick()
    made = g.temporary("Sqrt", g.constant(np.full((1, columns), 2, np.float32)))
    g.add("Mul", f"{name} {made}", rows, columns)


STEPS = [unary, product, product, binary, binary, concat, split_again, stack, gather, reduce, fold_rows, quantize]
STEPS += [like_the_shape, zeros_like, grow, branch, constants_only, meet]


@st.composite
def fusion_graphs(draw, dynamic=False):
    """A model, its spec, and the state that it declares."""
    g = Growing(draw)
    inputs = {}
    for i in range(draw(st.sampled_from([1, 2, 2, 3, 3, 4]))):
        rows = draw(st.sampled_from([1, ROWS] if dynamic else [1, 2]))
        for part in "xy"[: draw(st.integers(1, 2))]:
            name, columns = f"{part}{i}", draw(st.integers(1, 4))
            inputs[name] = TensorSpec(name, (rows, columns), stream=f"s{i}")
            g.pool.append((name, rows, columns))
    if draw(st.booleans()):
        inputs["h"] = TensorSpec("h", (1, 3))
        g.pool.append(("h", 1, 3))
    for _ in range(draw(st.integers(1, 30))):
        draw(st.sampled_from(STEPS))(g)
    for _ in range(draw(st.integers(0, 2))):
        meet(g)
    made = [tensor for tensor in g.pool if tensor[0] not in inputs] or g.pool
    outputs = [name for name, _, _ in draw(st.lists(st.sampled_from(made), min_size=1, max_size=4, unique=True))]
    state = _state(g, outputs) if "h" in inputs else {}
    model, spec = build(g.nodes, inputs, outputs, **g.constants)
    return model, spec, state


def _state(g, outputs):
    source = g.pick(lambda t: t[1:] == (1, 3))
    g.nodes.append(node("Identity", source[0], "h_next"))
    outputs.append("h_next")
    return {"h": "h_next"}

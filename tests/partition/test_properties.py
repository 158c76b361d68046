"""What must hold of every graph: parts in a row equal the whole, a branch depends on its sensor alone, no work is done
twice, and the boundary is no larger than where streams first meet."""

from __future__ import annotations

import json
import tempfile
from collections import Counter
from pathlib import Path

import numpy as np
import onnx
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from onnx import helper

from edgefuse.errors import ModelError
from edgefuse.partition import split
from edgefuse.partition.nodes import CHEAP, reads
from edgefuse.parts import Partition, tensor_bytes
from edgefuse.quantize import quantize_int8
from tests.partition.graphs import feed_of, open_parts, run, run_parts, same, session_of
from tests.partition.random_graphs import fusion_graphs

many = settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))


def exposing(model, names):
    """*model* with the tensors *names* as further outputs."""
    copied = onnx.ModelProto()
    copied.CopyFrom(model)
    known = {value.name for value in copied.graph.output}
    copied.graph.output.extend(helper.make_empty_tensor_value_info(name) for name in names if name not in known)
    return copied


def rows(spec, feed, count):
    """*feed* with *count* rows wherever they are open."""
    return {
        item.name: np.resize(feed[item.name], (count, *feed[item.name].shape[1:])) if item.dynamic else feed[item.name]
        for item in spec.inputs
    }


def check(model, spec, state, feeds):
    found = split(model, spec, state)
    partition, boundary = found.partition, [tensor.name for tensor in found.partition.tensors]
    whole, sessions = session_of(exposing(model, boundary)), open_parts(found.models())
    for feed in feeds:
        wanted, got = run(whole, feed, [*spec.outputs, *boundary]), run_parts(sessions, partition, feed)
        for name in wanted:
            assert same(wanted[name], got[name]), name
        for tensor in partition.tensors:
            assert tensor.fits(got[tensor.name].shape) and tensor.dtype == got[tensor.name].dtype
        check_independence(whole, partition, spec, feed, wanted, state)
    assert Partition.from_json(json.loads(json.dumps(partition.to_json()))) == partition
    check_once(found)
    return found


def check_independence(whole, partition, spec, feed, before, state):
    """Another sensor's values change no tensor of a branch, in the whole graph as it was given."""
    streams = {item.name: item.stream for item in spec.inputs}
    for part in partition.branches:
        assert {streams[n] for n in part.inputs if n in streams and n not in state} <= {part.name}
        kept = {name for name in feed if streams[name] == part.name or name in part.inputs}
        moved = {name: value if name in kept else value * -3 + 1 for name, value in feed.items()}
        made = [name for name in part.outputs if name in before]
        after = run(whole, moved, made)
        assert all(same(before[name], after[name]) for name in made)


def check_once(found):
    """No node but a cheap or a sensorless one is computed by two parts."""
    counts = Counter(n.name for model in found.models().values() for n in model.graph.node)
    depends = dependent(found.model, {value.name for value in found.model.graph.input})
    for n in found.model.graph.node:
        if n.op_type not in CHEAP and depends.intersection(n.output):
            assert counts[n.name] <= 1, n.name


def dependent(model, inputs):
    found = set(inputs)
    for n in model.graph.node:
        if found.intersection(reads(n)) and n.op_type not in ("Shape", "Size"):
            found.update(n.output)
    return found


def streams_of(model, spec):
    """By tensor the streams behind it, without any of the partition's own code."""
    found = {item.name: {item.stream} for item in spec.inputs}
    for n in model.graph.node:
        behind = set().union(*(found.get(name, set()) for name in reads(n)))
        found.update(dict.fromkeys(n.output, behind))
    return found


def naive_bytes(found, spec, feed):
    """What nodes of several streams read of branches, if nothing moved."""
    streams = streams_of(found.model, spec)
    met = [n for n in found.model.graph.node if len(streams[n.output[0]]) > 1]
    branches = {part.name for part in found.partition.branches}
    read = {name for n in met for name in reads(n) if len(streams.get(name, ())) == 1 and streams[name] <= branches}
    values = run(session_of(exposing(found.model, sorted(read - feed.keys()))), feed) | feed
    return sum(values[name].nbytes for name in read)


@given(fusion_graphs())
@many
def test_static_graphs(case):
    model, spec, state = case
    feed = feed_of(spec, 3)
    found = check(model, spec, state, [feed])
    trunk = found.partition.trunk
    if trunk is None or state:
        return
    branches = {part.name for part in found.partition.branches}
    raw = sum(feed[item.name].nbytes for item in spec.inputs if item.name in trunk.inputs and item.stream in branches)
    boundary = sum(tensor_bytes(tensor) or 0 for tensor in found.partition.tensors if tensor.name in trunk.inputs)
    assert raw + boundary <= naive_bytes(found, spec, feed)


@given(fusion_graphs(dynamic=True))
@many
def test_graphs_with_open_shapes(case):
    model, spec, state = case
    check(model, spec, state, [rows(spec, feed_of(spec, 3), count) for count in (2, 3, 4)])


@given(fusion_graphs(), st.sampled_from(["openvino", "tensorrt"]))
@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
def test_the_int8_graph_has_the_same_parts(case, scheme):
    model, spec, state = case
    with tempfile.TemporaryDirectory() as folder:
        paths = Path(folder, "float.onnx"), Path(folder, "int8.onnx")
        onnx.save(model, paths[0])
        try:
            quantize_int8(*paths, [feed_of(spec, seed) for seed in (1, 2)], scheme)
        except ModelError:  # nothing in it to quantize
            return
        quantized = onnx.load(paths[1])
    found = check(quantized, spec, state, [feed_of(spec, 3)])
    wanted = split(model, spec, state).partition.parts
    assert [(p.name, p.streams) for p in found.partition.parts] == [(p.name, p.streams) for p in wanted]


@given(fusion_graphs())
@settings(max_examples=50, deadline=None, suppress_health_check=list(HealthCheck))
def test_optimized_parts_equal_the_optimized_whole(case):
    model, spec, state = case
    found, feed = split(model, spec, state), feed_of(spec, 3)
    wanted = run(session_of(model, "all"), feed, list(spec.outputs))
    got = run_parts(open_parts(found.models(), "all"), found.partition, feed)
    assert all(same(wanted[name], got[name]) for name in spec.outputs)

"""What NVIDIA's own parser and builder do to each rule's graph: the rules are measured, not believed.

TensorRT-RTX's parser is the one of TensorRT 11; it builds on a CPU. It says nothing about older versions (P1 to P3,
P5) and has no plugin library (W6).
"""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import onnx
import pytest

from tests.lint.cases import BUILDS, CASES, CLEAN, CRASH, FLOAT, NO_ENGINE, REFUSED

HERE = all(importlib.util.find_spec(name) for name in ("tensorrt_rtx_libs", "tensorrt_rtx_bindings"))
pytestmark = pytest.mark.skipif(not HERE, reason="TensorRT-RTX is not installed (tensorrt-rtx-cu12-libs and -bindings)")

INT8 = {"as our quantizer writes it": 3, "Gemm": 1, "Gemm transB": 1, "MatMul": 1}
"""How many convolutions and products of the sound graphs TensorRT is to run in INT8."""


def ask(folder, models):
    for name, model in models.items():
        onnx.save(model, folder / f"{name.replace(' ', '_')}.onnx")
    script = Path(__file__).with_name("ask_nvidia.py")
    done = subprocess.run([sys.executable, script, folder], capture_output=True, text=True, check=False)
    if done.returncode:
        return done.returncode
    answers = json.loads(done.stdout)
    return {name: answers[name.replace(" ", "_")] for name in models}


@pytest.fixture(scope="module")
def answers(tmp_path_factory):
    sound = {name: case.model for name, case in CASES.items() if case.answer != CRASH}
    return ask(tmp_path_factory.mktemp("cases"), sound)


@pytest.mark.parametrize("name", [name for name, case in CASES.items() if case.answer != CRASH])
def test_the_real_parser_does_what_the_rule_says(name, answers):
    case, found = CASES[name], answers[name]
    expected = {REFUSED: (False, False), NO_ENGINE: (True, False), FLOAT: (True, True), BUILDS: (True, True)}
    assert (found["parsed"], found["built"]) == expected[case.answer], found["said"]
    assert case.says in found["said"]
    if case.answer == FLOAT:
        assert found["kernels"] and not any(types[:2] == ["Int8", "Int8"] for types in found["kernels"])


@pytest.mark.parametrize("name", [name for name, case in CASES.items() if case.answer == CRASH])
def test_a_graph_that_kills_the_builder_is_one_that_the_linter_refuses(name, tmp_path):
    assert ask(tmp_path, {name: CASES[name].model}) == -11  # SIGSEGV


def test_uint8_is_read_as_int8(answers):
    """The kernels of the uint8 graph read int8: 200 is written as 127."""
    assert answers["uint8"]["kernels"] == [["Int8", "Int8", "Float", "Float"]]


@pytest.mark.parametrize("op", ["LSTM", "GRU", "RNN"])
def test_the_layout_of_a_recurrence_is_ignored(op, answers):
    """``x`` is (batch 2, time 5, features 4), so ``y`` should be (2, 5, 1, 8)."""
    assert answers[f"{op} layout"]["shapes"] == [[2, 1, 5, 8]]


def test_sound_graphs_build_in_int8(tmp_path):
    for name, found in ask(tmp_path, CLEAN).items():
        assert found["built"], (name, found["said"])
        int8 = [types for types in found["kernels"] if types[:2] == ["Int8", "Int8"]]
        assert len(int8) == INT8.get(name, 0), name

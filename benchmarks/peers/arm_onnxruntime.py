"""ONNX Runtime, float and static INT8, with its own defaults for threads and graph optimization."""

from __future__ import annotations

import os
from pathlib import Path

os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

import onnxruntime as ort

from edgefuse.spec import Array, Feed
from peers.case import Case, Feeds


class OrtRunner:
    def __init__(self, path: Path) -> None:
        self.session = ort.InferenceSession(path, providers=["CPUExecutionProvider"])
        self.outputs = [node.name for node in self.session.get_outputs()]

    def __call__(self, feed: Feed) -> dict[str, Array]:
        return dict(zip(self.outputs, self.session.run(None, dict(feed))))


def open_float(case: Case, folder: Path) -> OrtRunner:
    return OrtRunner(case.onnx)


class Reader:
    """onnxruntime's protocol for samples: the next one, None at the end."""

    def __init__(self, feeds: Feeds) -> None:
        self.feeds = iter(feeds)

    def get_next(self) -> Feed | None:
        return next(self.feeds, None)


def build_int8(case: Case, folder: Path) -> None:
    """As its documentation has it for x86 with VNNI: pre-processing, QDQ, U8S8; per channel, which is more accurate."""
    from onnxruntime.quantization import QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    prepared = folder / "prepared.onnx"
    quant_pre_process(case.onnx, prepared)
    quantize_static(
        prepared,
        folder / "int8.onnx",
        Reader(case.feeds),
        quant_format=QuantFormat.QDQ,
        per_channel=True,
        activation_type=QuantType.QUInt8,
        weight_type=QuantType.QInt8,
    )


def open_int8(case: Case, folder: Path) -> OrtRunner:
    return OrtRunner(folder / "int8.onnx")

"""What a good engineer writes by hand: the network's branches and trunk as modules of their own, exported to ONNX one
by one, each compiled by OpenVINO in whichever of f32 and bf16 is faster here.
"""

from __future__ import annotations

import logging
import statistics
import time
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import openvino as ov
import torch
from peers.networks import CameraLidarImu, CameraLidarImuAudio, tokens
from torch import Tensor, nn

from edgefuse.spec import Array

TRUNK = "trunk"
PRECISIONS = ("f32", "bf16")
TRIES = 40


class _Step(nn.Module):
    """A function of *network*'s layers as a module that can be exported."""

    def __init__(self, network: nn.Module, run: Callable[..., Tensor]) -> None:
        super().__init__()
        self.network, self.run = network, run

    def forward(self, *inputs: Tensor) -> Tensor:
        return self.run(*inputs)


def _token_steps(net: CameraLidarImu) -> dict[str, Callable[..., Tensor]]:
    return {
        "camera": lambda camera: tokens(net.camera(camera)),
        "lidar": lambda lidar: tokens(net.lidar(lidar)),
        "imu": lambda imu: net.motion(net.imu(imu / net.scale)[0][:, -1:]),
        TRUNK: lambda *found: net.head(net.trunk(torch.cat(found, 1) + net.place).mean(1)),
    }


def _vector_steps(net: CameraLidarImuAudio) -> dict[str, Callable[..., Tensor]]:
    return {
        "camera": lambda camera: torch.relu(net.seen(net.camera(camera).flatten(1))),
        "lidar": lambda lidar: torch.relu(net.scanned(net.lidar(lidar).flatten(1))),
        "imu": lambda imu: torch.relu(net.motion(net.imu(imu / net.scale)[0][:, -1])),
        "microphone": lambda audio: torch.relu(
            net.heard(net.listen(net.frames(audio.transpose(1, 2)) + net.place).mean(1))
        ),
        TRUNK: lambda *found: net.trunk(torch.cat(found, 1)),
    }


STEPS: dict[str, tuple[type[nn.Module], Callable[[Any], dict[str, Callable[..., Tensor]]]]] = {
    "camera-lidar-imu": (CameraLidarImu, _token_steps),
    "camera-lidar-imu-audio": (CameraLidarImuAudio, _vector_steps),
}


class HandSplit:
    """``calls`` stream name, or ``TRUNK``, to OpenVINO's compiled model; ``precisions`` in what each runs."""

    def __init__(self, name: str, model_file: Path, first: Mapping[str, Array], work: Path) -> None:
        kind, steps_of = STEPS[name]
        network = kind()
        network.load_state_dict(_weights(model_file))
        steps = steps_of(network.eval())
        self.calls: dict[str, Any] = {}
        self.precisions: dict[str, str] = {}
        features = []
        for stream, run in steps.items():
            inputs = features if stream == TRUNK else [torch.from_numpy(first[stream])]
            file = work / f"{stream}.onnx"
            _export(_Step(network, run).eval(), tuple(inputs), file)
            arrays = [item.detach().numpy() for item in inputs]
            self.precisions[stream], self.calls[stream] = _fastest(file, arrays)
            if stream != TRUNK:
                features.append(run(*inputs).detach())


def _export(step: nn.Module, inputs: tuple[Tensor, ...], file: Path) -> None:
    """Without the exporter's notes on torchvision and on an LSTM's flattened weights."""
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(step, inputs, file, dynamo=True, verbose=False)


def _weights(model_file: Path) -> Mapping[str, Tensor]:
    return dict(torch.export.load(model_file).state_dict)


def _fastest(file: Path, inputs: list[Array]) -> tuple[str, Any]:
    """One thread: with more the CPU time, which is what is compared, only grows."""
    core, found = ov.Core(), {}
    for precision in PRECISIONS:
        how = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_NUM_THREADS": 1, "INFERENCE_PRECISION_HINT": precision}
        found[precision] = core.compile_model(core.read_model(file), "CPU", how)
    taken: dict[str, list[float]] = {precision: [] for precision in PRECISIONS}
    for _ in range(TRIES):
        for precision, compiled in found.items():
            started = time.perf_counter()
            compiled(inputs)
            taken[precision].append(time.perf_counter() - started)
    best = min(PRECISIONS, key=lambda precision: statistics.median(taken[precision]))
    return best, found[best]

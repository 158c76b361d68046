"""Fusion models of edge size for the benchmarks: seeded weights, inputs with the correlations of real sensors.

Untrained, so they say nothing about accuracy in a task: compare latency and fidelity to float only.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn

from edgefuse.spec import Array

INPUTS = {"image": (1, 3, 64, 64), "imu": (1, 50, 6)}


class Residual(nn.Module):
    """Two 3x3 convolutions and a skip connection (ResNet's basic block)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = nn.Sequential(nn.Conv2d(channels, channels, 3, 1, 1, bias=False), nn.BatchNorm2d(channels))
        self.second = nn.Sequential(nn.Conv2d(channels, channels, 3, 1, 1, bias=False), nn.BatchNorm2d(channels))

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(x + self.second(torch.relu(self.first(x))))


class Inverted(nn.Module):
    """Expand, depthwise 3x3, project, and a skip connection (MobileNetV3's block without squeeze)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        wide = 4 * channels
        self.body = nn.Sequential(
            nn.Conv2d(channels, wide, 1, bias=False),
            nn.BatchNorm2d(wide),
            nn.Hardswish(),
            nn.Conv2d(wide, wide, 3, 1, 1, groups=wide, bias=False),
            nn.BatchNorm2d(wide),
            nn.Hardswish(),
            nn.Conv2d(wide, channels, 1, bias=False),
            nn.BatchNorm2d(channels),
        )

    def forward(self, x: Tensor) -> Tensor:
        return x + self.body(x)  # type: ignore[no-any-return]


class CameraImu(nn.Module):
    """``image`` (1, 3, 64, 64) through a CNN, ``imu`` (1, 50, 6) through an LSTM, both as tokens of a transformer."""

    def __init__(self, block: Callable[[int], nn.Module]) -> None:
        super().__init__()
        self.camera = nn.Sequential(
            *self._stage(3, 32), block(32), block(32), *self._stage(32, 64), block(64), block(64),
            *self._stage(64, 128), block(128),
        )  # fmt: skip
        self.imu = nn.LSTM(6, 64, batch_first=True)
        self.project = nn.Linear(64, 128)
        self.trunk = nn.TransformerEncoderLayer(128, 4, 256, batch_first=True, activation="gelu")
        self.head = nn.Linear(128, 10)

    @staticmethod
    def _stage(before: int, after: int) -> tuple[nn.Module, nn.Module]:
        return nn.Conv2d(before, after, 3, 2, 1), nn.ReLU()

    def forward(self, image: Tensor, imu: Tensor) -> Tensor:
        tokens = self.camera(image).flatten(2).transpose(1, 2)
        motion = self.project(self.imu(imu)[0][:, -1:])
        return self.head(self.trunk(torch.cat([tokens, motion], 1)).mean(1))  # type: ignore[no-any-return]


MODELS: dict[str, Callable[[int], nn.Module]] = {"camera-imu-resnet": Residual, "camera-imu-mobilenet": Inverted}


def build(name: str) -> nn.Module:
    torch.manual_seed(0)
    model = CameraImu(MODELS[name]).eval()
    for layer in model.modules():
        if isinstance(layer, nn.BatchNorm2d):  # as after training: neither 0 nor 1
            assert layer.running_mean is not None and layer.running_var is not None
            layer.running_mean.normal_(0, 0.1)
            layer.running_var.uniform_(0.5, 1.5)
    return model


def samples(count: int, seed: int = 0) -> dict[str, Array]:
    """Images of smooth patches with noise, IMU windows as random walks; each (count, *shape) float32."""
    generator = np.random.default_rng(seed)
    patches = generator.normal(size=(count, 1, 3, 8, 8)).repeat(8, axis=3).repeat(8, axis=4)
    image = patches + 0.2 * generator.normal(size=(count, *INPUTS["image"]))
    imu = generator.normal(size=(count, *INPUTS["imu"])).cumsum(axis=2) / 5
    return {"image": image.astype(np.float32), "imu": imu.astype(np.float32)}

"""Fusion models of edge size for the benchmarks: seeded weights, inputs with the correlations of real sensors.

Untrained, so they say nothing about accuracy in a task: compare latency and fidelity to float only.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import torch
from torch import Tensor, nn

from edgefuse.spec import Array

INPUTS = {"image": (1, 3, 64, 64), "imu": (1, 50, 6)}
LARGE = "camera-imu-resnet34"
"""27 million parameters: what a tool costs in time and memory shows on this one only."""
LARGE_INPUTS = {"image": (1, 3, 224, 224), "imu": (1, 200, 6)}


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


class Basic(nn.Module):
    """ResNet's basic block with a projection where the size changes."""

    def __init__(self, before: int, after: int, stride: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(before, after, 3, stride, 1, bias=False), nn.BatchNorm2d(after), nn.ReLU(),
            nn.Conv2d(after, after, 3, 1, 1, bias=False), nn.BatchNorm2d(after),
        )  # fmt: skip
        projection = nn.Sequential(nn.Conv2d(before, after, 1, stride, bias=False), nn.BatchNorm2d(after))
        self.skip = nn.Identity() if before == after and stride == 1 else projection

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(self.skip(x) + self.body(x))


class LargeCameraImu(nn.Module):
    """``image`` (1, 3, 224, 224) through a ResNet-34, ``imu`` (1, 200, 6) through two LSTM layers, both as tokens of
    six transformer layers."""

    def __init__(self) -> None:
        super().__init__()
        blocks: list[nn.Module] = [nn.Conv2d(3, 64, 7, 2, 3, bias=False), nn.BatchNorm2d(64), nn.ReLU()]
        blocks.append(nn.MaxPool2d(3, 2, 1))
        before = 64
        for width, count in ((64, 3), (128, 4), (256, 6), (512, 3)):
            for index in range(count):
                blocks.append(Basic(before, width, 2 if index == 0 and width > 64 else 1))
                before = width
        self.camera = nn.Sequential(*blocks, nn.Conv2d(512, 256, 1))
        self.imu = nn.LSTM(6, 256, 2, batch_first=True)
        layer = nn.TransformerEncoderLayer(256, 8, 1024, batch_first=True, activation="gelu")
        self.trunk = nn.TransformerEncoder(layer, 6, enable_nested_tensor=False)
        self.head = nn.Linear(256, 10)

    def forward(self, image: Tensor, imu: Tensor) -> Tensor:
        tokens = self.camera(image).flatten(2).transpose(1, 2)
        return self.head(self.trunk(torch.cat([tokens, self.imu(imu)[0]], 1)).mean(1))  # type: ignore[no-any-return]


MODELS: dict[str, Callable[[int], nn.Module]] = {"camera-imu-resnet": Residual, "camera-imu-mobilenet": Inverted}


def build(name: str) -> nn.Module:
    torch.manual_seed(0)
    model = LargeCameraImu().eval() if name == LARGE else CameraImu(MODELS[name]).eval()
    for layer in model.modules():
        if isinstance(layer, nn.BatchNorm2d):  # as after training: neither 0 nor 1
            assert layer.running_mean is not None and layer.running_var is not None
            layer.running_mean.normal_(0, 0.1)
            layer.running_var.uniform_(0.5, 1.5)
    return model


def samples(count: int, seed: int = 0, shapes: Mapping[str, tuple[int, ...]] = INPUTS) -> dict[str, Array]:
    """Images of smooth patches with noise, IMU windows as random walks; each (count, *shape) float32."""
    generator, size = np.random.default_rng(seed), shapes["image"][-1] // 8
    patches = generator.normal(size=(count, 1, 3, 8, 8)).repeat(size, axis=3).repeat(size, axis=4)
    image = patches + 0.2 * generator.normal(size=(count, *shapes["image"]))
    imu = generator.normal(size=(count, *shapes["imu"])).cumsum(axis=2) / 5
    return {"image": image.astype(np.float32), "imu": imu.astype(np.float32)}

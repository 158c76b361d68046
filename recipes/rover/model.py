"""A rover's camera, LiDAR, IMU and goal in words, joined by attention over one token for each of them.

The model takes

* camera (N, 3, 48, 64) float32, RGB in 0..1;
* lidar (N, 180) float32, ranges of a full circle as a share of 8 m (1: no echo), from behind over the right;
* imu (N, 100, 6) float32, the last half second of turn rates and accelerations, scaled;
* goal (N, 8) int64, ids of words (0 = padding);

and gives {"state": (N, 3) float32}: forward velocity in m/s, yaw rate in rad/s to the left, and the free way ahead as a
share of 5 m. All zeros in place of an input mean that its sensor says nothing: training has shown it that.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

BEAMS, WORDS, GOAL_LENGTH = 180, 32, 8
TOKEN, HEADS = 128, 4


class Residual(nn.Module):
    """Two 3x3 convolutions with batch norm around a shortcut (He et al., 2016): (N, C, H, W) -> (N, C, H, W)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = conv2d(channels, channels)
        self.second = nn.Sequential(*list(conv2d(channels, channels))[:2])

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(x + self.second(self.first(x)))


def conv2d(inputs: int, outputs: int, stride: int = 1) -> nn.Sequential:
    """3x3 convolution, batch norm, ReLU: (N, inputs, H, W) -> (N, outputs, H / stride, W / stride)."""
    convolution = nn.Conv2d(inputs, outputs, kernel_size=3, stride=stride, padding=1, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(outputs), nn.ReLU())


def conv1d(inputs: int, outputs: int, stride: int = 1) -> nn.Sequential:
    """Convolution over 5 places, batch norm, ReLU: (N, inputs, L) -> (N, outputs, L / stride)."""
    convolution = nn.Conv1d(inputs, outputs, kernel_size=5, stride=stride, padding=2, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm1d(outputs), nn.ReLU())


class CameraEncoder(nn.Module):
    """A residual CNN: (N, 3, 48, 64) -> (N, 128). Where in the picture something is matters: no global pooling."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(
            *(conv2d(3, 48), conv2d(48, 64, stride=2), Residual(64)),
            *(conv2d(64, 128, stride=2), Residual(128)),
            *(conv2d(128, 160, stride=2), Residual(160)),
            conv2d(160, 64, stride=2),
        )
        self.head = nn.Linear(64 * 3 * 4, TOKEN)

    def forward(self, camera: Tensor) -> Tensor:
        out: Tensor = self.head(self.body(camera).flatten(1))
        return out


class LidarEncoder(nn.Module):
    """A 1-D CNN over the beams: (N, 180) -> (N, 128)."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(
            *(conv1d(1, 32, stride=2), conv1d(32, 64, stride=2), conv1d(64, 64)),
            *(conv1d(64, 96, stride=3), conv1d(96, 96)),
        )
        self.head = nn.Linear(96 * 15, TOKEN)

    def forward(self, lidar: Tensor) -> Tensor:
        out: Tensor = self.head(self.body(lidar.unsqueeze(1)).flatten(1))
        return out


class ImuEncoder(nn.Module):
    """A convolution over five samples, then an LSTM over every second place: (N, 100, 6) -> (N, 128).

    The convolution hears the tyres' lugs: without it the LSTM's error of the velocity is twice as large.
    """

    def __init__(self) -> None:
        super().__init__()
        self.body = conv1d(6, 32, stride=2)
        self.lstm = nn.LSTM(32, 64, batch_first=True)
        self.head = nn.Linear(64, TOKEN)

    def forward(self, imu: Tensor) -> Tensor:
        steps: Tensor = self.lstm(self.body(imu.transpose(1, 2)).transpose(1, 2))[0]
        out: Tensor = self.head(steps[:, -1])
        return out


class GoalEncoder(nn.Module):
    """The mean of the embedded words, then an MLP: (N, 8) int64 -> (N, 128). A padding's embedding is 0."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(WORDS, 32, padding_idx=0)
        self.head = nn.Sequential(nn.Linear(32, 64), nn.ReLU(), nn.Linear(64, TOKEN))

    def forward(self, goal: Tensor) -> Tensor:
        out: Tensor = self.head(self.embedding(goal).mean(dim=1))
        return out


class Attention(nn.Module):
    """Multi-head scaled dot-product attention, softmax(Q K^T / sqrt(d_head)) V, of the tokens to each other.

    After Vaswani et al., "Attention Is All You Need" (2017), equation 1 and section 3.2.2.
    (N, T, 128) -> (N, T, 128).
    """

    def __init__(self) -> None:
        super().__init__()
        self.query = nn.Linear(TOKEN, TOKEN)
        self.key = nn.Linear(TOKEN, TOKEN)
        self.value = nn.Linear(TOKEN, TOKEN)
        self.out = nn.Linear(TOKEN, TOKEN)

    def split(self, x: Tensor) -> Tensor:
        """(N, T, 128) -> (N, heads, T, 128 / heads)."""
        return x.reshape(x.shape[0], x.shape[1], HEADS, TOKEN // HEADS).transpose(1, 2)

    def forward(self, tokens: Tensor) -> Tensor:
        query, key = self.split(self.query(tokens)), self.split(self.key(tokens))
        scores = query @ key.transpose(2, 3) / math.sqrt(TOKEN // HEADS)
        mixed = torch.softmax(scores, dim=-1) @ self.split(self.value(tokens))
        joined: Tensor = self.out(mixed.transpose(1, 2).reshape(tokens.shape))
        return joined


class Rover(nn.Module):
    """Four encoders, attention over their tokens, and an MLP."""

    def __init__(self) -> None:
        super().__init__()
        self.camera_encoder = CameraEncoder()
        self.lidar_encoder = LidarEncoder()
        self.imu_encoder = ImuEncoder()
        self.goal_encoder = GoalEncoder()
        self.sensor = nn.Parameter(0.1 * torch.randn(1, 4, TOKEN))
        self.norm = nn.LayerNorm(TOKEN)
        self.attention = Attention()
        self.attention_norm = nn.LayerNorm(TOKEN)
        self.head = nn.Sequential(
            *(nn.Linear(4 * TOKEN, 256), nn.ReLU(), nn.Dropout(0.1)),
            *(nn.Linear(256, 128), nn.ReLU(), nn.Linear(128, 3)),
        )

    def forward(self, camera: Tensor, lidar: Tensor, imu: Tensor, goal: Tensor) -> dict[str, Tensor]:
        encoded = (
            self.camera_encoder(camera),
            self.lidar_encoder(lidar),
            self.imu_encoder(imu),
            self.goal_encoder(goal),
        )
        tokens = self.norm(torch.stack(encoded, dim=1) + self.sensor)
        tokens = self.attention_norm(tokens + self.attention(tokens))
        return {"state": self.head(tokens.flatten(1))}


def build() -> nn.Module:
    """The model, untrained."""
    return Rover()

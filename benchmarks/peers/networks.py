"""The fusion networks of :mod:`fusion_models`, in plain torch; batches of any size train, a batch of 1 is exported."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

GRAVITY_SCALE = (9.81, 9.81, 9.81, 1.0, 1.0, 1.0)
"""What an IMU window is divided by: m/s² in units of gravity, rad/s as they are."""


class ConvNorm(nn.Sequential):
    """Convolution, batch norm, activation."""

    def __init__(
        self, before: int, after: int, kernel: int = 3, stride: int = 1, groups: int = 1, act: nn.Module | None = None
    ) -> None:
        convolution = nn.Conv2d(before, after, kernel, stride, kernel // 2, groups=groups, bias=False)
        super().__init__(convolution, nn.BatchNorm2d(after), *([act] if act is not None else []))


class Inverted(nn.Module):
    """MobileNetV2's block (Sandler et al. 2018): expand, depthwise 3x3, project linearly; a skip where shapes allow."""

    def __init__(self, before: int, after: int, stride: int, expand: int = 4) -> None:
        super().__init__()
        wide = expand * before
        self.body = nn.Sequential(
            ConvNorm(before, wide, 1, act=nn.Hardswish()),
            ConvNorm(wide, wide, 3, stride, groups=wide, act=nn.Hardswish()),
            ConvNorm(wide, after, 1),
        )
        self.skips = stride == 1 and before == after

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.body(x)
        return x + y if self.skips else y


class Residual(nn.Module):
    """ResNet's basic block (He et al. 2016), with a projection where the shape changes."""

    def __init__(self, before: int, after: int, stride: int = 1) -> None:
        super().__init__()
        self.body = nn.Sequential(ConvNorm(before, after, 3, stride, act=nn.ReLU()), ConvNorm(after, after))
        same = before == after and stride == 1
        self.skip = nn.Identity() if same else ConvNorm(before, after, 1, stride)

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(self.skip(x) + self.body(x))


def resnet(widths: tuple[int, ...], depth: int, stem: int = 3) -> nn.Sequential:
    """A stem of stride 4 and *depth* basic blocks a stage, each stage after the first at half the size."""
    layers: list[nn.Module] = [ConvNorm(stem, widths[0], 7, 2, act=nn.ReLU()), nn.MaxPool2d(3, 2, 1)]
    before = widths[0]
    for stage, width in enumerate(widths):
        for block in range(depth):
            layers.append(Residual(before, width, 2 if stage and not block else 1))
            before = width
    return nn.Sequential(*layers)


class Attention(nn.Module):
    """Multi-head attention, softmax(Q Kᵀ / √d) V (Vaswani et al. 2017, equation 1), from *x* to *context*."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query, self.out = nn.Linear(width, width), nn.Linear(width, width)
        self.key, self.value = nn.Linear(width, width), nn.Linear(width, width)

    def _split(self, x: Tensor) -> Tensor:
        return x.unflatten(2, (self.heads, -1)).transpose(1, 2)

    def forward(self, x: Tensor, context: Tensor) -> Tensor:
        query, key, value = self._split(self.query(x)), self._split(self.key(context)), self._split(self.value(context))
        mixed = functional.scaled_dot_product_attention(query, key, value)
        joined: Tensor = self.out(mixed.transpose(1, 2).flatten(2))
        return joined


class Layer(nn.Module):
    """A transformer layer, norms first: self-attention, cross-attention where it *crosses*, feed-forward with GELU."""

    def __init__(self, width: int, heads: int, crosses: bool = False) -> None:
        super().__init__()
        self.norm, self.attention = nn.LayerNorm(width), Attention(width, heads)
        self.cross_norm = nn.LayerNorm(width) if crosses else None
        self.cross = Attention(width, heads) if crosses else None
        feed = (nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))
        self.feed = nn.Sequential(nn.LayerNorm(width), *feed)

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        normed = self.norm(x)
        x = x + self.attention(normed, normed)
        if self.cross is not None and self.cross_norm is not None and context is not None:
            x = x + self.cross(self.cross_norm(x), context)
        fed: Tensor = self.feed(x)
        return x + fed


class Stack(nn.Module):
    """*count* layers and a last norm."""

    def __init__(self, count: int, width: int, heads: int, crosses: bool = False) -> None:
        super().__init__()
        self.layers = nn.ModuleList(Layer(width, heads, crosses) for _ in range(count))
        self.norm = nn.LayerNorm(width)

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        for layer in self.layers:
            x = layer(x, context)
        normed: Tensor = self.norm(x)
        return normed


def places(count: int, width: int) -> nn.Parameter:
    """Learned positions of *count* tokens."""
    return nn.Parameter(0.1 * torch.randn(1, count, width))


def tokens(grid: Tensor) -> Tensor:
    """(N, C, H, W) to (N, H·W, C)."""
    return grid.flatten(2).transpose(1, 2)


def mobile_camera() -> nn.Sequential:
    """(N, 3, 160, 160) to (N, 128, 10, 10) by inverted residuals."""
    stages = ((16, 24, 2, 2), (24, 40, 2, 3), (40, 80, 2, 3))  # before, after, stride, blocks
    blocks = [
        Inverted(before if index == 0 else after, after, stride if index == 0 else 1)
        for before, after, stride, count in stages
        for index in range(count)
    ]
    return nn.Sequential(ConvNorm(3, 16, 3, 2, act=nn.Hardswish()), *blocks, ConvNorm(80, 128, 1))


def birdseye() -> nn.Sequential:
    """(N, 8, 128, 128) to (N, 128, 8, 8)."""
    stem = (ConvNorm(8, 32, 3, 2, act=nn.ReLU()), ConvNorm(32, 48, 3, 2, act=nn.ReLU()))
    return nn.Sequential(*stem, Residual(48, 48), Residual(48, 96, 2), Residual(96, 128, 2))


class CameraLidarImu(nn.Module):
    """``camera`` (N, 3, 160, 160) by inverted residuals, ``lidar`` (N, 8, 128, 128) by a CNN, ``imu`` (N, 100, 6) by an
    LSTM; one transformer over the tokens of all; ``velocity`` (N, 6)."""

    def __init__(self) -> None:
        super().__init__()
        self.camera, self.lidar = mobile_camera(), birdseye()
        self.imu, self.motion = nn.LSTM(6, 64, batch_first=True), nn.Linear(64, 128)
        self.place = places(100 + 64 + 1, 128)
        self.trunk = Stack(4, 128, 4)
        self.head = nn.Sequential(nn.Linear(128, 64), nn.GELU(), nn.Linear(64, 6))
        self.register_buffer("scale", torch.tensor(GRAVITY_SCALE))

    def forward(self, camera: Tensor, lidar: Tensor, imu: Tensor) -> dict[str, Tensor]:
        motion = self.motion(self.imu(imu / self.scale)[0][:, -1:])
        joined = torch.cat([tokens(self.camera(camera)), tokens(self.lidar(lidar)), motion], 1)
        return {"velocity": self.head(self.trunk(joined + self.place).mean(1))}


class CameraLidarImuAudio(nn.Module):
    """Fusion of one vector a sensor: ``camera`` (N, 3, 160, 160), ``lidar`` (N, 8, 128, 128) and ``imu`` (N, 100, 6)
    as in :class:`CameraLidarImu`, ``audio`` (N, 40, 100) log-mel by multi-head self-attention over its 100 frames (one
    layer: one softmax); an MLP over all; ``velocity`` (N, 6)."""

    def __init__(self) -> None:
        super().__init__()
        self.camera = nn.Sequential(mobile_camera(), ConvNorm(128, 16, 1, act=nn.ReLU()))
        self.lidar = nn.Sequential(birdseye(), ConvNorm(128, 16, 1, act=nn.ReLU()))
        self.seen, self.scanned = nn.Linear(16 * 100, 128), nn.Linear(16 * 64, 128)
        self.imu, self.motion = nn.LSTM(6, 64, batch_first=True), nn.Linear(64, 64)
        self.frames, self.place = nn.Linear(40, 64), places(100, 64)
        self.listen, self.heard = Layer(64, 4), nn.Linear(64, 64)
        self.trunk = nn.Sequential(nn.Linear(384, 256), nn.ReLU(), nn.Linear(256, 128), nn.ReLU(), nn.Linear(128, 6))
        self.register_buffer("scale", torch.tensor(GRAVITY_SCALE))

    def forward(self, camera: Tensor, lidar: Tensor, imu: Tensor, audio: Tensor) -> dict[str, Tensor]:
        seen, scanned = self.seen(self.camera(camera).flatten(1)), self.scanned(self.lidar(lidar).flatten(1))
        motion = self.motion(self.imu(imu / self.scale)[0][:, -1])
        heard = self.heard(self.listen(self.frames(audio.transpose(1, 2)) + self.place).mean(1))
        return {"velocity": self.trunk(torch.cat([torch.relu(x) for x in (seen, scanned, motion, heard)], 1))}


class TwoCamerasAct(nn.Module):
    """Action chunking (after Zhao et al. 2023, without its CVAE): ``left`` and ``right`` (N, 3, 120, 160) through one
    ResNet, ``joints`` (N, 14); a transformer encoder, and a decoder whose learned queries are 16 steps: ``actions``
    (N, 16, 14)."""

    def __init__(self) -> None:
        super().__init__()
        self.backbone = nn.Sequential(resnet((32, 64, 96, 160), 2), ConvNorm(160, 160, 1))
        self.joints = nn.Linear(14, 160)
        self.place, self.queries = places(2 * 20 + 1, 160), places(16, 160)
        self.encoder, self.decoder = Stack(3, 160, 4), Stack(3, 160, 4, crosses=True)
        self.head = nn.Linear(160, 14)

    def forward(self, left: Tensor, right: Tensor, joints: Tensor) -> dict[str, Tensor]:
        seen = [tokens(self.backbone(image)) for image in (left, right)]
        memory = self.encoder(torch.cat([*seen, self.joints(joints)[:, None]], 1) + self.place)
        queries = self.queries.expand(joints.shape[0], -1, -1)
        return {"actions": self.head(self.decoder(queries, memory))}


class AudioImage(nn.Module):
    """``audio`` (N, 80, 200) log-mel by two convolutions over time and self-attention (as in Whisper's encoder), which
    then attends to ``image`` (N, 3, 128, 128) by a ResNet as keys and values; ``logits`` (N, 12)."""

    def __init__(self) -> None:
        super().__init__()
        self.audio = nn.Sequential(
            nn.Conv1d(80, 192, 3, 1, 1), nn.GELU(), nn.Conv1d(192, 192, 3, 2, 1), nn.GELU()
        )  # fmt: skip
        self.image = nn.Sequential(resnet((32, 64, 128), 2), ConvNorm(128, 192, 1))
        self.heard, self.seen = places(100, 192), places(64, 192)
        self.listen, self.look = Stack(3, 192, 6), Stack(2, 192, 6, crosses=True)
        self.head = nn.Linear(192, 12)

    def forward(self, audio: Tensor, image: Tensor) -> dict[str, Tensor]:
        heard = self.listen(self.audio(audio).transpose(1, 2) + self.heard)
        seen = tokens(self.image(image)) + self.seen
        return {"logits": self.head(self.look(heard, seen).mean(1))}


class CameraGru(nn.Module):
    """``camera`` (N, 3, 192, 192) through a ResNet-18 at three quarters of its widths, ``state`` (N, 50, 16: IMU and
    joints) through a GRU; ``pose`` (N, 6) and the logits ``contact`` (N, 3)."""

    def __init__(self) -> None:
        super().__init__()
        self.camera = resnet((48, 96, 192, 384), 2)
        self.state = nn.GRU(16, 96, batch_first=True)
        self.trunk = nn.Sequential(nn.Linear(384 + 96, 256), nn.ReLU(), nn.Linear(256, 128), nn.ReLU())
        self.pose, self.contact = nn.Linear(128, 6), nn.Linear(128, 3)
        self.register_buffer("scale", torch.tensor((*GRAVITY_SCALE, *[1.0] * 10)))

    def forward(self, camera: Tensor, state: Tensor) -> dict[str, Tensor]:
        seen = self.camera(camera).mean((2, 3))
        felt = self.state(state / self.scale)[0][:, -1]
        joined = self.trunk(torch.cat([seen, felt], 1))
        return {"pose": self.pose(joined), "contact": self.contact(joined)}

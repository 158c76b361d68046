"""Small models, each with one property that an exporter may trip over. A module, since TorchScript reads
sources."""

from __future__ import annotations

import dataclasses
from typing import Any

import torch
from torch import Tensor, nn

from edgefuse.spec import Dim, TensorSpec


def tensor(name: str, *shape: Dim, dtype: str = "float32") -> TensorSpec:
    return TensorSpec(name, shape, dtype, stream=name)


FUSION_INPUTS = (tensor("image", 1, 3, 8, 8), tensor("imu", 1, 5, 6))


class Fusion(nn.Module):
    """A camera CNN and an IMU LSTM into one head, with two named outputs."""

    def __init__(self) -> None:
        super().__init__()
        self.image = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.AdaptiveAvgPool2d(1))
        self.imu = nn.LSTM(6, 5, num_layers=2, batch_first=True)
        self.head = nn.Sequential(nn.Linear(9, 3), nn.Dropout(0.5))

    def forward(self, image: Tensor, imu: Tensor) -> dict[str, Tensor]:
        seen = self.image(image).flatten(1)
        felt = self.imu(imu)[0][:, -1]
        return {"logits": self.head(torch.cat((seen, felt), dim=1)), "seen": seen}


class Returns(nn.Module):
    """Two layers, combined into whatever *shape* makes of them."""

    def __init__(self, shape: Any) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(4, 3), nn.Linear(4, 2)
        self.shape = shape

    def forward(self, x: Tensor) -> Any:
        return self.shape(self.first(x), self.second(x))


@dataclasses.dataclass
class Answer:
    velocity: Tensor
    pose: tuple[Tensor, Tensor]


class Mixed(nn.Module):
    """int64 ids, a bool mask and an input that nothing reads."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.head = nn.Embedding(4, 6), nn.Linear(6, 3)

    def forward(self, ids: Tensor, mask: Tensor, spare: Tensor) -> Tensor:
        return self.head((self.embed(ids) * mask[..., None]).sum(dim=1))


class PairwiseAdd(nn.Module):
    def forward(self, image: Tensor, imu: Tensor) -> Tensor:
        return image - 2 * imu


class TakesDict(nn.Module):
    def forward(self, batch: dict[str, Tensor]) -> Tensor:
        return batch["image"] - 2 * batch["imu"]


class TakesList(nn.Module):
    def forward(self, batch: list[Tensor]) -> Tensor:
        return batch[0] - 2 * batch[1]


class Noisy(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x + torch.rand_like(x)


class AlwaysDropout(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.dropout(x, 0.5)


class Remembers(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("last", torch.zeros(1, 4))

    def forward(self, x: Tensor) -> Tensor:
        out = x + self.last
        self.last.copy_(x)
        return out


class WritesInput(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.mul_(2)


class Fails(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        raise ValueError("expected a longer window")


class ConstantOutput(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(3))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return x * 2, self.scale + 1


class Echo(nn.Module):
    """Gives its input back, and one tensor twice: in ONNX each value has one name."""

    def forward(self, image: Tensor) -> dict[str, Tensor]:
        twice = image * 2
        return {"image": image, "a": twice, "b": twice}


class Branches(nn.Module):
    """Decides by a tensor's value."""

    def forward(self, x: Tensor) -> Tensor:
        if bool(x.sum() > 0):
            return x + 1
        return x * 3


class TracedBranch(nn.Module):
    """As Branches, but with what torch.jit.script does not know, so that only tracing is left."""

    def forward(self, x: Tensor) -> Tensor:
        return x + 1 if x.sum().item() > 0 else x * 3


class Reshapes(nn.Module):
    """Arithmetic on sizes, which a trace records as operations on 0-d tensors."""

    def forward(self, x: Tensor) -> Tensor:
        half = x.shape[1] * x.shape[2] // 2
        return x.reshape(half * 2, -1) * x.shape[1]


class FixedLength(nn.Module):
    """Works for a length of 6 only, whatever its recipe says."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(6, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(x)


class Unrolls(nn.Module):
    """A Python loop over a dimension."""

    def forward(self, x: Tensor) -> Tensor:
        total = x[:, 0]
        for i in range(1, x.shape[1]):
            total = total * 0.5 + x[:, i]
        return total


class Window(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.lstm = nn.LSTM(4, 5, num_layers=2, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        return self.lstm(x)[0]


class Convolutions(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.down = nn.Sequential(nn.Conv2d(3, 4, 3, stride=2, padding=1), nn.BatchNorm2d(4), nn.Hardswish())
        self.up = nn.ConvTranspose2d(4, 2, 2, stride=2, bias=False)
        self.line = nn.Conv1d(2, 3, 3, dilation=2, groups=1)

    def forward(self, x: Tensor) -> Tensor:
        wide = nn.functional.interpolate(self.up(self.down(x)), scale_factor=2.0)
        return self.line(wide.flatten(2))


class Recurrent(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.lstm = nn.LSTM(4, 5, num_layers=2, batch_first=True, bidirectional=True)
        self.gru, self.rnn = nn.GRU(4, 5, batch_first=True), nn.RNN(4, 5, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat((self.lstm(x)[0][:, -1], self.gru(x)[0][:, -1], self.rnn(x)[0][:, -1]), dim=1)


class Attention(nn.Module):
    def __init__(self, norm_first: bool, activation: str) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(8, 2, batch_first=True)
        self.layer = nn.TransformerEncoderLayer(
            8, 2, 16, batch_first=True, norm_first=norm_first, activation=activation
        )

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        mixed, weights = self.attention(x, x, x)
        assert weights is not None
        return self.layer(mixed), weights


class MaskedAttention(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(8, 2, batch_first=True)
        self.layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)

    def forward(self, x: Tensor, padding: Tensor) -> Tensor:
        mixed = self.attention(x, x, x, key_padding_mask=padding, need_weights=False)[0]
        return self.layer(mixed, src_key_padding_mask=padding)

"""An ACT-like policy in plain torch: two cameras and the joint angles in, the next 20 commands out.

After Zhao et al., "Learning Fine-Grained Bimanual Manipulation with Low-Cost Hardware" (2023, arXiv 2304.13705),
section IV and appendix C, smaller, and without its CVAE encoder, which the original too uses in training only: at
inference its latent is z = 0, so that the latent's token is a constant, learned here. The paper (figure 8) finds that
on scripted demonstrations training without the CVAE makes almost no difference; on people's it does.

forward(image_top, image_wrist, state): images (N, 3, 72, 96) float32 RGB in 0..1, state (N, 6) float32 joint angles in
rad, gives {"actions": (N, 20, 6) float32}, joint angles in rad to command in this and the next 19 frames.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

MOTORS, CHUNK = 6, 20
HEIGHT, WIDTH = 72, 96
TOKENS = (5, 6)  # rows and columns of a camera's feature map, one token each
DIM, HEADS, FEED = 128, 4, 512
ENCODER_LAYERS, DECODER_LAYERS = 3, 1
CHANNELS = (24, 32, 64, 96)


class ResidualBlock(nn.Module):
    """relu(x + f(x)), f two 3x3 convolutions with batch norm (He et al. 2015, figure 2); x goes through a 1x1
    convolution where the shape changes.  (N, inputs, H, W) -> (N, outputs, ceil(H / stride), ceil(W / stride))."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False),
            nn.BatchNorm2d(outputs),
            nn.ReLU(),
            nn.Conv2d(outputs, outputs, 3, padding=1, bias=False),
            nn.BatchNorm2d(outputs),
        )
        self.skip: nn.Module = nn.Identity()
        if stride > 1 or inputs != outputs:
            self.skip = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(self.skip(x) + self.body(x))


class Backbone(nn.Module):
    """A small ResNet and a 1x1 convolution to the transformer's width: (N, 3, 72, 96) -> (N, 30, 128), a token per
    cell of the last feature map (5 x 6), row by row."""

    def __init__(self) -> None:
        super().__init__()
        first, *stages = CHANNELS
        self.stem = nn.Sequential(
            nn.Conv2d(3, first, 5, stride=2, padding=2, bias=False), nn.BatchNorm2d(first), nn.ReLU()
        )
        blocks = list[nn.Module]()
        for inputs, outputs in zip(CHANNELS, stages):
            blocks += [ResidualBlock(inputs, outputs, stride=2), ResidualBlock(outputs, outputs, stride=1)]
        self.stages = nn.Sequential(*blocks)
        self.project = nn.Conv2d(CHANNELS[-1], DIM, 1)

    def forward(self, image: Tensor) -> Tensor:
        # Pixels are centred at 0 by the batch norm behind the first convolution, which sees 0..1.
        features: Tensor = self.project(self.stages(self.stem(image)))
        return features.flatten(2).transpose(1, 2)


class Attention(nn.Module):
    """Multi-head scaled dot-product attention, softmax(Q K^T / sqrt(d_head)) V.

    After Vaswani et al., "Attention Is All You Need" (2017), equation 1 and section 3.2.2.
    query (N, Q, 128), key and value (N, T, 128) -> (N, Q, 128) float32.
    """

    def __init__(self) -> None:
        super().__init__()
        self.query, self.key, self.value, self.out = (nn.Linear(DIM, DIM) for _ in range(4))

    @staticmethod
    def split(x: Tensor) -> Tensor:
        """(N, T, 128) -> (N, heads, T, 128 / heads)."""
        return x.reshape(x.shape[0], x.shape[1], HEADS, DIM // HEADS).transpose(1, 2)

    def forward(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        q, k, v = self.split(self.query(query)), self.split(self.key(key)), self.split(self.value(value))
        weights = torch.softmax(q @ k.transpose(2, 3) / math.sqrt(DIM // HEADS), dim=-1)
        joined: Tensor = self.out((weights @ v).transpose(1, 2).reshape(query.shape))
        return joined


def feed_forward() -> nn.Sequential:
    """max(0, x W1 + b1) W2 + b2 (Vaswani et al., equation 2)."""
    return nn.Sequential(nn.Linear(DIM, FEED), nn.ReLU(), nn.Dropout(0.1), nn.Linear(FEED, DIM))


class EncoderLayer(nn.Module):
    """Self-attention and a feed-forward layer, each as LayerNorm(x + layer(x)): post-norm, as in ACT. As in DETR
    (Carion et al. 2020) places are added to queries and keys in every layer, and not to values."""

    def __init__(self) -> None:
        super().__init__()
        self.attention, self.attention_norm = Attention(), nn.LayerNorm(DIM)
        self.feed, self.feed_norm = feed_forward(), nn.LayerNorm(DIM)
        self.dropout = nn.Dropout(0.1)

    def forward(self, x: Tensor, places: Tensor) -> Tensor:
        placed = x + places
        x = self.attention_norm(x + self.dropout(self.attention(placed, placed, x)))
        out: Tensor = self.feed_norm(x + self.dropout(self.feed(x)))
        return out


class DecoderLayer(nn.Module):
    """Self-attention among the queries, attention to the encoder's tokens, feed-forward; post-norm, places as above."""

    def __init__(self) -> None:
        super().__init__()
        self.own, self.own_norm = Attention(), nn.LayerNorm(DIM)
        self.across, self.across_norm = Attention(), nn.LayerNorm(DIM)
        self.feed, self.feed_norm = feed_forward(), nn.LayerNorm(DIM)
        self.dropout = nn.Dropout(0.1)

    def forward(self, x: Tensor, queries: Tensor, tokens: Tensor, places: Tensor) -> Tensor:
        placed = x + queries
        x = self.own_norm(x + self.dropout(self.own(placed, placed, x)))
        x = self.across_norm(x + self.dropout(self.across(x + queries, tokens + places, tokens)))
        out: Tensor = self.feed_norm(x + self.dropout(self.feed(x)))
        return out


def sinusoids(rows: int, columns: int) -> Tensor:
    """(rows * columns, 128): where a cell is. The first half of the channels stands for the row, the second for the
    column; in each half sin and cos of 2 pi p / 10000^(2i/64) take turns, p from 1 / n to 1 (DETR's form of Vaswani et
    al., section 3.5, with normalised places)."""
    half = DIM // 2
    rates = 10000 ** (torch.arange(0, half, 2) / half)

    def along(count: int) -> Tensor:
        angles = 2 * math.pi * torch.arange(1, count + 1)[:, None] / count / rates
        return torch.stack((angles.sin(), angles.cos()), dim=2).flatten(1)

    down = along(rows)[:, None, :].expand(rows, columns, half)
    across = along(columns)[None, :, :].expand(rows, columns, half)
    return torch.cat((down, across), dim=2).reshape(rows * columns, DIM)


class Policy(nn.Module):
    """Tokens (latent, state, 30 per camera) through the encoder; one query per future frame asks them.

    ``state_mean`` … ``action_std`` (6,) are the training data's: the network itself sees and says values in units of
    standard deviations, callers see radians.
    """

    state_mean: Tensor
    state_std: Tensor
    action_mean: Tensor
    action_std: Tensor
    places: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.top, self.wrist = Backbone(), Backbone()
        self.state = nn.Linear(MOTORS, DIM)
        self.latent = nn.Parameter(torch.zeros(1, 1, DIM))
        self.own_places = nn.Parameter(0.02 * torch.randn(1, 2, DIM))  # of the latent's and the state's token
        self.cameras = nn.Parameter(0.02 * torch.randn(2, 1, DIM))  # which camera a token is from
        self.queries = nn.Parameter(torch.randn(1, CHUNK, DIM))
        self.encoder = nn.ModuleList(EncoderLayer() for _ in range(ENCODER_LAYERS))
        self.decoder = nn.ModuleList(DecoderLayer() for _ in range(DECODER_LAYERS))
        self.head = nn.Linear(DIM, MOTORS)
        for name in ("state_mean", "action_mean"):
            self.register_buffer(name, torch.zeros(MOTORS))
        for name in ("state_std", "action_std"):
            self.register_buffer(name, torch.ones(MOTORS))
        self.register_buffer("places", sinusoids(*TOKENS), persistent=False)
        for layer in (*self.encoder.modules(), *self.decoder.modules()):
            if isinstance(layer, nn.Linear):
                nn.init.xavier_uniform_(layer.weight)

    def forward(self, image_top: Tensor, image_wrist: Tensor, state: Tensor) -> dict[str, Tensor]:
        joints = self.state((state - self.state_mean) / self.state_std)[:, None]
        latent = self.latent.expand(state.shape[0], 1, DIM)
        tokens = torch.cat((latent, joints, self.top(image_top), self.wrist(image_wrist)), dim=1)
        seen = (self.places + self.cameras).reshape(1, -1, DIM)
        places = torch.cat((self.own_places, seen), dim=1)
        for layer in self.encoder:
            tokens = layer(tokens, places)
        x = torch.zeros(1, CHUNK, DIM).expand(state.shape[0], CHUNK, DIM)
        for layer in self.decoder:
            x = layer(x, self.queries, tokens, places)
        return {"actions": self.head(x) * self.action_std + self.action_mean}


def build() -> nn.Module:
    """The policy, untrained."""
    return Policy()

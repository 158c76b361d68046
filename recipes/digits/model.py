"""Three ways to fuse a picture, a spoken word and a typed word of one digit, in plain torch.

* build(): feature fusion, one encoder per modality, their features joined and classified together;
* build_early(): data (early) fusion, the raw inputs stacked as channels of one grid before any encoder;
* build_decision(): decision fusion, one whole classifier per modality, their verdicts weighed.

All take image (N, 1, 8, 8) float32 in 0..1, audio (N, 32, 24) float32 in 0..1 (frames x mels) and text
(N, 12) int64 character ids 0..27 (0 = padding), and give {"logits": (N, 10) float32}.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

CLASSES = 10
FRAMES, MELS = 32, 24
CHARACTERS, TEXT_LENGTH = 28, 12
IMAGE_FEATURES, AUDIO_FEATURES, TEXT_FEATURES = 128, 96, 128


def conv_block(inputs: int, outputs: int, stride: int = 1) -> nn.Sequential:
    """3x3 convolution, batch norm, ReLU: (N, inputs, H, W) -> (N, outputs, H / stride, W / stride)."""
    convolution = nn.Conv2d(inputs, outputs, kernel_size=3, stride=stride, padding=1, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(outputs), nn.ReLU())


class SelfAttention(nn.Module):
    """Multi-head scaled dot-product attention, softmax(Q K^T / sqrt(d_head)) V.

    After Vaswani et al., "Attention Is All You Need" (2017), equation 1 and section 3.2.2.
    (N, T, width) float32 -> (N, T, width) float32.
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.head_width = width // heads
        self.query = nn.Linear(width, width)
        self.key = nn.Linear(width, width)
        self.value = nn.Linear(width, width)
        self.out = nn.Linear(width, width)

    def split(self, x: Tensor) -> Tensor:
        """(N, T, width) -> (N, heads, T, head_width)."""
        return x.reshape(x.shape[0], x.shape[1], self.heads, self.head_width).transpose(1, 2)

    def forward(self, x: Tensor) -> Tensor:
        query, key, value = self.split(self.query(x)), self.split(self.key(x)), self.split(self.value(x))
        scores = query @ key.transpose(2, 3) / math.sqrt(self.head_width)
        mixed = torch.softmax(scores, dim=-1) @ value
        joined: Tensor = self.out(mixed.transpose(1, 2).reshape(x.shape))
        return joined


class AttentionBlock(nn.Module):
    """Attention, then a feed-forward layer max(0, x W1 + b1) W2 + b2 (same paper, equation 2).

    Each is followed by LayerNorm(x + layer(x)).  (N, T, width) float32 -> (N, T, width) float32.
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.attention = SelfAttention(width, heads)
        self.attention_norm = nn.LayerNorm(width)
        self.feed = nn.Sequential(nn.Linear(width, 2 * width), nn.ReLU(), nn.Linear(2 * width, width))
        self.feed_norm = nn.LayerNorm(width)

    def forward(self, x: Tensor) -> Tensor:
        x = self.attention_norm(x + self.attention(x))
        out: Tensor = self.feed_norm(x + self.feed(x))
        return out


class ImageEncoder(nn.Module):
    """A CNN: (N, 1, 8, 8) float32 -> (N, 128) float32."""

    features = IMAGE_FEATURES

    def __init__(self) -> None:
        super().__init__()
        pool = nn.MaxPool2d(2)
        self.body = nn.Sequential(conv_block(1, 24), conv_block(24, 48), pool, conv_block(48, 96), pool)
        self.head = nn.Sequential(nn.Linear(96 * 2 * 2, self.features), nn.ReLU())

    def forward(self, image: Tensor) -> Tensor:
        out: Tensor = self.head(self.body(image).flatten(1))
        return out


class AudioEncoder(nn.Module):
    """Self-attention over the frames: (N, 32, 24) float32 -> (N, 96) float32, the mean over the frames."""

    features = AUDIO_FEATURES

    def __init__(self) -> None:
        super().__init__()
        self.frame = nn.Linear(MELS, self.features)
        self.position = nn.Parameter(0.1 * torch.randn(1, FRAMES, self.features))
        self.blocks = nn.Sequential(*(AttentionBlock(self.features, heads=4) for _ in range(2)))

    def forward(self, audio: Tensor) -> Tensor:
        out: Tensor = self.blocks(self.frame(audio) + self.position)
        return out.mean(dim=1)


class TextEncoder(nn.Module):
    """An LSTM over embedded characters: (N, 12) int64 -> (N, 128) float32, its last output."""

    features = TEXT_FEATURES

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(CHARACTERS, 32, padding_idx=0)
        self.lstm = nn.LSTM(32, self.features, batch_first=True)

    def forward(self, text: Tensor) -> Tensor:
        steps: Tensor = self.lstm(self.embedding(text))[0]
        return steps[:, -1]


class FeatureFusion(nn.Module):
    """Feature fusion: the three encoders' features side by side, then an MLP trunk."""

    def __init__(self) -> None:
        super().__init__()
        self.image_encoder = ImageEncoder()
        self.audio_encoder = AudioEncoder()
        self.text_encoder = TextEncoder()
        width = IMAGE_FEATURES + AUDIO_FEATURES + TEXT_FEATURES
        self.trunk = nn.Sequential(
            *(nn.Linear(width, 256), nn.ReLU(), nn.Dropout(0.3)),
            *(nn.Linear(256, 128), nn.ReLU(), nn.Linear(128, CLASSES)),
        )

    def forward(self, image: Tensor, audio: Tensor, text: Tensor) -> dict[str, Tensor]:
        features = (self.image_encoder(image), self.audio_encoder(audio), self.text_encoder(text))
        return {"logits": self.trunk(torch.cat(features, dim=1))}


def image_channel(image: Tensor) -> Tensor:
    """(N, 1, 8, 8) -> (N, 1, 32, 24): every pixel becomes 4 x 3 cells of the grid."""
    cells = image[:, :, :, None, :, None].expand(-1, -1, -1, FRAMES // 8, -1, MELS // 8)
    return cells.reshape(-1, 1, FRAMES, MELS)


def text_channels(text: Tensor, alphabet: Tensor) -> Tensor:
    """(N, 12) int64 -> (N, 27, 32, 24) float32: one 0/1 channel per character id 1..27.

    A character takes two neighbouring columns of the grid, over all of its rows; padding is all 0.
    """
    one_hot = (text[:, None, :] == alphabet[None, :, None]).to(torch.float32)
    cells = one_hot[:, :, None, :, None].expand(-1, -1, FRAMES, -1, MELS // TEXT_LENGTH)
    return cells.reshape(-1, CHARACTERS - 1, FRAMES, MELS)


class EarlyFusion(nn.Module):
    """Data fusion: the raw inputs as 29 channels of one 32 x 24 grid, then CNN, LSTM and self-attention.

    Channel 0 is the image, 1 the audio as it is (rows are frames, columns are mels), 2..28 the text.
    The CNN leaves 8 rows of 6 columns; the LSTM and the attention read the rows in order.
    """

    alphabet: Tensor

    def __init__(self) -> None:
        super().__init__()
        first = conv_block(CHARACTERS + 1, 48, stride=2)
        self.body = nn.Sequential(first, conv_block(48, 64), nn.MaxPool2d(2), conv_block(64, 64))
        self.lstm = nn.LSTM(64 * (MELS // 4), 96, batch_first=True)
        self.attention = AttentionBlock(96, heads=4)
        self.head = nn.Sequential(nn.Dropout(0.3), nn.Linear(96, 96), nn.ReLU(), nn.Linear(96, CLASSES))
        self.register_buffer("alphabet", torch.arange(1, CHARACTERS), persistent=False)

    def forward(self, image: Tensor, audio: Tensor, text: Tensor) -> dict[str, Tensor]:
        grid = torch.cat((image_channel(image), audio[:, None], text_channels(text, self.alphabet)), dim=1)
        rows = self.body(grid).transpose(1, 2).flatten(2)
        mixed: Tensor = self.attention(self.lstm(rows)[0])
        return {"logits": self.head(mixed.mean(dim=1))}


class Classifier(nn.Module):
    """One modality alone: its encoder and a small head, to (N, 10) log-probabilities."""

    def __init__(self, encoder: nn.Module, features: int) -> None:
        super().__init__()
        self.encoder = encoder
        self.head = nn.Sequential(
            *(nn.Dropout(0.2), nn.Linear(features, 64), nn.ReLU(), nn.Linear(64, CLASSES)),
        )

    def forward(self, x: Tensor) -> Tensor:
        return torch.log_softmax(self.head(self.encoder(x)), dim=1)


class DecisionFusion(nn.Module):
    """Decision fusion: logits = sum over m of w_m log p_m, one learned weight per modality.

    A weighted product of experts (a logarithmic opinion pool; Hinton, 2002), summed in the log domain:
    log_softmax keeps each log p_m finite where p_m itself would round to 0.
    """

    def __init__(self) -> None:
        super().__init__()
        self.image_classifier = Classifier(ImageEncoder(), IMAGE_FEATURES)
        self.audio_classifier = Classifier(AudioEncoder(), AUDIO_FEATURES)
        self.text_classifier = Classifier(TextEncoder(), TEXT_FEATURES)
        self.weights = nn.Parameter(torch.ones(3))

    def verdicts(self, image: Tensor, audio: Tensor, text: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Each classifier's (N, 10) log-probabilities: image, audio, text."""
        return self.image_classifier(image), self.audio_classifier(audio), self.text_classifier(text)

    def combine(self, verdicts: tuple[Tensor, Tensor, Tensor]) -> Tensor:
        """(N, 10) the weighted sum of the log-probabilities."""
        image, audio, text = verdicts
        return self.weights[0] * image + self.weights[1] * audio + self.weights[2] * text

    def forward(self, image: Tensor, audio: Tensor, text: Tensor) -> dict[str, Tensor]:
        return {"logits": self.combine(self.verdicts(image, audio, text))}


def build() -> nn.Module:
    """Feature fusion, untrained."""
    return FeatureFusion()


def build_early() -> nn.Module:
    """Data (early) fusion, untrained."""
    return EarlyFusion()


def build_decision() -> nn.Module:
    """Decision fusion, untrained."""
    return DecisionFusion()

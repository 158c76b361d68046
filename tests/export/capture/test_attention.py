"""The spelled-out attention equals torch's fused operators, masks included."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from edgefuse.export.capture.attention import (
    BOTH,
    KEYS,
    PAIRS,
    multi_head_attention,
    scaled_dot_product_attention,
    transformer_encoder_layer,
)

aten = torch.ops.aten
LENGTH, WIDTH, HEADS, BATCH = 5, 8, 2, 3
MASKS = {
    "none": (None, None),
    "pairs": (torch.triu(torch.ones(LENGTH, LENGTH, dtype=torch.bool), 1), PAIRS),
    "keys": (torch.arange(LENGTH).repeat(BATCH, 1) >= 3, KEYS),
    "both": ((torch.arange(LENGTH) >= 4).expand(BATCH, HEADS, LENGTH, LENGTH).clone(), BOTH),
}


def weights(*shapes: tuple[int, ...]) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(shape, generator=generator) for shape in shapes]


ATTENTION = ((3 * WIDTH, WIDTH), (3 * WIDTH,), (WIDTH, WIDTH), (WIDTH,))


@pytest.mark.parametrize("mask", MASKS)
@pytest.mark.parametrize("average", [True, False])
def test_multi_head_attention_equals_the_fused_one(mask: str, average: bool) -> None:
    x, *parameters = weights((BATCH, LENGTH, WIDTH), *ATTENTION)
    arguments = (x, x, x, WIDTH, HEADS, *parameters, MASKS[mask][0], True, average, MASKS[mask][1])
    wanted, got = aten._native_multi_head_attention(*arguments), multi_head_attention(*arguments)
    for a, b in zip(wanted, got, strict=True):
        torch.testing.assert_close(b, a, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("mask", ["none", "pairs", "keys"])
@pytest.mark.parametrize("gelu", [True, False])
@pytest.mark.parametrize("norm_first", [True, False])
def test_encoder_layer_equals_the_fused_one(mask: str, gelu: bool, norm_first: bool) -> None:
    feed_forward = ((16, WIDTH), (16,), (WIDTH, 16), (WIDTH,))
    x, *parameters = weights((BATCH, LENGTH, WIDTH), *ATTENTION, *(((WIDTH,),) * 4), *feed_forward)
    arguments = (x, WIDTH, HEADS, *parameters[:4], gelu, norm_first, 1e-5, *parameters[4:], *MASKS[mask])
    wanted, got = aten._transformer_encoder_layer_fwd(*arguments), transformer_encoder_layer(*arguments)
    torch.testing.assert_close(got, wanted, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("shape", [(2, 4, 8), (2, 6, 4, 8)])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"is_causal": True},
        {"scale": 0.3},
        {"attn_mask": torch.ones(4, 4, dtype=torch.bool).triu()},
        {"attn_mask": torch.eye(4)},
    ],
    ids=str,
)
def test_scaled_dot_product_attention_equals_torchs(shape: tuple[int, ...], options: dict[str, Any]) -> None:
    q, k, v = weights(shape, shape, shape)
    wanted = torch.nn.functional.scaled_dot_product_attention(q, k, v, **options)
    torch.testing.assert_close(scaled_dot_product_attention(q, k, v, **options), wanted, rtol=1e-4, atol=1e-4)


def test_grouped_queries_share_their_keys() -> None:
    q, k, v = weights((2, 6, 4, 8), (2, 3, 4, 8), (2, 3, 4, 8))
    wanted = torch.nn.functional.scaled_dot_product_attention(q, k, v, enable_gqa=True)
    got = scaled_dot_product_attention(q, k, v, enable_gqa=True)
    torch.testing.assert_close(got, wanted, rtol=1e-4, atol=1e-4)

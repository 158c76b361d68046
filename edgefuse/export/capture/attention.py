"""Fused attention operators spelled out: torch's fast path calls them, and no ONNX exporter knows them.

Attention is softmax(Q K^T / sqrt(d)) V over heads of width d (Vaswani et al., "Attention Is All You Need",
2017, equation 1). The masks' meaning is that of torch.nn.MultiheadAttention.merge_masks: type 0 is (L, L)
over pairs, 1 is (N, L) over keys, 2 is (N, heads, L, L); a bool mask is True where attention is forbidden, a
float one is added.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

PAIRS, KEYS, BOTH = 0, 1, 2


def multi_head_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    embed_dim: int,
    num_head: int,
    qkv_weight: Tensor,
    qkv_bias: Tensor,
    proj_weight: Tensor,
    proj_bias: Tensor,
    mask: Tensor | None = None,
    need_weights: bool = True,
    average_attn_weights: bool = True,
    mask_type: int | None = None,
) -> tuple[Tensor, Tensor]:
    """``aten._native_multi_head_attention``, whose parameters these are: (N, L, E) -> (N, L, E) and the
    weights."""
    weights, biases = qkv_weight.chunk(3), qkv_bias.chunk(3)
    q, k, v = (_split(functional.linear(x, w, b), num_head) for x, w, b in zip((query, key, value), weights, biases))
    scores = q @ k.transpose(-2, -1) / math.sqrt(embed_dim // num_head)
    attention = torch.softmax(_masked(scores, mask, mask_type), dim=-1)
    mixed = (attention @ v).transpose(1, 2).flatten(2)
    shown = attention.mean(dim=1) if average_attn_weights else attention
    return functional.linear(mixed, proj_weight, proj_bias), shown


def _split(x: Tensor, heads: int) -> Tensor:
    """(N, L, E) -> (N, heads, L, E / heads)."""
    return x.reshape(x.shape[0], x.shape[1], heads, x.shape[2] // heads).transpose(1, 2)


def _masked(scores: Tensor, mask: Tensor | None, mask_type: int | None) -> Tensor:
    if mask is None:
        return scores
    if mask_type is None:  # torch takes the shape for the type then
        mask_type = PAIRS if mask.dim() == 2 and mask.shape[0] == mask.shape[1] else KEYS
    if mask_type == KEYS:
        mask = mask[:, None, None, :]
    return scores.masked_fill(mask, -math.inf) if mask.dtype == torch.bool else scores + mask


def transformer_encoder_layer(
    src: Tensor,
    embed_dim: int,
    num_heads: int,
    qkv_weight: Tensor,
    qkv_bias: Tensor,
    proj_weight: Tensor,
    proj_bias: Tensor,
    use_gelu: bool,
    norm_first: bool,
    eps: float,
    norm_weight_1: Tensor,
    norm_bias_1: Tensor,
    norm_weight_2: Tensor,
    norm_bias_2: Tensor,
    ffn_weight_1: Tensor,
    ffn_bias_1: Tensor,
    ffn_weight_2: Tensor,
    ffn_bias_2: Tensor,
    mask: Tensor | None = None,
    mask_type: int | None = None,
) -> Tensor:
    """``aten._transformer_encoder_layer_fwd``, whose parameters these are: (N, L, E) -> (N, L, E)."""

    def attend(x: Tensor) -> Tensor:
        return multi_head_attention(
            x,
            x,
            x,
            embed_dim,
            num_heads,
            qkv_weight,
            qkv_bias,
            proj_weight,
            proj_bias,
            mask,
            mask_type=mask_type,
        )[0]

    def feed_forward(x: Tensor) -> Tensor:
        hidden = functional.linear(x, ffn_weight_1, ffn_bias_1)
        hidden = functional.gelu(hidden) if use_gelu else functional.relu(hidden)
        return functional.linear(hidden, ffn_weight_2, ffn_bias_2)

    def norm_1(x: Tensor) -> Tensor:
        return functional.layer_norm(x, (embed_dim,), norm_weight_1, norm_bias_1, eps)

    def norm_2(x: Tensor) -> Tensor:
        return functional.layer_norm(x, (embed_dim,), norm_weight_2, norm_bias_2, eps)

    if norm_first:
        x = src + attend(norm_1(src))
        return x + feed_forward(norm_2(x))
    x = norm_1(src + attend(src))
    return norm_2(x + feed_forward(x))


def scaled_dot_product_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    *,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Tensor:
    """The function of torch.nn.functional, whose exporter (torch 2.13) knows four dimensions only; here
    (..., L, E) x (..., S, E) x (..., S, V) -> (..., L, V). A bool mask is True where attention is allowed."""
    if enable_gqa:  # fewer heads of keys and values, each serving several of the queries
        key = key.repeat_interleave(query.shape[-3] // key.shape[-3], dim=-3)
        value = value.repeat_interleave(query.shape[-3] // value.shape[-3], dim=-3)
    scores = query @ key.transpose(-2, -1) * (1 / math.sqrt(query.shape[-1]) if scale is None else scale)
    if is_causal:
        attn_mask = torch.ones(scores.shape[-2:], dtype=torch.bool, device=scores.device).tril()
    if attn_mask is not None:
        allowed = attn_mask.dtype == torch.bool
        scores = scores.masked_fill(~attn_mask, -math.inf) if allowed else scores + attn_mask
    attention = torch.softmax(scores, dim=-1)
    return (functional.dropout(attention, dropout_p) if dropout_p else attention) @ value


FUSED: dict[Any, Callable[..., Any]] = {
    torch.ops.aten._native_multi_head_attention.default: multi_head_attention,
    torch.ops.aten._transformer_encoder_layer_fwd.default: transformer_encoder_layer,
    torch.ops.aten.scaled_dot_product_attention.default: scaled_dot_product_attention,
}
"""A decomposition table, as ``ExportedProgram.run_decompositions`` and ``make_fx`` take it."""

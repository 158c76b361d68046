"""Arithmetic on sizes, which a traced script does with 0-d tensors: ``int(torch.mul(size, 2))``.

make_fx (torch 2.13) records it like any other and then refuses the ``int``. But it depends on no input's
value, so it is done at once instead. Everything that does depend on one is left to make_fx, which refuses
``int`` there rightly.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.fx.experimental.proxy_tensor import (
    disable_proxy_modes_tracing,
    get_innermost_proxy_mode,
    get_proxy_slot,
)
from torch.utils import _pytree as pytree

aten = torch.ops.aten
OPERATORS = (
    *(aten.add.Tensor, aten.sub.Tensor, aten.mul.Tensor, aten.div.Tensor, aten.div.Tensor_mode),
    *(aten.add.Scalar, aten.sub.Scalar, aten.mul.Scalar, aten.div.Scalar, aten.div.Scalar_mode),
    *(aten.floor_divide.default, aten.floor_divide.Scalar, aten.remainder.Tensor, aten.remainder.Scalar),
    *(aten.neg.default, aten.floor.default, aten.ceil.default, aten.rsub.Tensor, aten.rsub.Scalar),
    *(
        aten.minimum.default,
        aten.maximum.default,
        aten.pow.Tensor_Scalar,
        aten.to.dtype,
        aten._to_copy.default,
    ),
)


def size_arithmetic() -> dict[Any, Callable[..., Any]]:
    """Decompositions for make_fx that compute what is known while tracing, and leave the rest alone."""
    return {operator: _at_once(operator) for operator in OPERATORS}


def _at_once(operator: Any) -> Callable[..., Any]:
    def compute(*args: Any, **kwargs: Any) -> Any:
        tensors = [leaf for leaf in pytree.tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
        if any(tensor.dim() or _is_recorded(tensor) for tensor in tensors):
            return NotImplemented
        with disable_proxy_modes_tracing():
            return operator(*args, **kwargs)

    return compute


def _is_recorded(tensor: Tensor) -> bool:
    """Whether make_fx follows *tensor*: an input, or something made of one."""
    mode = get_innermost_proxy_mode()
    return mode is None or get_proxy_slot(tensor, mode.tracer, None) is not None

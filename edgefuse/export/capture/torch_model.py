"""What every torch source shares: one flat call, the float reference runner, and the checks of a good
citizen.

A good citizen gives the same answer for the same input, keeps nothing between calls and leaves its inputs
alone. Only then can one exported graph stand for it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from edgefuse.errors import EdgeFuseError, ModelError
from edgefuse.export.blame import one_sentence, user_line
from edgefuse.export.capture.calling import Call
from edgefuse.export.capture.examples import example_array, example_shape, largest
from edgefuse.export.capture.outputs import name_outputs, none_names, tensors_of
from edgefuse.export.quiet import quiet
from edgefuse.spec import Array, Feed, ModelSpec, TensorSpec, check_feed

FlatCall = Callable[..., tuple[Tensor, ...]]
"""Tensors in the order of the spec's inputs, to tensors in the order of its outputs."""


class FlatModule(nn.Module):
    """The user's module behind one signature: a flat row of tensors in, a flat tuple of tensors out."""

    def __init__(self, module: nn.Module, call: Call) -> None:
        super().__init__()
        self.module = module
        self.call = call

    def structured(self, *tensors: Tensor) -> Any:
        """What the user's ``forward`` returns, as it is."""
        args, kwargs = self.call.arguments(tensors)
        return self.module(*args, **kwargs)

    def forward(self, *tensors: Tensor) -> tuple[Tensor, ...]:
        return tensors_of(self.structured(*tensors))


SHORT_CALL_S = 0.05


class TorchRunner:
    """The float reference. Holds the model's memory until :meth:`close`."""

    def __init__(self, function: FlatCall, spec: ModelSpec) -> None:
        self._function: FlatCall | None = function
        self._spec = spec
        self._short, self._calls = True, 0

    def __call__(self, feed: Feed) -> dict[str, Array]:
        """All outputs for one feed, as copies. Raises ``FeedError`` for a feed that does not fit."""
        check_feed(feed, self._spec.inputs)
        if self._function is None:
            raise ModelError("the reference runner is closed")
        tensors = to_tensors([feed[name] for name in self._spec.names])
        with torch.inference_mode(), self._fitting_threads():
            results = self._function(*tensors)
        return {name: result.numpy().copy() for name, result in zip(self._spec.outputs, results)}

    @contextmanager
    def _fitting_threads(self) -> Iterator[None]:
        """One thread for calls shorter than SHORT_CALL_S: torch's threads spin while they wait for each other, and on a
        busy machine a call of 3 ms then took 400. The first call, which warms up, does not count."""
        before, start = torch.get_num_threads(), time.perf_counter()
        torch.set_num_threads(1 if self._short else before)
        try:
            yield
        finally:
            torch.set_num_threads(before)
        self._short = self._short and (self._calls == 0 or time.perf_counter() - start < SHORT_CALL_S)
        self._calls += 1

    def close(self) -> None:
        self._function = None


def to_tensors(arrays: Sequence[Array]) -> tuple[Tensor, ...]:
    """Copies: a model that writes to its input must not reach the caller's arrays."""
    return tuple(torch.from_numpy(np.array(array)) for array in arrays)


def example_tensors(
    inputs: Sequence[TensorSpec], size: Callable[[TensorSpec], tuple[int, ...]] = example_shape
) -> tuple[Tensor, ...]:
    return to_tensors([example_array(spec, size(spec)) for spec in inputs])


def put_in_eval_mode(module: nn.Module) -> tuple[str, ...]:
    """Notes what was found in training mode: dropout and batch norm would act differently."""
    training = sum(
        bool(getattr(part, "training", False)) for part in module.modules()
    )  # a frozen script has no such flag
    module.eval()
    return (f"The model was in training mode ({training} modules); it was put in evaluation mode.",) if training else ()


@dataclass(frozen=True)
class Trial:
    """What two calls with the same example showed."""

    outputs: tuple[str, ...]
    notes: tuple[str, ...]
    same_answers: bool


def try_model(
    structured: Callable[..., Any], state: dict[str, Tensor], inputs: Sequence[TensorSpec], where: str
) -> Trial:
    """Run the model twice on the example. Raises :class:`ModelError` if it fails, or changes its state or
    inputs."""
    before = {name: tensor.clone() for name, tensor in state.items()}
    given, untouched = (
        example_tensors(inputs, TensorSpec.smallest),
        example_tensors(inputs, TensorSpec.smallest),
    )
    first = call_user_code(structured, given, inputs, where)
    names = name_outputs(first, tuple(spec.name for spec in inputs), where)
    first_tensors = [tensor.clone() for tensor in tensors_of(first)]
    _check_inputs_untouched(inputs, given, untouched, where)
    check_state_untouched(before, state, where)
    second = tensors_of(call_user_code(structured, example_tensors(inputs, TensorSpec.smallest), inputs, where))
    if any(spec.dynamic for spec in inputs):
        call_user_code(structured, example_tensors(inputs, largest), inputs, where)
    notes = tuple(f"Output {name!r} is None and was left out." for name in none_names(first))
    return Trial(names, notes, _same(first_tensors, second))


def call_user_code(
    structured: Callable[..., Any], tensors: Sequence[Tensor], inputs: Sequence[TensorSpec], where: str
) -> Any:
    """The answer for *tensors*; a failure becomes a :class:`ModelError` at the user's file and line."""
    try:
        with quiet(), torch.no_grad():
            return structured(*tensors)
    except EdgeFuseError:
        raise
    except Exception as error:  # the user's code may raise anything
        shapes = ", ".join(
            f"{spec.name} {'x'.join(map(str, tensor.shape)) or 'scalar'} {spec.dtype}"
            for spec, tensor in zip(inputs, tensors)
        )
        raise ModelError(
            f"forward failed on an example ({shapes}): {one_sentence(error)}",
            where=user_line(error) or where,
            hint="Do the inputs' shapes and dtypes in the recipe fit the model?",
        ) from error


def _check_inputs_untouched(
    inputs: Sequence[TensorSpec], given: Sequence[Tensor], untouched: Sequence[Tensor], where: str
) -> None:
    for spec, after, before in zip(inputs, given, untouched):
        if not torch.equal(after, before):
            raise changed_input(spec.name, where)


def changed_input(name: str, where: str) -> ModelError:
    return ModelError(
        f"the model changes its input {name!r} in place",
        where=where,
        hint=f"Work on a copy in forward: {name} = {name}.clone()",
    )


def check_state_untouched(before: dict[str, Tensor], after: dict[str, Tensor], where: str) -> None:
    for name, tensor in before.items():
        if name in after and not _same([tensor], [after[name]], exact=True):
            raise keeps_state(name, where)


def keeps_state(name: str, where: str) -> ModelError:
    """The error for a buffer that a call changes; batch norm's statistics tell that it is in training
    mode."""
    if name.rpartition(".")[2] in ("running_mean", "running_var", "num_batches_tracked"):
        return ModelError(
            f"batch norm is in training mode: every call changes its buffer {name!r}",
            where=where,
            hint="Call model.eval() before you save or export the model.",
        )
    return ModelError(
        f"the model keeps a state between calls: every call changes its buffer {name!r}",
        where=where,
        hint="Make the state an input of forward and return its new value.",
    )


def unsteady(where: str, operator: str = "") -> ModelError:
    """The error for a model that gives two answers for one input."""
    cause = f"it uses the random operator {operator}" if operator else "it is random or keeps a state"
    return ModelError(
        f"the model gives different answers for the same input: {cause}",
        where=where,
        hint="Switch dropout off (model.eval()), or pass the random numbers in as an input.",
    )


def _same(first: Sequence[Tensor], second: Sequence[Tensor], exact: bool = False) -> bool:
    """Whether equal, up to 1e-5 of the largest value: threads may add up in another order between two
    calls."""
    return len(first) == len(second) and all(_close(a, b, exact) for a, b in zip(first, second))


def _close(a: Tensor, b: Tensor, exact: bool) -> bool:
    if a.shape != b.shape:
        return False
    if not a.is_floating_point():
        return torch.equal(a, b)
    finite = a[a.isfinite()].abs()
    scale = finite.max().item() if finite.numel() else 1.0
    return torch.allclose(a, b, rtol=0, atol=0 if exact else 1e-5 * scale, equal_nan=True)

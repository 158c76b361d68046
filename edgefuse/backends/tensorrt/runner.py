"""Running an engine: one stream, memory that is allocated once, and a CUDA graph where all shapes are fixed."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack, suppress
from typing import Any

from edgefuse.backends import Settings
from edgefuse.backends.tensorrt import cuda
from edgefuse.backends.tensorrt.engine import PLAN, REBUILD, check_tensors, tensor_names
from edgefuse.backends.tensorrt.graph import record
from edgefuse.backends.tensorrt.port import Port, allocate, check_dtype, numpy_dtype, size_bytes
from edgefuse.backends.tensorrt.vendor import last_words
from edgefuse.errors import DeviceMismatchError, ToolchainError
from edgefuse.spec import Array, DimRange, Feed, ModelSpec


class TensorRtRunner:
    """An *engine* with its context, stream and memory; :meth:`close` frees them. Not safe to call from two threads.

    ``notes`` says what it does otherwise than asked, such as running without a CUDA graph, and why.
    """

    def __init__(self, engine: Any, spec: ModelSpec, settings: Settings, log: Any) -> None:
        """Raises ``ToolchainError``, and has freed everything then."""
        self.notes: list[str] = []
        self._log, self._executable = log, None
        with ExitStack() as held:
            self._stream = cuda.create_stream()
            held.callback(cuda.destroy_stream, self._stream)
            self._open(engine, spec, held)
            self._run_once()
            if settings.cuda_graph:
                self._record(held)
            self._held: ExitStack | None = held.pop_all()

    def __call__(self, feed: Feed) -> dict[str, Array]:
        if self._held is None:
            raise ToolchainError("the model is closed", hint="Load it again with edgefuse.load(path).")
        if self._dynamic:
            self._resize({port.name: feed[port.name].shape for port in self._inputs})
        for port in self._inputs:
            port.write(feed[port.name])
        if self._executable is None:
            self._enqueue()
        else:
            cuda.launch(self._executable, self._stream)
        cuda.synchronize(self._stream)
        return {port.name: port.read() for port in self._outputs}

    def close(self) -> None:
        held, self._held = self._held, None
        if held is not None:
            held.close()

    def _open(self, engine: Any, spec: ModelSpec, held: ExitStack) -> None:
        """The context, and memory for the largest shapes, in the model's order."""
        check_tensors(engine, spec)
        self._engine, self._context = engine, engine.create_execution_context()
        held.callback(self._drop)
        if self._context is None:
            raise ToolchainError(f"the engine cannot be made ready to run: {last_words(self._log)}", where=PLAN)
        shared, taken = cuda.device().integrated, tensor_names(engine, "INPUT")
        tensors = [tensor for tensor in spec.inputs if tensor.name in taken]
        largest = {t.name: tuple(d.max if isinstance(d, DimRange) else d for d in t.shape) for t in tensors}
        for tensor in tensors:
            check_dtype(tensor.name, tensor.dtype, numpy_dtype(engine, tensor.name))
        self._dynamic = any(tensor.dynamic for tensor in tensors)
        self._set_shapes(largest)
        self._inputs = [self._port(name, shape, shared, held) for name, shape in largest.items()]
        self._outputs = [self._port(name, self._output_shape(name), shared, held) for name in spec.outputs]
        # Work that an error left on the stream must end before its memory goes.
        held.callback(self._settle)

    def _port(self, name: str, shape: tuple[int, ...], shared: bool, held: ExitStack) -> Port:
        dtype = numpy_dtype(self._engine, name)
        port = Port(name, dtype, shape, allocate(max(1, size_bytes(shape, dtype)), shared, held))
        self._accepted(self._context.set_tensor_address(name, port.memory.gpu), f"the address of {name!r}")
        return port

    def _drop(self) -> None:
        """Views of freed memory and the vendor's objects; the context first."""
        self._inputs, self._outputs = [], []
        self._context = None
        self._engine = None

    def _settle(self) -> None:
        with suppress(ToolchainError):
            cuda.synchronize(self._stream)

    def _run_once(self) -> None:
        """The first run initialises what is lazy, which a capture would not survive. Nothing was fed: zeros."""
        for port in self._inputs:
            port.array[...] = 0
        self._enqueue()
        cuda.synchronize(self._stream)

    def _record(self, held: ExitStack) -> None:
        capturable: Callable[[int], bool] | None = getattr(self._context, "is_stream_capturable", None)
        try:
            if self._dynamic:
                raise ToolchainError("an input has a dynamic shape")
            if capturable is not None and not capturable(int(self._stream)):  # TensorRT-RTX 1.2 and later can tell
                raise ToolchainError("the engine allocates memory while it runs")
            self._executable = record(self._stream, self._enqueue, held)
        except ToolchainError as error:
            self.notes.append(f"no CUDA graph: {error.what}")

    def _enqueue(self) -> None:
        """Copies to the GPU, the engine, copies from it: all that one call does on the stream."""
        for port in self._inputs:
            port.upload(self._stream)
        if not self._context.execute_async_v3(int(self._stream)):
            raise ToolchainError(f"TensorRT failed while running the model: {last_words(self._log)}")
        for port in self._outputs:
            port.download(self._stream)

    def _resize(self, shapes: dict[str, tuple[int, ...]]) -> None:
        self._set_shapes(shapes)
        for port in self._inputs:
            port.resize(shapes[port.name])
        for port in self._outputs:
            port.resize(self._output_shape(port.name))

    def _set_shapes(self, shapes: dict[str, tuple[int, ...]]) -> None:
        """Also where shapes are fixed: a dimension that the graph left open is fixed by the model alone."""
        for name, shape in shapes.items():
            if not self._context.set_input_shape(name, shape):
                raise DeviceMismatchError(
                    f"the engine does not take {shape} for {name!r}: {last_words(self._log)}", where=PLAN, hint=REBUILD
                )

    def _output_shape(self, name: str) -> tuple[int, ...]:
        shape = tuple(int(dim) for dim in self._context.get_tensor_shape(name))
        if any(dim < 0 for dim in shape):
            raise ToolchainError(
                f"the size of the output {name!r} depends on values, not only on shapes",
                hint="Let the model return a fixed number of rows and a count.",
            )
        return shape

    def _accepted(self, yes: bool, what: str) -> None:
        if not yes:
            raise ToolchainError(f"TensorRT refused {what}: {last_words(self._log)}")

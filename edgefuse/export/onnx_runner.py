"""The reference runner of an ONNX file: onnxruntime on the CPU."""

from __future__ import annotations

from onnx import ModelProto

from edgefuse.backends.onnxruntime import open_session
from edgefuse.errors import ModelError
from edgefuse.export.blame import one_sentence
from edgefuse.export.capture.examples import example_array
from edgefuse.spec import Array, Feed, ModelSpec, check_feed


class OnnxRunner:
    """The float reference: onnxruntime on the CPU, its graph rewritten as little as it can be."""

    def __init__(self, model: ModelProto, spec: ModelSpec, where: str) -> None:
        self._spec, self._where = spec, where
        try:
            self._session = open_session(model.SerializeToString(), optimize="basic")
        except Exception as error:  # onnxruntime's exceptions share no public base but Exception
            raise ModelError(f"onnxruntime cannot load the model: {one_sentence(error)}", where=where) from error

    def __call__(self, feed: Feed) -> dict[str, Array]:
        """All outputs for one feed. Raises ``FeedError`` for a feed that does not fit."""
        check_feed(feed, self._spec.inputs)
        if self._session is None:
            raise ModelError("the reference runner is closed", where=self._where)
        return dict(zip(self._spec.outputs, self._session.run(None, dict(feed))))

    def try_out(self) -> None:
        """One run on an example; raises :class:`ModelError` if it fails."""
        feed = {spec.name: example_array(spec, spec.smallest()) for spec in self._spec.inputs}
        try:
            self(feed)
        except Exception as error:  # as above
            shapes = ", ".join(f"{spec.name} {spec.shape_text} {spec.dtype}" for spec in self._spec.inputs)
            raise ModelError(
                f"onnxruntime failed on an example ({shapes}): {one_sentence(error)}",
                where=self._where,
                hint="Do the inputs' shapes in the recipe fit the model?",
            ) from error

    def close(self) -> None:
        self._session = None

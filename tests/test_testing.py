"""``edgefuse.testing``: a model for the tests of applications."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from edgefuse.errors import FeedError
from edgefuse.testing import FakeModel
from tests.test_imports import WORKSTATION, modules_after

MS = 1_000_000


def test_a_golden_sample_gets_its_reference_and_any_other_feed_the_next_one(tiny_bundle):
    with FakeModel(tiny_bundle) as model:
        samples = list(model.golden())
        for sample in samples[:5]:
            assert np.array_equal(model(sample.feed)["logits"], sample.reference["logits"])
        strange = {"image": np.ones((1, 1, 8, 8), np.float32), "state": np.ones((1, 6), np.float32)}
        answers = [model(strange)["logits"] for _ in range(len(samples) + 1)]
        assert np.array_equal(answers[0], samples[0].reference["logits"]) and np.array_equal(answers[-1], answers[0])
        assert np.array_equal(answers[1], samples[1].reference["logits"])


def test_feeds_streams_and_policies_are_checked_as_the_real_ones(tiny_bundle):
    with FakeModel(tiny_bundle) as model:
        with pytest.raises(FeedError, match="shape 1x5; expected 1x6"):
            model({"image": np.ones((1, 1, 8, 8), np.float32), "state": np.ones((1, 5), np.float32)})
        stream, sample = model.stream({"camera": {"max_age_ms": 50}}), next(iter(model.golden()))
        assert stream.step(0).status == "waiting"
        stream.push("camera", sample.feed["image"], 10 * MS)
        stream.push("state", sample.feed["state"], 10 * MS)
        assert np.array_equal(stream.step(11 * MS)["logits"], sample.reference["logits"])
        assert stream.step(100 * MS).status == "stale" and model.name == "tiny"


def test_it_needs_no_vendors_library():
    found = modules_after("import edgefuse.testing")
    assert found & {*WORKSTATION, "openvino", "onnxruntime"} == set() and "edgefuse" in found
    assert sys.version_info >= (3, 10)

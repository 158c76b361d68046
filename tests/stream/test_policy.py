"""Policies: from the recipe into the bundle, and from there into a stream."""

from __future__ import annotations

import json

import pytest

from edgefuse.errors import RecipeError
from edgefuse.manifest import check_manifest
from edgefuse.recipe import read_recipe
from edgefuse.stream.policy import StreamPolicy, check_policies, read_policies, read_policy, sensor_inputs
from tests.stream.robots import STATE, graph

STREAMS = sensor_inputs(graph()[1], STATE)


def test_a_recipe_says_how_its_streams_behave(copy_of_recipe):
    path = copy_of_recipe / "recipe.toml"
    path.write_text(
        path.read_text()
        + """
[streams.camera]
max_age_ms = 100
on_stale = "fallback"
fallback = 0.5
priority = 2
[streams.state]
kind = "latched"
"""
    )
    streams = read_recipe(path).streams
    assert streams["camera"] == StreamPolicy(max_age_ms=100.0, on_stale="fallback", fallback=0.5, priority=2)
    assert streams["state"].kind == "latched"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[streams]\ncamera = 5", "expected a table"),
        ("[streams.camera]\nmax_age = 5", "Did you mean 'max_age_ms'"),
        ("[streams.camera]\nmax_age_ms = 'long'", "expected a number"),
        ("[streams.camera]\nmax_age_ms = 0", "expected more than 0"),
        ("[streams.camera]\nmax_early_ms = -1", "expected 0 or more"),
        ("[streams.camera]\nkind = 'newest'", "Known: latched, latest, window"),
        ("[streams.camera]\npriority = 1.5", "expected a whole number"),
        ("[streams.camera]\nrequired = 1", "expected true or false"),
    ],
)
def test_a_mistake_in_a_policy_names_file_and_key(copy_of_recipe, text, message):
    path = copy_of_recipe / "recipe.toml"
    path.write_text(path.read_text() + text)
    with pytest.raises(RecipeError) as caught:
        read_recipe(path)
    assert message in str(caught.value) and "streams" in str(caught.value) and "recipe.toml" in str(caught.value)


def test_a_policy_survives_the_manifest():
    policy = StreamPolicy(kind="window", max_age_ms=20.0, axis=1, sample_hz=16000.0, gap="zero", priority=-1)
    assert read_policy(json.loads(json.dumps(policy.to_json())), "here") == policy
    assert read_policies({"a": StreamPolicy().to_json()}, "here") == {"a": StreamPolicy()}


def test_a_stream_is_all_that_one_sensor_delivers_and_never_the_models_state():
    assert {name: [item.name for item in items] for name, items in STREAMS.items()} == {
        "camera": ["image"],
        "imu": ["gyro"],
        "lidar": ["points", "power"],
        "goal": ["words"],
    }
    with pytest.raises(RecipeError, match="no stream 'h'"):
        check_policies({"h": StreamPolicy()}, STREAMS, "recipe")


def test_the_bundle_carries_the_policies_and_refuses_wrong_ones(tiny_bundle):
    manifest = json.loads((tiny_bundle / "manifest.json").read_text())
    check_manifest({**manifest, "streams": {"camera": StreamPolicy(max_age_ms=5.0).to_json()}})
    for wrong in ({"sonar": StreamPolicy().to_json()}, {"camera": {"max_age_ms": "old"}}, {"camera": 1}):
        with pytest.raises(ValueError, match="streams"):
            check_manifest({**manifest, "streams": wrong})

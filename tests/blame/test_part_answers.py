"""What a device answers, and that it travels: in this process, in a child, through a worker."""

from __future__ import annotations

import json

import numpy as np
import pytest

from edgefuse.blame import find_parts_at_fault, run_here, run_on
from edgefuse.bundle import open_bundle
from edgefuse.part_answers import PartAnswers, Question, answer, given_arrays, given_rows, read_rows, reads_others
from edgefuse.remote import connect
from tests.blame.damage import damage


@pytest.fixture(scope="module")
def answered(tiny_bundle):
    """The shipped parts on three samples; the trunk alone on what the branches made."""
    with open_bundle(tiny_bundle) as bundle:
        rows = (2, 5, 7)
        made = answer(bundle, Question(rows), _boundary(bundle, rows))
        yield bundle, rows, made


def _boundary(bundle, rows):
    shapes = {tensor.name: (tensor.smallest(), tensor.dtype) for tensor in bundle.partition.tensors}
    return [{name: np.zeros(shape, dtype) for name, (shape, dtype) in shapes.items()} for _ in rows]


def test_the_parts_in_a_row_are_the_whole_and_the_trunk_alone_sees_what_it_is_given(answered):
    _, _, made = answered
    for whole, row in zip(made.whole, made.sequence):
        np.testing.assert_allclose(row["logits"], whole["logits"], atol=0.2)  # one step of the trunk's INT8
        assert {"image_features", "state_features"} <= row.keys()
    assert list(made.alone) == ["trunk"]
    alone = [row["logits"] for row in made.alone["trunk"]]
    assert all(np.array_equal(item, alone[0]) for item in alone), "the same zeros for every sample"
    assert not np.array_equal(alone[0], made.sequence[0]["logits"])


def test_answers_and_questions_travel_as_arrays_and_json(answered):
    bundle, rows, made = answered
    again = PartAnswers.from_arrays(made.to_arrays(bundle.partition), bundle.partition)
    pairs = ((made.whole, again.whole), (made.sequence, again.sequence), (made.alone["trunk"], again.alone["trunk"]))
    for old, new in pairs:
        assert [row.keys() for row in old] == [row.keys() for row in new] and len(old) == len(rows)
        assert all(np.array_equal(one[name], other[name]) for one, other in zip(old, new) for name in one)
    asked = Question(rows, bundle.partition)
    assert Question.from_json(json.loads(json.dumps(asked.to_json()))) == asked
    given = _boundary(bundle, rows)
    back = given_rows(asked, given_arrays(given))
    assert len(back) == len(rows) and all(np.array_equal(a[n], b[n]) for a, b in zip(given, back) for n in a)
    assert given_rows(asked, {}) == [{}, {}, {}]


def test_only_the_golden_samples_that_were_asked_for_are_read(tiny_bundle):
    path = tiny_bundle / "golden.npz"
    images = np.load(path)["inputs.image"]
    found = read_rows(path, (0, 3, 59))
    assert len(found) == 3 and all(np.array_equal(s.feed["image"], images[i]) for s, i in zip(found, (0, 3, 59)))


def test_a_branch_reads_no_other_part(tiny_bundle):
    with open_bundle(tiny_bundle) as bundle:
        assert {p.name: reads_others(p, bundle.partition) for p in bundle.partition.parts} == {
            "camera": False, "state": False, "trunk": True,
        }  # fmt: skip


def figures(found):
    return [(row.name, row.alone_db, row.graph_db, row.fault) for row in found.rows]


def test_a_child_process_and_a_connected_device_say_the_same(copied, tiny_bundle):
    """Shipped parts, and for their artifact's fault also fresh ones, whose ONNX files travel."""
    path = damage(copied(tiny_bundle), ["camera"], what=["artifact"])
    with open_bundle(path) as bundle, connect("local") as device:
        here = find_parts_at_fault(bundle, run_here(bundle), samples=8)
        there = find_parts_at_fault(bundle, run_on(device, bundle, device.put_bundle(path)), samples=8)
    assert (here.part, here.stage) == ("camera", "artifact"), here.text
    assert figures(there) == figures(here) and there.text == here.text


def test_the_command_says_the_part(cli, copied, tiny_bundle):
    path = damage(copied(tiny_bundle), ["state"])
    done = cli("check", path, "--blame")
    assert "The error starts in state:" in " ".join(done.out.split()) and "graph" in done.out, done.err
    assert max(map(len, done.out.splitlines())) <= 80 and "Looking for the part at fault" in done.err


def test_json_has_the_part(cli, tiny_bundle):
    report = json.loads(cli("check", tiny_bundle, "--blame", "--json", "-q").out)
    assert report["blame"]["part"] is None and len(report["blame"]["rows"]) == 3
    assert "Looking for the part at fault" in [stage["name"] for stage in report["stages"]]
    assert "blame" not in json.loads(cli("check", tiny_bundle, "--json", "-q").out)

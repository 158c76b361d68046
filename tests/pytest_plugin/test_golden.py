"""Recorded answers: written by whoever looks, found again by their key, and held to the bit."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest

from edgefuse.bundle import open_bundle
from edgefuse.errors import InputError
from edgefuse.pytest_plugin.records import other_records, read_answers, read_key, record_key, record_path
from tests.pytest_plugin.bundles import sign

CHECK = "tiny.edgefuse::golden"


@pytest.fixture
def here(pytester, tiny_bundle):
    shutil.copytree(tiny_bundle, pytester.path / "tiny.edgefuse")
    return pytester


def alter(path, change):
    """Save the record at *path* again, as numpy does, with *change* to its arrays."""
    with np.load(path) as arrays:
        found = dict(arrays)
    change(found)
    np.savez(path, **found)


def test_recorded_compared_and_a_difference_is_shown(here):
    assert here.runpytest(CHECK).parseoutcomes() == {"skipped": 1}
    result = here.runpytest(CHECK, "--edgefuse-update-golden", "-v")
    assert result.parseoutcomes() == {"skipped": 1}
    result.stdout.fnmatch_lines([f"{CHECK} RECORDED *", f"{CHECK} *recorded *60 samples' answers in *(new)"])
    (record,) = (here.path / "tiny.edgefuse.golden").iterdir()
    with np.load(record, allow_pickle=False) as arrays:
        assert sorted(arrays) == ["answers.logits", "key"] and arrays["answers.logits"].shape == (60, 1, 4)
        assert json.loads(str(arrays["key"])).keys() == {"bundle", "backend", "precision", "device_class"}
    assert here.runpytest(CHECK).parseoutcomes() == {"passed": 1}

    def change(arrays):
        arrays["answers.logits"][7, 0, 2] = np.nextafter(arrays["answers.logits"][7, 0, 2], np.float32(100))

    alter(record, change)
    result = here.runpytest(CHECK)
    assert result.parseoutcomes() == {"failed": 1}
    result.stdout.fnmatch_lines(
        [
            "golden: of 60 samples' answers 1 are other than recorded in *.npz",
            "  logits float32 1x4: 1 of 240 elements differ, in 1 of 60 samples; at most * apart, 1 ulp",
            "    sample 7 ?0, 2?: * → *",
        ]
    )
    result = here.runpytest(CHECK, "--edgefuse-update-golden", "-v")
    result.stdout.fnmatch_lines([f"{CHECK} *(other answers than before)"])
    assert here.runpytest(CHECK).parseoutcomes() == {"passed": 1}


def test_a_record_of_another_bundle_does_not_count_and_is_told(here):
    here.runpytest(CHECK, "--edgefuse-update-golden", "--edgefuse-golden-dir=records")
    assert len(list((here.path / "records" / "tiny.edgefuse.golden").glob("*.npz"))) == 1
    sign(here.path / "tiny.edgefuse", p90_ms=7.0)  # another manifest: another bundle
    result = here.runpytest(CHECK, "--edgefuse-golden-dir=records", "-rs")
    assert result.parseoutcomes() == {"skipped": 1}
    result.stdout.fnmatch_lines(["*.npz is for bundle *Record: pytest tiny.edgefuse::golden --edgefuse-golden-dir *"])


@pytest.mark.parametrize("damage", ["cut", "rows"])
def test_a_damaged_record_is_an_error_that_says_so(here, damage):
    here.runpytest(CHECK, "--edgefuse-update-golden")
    (record,) = (here.path / "tiny.edgefuse.golden").iterdir()
    if damage == "cut":
        record.write_bytes(record.read_bytes()[:-100])
    else:
        alter(record, lambda arrays: arrays.update({"answers.logits": arrays["answers.logits"][:5]}))
    result = here.runpytest(CHECK)
    assert result.parseoutcomes() == {"failed": 1}
    result.stdout.fnmatch_lines(["golden: InputError: *.npz: *", "Restore it, or record again."])


def test_the_key_is_all_that_decides_the_bits(tiny_bundle, tmp_path):
    with open_bundle(tiny_bundle) as bundle:
        key = record_key(bundle, "aarch64-jetson-0123abcd")
        checksum = bundle.manifest["checksum"]
    assert key["bundle"] == checksum and key["backend"].startswith("openvino 20") and key["precision"] == "int8"
    paths = {record_path(tmp_path, {**key, name: "other"}) for name in key} | {record_path(tmp_path, key)}
    assert len(paths) == 5
    np.savez(tmp_path / "old.npz", key=json.dumps({**key, "backend": "openvino 2025.1"}))
    assert other_records(tmp_path, key) == ["old.npz is for backend openvino 2025.1"]


def test_what_is_no_record_has_no_key(tmp_path):
    (tmp_path / "x.npz").write_bytes(b"something")
    np.savez(tmp_path / "y.npz", key="[]")
    assert read_key(tmp_path / "x.npz") is None and read_key(tmp_path / "y.npz") is None
    with pytest.raises(InputError, match=r"x\.npz"):
        list(read_answers(tmp_path / "x.npz"))

"""What an interrupted search leaves, and who may go on with it."""

from __future__ import annotations

import os
import time

import pytest

from edgefuse.journal import Journal, cache_folder, kept_search, search_key


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def interrupt(key, resume=False):
    with pytest.raises(KeyboardInterrupt), kept_search(key, resume) as journal:
        journal.add("int8", {"passes": True})
        (journal.artifacts / "int8").mkdir(parents=True, exist_ok=True)
        raise KeyboardInterrupt


def test_verdicts_and_artifacts_of_an_interrupted_search_are_there_for_the_next():
    interrupt("a")
    with kept_search("a", resume=True) as journal:
        assert journal.resumed and journal.verdicts == {"int8": {"passes": True}}
        assert (journal.artifacts / "int8").is_dir()


def test_without_resume_a_search_starts_anew():
    interrupt("a")
    with kept_search("a", resume=False) as journal:
        assert not journal.resumed and not journal.verdicts and not journal.artifacts.exists()


def test_a_search_that_ended_or_failed_leaves_nothing():
    with kept_search("a", resume=False) as journal:
        journal.add("int8", {})
    with pytest.raises(ValueError, match="no"), kept_search("b", resume=False) as journal:
        journal.add("int8", {})
        raise ValueError("no")
    assert list((cache_folder() / "searches").iterdir()) == []


def test_a_line_that_was_cut_off_is_left_out(tmp_path):
    journal = Journal(tmp_path)
    journal.add("one", {"passes": False})
    with (tmp_path / "verdicts.jsonl").open("a") as stream:
        stream.write('{"key": "two", "verd')
    again = Journal(tmp_path)
    again.read()
    assert again.verdicts == {"one": {"passes": False}} and again.resumed


def test_two_at_the_same_search_do_not_share_a_folder():
    with kept_search("a", resume=False) as first, kept_search("a", resume=True) as second:
        first.add("int8", {})
        assert second.folder != first.folder and not second.verdicts


def test_without_a_place_for_the_cache_the_search_goes_on(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    with kept_search("a", resume=True) as journal:
        journal.add("int8", {})


def test_what_was_never_resumed_is_removed_after_a_week():
    interrupt("old")
    old = cache_folder() / "searches" / "old"
    week_ago = time.time() - 8 * 86400
    os.utime(old, (week_ago, week_ago))
    with kept_search("new", resume=False):
        assert not old.exists()


def test_the_key_changes_with_the_model_the_samples_and_the_words(tmp_path):
    model, samples = tmp_path / "m.onnx", tmp_path / "samples"
    samples.mkdir()
    model.write_bytes(b"1")
    keys = [search_key([model, samples], "host")]
    keys.append(search_key([model, samples], "n100"))
    (samples / "a.npz").write_bytes(b"1")
    keys.append(search_key([model, samples], "host"))
    model.write_bytes(b"2")
    keys.append(search_key([model, samples], "host"))
    assert len(set(keys)) == 4
    assert search_key([model, samples], "host") == keys[-1]

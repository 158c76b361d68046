"""Blobs on disk: whole or not there, whatever happens to the disk or to the process."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from edgefuse.blob_cache import DIGEST_BYTES, BlobCache, blob_folder, miss

BLOB = bytes(range(256)) * 40


@pytest.fixture
def cache(tmp_path):
    return BlobCache(tmp_path / "blobs", "content")


def kept(cache: BlobCache, key: str = "k", blob: bytes = BLOB) -> Path:
    assert cache.write(key, blob) == ""
    return cache.folder / f"{key}.blob"


def run(code: str, *arguments: str | Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", f"import os, sys\nfrom pathlib import Path\n{code}", *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def test_what_was_written_is_read_back(cache):
    assert cache.read("k") == (None, "")
    kept(cache)
    found, why = cache.read("k")
    assert why == "" and found.dtype == np.uint8 and found.tobytes() == BLOB
    assert [path.name for path in cache.folder.iterdir()] == ["k.blob"]


def test_every_part_of_the_key_changes_it(tmp_path):
    words = ["openvino", "2026.4.1", {"name": "cpu"}, ["avx2"], {"threads": 1}]
    others = [
        ["onnxruntime", *words[1:]],
        [words[0], "2026.4.2", *words[2:]],
        [*words[:2], {"name": "another"}, *words[3:]],
        [*words[:3], ["avx2", "avx512f"], words[4]],
        [*words[:4], {"threads": 2}],
    ]
    cache = BlobCache(tmp_path, "content")
    keys = {cache.key(*words), BlobCache(tmp_path, "other").key(*words), *(cache.key(*other) for other in others)}
    assert len(keys) == 7 and cache.key(*words) == BlobCache(tmp_path / "elsewhere", "content").key(*words)


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: data[:-1],
        lambda data: data[: DIGEST_BYTES + 1],
        lambda data: data[:DIGEST_BYTES],
        lambda data: data[:5],
        lambda data: b"",
        lambda data: data + b"\0",
        lambda data: data[:100] + bytes([data[100] ^ 1]) + data[101:],
        lambda data: bytes([data[0] ^ 1]) + data[1:],
    ],
    ids=["one byte short", "cut", "digest alone", "less", "empty", "longer", "one bit", "digest's bit"],
)
def test_a_damaged_entry_is_a_miss_that_says_so_and_is_replaced(cache, damage):
    path = kept(cache)
    path.write_bytes(damage(path.read_bytes()))
    assert cache.read("k") == (None, "the kept blob was damaged")
    kept(cache)
    assert cache.read("k")[0].tobytes() == BLOB


def test_a_whole_entry_under_another_key_is_a_miss(cache):
    kept(cache).rename(cache.folder / "other.blob")
    assert cache.read("other") == (None, "the kept blob was damaged")


def test_an_entry_that_cannot_be_read_is_a_miss(cache):
    (cache.folder / "k.blob").mkdir(parents=True)
    found, why = cache.read("k")
    assert found is None and "could not be read" in why
    assert cache.write("k", BLOB).startswith("not kept: ")
    assert not list(cache.folder.glob("*.part"))


def test_a_folder_that_cannot_be_made_is_said(tmp_path):
    (tmp_path / "file").write_text("")
    cache = BlobCache(tmp_path / "file" / "blobs", "content")
    assert cache.write("k", BLOB) == "not kept: Not a directory"
    assert cache.read("k")[0] is None


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_read_only_folder_is_read_and_not_written(cache):
    kept(cache)
    cache.folder.chmod(0o500)
    assert cache.read("k")[0] is not None
    assert cache.write("other", BLOB) == "not kept: Permission denied"


def test_without_space_nothing_is_left(cache):
    code = (
        "import resource; from edgefuse.blob_cache import BlobCache\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))\n"
        "print(BlobCache(Path(sys.argv[1]), '').write('k', bytes(100_000)))"
    )
    assert run(code, cache.folder).communicate()[0] == "not kept: File too large\n"
    assert list(cache.folder.iterdir()) == []


def test_a_writer_that_is_killed_leaves_no_entry(cache):
    code = (
        "import signal; from edgefuse.blob_cache import BlobCache\n"
        "os.replace = lambda *paths: os.kill(os.getpid(), signal.SIGKILL)\n"
        "BlobCache(Path(sys.argv[1]), '').write('k', bytes(100_000))"
    )
    assert run(code, cache.folder).wait() == -signal.SIGKILL
    assert cache.read("k") == (None, "")
    (part,) = cache.folder.iterdir()
    kept(cache)
    assert part.exists(), "it may be another's, at work"
    others = cache.folder / "a browser's.part"
    for path in (part, others):
        path.touch()
        os.utime(path, (0, 0))
    kept(cache)
    assert not part.exists() and others.exists()


def test_two_writers_at_once_leave_one_whole_entry(cache):
    code = (
        "from edgefuse.blob_cache import BlobCache\ncache = BlobCache(Path(sys.argv[1]), '')\n"
        "for _ in range(200):\n"
        "    assert cache.write('k', bytes(300_000)) == ''\n"
        "    assert cache.read('k')[0] is not None\n"
    )
    children = [run(code, cache.folder) for _ in range(2)]
    while any(child.poll() is None for child in children):
        found, why = cache.read("k")
        assert found is not None or why == ""
        time.sleep(0.001)
    assert [child.wait() for child in children] == [0, 0]
    assert [path.name for path in cache.folder.iterdir()] == ["k.blob"]


def test_the_longest_unused_entries_make_room(tmp_path):
    cache = BlobCache(tmp_path, "content", limit_bytes=3 * (len(BLOB) + DIGEST_BYTES))
    for age, key in enumerate(["new", "middle", "old"]):
        os.utime(kept(cache, key), (1e9 - age, 1e9 - age))
    assert cache.read("old")[0] is not None  # now it is the latest used
    kept(cache, "one more")
    assert {path.stem for path in tmp_path.iterdir()} == {"new", "old", "one more"}


def test_a_blob_above_the_limit_is_not_kept_and_removes_nothing(tmp_path):
    cache = BlobCache(tmp_path, "content", limit_bytes=1000)
    kept(cache, "small", b"x" * 100)
    assert cache.write("k", BLOB).startswith("not kept: 10272 bytes are more")
    assert [path.name for path in tmp_path.iterdir()] == ["small.blob"]


def test_the_default_folder_is_the_users_cache(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert blob_folder() == tmp_path / "edgefuse" / "blobs"


def test_a_user_without_a_home_has_no_cache(monkeypatch):
    def homeless() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(Path, "home", homeless)
    assert blob_folder() is None



def test_a_miss_gives_its_reasons():
    assert miss("", "") == "miss"
    assert miss("the kept blob was damaged", "") == "miss: the kept blob was damaged"
    assert miss("a", "b") == "miss: a; b"

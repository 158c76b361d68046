"""Files by content: whole or not there, never outside, the oldest go first."""

from __future__ import annotations

import hashlib
import os
import shutil
import stat
import subprocess
import sys
from collections import namedtuple
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from edgefuse.errors import ToolchainError, UsageError
from edgefuse.worker import store as module
from edgefuse.worker.offspring import MARK
from edgefuse.worker.store import Store, open_store
from tests.remote.rig import eventually, is_alive

OUTSIDE = ["../up", "/etc/passwd", "a/../../up", "", ".", "./.", "a/.."]


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = open_store(tmp_path / "store")
    yield store
    store.close()


def digest_of(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def put(store: Store, data: bytes) -> str:
    digest = digest_of(data)
    store.write(digest, len(data), [data[:2], data[2:]])
    return digest


def test_a_file_is_kept_by_its_content_and_read_only(store: Store) -> None:
    wanted = {digest_of(b"content"): 7}
    assert store.missing(wanted) == list(wanted)
    digest = put(store, b"content")
    assert store.missing(wanted) == [] and store.file(digest).read_bytes() == b"content"
    assert stat.S_IMODE(store.file(digest).stat().st_mode) == 0o444


@pytest.mark.parametrize("chunks", [[], [b"cont"], [b"content", b"more"], [b"another"]])
def test_what_is_not_what_was_announced_leaves_nothing(store: Store, chunks: list[bytes]) -> None:
    with pytest.raises(ToolchainError, match="SHA-256 differs"):
        store.write(digest_of(b"content"), 7, chunks)
    assert not [*store.files.iterdir(), *store.work.iterdir()]


def test_an_upload_that_breaks_off_leaves_nothing(store: Store) -> None:
    def chunks() -> Iterator[bytes]:
        yield b"con"
        raise ConnectionError

    with pytest.raises(ConnectionError):
        store.write(digest_of(b"content"), 7, chunks())
    assert not [*store.files.iterdir(), *store.work.iterdir()]


@pytest.mark.parametrize("damage", [b"cont", b"cOntent", b"contents"])
def test_a_file_that_was_damaged_meanwhile_is_sent_again_and_so_is_what_holds_it(
    tmp_path: Path, store: Store, damage: bytes
) -> None:
    digest, key = put(store, b"content"), digest_of(b"folder")
    store.place_folder(key, {"a": digest})
    store.file(digest).chmod(0o644)
    store.file(digest).write_bytes(damage)
    another = open_store(tmp_path / "store")
    assert another.missing({digest: 7}) == [digest]
    put(another, b"content")
    another.place_folder(key, {"a": digest})
    assert (another.folder(key) / "a").read_bytes() == b"content"
    another.close()


def test_a_folder_is_made_of_links_and_made_again_where_a_file_of_it_is_gone(store: Store) -> None:
    names = {"a": put(store, b"one"), "b/c": put(store, b"two"), "b/d": put(store, b"one")}
    key = digest_of(b"folder")
    for _ in range(2):
        store.place_folder(key, names)
        folder = store.folder(key)
        found = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if path.is_file()}
        assert {name: digest_of(path.read_bytes()) for name, path in found.items()} == names
        assert found["a"].samefile(store.file(names["a"]))
        found["b/c"].unlink()
    assert not list(store.work.iterdir())


def test_a_folder_is_copied_where_there_are_no_links(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_links(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", no_links)
    store.place_folder(digest_of(b"folder"), {"a": put(store, b"one")})
    assert (store.folder(digest_of(b"folder")) / "a").read_bytes() == b"one"


def test_two_names_for_one_place_do_not_write_into_the_store(store: Store) -> None:
    """A copy onto the first one's link was a copy into the file that others use."""
    one, two = put(store, b"one"), put(store, b"two")
    with pytest.raises(OSError, match="exists"):
        store.place_folder(digest_of(b"folder"), {"a": one, "./a": two})
    assert store.file(one).read_bytes() == b"one" and not list(store.work.iterdir())


def test_a_folder_of_files_that_are_not_there_is_not_made(store: Store) -> None:
    with pytest.raises(ToolchainError, match="not there any more"):
        store.place_folder(digest_of(b"folder"), {"a": put(store, b"one"), "b": digest_of(b"missing")})
    assert not [*store.folders.iterdir(), *store.work.iterdir()]


@pytest.mark.parametrize("name", OUTSIDE)
def test_names_that_lead_outside_are_refused(store: Store, name: str) -> None:
    with pytest.raises(UsageError, match="lies outside"):
        store.place_folder(digest_of(b"folder"), {name: put(store, b"one")})
    with pytest.raises(UsageError, match="lies outside"):
        store.made(name)


@pytest.mark.parametrize("digest", ["", "../../etc/passwd", "A" * 64, "0" * 63, "0" * 64 + "\n"])
def test_what_is_no_sha256_is_refused(store: Store, digest: str) -> None:
    asks: list[Callable[[], object]] = [
        lambda: store.missing({digest: 1}),
        lambda: store.write(digest, 1, [b"a"]),
        lambda: store.file(digest),
        lambda: store.folder(digest),
        lambda: store.place_folder(digest, {}),
        lambda: store.place_folder("0" * 64, {"a": digest}),
    ]
    for ask in asks:
        with pytest.raises(UsageError, match="no SHA-256"):
            ask()


def test_a_link_out_of_a_result_is_not_followed(store: Store, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("secret")
    (store.work / "made").mkdir()
    (store.work / "made" / "link").symlink_to(tmp_path / "secret")
    for ask in (lambda: store.made("made/link"), lambda: store.listing("made")):
        with pytest.raises(UsageError, match="there is no result 'made/link'"):
            ask()


def test_a_result_is_listed_by_name_hash_and_size(store: Store) -> None:
    (store.work / "made" / "deep").mkdir(parents=True)
    (store.work / "made" / "deep" / "x").write_bytes(b"abc")
    item = {"sha256": digest_of(b"abc"), "size_bytes": 3}
    assert store.listing("made") == {"deep/x": item} and store.listing("made/deep/x") == {"": item}


def test_the_longest_unused_goes_first_and_what_is_in_use_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LIMIT_BYTES", 250)
    before = open_store(tmp_path / "store")
    files = [bytes([number]) * 100 for number in range(2)]
    old, new = (put(before, data) for data in files)
    before.place_folder(digest_of(b"folder"), {"a": old})
    os.utime(before.file(old), (1, 1))
    before.close()

    store = open_store(tmp_path / "store")
    assert store.missing({digest_of(b"third"): 100}) == [digest_of(b"third")]
    assert {path.name for path in store.files.iterdir()} == {new} and not list(store.folders.iterdir())
    store.missing({new: 100, digest_of(b"fourth"): 200})
    assert store.file(new), "it is larger than the limit with it, but in use"
    store.close()


def test_a_use_makes_a_file_young(tmp_path: Path) -> None:
    store = open_store(tmp_path / "store")
    digest = put(store, b"content")
    os.utime(store.file(digest), (1, 1))
    assert store.missing({digest: 7}) == [] and store.file(digest).stat().st_mtime > 1
    store.close()


def test_a_disk_that_is_too_full_is_said_before_anything_is_sent(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    digest = put(store, b"content")
    store._used.clear()
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(10**12, 10**12, module.SPARE_BYTES + 10))
    with pytest.raises(ToolchainError, match=r"No space left.*20\.0 MB are to be sent") as caught:
        store.missing({digest_of(b"new"): 20_000_000})
    assert "XDG_CACHE_HOME" in caught.value.hint
    assert not (store.files / digest).exists(), "what nobody used was given up first"


def test_what_a_dead_worker_left_is_removed_with_what_still_runs_for_it_and_a_live_one_s_is_not(
    tmp_path: Path,
) -> None:
    alive, code = open_store(tmp_path / "store"), "import sys, edgefuse.worker.store as s, pathlib; "
    code += "print(s.open_store(pathlib.Path(sys.argv[1])).work)"
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "store")], capture_output=True, text=True, check=True
    )
    dead = Path(done.stdout.strip())
    (dead / "x.part").write_bytes(b"half")
    stray = subprocess.Popen(["sleep", "600"], env={MARK: dead.name}, start_new_session=True)
    spared = subprocess.Popen(["sleep", "600"], env={MARK: alive.work.name}, start_new_session=True)
    try:
        store = open_store(tmp_path / "store")
        assert not dead.exists() and alive.work.is_dir() and store.work.is_dir()
        assert eventually(lambda: not is_alive(stray.pid)) and is_alive(spared.pid)
        store.close()
    finally:
        for process in (stray, spared):
            process.kill()
            process.wait()
    alive.close()
    assert not list((tmp_path / "store" / "work").iterdir())

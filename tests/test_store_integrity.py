"""Checksums of the feature store: no bit of it changes unseen, and old stores are still read."""

import os
import zlib
from typing import Any

import numpy as np
import pytest

from semi.checksums import file_sha256
from semi.errors import StoreError
from semi.features.keys import FileKeys
from semi.features.merge import Shard, merge
from semi.features.quarantine import Failure, read_quarantine
from semi.features.snapshot import INDEX, item_crcs, json_bytes
from semi.features.store import FeatureStore
from semi.runs.verify import verify


def shard(*numbers, lengths=None, failures=()):
    keys = np.array([f"{n:064x}" for n in numbers], "S64")
    rows = np.repeat(numbers, lengths) if lengths else np.array(numbers)
    data = (rows[:, None] + np.arange(5) / 10).astype(np.float32)
    seconds = np.full(len(numbers), 1.5, np.float32)
    return Shard(keys, seconds, data, np.array(lengths) if lengths else None, list(failures))


def add(shelf, part):
    with shelf.locked():
        shelf.describe()
        path = shelf.folder / "shard.npz"
        part.save(path)
        merge(shelf, [path])
        path.unlink()


@pytest.fixture
def shelf(tmp_path):
    failure = Failure(f"{9:064x}", "u9", 'caf\udce9 , "é".wav', "unreadable:\nline two")
    shelf = FeatureStore(tmp_path / "store").shelf("speech", {"model": "a"})
    add(shelf, shard(1, 2, 3, failures=[failure]))
    return shelf


def decay(path, at):
    """Flips one bit as a failing disk does: the times of the file stay."""
    stamp = path.stat()
    content = bytearray(path.read_bytes())
    content[at] ^= 4
    path.write_bytes(content)
    os.utime(path, ns=(stamp.st_atime_ns, stamp.st_mtime_ns))


def test_a_checksum_is_the_crc_32_of_the_items_bytes():
    values = np.random.default_rng(0).random((6, 3)).astype(np.float32)
    expected = [zlib.crc32(values[a:b].tobytes()) for a, b in ((0, 2), (2, 2), (2, 6))]
    assert item_crcs(values, np.array([0, 2, 2, 6])).tolist() == expected


@pytest.mark.parametrize("lengths", [None, [2, 1, 3]])
def test_bit_rot_in_an_item_is_named_when_it_is_read_and_only_then(tmp_path, lengths):
    shelf = FeatureStore(tmp_path / "store").shelf("speech", {"model": "a"})
    add(shelf, shard(1, 2, 3, lengths=lengths))
    decay(next(shelf.folder.glob("data-*.npy")), -3)
    snapshot = shelf.open()
    read = snapshot.rows if lengths is None else snapshot.frames
    read(np.array([1, 0]))
    with pytest.raises(StoreError) as error:
        read(np.array([2, 0]))
    assert str(error.value) == (
        f"The feature store at {shelf.folder} is damaged: 1 of the 2 items read do not match their "
        f"checksums (the first has the key {'0' * 16}...); delete that folder and run `semi "
        "extract` again (nothing else needs the folder, its features are recomputed)"
    )


def test_bit_rot_is_given_no_new_checksum_when_items_are_added(shelf):
    decay(next(shelf.folder.glob("data-*.npy")), -3)
    add(shelf, shard(7))
    with pytest.raises(StoreError, match="do not match their checksums"):
        shelf.get(np.array([f"{3:064x}"], "S64"))
    assert shelf.get(np.array([f"{7:064x}"], "S64"))[0, 0] == 7


def test_one_flipped_bit_in_any_file_of_a_store_is_named(shelf):
    assert verify(shelf.folder.parent).problems == []
    for path in sorted(p for p in shelf.folder.iterdir() if p.name != ".lock"):
        before = path.read_bytes()
        for at in range(0, len(before), max(1, len(before) // 40)):
            decay(path, at)
            assert verify(shelf.folder.parent).problems, (path.name, at)
            path.write_bytes(before)
    (shelf.folder / "mine.txt").write_text("")
    (problem,) = verify(shelf.folder).problems
    assert problem == f"{shelf.folder / 'mine.txt'} was added: semi wrote no such file there"


def test_a_changed_line_of_the_quarantine_list_is_named(shelf):
    assert list(read_quarantine(shelf).values()) == ["unreadable:\nline two"]
    path = shelf.folder / "quarantine.csv"
    path.write_text(path.read_text().replace("line two", "line ten"))
    with pytest.raises(StoreError, match=r"line 2 of quarantine.csv is not as it was written"):
        read_quarantine(shelf)
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(StoreError, match=r"quarantine.csv cannot be read|is not as it was"):
        read_quarantine(shelf)


def test_a_store_of_the_first_format_is_read_and_its_items_get_checksums_with_new_ones(shelf):
    home, snapshot = shelf.folder, shelf.open()
    index = np.empty(len(snapshot), INDEX[1])
    index["key"], index["seconds"], index["frames"] = snapshot.keys, snapshot.seconds, 1
    np.save(home / "index-old.npy", index)
    data = next(home.glob("data-*.npy"))
    about: dict[str, Any] = {"format": 1, "items": 3, "ragged": False}
    for part, path in (("data", data), ("index", home / "index-old.npy")):
        about[part] = {"name": path.name, "bytes": path.stat().st_size, "sha256": file_sha256(path)}
    (home / "store.json").write_bytes(json_bytes(about))
    listed = f"key,id,path,reason\n{9:064x},u9,a.wav,unreadable\n"
    (home / "quarantine.csv").write_text(listed)
    old = shelf.open()
    assert old.crc is None and old.rows(np.arange(3))[:, 0].tolist() == [1, 2, 3]
    assert list(read_quarantine(shelf).values()) == ["unreadable"]
    add(shelf, shard(4))
    new = shelf.open()
    assert new.crc is not None and new.rows(np.arange(4))[:, 0].tolist() == [1, 2, 3, 4]
    assert verify(home).problems == []


@pytest.mark.parametrize(
    "content",
    [b"", b"{}", b"[]", b'{"format": 2}', b"\xff\xfe", b"[" * 9999, b'{"format": 1, "data": 3}'],
)
def test_whatever_stands_in_store_json_is_a_sentence(shelf, content):
    (shelf.folder / "store.json").write_bytes(content)
    with pytest.raises(StoreError, match=r"is damaged: .*; delete that folder and run `semi ext"):
        shelf.open()


def test_a_changed_line_of_the_remembered_hashes_is_read_past(tmp_path):
    (tmp_path / "a.wav").write_bytes(b"one")
    memory = tmp_path / "files.sha256"
    keys = FileKeys(memory)
    (key,) = keys.keys([str(tmp_path / "a.wav")])
    keys.save()
    whole = memory.read_bytes()
    for at in range(len(whole) - 1):
        memory.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
        assert FileKeys(memory).keys([str(tmp_path / "a.wav")]) == [key]
    memory.write_bytes(whole[9:])  # a line of an earlier version has no checksum
    assert FileKeys(memory).keys([str(tmp_path / "a.wav")]) == [key]

"""The feature store: found by content, whole or not there, and it notices any damage."""

import json
import os
import threading

import numpy as np
import pytest

from semi.checksums import file_sha256
from semi.errors import StoreError
from semi.features.files import write_whole
from semi.features.keys import FileKeys, segment_key, text_key
from semi.features.merge import Shard, merge
from semi.features.store import FeatureStore

IDENTITY = {"model": "a"}


def keys(*numbers):
    return np.array([f"{n:064x}" for n in numbers], "S64")


def shard(numbers, lengths=None, dims=3):
    rows = np.repeat(numbers, lengths) if lengths is not None else np.array(numbers)
    data = rows[:, None] + np.arange(dims, dtype=np.float32) / 10
    lengths = None if lengths is None else np.array(lengths)
    return Shard(keys(*numbers), np.full(len(numbers), 1.5, np.float32), data, lengths)


def fill(shelf, *shards):
    with shelf.locked():
        shelf.describe()
        paths = [shelf.folder / f"shard{i}.npz" for i in range(len(shards))]
        for path, part in zip(paths, shards, strict=True):
            part.save(path)
        snapshot = merge(shelf, paths)
        for path in paths:
            path.unlink()
    return snapshot


@pytest.fixture
def shelf(tmp_path):
    return FeatureStore(tmp_path / "store").shelf("speech", IDENTITY)


def test_rows_come_back_in_the_order_asked(shelf):
    fill(shelf, shard([5, 1, 9]), shard([3, 7]))
    got = shelf.get(keys(9, 1, 1, 7))
    np.testing.assert_array_equal(got[:, 0], [9, 1, 1, 7])
    assert got.dtype == np.float32
    assert shelf.open().find(keys(2, 3)).tolist() == [-1, 1]


def test_an_absent_key_is_an_error_that_says_what_to_do(shelf):
    fill(shelf, shard([1]))
    with pytest.raises(StoreError, match=r"lacks 2 of the 3 items asked for; run `semi extract`"):
        shelf.get(keys(1, 2, 3))


def test_an_empty_store_has_nothing(shelf):
    assert len(shelf.open()) == 0
    assert shelf.open().find(keys(1)).tolist() == [-1]


def test_the_order_and_the_cut_of_shards_leave_no_trace(tmp_path):
    first = FeatureStore(tmp_path / "a").shelf("speech", IDENTITY)
    second = FeatureStore(tmp_path / "b").shelf("speech", IDENTITY)
    fill(first, shard([5, 1, 9]), shard([3, 7]))
    fill(second, shard([7]))
    fill(second, shard([9, 3]), shard([5, 1]))
    names = sorted(p.name for p in first.folder.iterdir())
    assert names == sorted(p.name for p in second.folder.iterdir())
    for name in names:
        assert (first.folder / name).read_bytes() == (second.folder / name).read_bytes()


def test_what_is_stored_stays_as_it_is(shelf):
    fill(shelf, shard([1]))
    other = shard([1, 2])
    other.data += 100
    fill(shelf, other)
    np.testing.assert_array_equal(shelf.get(keys(1, 2))[:, 0], [1, 102])


def test_frames_are_packed_and_gathered_by_row(shelf):
    fill(shelf, shard([5, 1], [2, 3]), shard([3], [1]))
    snapshot = shelf.open()
    values, offsets = snapshot.frames(snapshot.find(keys(5, 3, 1)))
    assert offsets.tolist() == [0, 2, 3, 6]
    assert values[:, 0].tolist() == [5, 5, 3, 1, 1, 1]
    fill(shelf, shard([4], [4]))
    values, offsets = shelf.open().frames(np.arange(4))
    assert values[:, 0].tolist() == [1, 1, 1, 3, 4, 4, 4, 4, 5, 5]


def test_an_identity_that_hides_something_is_found_out(shelf):
    fill(shelf, shard([1], dims=3))
    with pytest.raises(StoreError, match=r"shape \(4,\).*holds \(3,\).*identity\(\) leaves out"):
        fill(shelf, shard([2], dims=4))


def data_file(shelf):
    return next(shelf.folder.glob("data-*.npy"))


def test_a_flipped_byte_is_found_when_the_store_is_opened(shelf):
    fill(shelf, shard([1, 2]))
    shelf.open()
    with open(data_file(shelf), "r+b") as file:
        file.seek(-1, os.SEEK_END)
        byte = file.read(1)
        file.seek(-1, os.SEEK_END)
        file.write(bytes([byte[0] ^ 1]))
    with pytest.raises(StoreError) as error:
        shelf.open()
    assert str(error.value) == (
        f"The feature store at {shelf.folder} is damaged: the contents of {data_file(shelf).name} "
        "do not match their SHA-256; delete that folder and run `semi extract` again (nothing else "
        "needs the folder, its features are recomputed)"
    )


def test_decay_that_leaves_the_files_time_alone_is_found_by_verify(shelf):
    fill(shelf, shard([1, 2]))
    path = data_file(shelf)
    status = path.stat()
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    shelf.open()
    with pytest.raises(StoreError, match="do not match their SHA-256"):
        FeatureStore(shelf.folder.parent).verify()


@pytest.mark.parametrize("name", ["data-*.npy", "index-*.npy", "store.json"])
def test_a_truncated_file_is_an_error(shelf, name):
    fill(shelf, shard([1, 2]))
    path = next(shelf.folder.glob(name))
    path.write_bytes(path.read_bytes()[:-7])
    with pytest.raises(StoreError, match=r"is damaged: .*; delete that folder and run `semi ext"):
        shelf.open()


def test_a_missing_file_is_an_error(shelf):
    fill(shelf, shard([1, 2]))
    data_file(shelf).unlink()
    with pytest.raises(StoreError, match=r"is damaged: data-\w+.npy is missing"):
        shelf.open()


def test_an_intact_copy_opens_and_the_check_is_made_once(shelf, monkeypatch):
    fill(shelf, shard([1, 2]))
    os.utime(data_file(shelf), ns=(0, 0))
    read = []
    real = file_sha256
    monkeypatch.setattr(
        "semi.features.snapshot.file_sha256", lambda path: read.append(path) or real(path)
    )
    shelf.open()
    shelf.open()
    assert [path.name[:4] for path in read] == ["inde", "data", "inde"] or (
        [path.name[:4] for path in read] == ["data", "inde", "inde"]
    )


def test_a_reader_keeps_its_view_while_the_store_grows(shelf):
    fill(shelf, shard([5, 6]))
    before = shelf.open()
    fill(shelf, shard([1, 2, 3]))
    assert before.rows(np.arange(2))[:, 0].tolist() == [5, 6]
    assert len(shelf.open()) == 5


def test_readers_and_writers_at_once_see_whole_states_only(shelf):
    fill(shelf, shard([0]))
    seen, stop = [], threading.Event()

    def read():
        while not stop.is_set():
            snapshot = shelf.open()
            seen.append(len(snapshot))
            assert snapshot.rows(np.arange(len(snapshot)))[:, 0].tolist() == list(range(seen[-1]))

    thread = threading.Thread(target=read)
    thread.start()
    for n in range(1, 20):
        fill(shelf, shard([n]))
    stop.set()
    thread.join()
    assert seen == sorted(seen) and len(set(seen)) > 2


def test_a_full_disk_is_an_error_and_loses_nothing(shelf, monkeypatch):
    fill(shelf, shard([1]))

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full, raising=False)
    with pytest.raises(StoreError, match=r"could not be written: .*No space left.*free some space"):
        fill(shelf, shard([2]))
    monkeypatch.undo()
    assert len(shelf.open()) == 1


def test_a_damaged_shard_is_removed_and_made_again(tmp_path):
    path = tmp_path / "000000.npz"
    shard([1, 2]).save(path)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0xFF
    path.write_bytes(content)
    assert Shard.load(path) is None
    assert not path.exists()


def test_write_whole_leaves_the_old_file_when_it_fails(tmp_path):
    path = tmp_path / "a"
    path.write_bytes(b"old")

    def fails(file):
        file.write(b"ne")
        raise RuntimeError

    with pytest.raises(RuntimeError):
        write_whole(path, fails)
    assert path.read_bytes() == b"old"
    assert [p.name for p in tmp_path.iterdir()] == ["a"]


def test_keys_follow_from_content(tmp_path):
    for name, content in (("a", b"1"), ("b", b"1"), ("c", b"2")):
        (tmp_path / name).write_bytes(content)
    a, b, c, gone = FileKeys().keys([str(tmp_path / name) for name in "abcd"])
    assert a == b != c
    assert isinstance(gone, FileNotFoundError)
    assert segment_key(a, None, None) == a
    assert (
        len({a, segment_key(a, 0.0, 1.0), segment_key(a, 0.0, 1.5), segment_key(a, 0, None)}) == 4
    )
    assert text_key("é") != text_key("e\u0301")


def test_a_file_is_read_once_and_again_only_when_it_changed(tmp_path, monkeypatch):
    path, memory = tmp_path / "a b", tmp_path / "files.sha256"
    path.write_bytes(b"1")
    first = FileKeys(memory)
    (key,) = first.keys([str(path)])
    first.save()
    read = []
    real = file_sha256
    monkeypatch.setattr("semi.features.keys.file_sha256", lambda p: read.append(p) or real(p))
    assert FileKeys(memory).keys([str(path)]) == [key]
    assert read == []
    path.write_bytes(b"2")  # same size
    assert FileKeys(memory).keys([str(path)]) != [key]
    assert len(read) == 1
    memory.write_bytes(b"no sense\n" + memory.read_bytes()[:20])
    assert len(FileKeys(memory).keys([str(path)])) == 1


def test_encoder_json_says_what_made_the_numbers(shelf):
    fill(shelf, shard([1]))
    about = json.loads((shelf.folder / "encoder.json").read_text())
    assert about["modality"] == "speech" and about["identity"] == IDENTITY
    assert shelf.folder.name == f"speech-{about['key'][:16]}"


def test_a_store_that_cannot_be_written_is_an_error_that_says_where_to_go(tmp_path):
    (tmp_path / "store").write_text("a file where the folder should be")
    with pytest.raises(StoreError, match=r"cannot be written \(.*\); set features.store to a fold"):
        FeatureStore(tmp_path / "store").shelf("speech", IDENTITY).locked()

"""Several writers of one object store at once: nothing that was put is lost, whoever looks when."""
# ruff: noqa: F401, F811  (fixtures are imported)

import os
import subprocess
import sys
from datetime import datetime, timedelta, timezone
from pathlib import Path

import fsspec
import numpy as np
import pandas as pd
import pytest
from test_remote_store import (
    S3,
    add,
    address,
    bucket,
    disk,
    objects,
    shelf_at,
    speech,
    stopped_at,
    words,
)

from semi.cli import main
from semi.config.schema import load_config
from semi.errors import StoreError
from semi.features import encode
from semi.features.extract import extract
from semi.features.merge import Shard, merge
from semi.features.quarantine import Failure, failures_of

ROOT = Path(__file__).resolve().parents[1]
KIND = type(fsspec.filesystem("memory"))
ADDS = """
import sys
sys.path.insert(0, "tests")
from test_remote_store import add, shelf_at
address, *numbers = sys.argv[1:]
print("ready", flush=True)
sys.stdin.readline()
for number in numbers:
    add(shelf_at(address), int(number))
"""


def names(address):
    """Returns the names of all objects of the shelf."""
    found = fsspec.filesystem("memory").find(address.partition(":/")[2])
    return [Path(name).name for name in found]


def together(shelf, number, disk, monkeypatch, what):
    """Adds a number, and on another machine something else in the instant in which it is put."""
    real, others = KIND.pipe_file, [what]

    def pipe_file(self, path, value, **more):
        if "/store-" in path and others:
            disk("another machine")
            others.pop()()
            disk("cache")
        return real(self, path, value, **more)

    with monkeypatch.context() as patch:
        patch.setattr(KIND, "pipe_file", pipe_file)
        add(shelf, number)


def fail(shelf, key):
    """Merges a shard of nothing but an item that could not be encoded."""
    with shelf.locked():
        shelf.describe()
        path = shelf.folder / "part.npz"
        lost = [Failure(key, key, f"{key}.wav", "no sound")]
        empty = np.empty(0, np.float32)
        Shard(np.empty(0, "S64"), empty, empty.reshape(0, 0), None, lost).save(path)
        merge(shelf, [path])
        path.unlink()


def test_states_that_are_put_in_one_instant_are_one_for_everybody(address, disk, monkeypatch):
    add(shelf_at(address), 1)
    together(shelf_at(address), 3, disk, monkeypatch, lambda: add(shelf_at(address), 2))
    assert sum(name.startswith("store-") for name in names(address)) == 2
    disk("third machine")
    found = shelf_at(address).open(verify=True)
    assert found.rows(np.arange(3)).tolist() == [[n] * 3 for n in (1, 2, 3)]
    assert main(["verify", address]) == 0
    add(shelf_at(address), 4)  # which puts the union in place of the two
    disk("fourth machine")
    assert len(shelf_at(address).open(verify=True)) == 4
    assert len(objects(address)) == 4  # what made them, one state and its two files


def test_what_could_not_be_encoded_is_not_lost_either(address, disk, monkeypatch):
    fail(shelf_at(address), "a" * 64)
    together(shelf_at(address), 3, disk, monkeypatch, lambda: fail(shelf_at(address), "b" * 64))
    disk("third machine")
    shelf = shelf_at(address)
    shelf.open()
    assert [lost.id[0] for lost in failures_of(shelf)] == ["a", "b"]


def test_a_reader_that_may_not_write_sees_both(address, disk, monkeypatch):
    add(shelf_at(address), 1)
    together(shelf_at(address), 3, disk, monkeypatch, lambda: add(shelf_at(address), 2))
    before = sorted(names(address))
    for method in ("pipe_file", "put_file", "rm_file"):
        monkeypatch.setattr(KIND, method, None)
    disk("third machine")
    assert [len(shelf_at(address).open()) for _ in range(2)] == [3, 3]
    assert sorted(names(address)) == before


def test_a_state_that_another_holds_whole_may_lack_its_files(address, disk):
    """As where one writer puts again what another has just taken into its own and removed."""
    add(shelf_at(address), 1)
    fs = fsspec.filesystem("memory")
    (old,) = fs.glob("/bucket/store/*/store-*.json")
    content = fs.cat_file(old)
    add(shelf_at(address), 2)
    fs.pipe_file(old, content)
    disk("another machine")
    assert len(shelf_at(address).open()) == 2
    add(shelf_at(address), 3)
    assert len(objects(address)) == 4
    (now,) = fs.glob("/bucket/store/*/data-*.npy")
    fs.rm_file(now)
    disk("third machine")
    with pytest.raises(StoreError, match=r"data-\w+\.npy is missing; delete that folder"):
        shelf_at(address).open()


def test_data_of_dead_writers_are_removed_when_they_are_old(address, disk, monkeypatch):
    add(shelf_at(address), 1)
    fs = fsspec.filesystem("memory")
    folder = f"/bucket/store/{shelf_at(address).folder.name}"
    fs.pipe_file(f"{folder}/data-0123456789abcdef.npy", b"of a writer at work")
    add(shelf_at(address), 2)
    assert "data-0123456789abcdef.npy" in names(address)
    later = datetime.now(timezone.utc) - timedelta(days=2)
    monkeypatch.setattr(KIND, "modified", lambda self, path: later)
    add(shelf_at(address), 3)
    assert "data-0123456789abcdef.npy" not in names(address)
    assert len(shelf_at(address).open()) == 3


@pytest.mark.parametrize("rows", [slice(4, None), slice(None, 9)])
def test_shards_of_another_table_that_was_stopped_are_taken_in(
    speech, address, disk, monkeypatch, tmp_path, rows
):
    """On a disk they are; the machine that made these is gone, and the table has changed."""
    monkeypatch.setattr(encode.INPUT_KINDS["audio"], "shard", (3.0, 3.0))
    stopped_at(5, speech, address, monkeypatch)
    assert sum("/pending/" in name for name in objects(address)) == 4
    disk("another machine")
    pd.read_csv(speech).iloc[rows].to_csv(tmp_path / "part.csv", index=False)
    part = extract(load_config(None, words(tmp_path / "part.csv", address)[1:]), progress=False)
    assert not any("pending" in name for name in objects(address))
    whole = extract(load_config(None, words(speech, address)[1:]), progress=False)
    assert part.done + whole.done == 12 - 4 and whole.done + whole.cached == 12


def started(address, *numbers):
    command = [sys.executable, "-c", ADDS, address, *map(str, numbers)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.Popen(command, cwd=ROOT, env=environment, text=True,
                            stdin=subprocess.PIPE, stdout=subprocess.PIPE)  # fmt: skip


@S3
def test_two_processes_that_put_again_and_again_lose_nothing(bucket, disk, tmp_path, monkeypatch):
    there, count = f"{bucket}-two", 8
    processes = []
    for machine in range(2):
        disk(f"machine {machine}")
        processes.append(started(there, *range(machine * count, (machine + 1) * count)))
    for process in processes:
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        process.stdin.write("go\n")
        process.stdin.flush()
    for process in processes:
        process.communicate()
        assert process.returncode == 0
    disk("third machine")
    found = shelf_at(there).open(verify=True)
    assert found.rows(np.arange(2 * count))[:, 0].tolist() == list(range(2 * count))

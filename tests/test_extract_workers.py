"""Extraction by several workers, killed or not: one plan, and the same store byte for byte."""

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from noise_corpus import Fake, noise_table, tree, write_noise

from semi.features import encode as encode_module
from semi.features.extract import extract_rows
from semi.features.plan import cut, make_plan
from semi.features.shards import worker_from_environment
from semi.features.store import FeatureStore

ROOT = Path(__file__).resolve().parents[1]

WORKER = """
import sys, time
import numpy as np, pandas as pd
import semi.features.encode as encode
from semi.features.extract import extract_rows
from semi.features.store import FeatureStore

encode.INPUT_KINDS["audio"].shard = (2.0, 2.0)

class Slow:
    modality, shape = "speech", (3,)
    def identity(self):
        return {"fake": 1}
    def encode(self, batch):
        time.sleep(float(sys.argv[3]))
        return np.stack([[len(x), x.mean(), x.std()] for x in batch]).astype("float32")

table = pd.read_csv(sys.argv[1])
print("ready", flush=True)
result = extract_rows(table, {"speech": Slow()}, FeatureStore(sys.argv[2]), progress=False)
print(result.done, result.cached, len(result.quarantine), flush=True)
"""


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    return write_noise(tmp_path_factory.mktemp("corpus"))


@pytest.fixture
def table(corpus):
    return noise_table(corpus)


def start(corpus, store, rank=0, world=1, pause=0.0):
    environment = {**os.environ, "RANK": str(rank), "WORLD_SIZE": str(world), "PYTHONPATH": "."}
    command = [sys.executable, "-c", WORKER, str(corpus / "manifest.csv"), str(store), str(pause)]
    return subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True)


def finish(*processes):
    lines = [process.communicate()[0].splitlines() for process in processes]
    assert [process.returncode for process in processes] == [0] * len(processes)
    return [line[-1] for line in lines]


@pytest.fixture(scope="module")
def uninterrupted(corpus, tmp_path_factory):
    store = tmp_path_factory.mktemp("uninterrupted") / "store"
    assert finish(start(corpus, store)) == ["25 0 2"]
    return tree(store)


@pytest.mark.parametrize("world", [2, 3])
def test_any_number_of_workers_gives_the_same_store(corpus, uninterrupted, tmp_path, world):
    workers = [start(corpus, tmp_path / "s", rank, world, 0.02) for rank in range(world)]
    told = finish(*workers)  # one that starts when the others are done finds all of it in the store
    assert set(told) <= {"25 0 2", "0 25 2"} and "25 0 2" in told
    assert tree(tmp_path / "s") == uninterrupted


def test_killed_at_random_moments_and_resumed_gives_the_same_store(corpus, uninterrupted, tmp_path):
    moments, kills, pause = random.Random(1), 0, 0.03
    while kills < 4:
        process = start(corpus, tmp_path / "s", pause=pause)
        assert process.stdout.readline() == "ready\n"
        time.sleep(moments.uniform(0.0, 0.25))
        process.send_signal(signal.SIGKILL)
        process.wait()
        process.stdout.close()
        kills += 1
        if tree(tmp_path / "s") == uninterrupted:  # the kills must come while there is work to do
            shutil.rmtree(tmp_path / "s")
            kills, pause = 0, 2 * pause
    finish(start(corpus, tmp_path / "s"))
    assert tree(tmp_path / "s") == uninterrupted


def test_a_worker_that_dies_is_replaced_by_the_others(corpus, uninterrupted, tmp_path):
    first = start(corpus, tmp_path / "s", 0, 2, 5.0)
    assert first.stdout.readline() == "ready\n"
    second = start(corpus, tmp_path / "s", 1, 2)
    time.sleep(0.5)
    first.kill()
    first.communicate()
    finish(second)
    assert tree(tmp_path / "s") == uninterrupted


@pytest.mark.parametrize("step", range(10))
def test_stopped_before_any_rename_it_resumes(table, tmp_path, monkeypatch, step):
    """The n-th rename never happens, nor anything after it, as when the power fails."""

    class PowerCut(BaseException):
        pass

    renames, real = [], os.replace

    def fragile(source, target):
        if len(renames) == step:
            raise PowerCut
        renames.append(target)
        real(source, target)

    extract_rows(table, {"speech": Fake()}, FeatureStore(tmp_path / "whole"), progress=False)
    monkeypatch.setattr(os, "replace", fragile)
    try:
        extract_rows(table, {"speech": Fake()}, FeatureStore(tmp_path / "s"), progress=False)
    except PowerCut:
        pass
    else:
        assert len(renames) == 8  # there are no more
    monkeypatch.undo()
    extract_rows(table, {"speech": Fake()}, FeatureStore(tmp_path / "s"), progress=False)
    assert tree(tmp_path / "s") == tree(tmp_path / "whole")


def test_left_over_shards_of_another_manifest_are_used(table, tmp_path):
    store = FeatureStore(tmp_path)

    class Stops(Fake):
        def encode(self, batch):
            if len(self.batches) == 3:
                raise KeyboardInterrupt
            return super().encode(batch)

    monkey = pytest.MonkeyPatch()
    monkey.setattr(encode_module.INPUT_KINDS["audio"], "shard", (1.0, 1.0))
    with pytest.raises(KeyboardInterrupt):
        extract_rows(table, {"speech": Stops()}, store, progress=False)
    encoder = Fake()
    extract_rows(table[:23], {"speech": encoder}, store, progress=False)
    monkey.undo()
    assert sum(encoder.batches) == 21  # 24 less the two that were finished, less the one left out


def test_what_was_encoded_before_a_kill_is_counted_as_there_already(table, tmp_path):
    """A shard holds up to a second of sound, and the longest come first: 1.35, 1.30, 1.25 s, ...

    So each of the first is a shard and a batch of one, written before the next begins, and the
    fourth call meets the kill: 3 of the 24 are there.
    """

    class Stops(Fake):
        def encode(self, batch):
            if len(self.batches) == 3:
                raise KeyboardInterrupt
            return super().encode(batch)

    store = FeatureStore(tmp_path)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(encode_module.INPUT_KINDS["audio"], "shard", (1.0, 1.0))
        with pytest.raises(KeyboardInterrupt):
            extract_rows(table[:24], {"speech": Stops()}, store, progress=False)
        done = extract_rows(table[:24], {"speech": Fake()}, store, progress=False)
    count = done.modalities["speech"]
    assert (count.done, count.cached) == (21, 3)


def test_a_plan_follows_from_the_items_alone():
    random_numbers = np.random.default_rng(0)
    keys = np.array([f"{i:064x}" for i in range(50)], "S64")
    sizes = random_numbers.uniform(1, 9, 50)
    order = random_numbers.permutation(50)
    one = make_plan(keys, np.arange(50), sizes, 20.0)
    two = make_plan(keys[order], order, sizes[order], 20.0)
    assert one.name == two.name
    np.testing.assert_array_equal(one.keys, two.keys)
    np.testing.assert_array_equal(one.rows, two.rows)
    work = [one.sizes[one.items(s)].sum() for s in range(len(one))]
    assert max(work) <= 20.0 and sum(work) == pytest.approx(sizes.sum())
    assert make_plan(keys[1:], np.arange(49), sizes[1:], 20.0).name != one.name


def test_cutting_keeps_to_the_budget_and_the_count():
    assert cut(np.array([5.0, 1, 1, 1, 9]), 4.0, 2).tolist() == [0, 1, 3, 4, 5]
    assert cut(np.array([]), 4.0, 2).tolist() == [0]


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"RANK": "1", "WORLD_SIZE": "4"}, (1, 4)),
        ({"SLURM_PROCID": "2", "SLURM_NTASKS": "3"}, (2, 3)),
        (
            {
                "SLURM_ARRAY_TASK_ID": "7",
                "SLURM_ARRAY_TASK_COUNT": "4",
                "SLURM_ARRAY_TASK_MIN": "5",
                "SLURM_PROCID": "0",
                "SLURM_NTASKS": "1",
            },
            (2, 4),
        ),
        ({}, (0, 1)),
    ],
)
def test_the_place_of_a_worker_comes_from_the_environment(monkeypatch, given, expected):
    for name in list(os.environ):
        if name in ("RANK", "WORLD_SIZE") or name.startswith("SLURM_"):
            monkeypatch.delenv(name)
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    worker = worker_from_environment()
    assert (worker.rank, worker.world) == expected

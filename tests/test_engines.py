"""Extraction in processes of this machine and on Ray: the store is that of one process, and kills
cost the shard under way."""

import os
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import pandas as pd
import pytest
from broken_corpus import broken_corpus

from semi.cli import main
from semi.errors import ConfigError, RunError, SemiError
from semi.experiments.ablation import variants
from semi.parallel import EngineConfig, run_cells

ROOT = Path(__file__).resolve().parents[1]
RAY = pytest.mark.extras("ray")

DRIVER = """
import os, sys, time
import numpy as np, pandas as pd
import semi.features.encode as encode
from semi.features.extract import extract_rows
from semi.features.store import FeatureStore
from semi.parallel import EngineConfig

encode.INPUT_KINDS["audio"].shard = (3.0, 3.0)
manifest, store, log, pause = sys.argv[1:]

class Slow:
    modality, shape = "speech", (3,)
    def identity(self):
        return {"slow": 1}
    def encode(self, batch):
        with open(log, "a") as file:
            file.write(f"{os.getpid()} {len(batch)}\\n")
        time.sleep(float(pause))
        return np.stack([[len(x), x.mean(), x.std()] for x in batch]).astype("float32")

if __name__ == "__main__":
    table = pd.read_csv(manifest)
    engine = EngineConfig("ray", processes=2)
    done = extract_rows(table, {"speech": Slow()}, FeatureStore(store), progress=False,
                        engine=engine)
    print(done.done, done.cached, flush=True)
"""


def tree(root):
    found = {str(p.relative_to(root)): p.read_bytes() for p in root.rglob("*") if p.is_file()}
    return {name: content for name, content in found.items() if name != "files.sha256"}


@pytest.fixture(scope="module")
def speech(tmp_path_factory):
    """Twenty-four bundled recordings, and a file that is none."""
    folder = tmp_path_factory.mktemp("speech")
    return broken_corpus(folder, 22, 24)


def words(manifest, store, *more):
    return ["extract", f"data.manifest={manifest}", f"features.store={store}",
            "encoders.speech.model=acoustic", "encoders.text.model=char-ngram", *more]  # fmt: skip


@pytest.fixture(scope="module")
def alone(speech, tmp_path_factory):
    store = tmp_path_factory.mktemp("alone") / "store"
    assert main(words(speech, store)) == 0
    return tree(store)


@pytest.mark.parametrize(
    "more", [["processes=2"], pytest.param(["engine=ray", "processes=2"], marks=RAY)]
)
def test_real_speech_gives_the_same_store_wherever_it_is_encoded(
    speech, alone, tmp_path, capsys, more
):
    assert main(words(speech, tmp_path / "store", *more)) == 0
    assert tree(tmp_path / "store") == alone
    assert "speech: 24 encoded" in capsys.readouterr().out
    assert "speech-" in str(alone.keys()) and any("quarantine" in name for name in alone)


def start(manifest, store, log, pause):
    command = [sys.executable, "-c", DRIVER, *map(str, (manifest, store, log, pause))]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True)


def encoded(log):
    """Returns (process, rows) of every batch that was begun."""
    lines = log.read_text().splitlines() if log.exists() else []
    return [tuple(map(int, line.split())) for line in lines]


def until(condition, process):
    while process.poll() is None and not condition():
        time.sleep(0.05)
    assert process.poll() is None, "ended before it could be killed"


@pytest.fixture(scope="module")
def slow_store(speech, tmp_path_factory):
    folder = tmp_path_factory.mktemp("slow")
    process = start(speech, folder / "store", folder / "log", 0)
    assert process.communicate()[0].splitlines()[-1] == "24 0" and process.returncode == 0
    return tree(folder / "store"), sum(rows for _, rows in encoded(folder / "log"))


@RAY
def test_a_killed_worker_on_ray_costs_its_shard_alone(speech, slow_store, tmp_path):
    process = start(speech, tmp_path / "store", tmp_path / "log", 0.3)
    until(lambda: len(encoded(tmp_path / "log")) >= 5, process)
    os.kill(encoded(tmp_path / "log")[-1][0], signal.SIGKILL)
    process.communicate()
    assert process.returncode == 0
    assert tree(tmp_path / "store") == slow_store[0]
    rows = sum(rows for _, rows in encoded(tmp_path / "log"))
    assert slow_store[1] < rows <= slow_store[1] + 3  # a shard of three seconds, encoded again


@RAY
def test_a_killed_driver_on_ray_costs_the_shards_under_way_alone(speech, slow_store, tmp_path):
    process = start(speech, tmp_path / "store", tmp_path / "log", 0.3)
    until(lambda: len(list((tmp_path / "store").glob("*/pending/*/*.npz"))) >= 4, process)
    process.kill()
    process.communicate()
    until_gone(encoded(tmp_path / "log"))
    finished = len(list((tmp_path / "store").glob("*/pending/*/*.npz")))
    assert 4 <= finished < 24
    process = start(speech, tmp_path / "store", tmp_path / "log", 0)
    done, cached = map(int, process.communicate()[0].split())
    assert cached >= 4 and done + cached == 24
    assert tree(tmp_path / "store") == slow_store[0]
    rows = sum(rows for _, rows in encoded(tmp_path / "log"))
    assert rows <= slow_store[1] + 6  # two workers, each with a shard of three seconds


def until_gone(batches):
    """Waits until the workers of a dead driver have ended."""
    for process in {process for process, _ in batches}:
        while Path(f"/proc/{process}").exists():
            time.sleep(0.1)


SQUARE = partial(pow, exp=2)  # of a library: workers know it by name


@pytest.mark.parametrize("engine", [
    EngineConfig(), EngineConfig(processes=2),
    pytest.param(EngineConfig("ray", processes=2), marks=RAY),
])  # fmt: skip
def test_cells_come_back_with_their_numbers_and_errors_as_they_were_raised(engine):
    taken = []

    def cells():
        for cell in range(9):
            taken.append(cell)
            yield cell

    results = run_cells(engine, SQUARE, cells())
    number, result = next(results)
    assert result == number**2
    assert len(taken) <= 6  # bounded: two cells a worker at a time, and those done
    assert dict([*results, (number, result)]) == {i: i * i for i in range(9)}
    with pytest.raises(RunError, match=r"^give what varies as key=value or .*; got 'bad'$"):
        list(run_cells(engine, variants, [["bad"]]))


@RAY
def test_paths_are_meant_from_where_the_command_is_given(speech, tmp_path, monkeypatch, capsys):
    """Workers of a cluster that runs already begin in the folder where it was started."""
    ray = pytest.importorskip("ray")
    ray.init("local", num_cpus=2, include_dashboard=False, object_store_memory=10**8,
             log_to_driver=False, logging_level="error")  # fmt: skip
    try:
        table = pd.read_csv(speech)
        table["audio"] = [os.path.relpath(path, tmp_path) for path in table["audio"]]
        table.to_csv(tmp_path / "near.csv", index=False)
        monkeypatch.chdir(tmp_path)
        there = dict(run_cells(EngineConfig("ray"), os.path.abspath, ["x"]))
        assert there == {0: str(Path("x").absolute())}
        assert main(words("near.csv", "store", "engine=ray")) == 0
    finally:
        ray.shutdown()
    assert "speech: 24 encoded" in capsys.readouterr().out


@RAY
def test_a_cluster_that_wants_a_token_is_told_from_one_that_is_not_there(monkeypatch):
    """As Ray 2.60 says it, in the error behind its own."""
    ray = pytest.importorskip("ray")

    def refuses(*given, **more):
        cause = RuntimeError("Failed to connect to GCS. AuthenticationError: InvalidAuthToken: ...")
        raise ConnectionError("Failed to connect to Ray cluster at 192.0.2.2:6379") from cause

    monkeypatch.setattr(ray, "init", refuses)
    with pytest.raises(SemiError, match=r"'auto' cannot be joined: it takes no one without its t"):
        list(run_cells(EngineConfig("ray", "auto"), abs, [1]))


@RAY
def test_more_workers_than_the_cluster_has_room_for_are_as_many_as_it_has():
    ray = pytest.importorskip("ray")
    ray.init("local", num_cpus=1, include_dashboard=False, object_store_memory=10**8,
             log_to_driver=False, logging_level="error")  # fmt: skip
    try:
        results = dict(run_cells(EngineConfig("ray", processes=3), SQUARE, range(5)))
        assert results == {i: i * i for i in range(5)} and ray.is_initialized()
        with pytest.raises(SemiError, match=r"^the Ray cluster has no GPU for a worker; set dev"):
            list(run_cells(EngineConfig("ray"), SQUARE, [1], gpus=1.0))
    finally:
        ray.shutdown()


def test_a_process_that_is_killed_ends_the_work_in_a_sentence():
    with pytest.raises(SemiError, match=r"a worker process ended .*: killed, out of memory"):
        list(run_cells(EngineConfig(processes=2), os._exit, [1, 1, 1]))


@RAY
def test_a_cell_that_kills_every_worker_ends_the_work_in_a_sentence():
    with pytest.raises(SemiError, match=r"Ray gave up on a piece of work after 3 tries more"):
        list(run_cells(EngineConfig("ray", processes=1), os._exit, [1]))


@RAY
def test_a_cluster_that_is_not_there_is_named(speech, tmp_path, capsys):
    lost = ["engine=ray", "ray_address=127.0.0.1:1"]
    assert main(words(speech, tmp_path / "store", *lost)) == 2
    assert "the Ray cluster at '127.0.0.1:1' cannot be joined" in capsys.readouterr().err


@pytest.mark.parametrize(("word", "sentence"), [
    ("engine=slurm", "engine must be local or ray, got 'slurm'"),
    ("ray_address=auto", "ray_address 'auto' is for engine=ray, engine is 'local'"),
    ("processes=-1", "processes must be >= 0, got -1"),
])  # fmt: skip
def test_settings_of_engines_that_are_wrong_are_named(word, sentence):
    from semi.config.schema import load_config

    with pytest.raises(ConfigError) as caught:
        load_config(None, ["data.manifest=m.csv", word])
    assert sentence in str(caught.value)


def test_without_the_library_ray_the_extra_is_named(speech, tmp_path, capsys, monkeypatch):
    from importlib import util

    real = util.find_spec
    monkeypatch.setattr(
        "semi.parallel.find_spec", lambda name: None if name == "ray" else real(name)
    )
    given = words(speech, tmp_path / "store", "engine=ray")
    for verb in ("extract", "check"):  # check says beforehand what would end the others
        assert main([verb, *given[1:]]) == 2
        errors = capsys.readouterr().err
        assert "engine: ray needs a library that is not installed here: " in errors
        assert "pip install 'semi-emotion[ray]', or set engine=local (command line)" in errors


def semi(*given, **environment):
    """Starts a Python module by its command line, in an environment with these variables more."""
    variables = {k: v for k, v in os.environ.items() if not k.startswith("SLURM_")}
    return subprocess.Popen([sys.executable, "-m", *given], cwd=ROOT, env=variables | environment)


def test_the_line_with_torchrun_gives_the_same_store(speech, alone, tmp_path):
    torchrun = ["torch.distributed.run", "--nproc-per-node=2", "-m", "semi"]
    assert semi(*torchrun, *words(speech, tmp_path / "store")).wait() == 0
    assert tree(tmp_path / "store") == alone


@pytest.mark.parametrize("names", [
    ("SLURM_ARRAY_TASK_ID", "SLURM_ARRAY_TASK_COUNT"), ("SLURM_PROCID", "SLURM_NTASKS"),
])  # fmt: skip
def test_the_line_with_slurm_gives_the_same_store(speech, alone, tmp_path, names):
    tasks = [
        semi("semi", *words(speech, tmp_path / "store"), **{names[0]: str(i), names[1]: "2"})
        for i in range(2)
    ]
    assert [task.wait() for task in tasks] == [0, 0]
    assert tree(tmp_path / "store") == alone

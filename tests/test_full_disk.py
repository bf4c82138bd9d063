"""A full disk at any write is one sentence, and what was begun goes on to the same end."""

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest
from two_runs import settings, write_manifest

import semi
from semi.cli import main
from semi.config.schema import save
from semi.errors import SemiError
from semi.runs.verify import verify

ROOT = Path(__file__).parents[1]
WORDS = ["tracking=true", "train.steps=3", "rounds.accept_se=99"]

LIMITED = """
import resource, sys
from semi.cli import main
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[1]),) * 2)
sys.exit(main(sys.argv[2:]))
"""


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    folder = tmp_path_factory.mktemp("disk")
    write_manifest(folder, rows=45)
    semi.self_train(settings(folder, "whole", *WORDS), progress=False)
    return folder


def stack_trace(told):
    """Says whether a stack trace of ours is in it; what older zipfile says at its end is none."""
    return told.count("Traceback") > told.count("Exception ignored in")


def fail_at(monkeypatch, name, number):
    """Lets the given call of a function of os find the disk full, and every later one pass."""
    real, calls = getattr(os, name), []

    def full(*args, **more):
        calls.append(args)
        if len(calls) == number:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(args[0]))
        return real(*args, **more)

    monkeypatch.setattr(os, name, full)


@pytest.mark.parametrize("name", ["replace", "rename", "mkdir"])
def test_a_disk_that_fills_at_any_write_of_a_run_is_a_sentence_and_the_run_goes_on(
    home, tmp_path, monkeypatch, name
):
    config = settings(home, "full", *WORDS)
    config.runs_dir, config.features.store = str(tmp_path / "runs"), str(tmp_path / "store")
    failures = 0
    for number in range(1, 60):
        with monkeypatch.context() as patched:
            fail_at(patched, name, number)
            try:
                semi.self_train(config, resume=True, progress=False)
            except SemiError as error:
                failures += 1
                assert "No space left on device" in str(error) and ".tmp" not in str(error), error
            else:
                break
        if (tmp_path / "runs/full/checksums.json").is_file():
            assert verify(tmp_path / "runs/full").problems == []
    assert failures > 1
    whole, full = home / "runs" / "whole", tmp_path / "runs" / "full"
    for file in ("ledger.csv", "result.json", "model/model.safetensors"):
        assert (full / file).read_bytes() == (whole / file).read_bytes()
    assert verify(full).problems == []


@pytest.mark.parametrize("limit", [0, 300, 4000])
def test_the_command_line_says_it_and_how_to_go_on(home, tmp_path, limit):
    config = settings(home, "small", *WORDS)
    config.runs_dir, config.features.store = str(tmp_path / "runs"), str(tmp_path / "store")
    save(config, tmp_path / "small.yaml")
    words = ["train", str(tmp_path / "small.yaml")]
    done = subprocess.run(
        [sys.executable, "-c", LIMITED, str(limit), *words], cwd=ROOT, capture_output=True,
        text=True, env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    last = [t for t in done.stderr.splitlines() if t.startswith("semi: error: ")][-1]
    assert done.returncode == 2 and not stack_trace(done.stderr), done.stderr
    assert "cannot be written: File too large; the file may not grow so large here; " in last
    assert last.endswith(f"resume with: semi train {tmp_path / 'small.yaml'} --resume")
    assert main([*words, "--resume"]) == 0
    assert verify(tmp_path / "runs" / "small").problems == []


@pytest.mark.parametrize(
    "words",
    [["predict", "RUN", "--text", "hurra", "-o", "OUT.csv"], ["export", "RUN", "-o", "OUT.npz"],
     ["export", "RUN", "-o", "OUT.pt2"], ["export", "RUN", "-o", "OUT.parquet"], ["report", "RUN"],
     ["ensemble", "RUN", "RUN", "-o", "OUT"]],
)  # fmt: skip
def test_every_output_that_cannot_be_written_is_named(home, tmp_path, words):
    run = home / "runs" / "whole"
    given = [w.replace("RUN", str(run)).replace("OUT", str(tmp_path / "out")) for w in words]
    done = subprocess.run(
        [sys.executable, "-c", LIMITED, "10", *given], cwd=ROOT, capture_output=True, text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    last = [t for t in done.stderr.splitlines() if t.startswith("semi: error: ")][-1]
    assert done.returncode == 2 and not stack_trace(done.stderr), done.stderr
    assert "cannot be written: File too large; the file may not grow so large here" in last
    assert verify(run).problems == [] and not list(tmp_path.glob("out*"))

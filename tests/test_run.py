"""Run directories: written whole, one process at a time, resumed only with the same settings."""

import os
import signal
import subprocess
import sys
import textwrap
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from semi.config.schema import load_config
from semi.errors import RunError
from semi.files import (
    jsonable,
    read_json,
    read_tensors,
    replacing,
    sweep,
    write_dir,
    write_json,
    write_table,
    write_tensors,
    write_text,
)
from semi.self_training.run_dir import Run

ROOT = Path(__file__).parents[1]


def config(tmp_path, *words):
    return load_config(None, ["data.manifest=m.csv", f"runs_dir={tmp_path}/runs", *words])


def test_a_new_run_writes_its_resolved_settings(tmp_path):
    with Run.create(config(tmp_path, "name=a", "seed=3")) as run:
        assert run.path == tmp_path / "runs" / "a" and not run.resumed and run.rounds() == []
    opened = Run.open(run.path)
    assert opened.config == run.config and opened.config.seed == 3


def test_a_run_that_exists_is_refused_without_resume(tmp_path):
    settings = config(tmp_path)
    Run.create(settings).close()
    with pytest.raises(RunError, match=r"already holds an unfinished run; continue .* --resume"):
        Run.create(settings)
    write_json(tmp_path / "runs/run/result.json", {})
    with pytest.raises(RunError, match="already holds a finished run"):
        Run.create(settings)
    with Run.create(settings, resume=True) as run:
        assert run.resumed


def test_resume_where_nothing_was_begun_begins(tmp_path):
    with Run.create(config(tmp_path), resume=True) as run:
        assert not run.resumed and (run.path / "config.yaml").is_file()


def test_resume_with_other_settings_names_them(tmp_path):
    Run.create(config(tmp_path)).close()
    told = r"another configuration \(seed was 0, now 1; train.lr was 0.002, now 0.1\)"
    with pytest.raises(RunError, match=told):
        Run.create(config(tmp_path, "train.lr=0.1", "seed=1"), resume=True)
    Run.create(config(tmp_path, "tracking=false", "data.workers=1"), resume=True).close()


def test_another_manifest_is_refused(tmp_path):
    with Run.create(config(tmp_path)) as run:
        run.bind_manifest("a" * 64)
        run.bind_manifest("a" * 64)
        with pytest.raises(RunError, match=r"the manifest changed since .* \(SHA-256 aaaaaaaaaaaa"):
            run.bind_manifest("b" * 64)


def test_a_folder_that_is_no_run_is_left_alone(tmp_path):
    (tmp_path / "runs/run").mkdir(parents=True)
    (tmp_path / "runs/run/thesis.txt").write_text("mine")
    for attempt in (lambda: Run.create(config(tmp_path), resume=True),
                    lambda: Run.remove(tmp_path / "runs/run")):  # fmt: skip
        with pytest.raises(RunError, match=r"is not a run \(it has no config.yaml\)"):
            attempt()
    assert [p.name for p in (tmp_path / "runs/run").iterdir()] == ["thesis.txt"]


def test_opening_what_is_not_there_names_the_runs_that_are(tmp_path):
    Run.create(config(tmp_path, "name=good")).close()
    with pytest.raises(RunError, match="is not a run: no such folder; runs there: good"):
        Run.open(tmp_path / "runs/god")


def test_two_processes_in_one_run_are_refused(tmp_path):
    program = textwrap.dedent(f"""
        import time
        from semi.config.schema import load_config
        from semi.self_training.run_dir import Run
        run = Run.create(load_config(None, ["data.manifest=m.csv", "runs_dir={tmp_path}/runs"]))
        print("locked", flush=True)
        time.sleep(3600)
    """)
    other = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, cwd=ROOT)
    try:
        assert other.stdout is not None and other.stdout.readline() == b"locked\n"
        with pytest.raises(RunError, match=f"is being written by process {other.pid}"):
            Run.create(config(tmp_path), resume=True)
        Run.open(tmp_path / "runs/run")  # reading is allowed
    finally:
        other.send_signal(signal.SIGKILL)
        other.wait()
        other.stdout.close()
    Run.create(config(tmp_path), resume=True).close()  # the lock died with its process


def test_rounds_are_written_whole_and_once(tmp_path):
    with Run.create(config(tmp_path)) as run:
        with run.write_round(0) as folder:
            write_json(folder / "round.json", {"round": 0})
            assert run.rounds() == []
        assert run.rounds() == [0]
        never = pytest.raises(RunError, match="round-00 is already written and is never changed")
        with never, run.write_round(0):
            pass
        with pytest.raises(KeyError), run.write_round(1) as folder:
            write_json(folder / "round.json", {})
            raise KeyError
        assert run.rounds() == [0]
        assert not list(run.path.rglob(".tmp-*"))


def test_leftovers_of_a_kill_are_removed_at_resume(tmp_path):
    with Run.create(config(tmp_path)) as run:
        run.log({"round": None, "pretrain": 1})
        for number in (0, 1):
            run.log({"round": number, "loss": float("nan")})
        with run.write_round(0) as folder:
            write_json(folder / "round.json", {})
        (run.path / ".tmp-1234-round-01").mkdir()
        (run.path / ".tmp-1234-round-01" / "state").write_text("half")
        (run.path / "round-00" / ".tmp-1-x").write_text("half")
        with open(run.path / "metrics.jsonl", "a") as half:
            half.write('{"round": 0, "lo')
    with Run.create(config(tmp_path), resume=True) as run:
        assert not list(run.path.rglob(".tmp-*"))
        assert run.metrics() == [{"round": None, "pretrain": 1}, {"round": 0, "loss": None}]


def test_a_failed_write_leaves_the_old_file(tmp_path):
    path = tmp_path / "a.json"
    write_json(path, {"a": 1})
    with pytest.raises(ValueError), replacing(path) as temporary:
        temporary.write_text("half")
        raise ValueError
    assert read_json(path) == {"a": 1} and os.listdir(tmp_path) == ["a.json"]
    assert read_json(tmp_path / "no.json", default=[]) == []


def test_a_folder_can_be_replaced_only_on_request(tmp_path):
    for word in ("one", "two"):
        with write_dir(tmp_path / "model", replace=True) as folder:
            (folder / word).write_text(word)
    assert os.listdir(tmp_path / "model") == ["two"] and os.listdir(tmp_path) == ["model"]


def test_a_kill_while_writing_leaves_old_or_new_never_half(tmp_path):
    program = textwrap.dedent(f"""
        from semi.files import write_json
        k = 0
        while True:
            write_json("{tmp_path}/x.json", {{"k": k, "rows": [k] * 2000}})
            k += 1
    """)
    for _ in range(3):
        writer = subprocess.Popen([sys.executable, "-c", program], cwd=ROOT)
        while not (tmp_path / "x.json").exists():
            time.sleep(0.01)
        time.sleep(0.05)
        writer.send_signal(signal.SIGKILL)
        writer.wait()
        found = read_json(tmp_path / "x.json")
        assert found["rows"] == [found["k"]] * 2000
        sweep(tmp_path)
        (tmp_path / "x.json").unlink()
        assert os.listdir(tmp_path) == []


@dataclass
class Pair:
    a: object
    b: object


def test_values_become_plain_json():
    given = Pair(
        torch.tensor([1.0, float("nan")]), {1: np.float32(2), "x": (Path("p"), {"b", "a"})}
    )
    assert jsonable(given) == {"a": [1.0, None], "b": {"1": 2.0, "x": ["p", ["a", "b"]]}}
    with pytest.raises(TypeError, match="function cannot be written as JSON"):
        jsonable({"f": jsonable})


def test_tables_and_tensors_come_back_equal(tmp_path):
    table = pd.DataFrame({"id": ["a", "b"], "p": [0.1, 1 / 3]})
    for name in ("t.csv", "t.parquet", "t.tsv", "t.jsonl"):
        write_table(tmp_path / name, table)
    assert (tmp_path / "t.tsv").read_text().startswith("id\tp\na\t0.1\n")
    assert (tmp_path / "t.jsonl").read_text().startswith('{"id":"a","p":0.1}\n')
    pd.testing.assert_frame_equal(pd.read_csv(tmp_path / "t.csv"), table, check_exact=True)
    pd.testing.assert_frame_equal(pd.read_parquet(tmp_path / "t.parquet"), table)
    base = torch.arange(6.0).view(2, 3)
    write_tensors(tmp_path / "t.safetensors", {"a": base, "b": base.T, "c": base[0]})
    back = read_tensors(tmp_path / "t.safetensors")
    assert torch.equal(back["b"], base.T) and torch.equal(back["c"], base[0])


def test_a_run_can_be_removed(tmp_path):
    Run.create(config(tmp_path)).close()
    Run.remove(tmp_path / "runs/run")
    Run.remove(tmp_path / "runs/run")
    assert not (tmp_path / "runs/run").exists()


def test_what_cannot_be_written_is_named_as_it_was_asked_for(tmp_path):
    table = pd.DataFrame({"id": ["a"]})
    for name, told in (
        ("t.xlsx", "t.xlsx: cannot write '.xlsx'; name it .csv, .tsv, .parquet, .jsonl"),
        (".", f"{tmp_path} is a folder; name the table to write"),
        ("file/t.csv", "t.csv cannot be written: "),
    ):
        (tmp_path / "file").write_text("")
        with pytest.raises(RunError) as caught:
            write_table(tmp_path / name, table)
        assert told in str(caught.value)
    with pytest.raises(RunError) as failed, replacing(tmp_path / "a.txt") as temporary:
        temporary.mkdir()
        temporary.write_text("")
    told = f"{tmp_path / 'a.txt'} cannot be written: Is a directory; it is a folder; name a file"
    assert str(failed.value) == told


def test_a_folder_for_runs_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "runs").write_text("a file")
    with pytest.raises(RunError) as caught:
        Run.create(config(tmp_path, "name=a"))
    assert f"{tmp_path}/runs/a cannot be written (" in str(caught.value)
    assert str(caught.value).endswith("; set runs_dir to a folder where you may write")


def test_a_run_that_failed_before_training_frees_its_name(tmp_path):
    with Run.create(config(tmp_path, "name=a")) as run:
        run.bind_manifest("0" * 64)
        run.take_back()
    assert not run.path.exists()
    with Run.create(config(tmp_path, "name=a", "seed=1")):
        pass
    with Run.create(config(tmp_path, "name=a", "seed=1"), resume=True) as run:
        run.take_back()
    assert (run.path / "config.yaml").is_file()


def test_tensors_may_be_read_by_whom_other_files_may(tmp_path):
    write_text(tmp_path / "a.txt", "a")
    write_tensors(tmp_path / "a.safetensors", {"a": torch.ones(2)})
    modes = [(tmp_path / name).stat().st_mode for name in ("a.txt", "a.safetensors")]
    assert modes[0] == modes[1]

"""Checksums of runs: any change of a finished run is named, and nothing goes on from it."""

import os
import random
import shutil
from pathlib import Path

import pytest
from two_runs import settings, write_manifest

import semi
from semi.checksums import CHECKSUMS, DERIVED, FORMATS, files_below, read_record, write_record
from semi.cli import main
from semi.errors import RunError
from semi.evaluation.html_report import write_report
from semi.runs.compare import compare
from semi.runs.distill import distill
from semi.runs.ensemble import ensemble
from semi.runs.export import export
from semi.runs.preview import dry_run
from semi.runs.submit import submit
from semi.runs.verify import verify
from semi.self_training.checksum_chain import mark_begun
from semi.self_training.run_dir import Run

THREE = ["rounds.max_rounds=3", "rounds.accept_se=99", "rounds.min_change=0", "tracking=true",
         "seed=1"]  # fmt: skip


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """Returns a folder with three finished runs: a, one of another seed, and one resumed."""
    folder = tmp_path_factory.mktemp("chain")
    write_manifest(folder)
    for name, seed in (("a", 1), ("other", 4)):
        semi.self_train(settings(folder, name, *THREE, f"seed={seed}"), progress=False)
    return folder


@pytest.fixture
def run(home, tmp_path):
    """Returns a copy of the finished run a that a test may spoil."""
    shutil.copytree(home / "runs" / "a", tmp_path / "runs" / "a")
    return tmp_path / "runs" / "a"


def flip(path, at=-1):
    content = bytearray(path.read_bytes())
    content[at] ^= 1
    path.write_bytes(content)


def go_on(home, run):
    """Resumes a run that lies in another folder than it was begun in."""
    config = settings(home, "a", *THREE)
    config.runs_dir = str(run.parent)
    return semi.self_train(config, resume=True, progress=False)


def test_a_finished_run_is_whole_also_after_a_copy_a_report_and_a_comparison(run):
    before = verify(run)
    assert before.problems == [] and str(before).endswith("all as they were written")
    assert before.files > 20
    compare([str(run)], latency=False)
    assert main(["report", str(run)]) == 0
    assert verify(run).problems == [] and (run / "probs.parquet").is_file()
    assert verify(run / "model").problems == []


def test_one_flipped_bit_in_any_file_is_named(run, capsys):
    compare([str(run)], latency=False)  # so that answers are kept, too
    names = [n for n in files_below(run) if n != ".lock" and (run / n).stat().st_size]
    assert len(names) > 25 and {CHECKSUMS, DERIVED, "model/model.safetensors"} <= set(names)
    chance = random.Random(0)
    for name in names:
        before = (run / name).read_bytes()
        flip(run / name, chance.randrange(len(before)))
        problems = verify(run).problems
        assert any(p.startswith(f"{run / name} ") for p in problems), (name, problems)
        (run / name).write_bytes(before)
    assert verify(run).problems == []
    flip(run / "ledger.csv")
    assert main(["verify", str(run)]) == 2
    said = capsys.readouterr()
    assert f"{run / 'ledger.csv'} is not as it was written (SHA-256 " in said.out
    assert "1 thing is not as written; bring what is damaged" in said.err


@pytest.mark.parametrize(
    "change",
    ["state.safetensors", "voter.json", "round.json", "ledger.parquet"],
)
def test_nothing_goes_on_from_a_damaged_round(home, run, change, tmp_path):
    flip(run / "round-01" / change, 40)
    config = settings(home, "student", "model.kind=concat")
    for command in (
        lambda: go_on(home, run),
        lambda: semi.evaluate(run),
        lambda: dry_run(run),
        lambda: ensemble([str(run), str(run)], output=str(tmp_path / "e")),
        lambda: distill(run, config, progress=False),
        lambda: export(run, tmp_path / "p.npz"),
        lambda: submit(run, tmp_path / "s.csv"),
        lambda: compare([str(run)], latency=False),
    ):
        with pytest.raises(RunError, match=f"round-01/{change} is not as it was written"):
            command()


def test_nothing_predicts_with_a_damaged_or_foreign_model(home, run, tmp_path):
    other = home / "runs" / "other" / "model"
    before = (run / "model" / "model.safetensors").read_bytes()
    (run / "model" / "model.safetensors").write_bytes((other / "model.safetensors").read_bytes())
    for command in (lambda: semi.load(run), lambda: semi.load(run / "model"),
                    lambda: export(run, tmp_path / "m.pt2")):  # fmt: skip
        with pytest.raises(RunError, match=r"model.safetensors is not as it was written"):
            command()
    (run / "model" / "model.safetensors").write_bytes(before)
    facts = run / "model" / "model.json"
    facts.write_text(facts.read_text().replace('"joy"', '"JOY"').replace('"anger"', '"joy"'))
    with pytest.raises(RunError, match=r"model.json is not as it was written"):
        semi.load(run)
    shutil.rmtree(run / "model")
    shutil.copytree(other, run / "model")
    assert semi.load(other).classes  # the folder alone is whole
    with pytest.raises(RunError, match=r"is not the model that the run .* wrote: it is of another"):
        semi.load(run)


def test_a_round_of_another_seed_deleted_swapped_and_added_ones_are_named(home, run):
    other = home / "runs" / "other"
    rounds = [run / f"round-0{n}" for n in range(4)]

    def told(pattern):
        assert any(pattern in p for p in verify(run).problems), verify(run).problems
        with pytest.raises(RunError):
            go_on(home, run)

    aside = run.parent / "aside"
    rounds[1].rename(aside)
    told(f"{rounds[1]} is missing")
    shutil.copytree(other / "round-01", rounds[1])
    told(f"{rounds[1]} is not the round that this run wrote: it is of another run")
    shutil.rmtree(rounds[1])
    rounds[2].rename(rounds[1])
    aside.rename(rounds[2])
    told(f"{rounds[1]} holds round 2: folders of rounds were swapped or renamed")
    told(f"{rounds[2]} holds round 1: folders of rounds were swapped or renamed")
    rounds[1].rename(aside)
    rounds[2].rename(rounds[1])
    aside.rename(rounds[2])
    assert verify(run).problems == []
    shutil.copytree(rounds[3], run / "round-04")
    told(f"{run / 'round-04'} holds round 3")


def test_an_unfinished_run_is_a_chain_as_well(home, run):
    other = home / "runs" / "other"
    mark_begun(run)  # as a kill before the end leaves it
    for name in ("result.json", "report.html", DERIVED, "ledger.csv"):
        (run / name).unlink()
    shutil.rmtree(run / "model")
    shutil.rmtree(run / "round-03")
    assert verify(run).problems == [] and "is unfinished" in str(verify(run))
    for name in ("config.yaml", "splits.csv", "round-02/voter.json", "pretrained/state.safetensors",
                 f"round-01/{CHECKSUMS}", "metrics.jsonl"):  # fmt: skip
        before = (run / name).read_bytes()
        flip(run / name, 5)
        assert [p for p in verify(run).problems if p.startswith(f"{run / name} ")], name
        with pytest.raises(RunError, match="as it was written"):
            go_on(home, run)
        (run / name).write_bytes(before)
    shutil.move(run / "round-01", run.parent / "aside")
    assert f"{run / 'round-01'} is missing" in verify(run).problems
    shutil.copytree(other / "round-01", run / "round-01")
    (problem,) = (p for p in verify(run).problems if "round-01 " in p)
    assert "is of another run: it was written beside another config.yaml" in problem
    shutil.rmtree(run / "round-01")
    shutil.move(run.parent / "aside", run / "round-01")
    ledger = (home / "runs" / "a" / "ledger.csv").read_bytes()
    assert (go_on(home, run).path / "ledger.csv").read_bytes() == ledger
    assert verify(run).problems == []


def test_added_files_are_named_and_stop_nothing_unless_they_would_be_read(home, run, capsys):
    (run / "notes.txt").write_text("mine")
    (run / ".tmp-1234-x").mkdir()  # what a kill leaves
    assert verify(run).problems == [f"{run / 'notes.txt'} was added: semi wrote no such file there"]
    assert main(["verify", str(run)]) == 2
    semi.evaluate(run)
    (run / "round-01" / "more.safetensors").write_bytes(b"")
    with pytest.raises(RunError, match=r"round-01/more.safetensors was added"):
        semi.evaluate(run)


def test_a_run_of_an_earlier_version_still_opens_and_says_that_nobody_can_tell(home, run, capsys):
    for path in [*run.rglob(CHECKSUMS), run / DERIVED]:
        path.unlink(missing_ok=True)
    semi.evaluate(run)
    assert semi.load(run).classes == ["anger", "calm", "joy"]
    told = "made by a version of semi that kept no checksums, and is used unchecked"
    assert told in capsys.readouterr().err
    assert told in str(verify(run)) and "nothing can be said of it" in str(verify(run))
    assert (go_on(home, run).path / CHECKSUMS).is_file()  # what is written now has checksums
    assert verify(run).problems == [] and (read_record(run / CHECKSUMS) or {})["without"] == [
        0,
        1,
        2,
        3,
    ]
    flip(run / "round-00" / "state.safetensors")
    assert f"{run / 'round-00/state.safetensors'} is not as it was written" in str(verify(run))


def test_a_refused_resume_leaves_a_finished_run_finished(home, run):
    for path in [*run.rglob(CHECKSUMS), run / DERIVED]:  # as version 0.1.0 wrote it
        path.unlink(missing_ok=True)
    rows = (run / "splits.csv").read_text().splitlines()
    (run / "splits.csv").write_text("\n".join([rows[0], *rows[:0:-1]]) + "\n")
    before = {n: (run / n).read_bytes() for n in files_below(run) if n != ".lock"}
    with pytest.raises(RunError, match="drew its test rows, labels or folds otherwise"):
        go_on(home, run)
    assert {n: (run / n).read_bytes() for n in files_below(run) if n != ".lock"} == before
    for command in (lambda: compare([str(run)], latency=False),
                    lambda: distill(run, settings(home, "s", "model.kind=concat"), progress=False),
                    lambda: export(run, run / "p.npz")):  # fmt: skip
        with pytest.raises(RunError, match="the export of its model work as before"):
            command()
    assert semi.load(run).predict(texts=["hurra"])["label"].notna().all()
    assert semi.evaluate(run, "oof").metrics["rows"] > 0


def test_kept_answers_that_changed_are_not_used(run):
    compare([str(run)], latency=False)
    kept = run / "probs.parquet"
    flip(kept, 100)
    with pytest.raises(RunError, match=r"probs.parquet is not as it was written .*delete it"):
        compare([str(run)], latency=False)
    kept.unlink()
    compare([str(run)], latency=False)
    assert kept.is_file() and verify(run).problems == []


def test_an_ensemble_and_a_feature_store_are_verified_too(home, runs, tmp_path, capsys):
    done = ensemble(runs, output=str(tmp_path / "both"))
    assert verify(done.path).problems == []
    flip(Path(done.path, "probs.parquet"), 50)
    assert len(verify(done.path).problems) == 1
    with pytest.raises(RunError, match=r"probs.parquet is not as it was written"):
        ensemble([runs[0], done.path], output=str(tmp_path / "more"))
    shutil.copytree(home / "store", tmp_path / "store")
    assert verify(tmp_path / "store").problems == []
    data = next((tmp_path / "store").rglob("data-*.npy"))
    stamp = data.stat()
    flip(data)
    os.utime(data, ns=(stamp.st_atime_ns, stamp.st_mtime_ns))  # decay leaves no trace
    assert "do not match their SHA-256" in verify(tmp_path / "store").problems[0]
    with pytest.raises(RunError, match="is no run, no model folder and no feature store"):
        verify(tmp_path)


def test_a_run_of_a_later_version_is_refused_by_every_command(home, run, tmp_path, capsys):
    record = read_record(run / CHECKSUMS) or {}
    assert {k: v for k, v in record.items() if k.endswith("_format")} == FORMATS
    for name, known in FORMATS.items():
        write_record(run / CHECKSUMS, record | {name: known + 1})
        said = f"/a has {name} {known + 1}, this version of semi reads up to {known}; use the ver"
        for command in (
            lambda: Run.open(run),
            lambda: go_on(home, run),
            lambda: semi.evaluate(run),
            lambda: verify(run),
            lambda: write_report(run),
            lambda: semi.load(run),
            lambda: export(run, tmp_path / "m.pt2"),
            lambda: export(run, tmp_path / "p.csv"),
            lambda: dry_run(run),
            lambda: submit(run, tmp_path / "s.csv"),
            lambda: distill(run, settings(home, "student", "model.kind=concat"), progress=False),
            lambda: ensemble([str(run), str(run)], output=str(tmp_path / "e")),
            lambda: compare([str(run)], latency=False),
        ):
            with pytest.raises(RunError, match=said):
                command()
        assert main(["evaluate", str(run)]) == 2 and name in capsys.readouterr().err
    earlier = {k: v for k, v in record.items() if k not in FORMATS}  # of format 1
    write_record(run / CHECKSUMS, earlier)
    assert Run.open(run).rounds() == [0, 1, 2, 3] and verify(run).problems == []

"""A whole run on real speech: what it writes, and that a kill at any moment changes nothing."""

import contextlib
import hashlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest

import semi
from semi.data.corpora import bundled_emodb
from semi.errors import ManifestError, RunError
from semi.self_training.checksum_chain import mark_begun
from semi.self_training.stopping import STOPPED

ROOT = Path(__file__).parents[1]
SMALL = [
    "data.allow_leaks=[text]",
    "data.labeled_fraction=0.5",
    "encoders.text.model=none",
    "features.standardize=speaker",
    "model.hidden=8",
    "model.projection=4",
    "contrast.pretrain_steps=3",
    "train.folds=2",
    "train.members=2",
    "train.steps=8",
    "train.batch=8",
    "rounds.max_rounds=2",
    "rounds.accept_se=9",
    "threads=1",
]


@pytest.fixture(scope="module")
def speech(tmp_path_factory):
    """Returns a manifest of 72 real recordings of 6 speakers and 3 emotions, and a filled store."""
    folder = tmp_path_factory.mktemp("speech")
    table = pd.read_csv(bundled_emodb(), dtype=str)
    table = table[table["label"].isin(["anger", "sadness", "neutral"])]
    table = table[table["speaker"].isin(sorted(table["speaker"].unique())[:6])]
    table = table.groupby(["speaker", "label"]).head(4)
    table["audio"] = [str(bundled_emodb().parent / a) for a in table["audio"]]
    table.to_csv(folder / "manifest.csv", index=False)
    semi.extract(settings(folder, "warm"), progress=False)
    return folder


def settings(folder, name, *words):
    return semi.load_config(
        None,
        [
            "recipe=none",
            f"name={name}",
            f"runs_dir={folder / 'runs'}",
            f"data.manifest={folder / 'manifest.csv'}",
            f"features.store={folder / 'store'}",
            *SMALL,
            *words,
        ],
    )


@pytest.fixture(scope="module")
def finished(speech):
    return semi.self_train(settings(speech, "whole"), progress=False)


def files_of(path):
    """Returns the hash of what a run's numbers are kept in."""
    names = ["ledger.csv", "splits.csv", "result.json", "model/model.safetensors"]
    names += [f"round-{r:02d}/round.json" for r in range(3)]
    return {
        n: hashlib.sha256((path / n).read_bytes()).hexdigest()
        for n in names
        if (path / n).is_file()
    }


def test_a_run_leaves_everything_a_reader_needs(finished):
    path = finished.path
    for name in ("config.yaml", "manifest.sha256", "splits.csv", "quarantine.csv", "ledger.csv",
                 "ledger.parquet", "metrics.jsonl", "result.json", "report.html",
                 "model/model.json"):  # fmt: skip
        assert (path / name).is_file(), name
    assert list((path / "tb").rglob("events.out.tfevents.*"))
    assert finished.rounds == 2
    result = json.loads((path / "result.json").read_text())
    assert result["sentence"] == finished.sentence
    assert f"{finished.rounds} rounds" in finished.sentence
    assert finished.stopped in STOPPED


def test_the_same_seed_gives_the_same_run_and_another_seed_another(speech, finished):
    again = semi.self_train(settings(speech, "again", "tracking=false"), progress=False)
    assert files_of(again.path) == files_of(finished.path)
    other = semi.self_train(settings(speech, "other", "seed=1", "tracking=false"), progress=False)
    assert files_of(other.path)["ledger.csv"] != files_of(finished.path)["ledger.csv"]


def test_what_a_recipe_picked_and_why_is_said_at_once_and_kept(speech, capsys):
    words = [w for w in SMALL if not w.startswith(("train.members", "rounds."))]
    paths = [f"runs_dir={speech / 'runs'}", f"data.manifest={speech / 'manifest.csv'}"]
    told = ["name=auto", "recipe=auto", f"features.store={speech / 'store'}", "tracking=false"]
    done = semi.self_train(semi.load_config(None, [*paths, *told, *words]))
    result = json.loads((done.path / "result.json").read_text())
    rows = f"{result['gold_rows']} labelled and {result['pool_rows']} unlabelled rows"
    sentence = f"recipe auto, {rows}: the contrastive student, each round from Gaussian classes"
    said = [line for line in capsys.readouterr().err.splitlines() if line.startswith(sentence)]
    assert len(said) == 1 and "model.kind=contrastive_residual" in said[0]
    assert said[0] in result["notes"]
    assert sentence in (done.path / "report.html").read_text(encoding="utf-8")


def test_a_student_that_gold_prefers_is_settled_in_the_run_and_resumed(speech, monkeypatch):
    home = "semi.self_training.model_selection"
    monkeypatch.setattr(f"{home}.MIN_GOLD", 10)
    monkeypatch.setattr(f"{home}.CANDIDATES", {"3 components": {"components": 3}})  # wins here
    words = [w for w in SMALL if not w.startswith(("train.members", "rounds."))]
    paths = [f"runs_dir={speech / 'runs'}", f"data.manifest={speech / 'manifest.csv'}"]
    told = ["name=heard", "recipe=auto", f"features.store={speech / 'store'}", "tracking=false"]
    config = semi.load_config(None, [*paths, *told, *words])
    done = semi.self_train(config, progress=False)
    kept = semi.load_config(done.path / "config.yaml")
    assert kept.model.components == 3 and kept.recipe == "auto"
    (note,) = (
        n for n in json.loads((done.path / "result.json").read_text())["notes"] if "nats" in n
    )
    assert note.endswith("3 components it is")
    before = files_of(done.path)
    mark_begun(done.path)
    (done.path / "result.json").unlink()
    shutil.rmtree(sorted(done.path.glob("round-*"))[-1])
    assert files_of(semi.self_train(config, resume=True, progress=False).path) == before
    monkeypatch.setattr(f"{home}.CANDIDATES", {})  # asked again, the recipe's own would stay
    assert files_of(semi.self_train(config, resume=True, progress=False).path) == before
    config.model.components = 20
    with pytest.raises(
        semi.SemiError, match=r"begun with another conf.*model\.components was 3, now 20"
    ):
        semi.self_train(config, resume=True, progress=False)


def test_a_student_named_on_resume_is_compared_with_that_of_the_run(speech):
    words = [w for w in SMALL if not w.startswith(("train.members", "rounds."))]
    paths = [f"runs_dir={speech / 'runs'}", f"data.manifest={speech / 'manifest.csv'}"]
    told = ["name=mixed", "recipe=auto", f"features.store={speech / 'store'}", "tracking=false"]
    semi.self_train(semi.load_config(None, [*paths, *told, *words]), progress=False)
    other = semi.load_config(None, [*paths, *told, *words, "model.kind=logistic"])
    with pytest.raises(semi.SemiError, match="kind was 'contrastive_residual', now 'logistic'"):
        semi.self_train(other, resume=True, progress=False)


def test_no_test_speaker_is_ever_in_the_ledger(finished):
    splits = pd.read_csv(finished.path / "splits.csv", dtype=str)
    ledger = pd.read_csv(finished.path / "ledger.csv", dtype={"id": str})
    assert set(ledger["id"]) == set(splits.loc[splits["role"] == "pool", "id"])
    learned = splits[splits["role"].isin(["labeled", "pool"])]
    held = splits[splits["role"] == "test"]
    assert not set(learned["group"]) & set(held["group"])
    assert len(held)


def test_evaluation_from_the_model_directory_equals_the_round_that_ships(finished):
    record = json.loads(
        (finished.path / f"round-{finished.best_round:02d}" / "round.json").read_text()
    )
    for split, key in (("test", "metrics_test"), ("oof", "metrics_oof")):
        found = semi.evaluate(finished.path, split=split).metrics
        assert found["confusion"] == record[key]["confusion"]
        assert found["macro_f1"] == pytest.approx(record[key]["macro_f1"])


def test_a_finished_run_resumed_stays_as_it_is(speech, finished):
    before = files_of(finished.path)
    again = semi.self_train(settings(speech, "whole"), resume=True, progress=False)
    assert files_of(again.path) == before
    with pytest.raises(RunError, match="already holds a finished run"):
        semi.self_train(settings(speech, "whole"), progress=False)


PROGRAM = """
import os, sys, semi
config = semi.load_config(sys.argv[1])
train = semi.self_train  # imports all it needs once, before the processes that are killed
for _ in sys.stdin:
    child = os.fork()
    if not child:
        train(config, resume=True, progress=False)
        os._exit(0)
    print(child, flush=True)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""


def test_killed_at_random_moments_a_run_ends_in_the_same_ledger(speech, finished, tmp_path):
    from semi.config.schema import save

    config = settings(speech, "killed")
    save(config, tmp_path / "killed.yaml")
    path = speech / "runs" / "killed"
    with subprocess.Popen(
        [sys.executable, "-c", PROGRAM, str(tmp_path / "killed.yaml")], cwd=ROOT, text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"}, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    ) as parent:  # fmt: skip

        def begin():
            parent.stdin.write("go\n")
            parent.stdin.flush()
            return int(parent.stdout.readline())

        chance, kills, latest = random.Random(0), 0, 2.0
        while kills < 3:
            child = begin()
            time.sleep(chance.uniform(0.05 * latest, latest))
            with contextlib.suppress(ProcessLookupError):  # it has ended by itself
                os.kill(child, signal.SIGKILL)
            kills += 1
            ended = int(parent.stdout.readline())
            assert ended in (0, -signal.SIGKILL)
            if ended == 0:  # a fast machine was done before the third kill
                shutil.rmtree(path)
                kills, latest = 0, latest / 2
        begin()
        assert int(parent.stdout.readline()) == 0
        parent.stdin.close()
    assert files_of(path) == files_of(finished.path)
    assert not list(path.rglob(".tmp-*"))


def test_a_run_whose_gold_cannot_be_read_says_so(tmp_path):
    lines = ["id,audio,text,label,speaker"]
    for i in range(12):
        bad = tmp_path / f"{i}.wav"
        bad.write_bytes(b"no sound")
        lines.append(f"{i},{bad},,{'ab'[i % 2]},{i % 4}")
    (tmp_path / "manifest.csv").write_text("\n".join(lines) + "\n")
    with pytest.raises(semi.SemiError) as told:
        semi.self_train(settings(tmp_path, "bad"), progress=False)
    assert "none of which has usable speech" in str(told.value)
    assert not (tmp_path / "runs" / "bad").exists()  # the name is free for the next try


def test_an_unacknowledged_leak_stops_before_anything_is_written(speech):
    table = pd.read_csv(speech / "manifest.csv", dtype=str)
    table["split"] = ["test" if i % 3 == 0 else "train" for i in range(len(table))]
    table.to_csv(speech / "leaky.csv", index=False)
    config = settings(speech, "leaky", f"data.manifest={speech / 'leaky.csv'}")
    with pytest.raises(ManifestError, match="allow_leaks"):
        semi.self_train(config, progress=False)
    assert not (speech / "runs" / "leaky").exists()


def test_evaluation_leaves_out_what_the_run_left_out_and_says_so(speech, tmp_path):
    table = pd.read_csv(speech / "manifest.csv", dtype=str)
    held = table["speaker"].isin(sorted(table["speaker"].unique())[-2:])
    bad = tmp_path / "bad.wav"
    bad.write_bytes(b"no sound")
    table["split"] = ["test" if h else "train" for h in held]
    table.loc[table.index[held][:3], "audio"] = str(bad)  # the same file, on one side only
    table.to_csv(tmp_path / "manifest.csv", index=False)
    config = settings(speech, "lost", f"data.manifest={tmp_path / 'manifest.csv'}")
    done = semi.self_train(config, progress=False)
    found = semi.evaluate(done.path)
    assert found.left_out == 3
    assert found.metrics["confusion"] == done.metrics["metrics_test"]["confusion"]
    assert "3 more cannot be read, left out as in its report" in str(found)
    table.loc[table.index[held][:3], "audio"] = table["audio"][held].iloc[-1]
    table.loc[table.index[~held], "audio"] = str(bad)
    table.to_csv(tmp_path / "manifest.csv", index=False)
    with pytest.raises(ManifestError, match=r"\(first: .*bad\.wav: unreadable: .*semi extract"):
        config = settings(speech, "lost2", f"data.manifest={tmp_path / 'manifest.csv'}")
        semi.self_train(config, progress=False)

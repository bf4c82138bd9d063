"""semi next: what it lists, what it leaves out, and what it says where it cannot."""

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from two_runs import WORDS, settings, write_manifest

import semi
from semi.cli import main
from semi.data.corpora import bundled_emodb
from semi.data.manifest import load_manifest
from semi.data.reviews import Review, append_review
from semi.errors import RunError
from semi.files import read_table
from semi.review.next_rows import next_rows
from semi.runs.verify import verify

FEELINGS = ("anger", "sadness", "neutral")


@pytest.fixture
def run(runs, tmp_path):
    """Returns a copy of a finished run on texts alone, which a test may write to."""
    return Path(shutil.copytree(runs[0], tmp_path / "run"))


@pytest.fixture(scope="module")
def speech(tmp_path_factory, store):
    """Returns a finished run on 72 real recordings and their texts."""
    folder = tmp_path_factory.mktemp("speech")
    table = pd.read_csv(bundled_emodb(), dtype=str)
    table = table[table.label.isin(FEELINGS) & table.speaker.isin(sorted(set(table.speaker))[:6])]
    table = table.groupby(["speaker", "label"]).head(4).copy()
    table["audio"] = [str(bundled_emodb().parent / a) for a in table.audio]
    table.to_csv(folder / "m.csv", index=False)
    words = ["encoders.speech.model=acoustic", "encoders.speech.layers=[]", "recipe=auto",
             "encoders.text.model=char-ngram", f"features.store={store}", "data.allow_leaks=[text]",
             "data.labeled_fraction=0.4", "rounds.max_rounds=2"]  # fmt: skip
    semi.self_train(settings(folder, "speech", *words), progress=False)
    return folder / "runs" / "speech"


def roles(run):
    return pd.read_csv(run / "splits.csv", dtype=str).set_index("id").to_dict("index")


def test_the_list_is_of_the_pool_alone_and_says_why(speech, tmp_path):
    found = next_rows(speech, 10, output=tmp_path / "out" / "next.csv")
    table = found.table
    assert len(table) == 10 and table["rank"].tolist() == list(range(1, 11))
    assert {roles(speech)[i]["role"] for i in table.id} == {"pool"}
    assert table.pick.tolist() == (["next"] * 4 + ["random"]) * 2
    assert set(table.columns) == {
        "id", "rank", "score", "pick", "reason", "machine_label", "machine_confidence", "speaker",
        "seconds", "audio", "text",
    }  # fmt: skip
    assert set(table.machine_label) <= set(FEELINGS)
    assert table.machine_confidence.between(1 / 3, 1).all()
    assert all(Path(a).is_file() for a in table.audio)
    assert (table.seconds > 0.5).all()  # as the files say: the table has no column of it
    chosen = table[table.pick == "next"]
    assert all(any(word in r for word in FEELINGS) for r in chosen.reason)
    assert table[table.pick == "random"].score.isna().all()
    text = str(found)
    assert f"{speech}: 10 rows by " in text and "2 drawn at random" in text
    written = read_table(speech / "next.csv")
    assert written.id.tolist() == table.id.tolist()
    assert (tmp_path / "out" / "next.csv").read_bytes() == (speech / "next.csv").read_bytes()
    again = load_manifest(speech / "next.csv")  # it is a table of utterances, too
    assert sorted(again.table.id) == sorted(table.id) and not again.classes
    assert not verify(speech).problems


def test_modalities_that_differ_are_named(speech):
    reasons = next_rows(speech, 200, rule="disagreement").table.reason
    assert reasons.str.contains(r"; speech says \w+, text \w+").any()


def test_the_same_seed_gives_the_same_list(run):
    assert next_rows(run, 12).table.equals(next_rows(run, 12).table)


def test_reviewed_rows_are_not_asked_again(run):
    first = next_rows(run, 5).table
    for i in first.id[:3]:
        append_review(run / "reviews.csv", Review(i, "unsure", pick="random"))
    append_review(run / "reviews.csv", Review(first.id[2], "undo"))
    found = next_rows(run, 100)
    left = set(found.table.id)
    assert not left & set(first.id[:2]) and first.id[2] in left
    assert "2 rows left out: reviewed" in str(found)
    pool = [i for i, row in roles(run).items() if row["role"] == "pool"]
    assert len(left) == len(pool) - 2
    assert f"100 rows were asked for; {len(left)} is all that is left of the pool" in str(found)
    for i in left:
        append_review(run / "reviews.csv", Review(i, "label", "joy"))
    with pytest.raises(RunError, match=r"is reviewed already; train with data.reviews"):
        next_rows(run)


def test_rows_that_were_looked_for_stay_in_the_random_draw(run):
    pool = {i for i, row in roles(run).items() if row["role"] == "pool"}
    draw = next_rows(run, 10, rule="random").table.id.tolist()  # a draw of the pool as it is
    for i in draw[:4]:  # somebody looks for them, because they are hard
        append_review(run / "reviews.csv", Review(i, "label", "joy", "x", pick="next"))
    assert next_rows(run, 10, rule="random").table.id.tolist() == draw
    found = next_rows(run, 10)
    drawn = found.table[found.table.pick == "random"].id.tolist()
    assert drawn == draw[:2] and not set(found.table[found.table.pick == "next"].id) & set(draw[:4])
    assert "2 rows left out: reviewed" in str(found)
    assert "2 reviewed rows are asked about once more, drawn at random" in str(found)
    for i in draw[:2]:  # now they are measured
        append_review(run / "reviews.csv", Review(i, "label", "joy", "x", pick="random"))
    later = next_rows(run, 10).table
    assert later[later.pick == "random"].id.tolist() == draw[2:4]
    everything = next_rows(run, 1000, per_speaker=1000)
    assert set(everything.table.id) >= pool - set(draw[:4]) and len(everything.table) < len(pool)
    assert f"{len(everything.table)} is all that is left of the pool" in str(everything)


def test_speakers_share_the_batch(run):
    table = next_rows(run, 20, per_speaker=2, rule="margin").table
    assert table[table.pick == "next"].speaker.value_counts().max() <= 2
    found = next_rows(run, 40, per_speaker=1)
    assert "at most --per-speaker 1 is taken" in str(found)


def test_seconds_of_sound_are_what_is_spent(speech):
    found = next_rows(speech, 20, cost="seconds").table
    assert 10 < found.seconds.sum() <= 20 and {"next", "random"} == set(found.pick)
    for few in (0.01, 0.3):
        with pytest.raises(RunError, match=r"is less than the shortest row takes, .* ask for more"):
            next_rows(speech, few, cost="seconds")
    shortest = float(found.seconds.min())
    assert next_rows(speech, 1.5 * shortest, cost="seconds").table.seconds.sum() <= 1.5 * shortest


def test_no_row_is_lost_or_there_twice(run):
    everything = next_rows(run, 1000, per_speaker=1000).table
    pool = {i for i, row in roles(run).items() if row["role"] == "pool"}
    assert set(everything.id) == pool and len(everything) == len(pool)
    assert 0 < (everything.pick == "random").sum() <= len(pool) / 5 + 1
    assert len(next_rows(run, 1).table) == 1


def test_random_is_the_baseline_and_all_of_it_is_marked(run):
    assert set(next_rows(run, 10, rule="random").table.pick) == {"random"}


def test_a_run_of_texts_alone_has_no_sound(run, capsys):
    assert main(["next", str(run), "-n", "6"]) == 0
    out = capsys.readouterr().out
    assert "6 rows by" in out and "s of sound" not in out
    written = read_table(run / "next.csv")
    assert (written.audio == "").all() and (written.text != "").all()


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--rule", "marign"], "no rule 'marign'; did you mean 'margin'?; --rule is one of random"),
        (["--rule", "disagreement"], "rule disagreement cannot be used here: disagreement compares "
                                     "modalities, of which there is one; use another --rule"),
        (["--cost", "euros"], "--cost must be rows or seconds, got 'euros'"),
        (["--cost", "seconds"], "no row of the pool has sound whose length is known; use --cost"),
        (["-n", "0"], "-n must be a whole number of rows above 0, got 0"),
        (["-n", "-3"], "-n must be a whole number of rows above 0, got -3"),
        (["-n", "2.5"], "-n must be a whole number of rows above 0, got 2.5"),
        (["-n", "nan"], "-n must be a whole number of rows above 0, got nan"),
        (["--per-speaker", "0"], "--per-speaker must be at least 1, got 0"),
        (["-o", "next.docx"], "cannot write '.docx'; name it .csv"),
        (["-o", f"{__file__}/next.csv"], "is no folder where you may write"),
        (["train.lr=1"], "train.lr=1: a finished run has its settings"),
    ],
)  # fmt: skip
def test_what_cannot_be_done_is_said_in_one_sentence(run, words, sentence, capsys):
    assert main(["next", str(run), *words]) == 2
    err = capsys.readouterr().err
    assert sentence in err and err.count("\n") == 1
    assert not (run / "next.csv").exists()


def test_a_run_without_a_pool_a_run_at_work_and_no_run(tmp_path, run, capsys):
    write_manifest(tmp_path)
    words = ["data.labeled_fraction=null", "rounds.max_rounds=0"]
    semi.self_train(settings(tmp_path, "all", *words), progress=False)
    assert main(["next", str(tmp_path / "runs" / "all")]) == 2
    assert "has no pool: every training row is labelled" in capsys.readouterr().err
    (run / "result.json").unlink()
    assert main(["next", str(run)]) == 2
    assert "is an unfinished run; go on with semi train ... --resume" in capsys.readouterr().err
    assert main(["next", str(tmp_path / "nothing")]) == 2
    assert "is not a run: no such folder" in capsys.readouterr().err
    assert not (tmp_path / "nothing").exists()


def test_a_damaged_run_is_refused(run, capsys):
    with (run / "splits.csv").open("a") as file:
        file.write("u999,pool,s1,-1\n")
    assert main(["next", str(run)]) == 2
    assert "splits.csv is not as it was written" in capsys.readouterr().err


def several_labels(folder):
    """Writes m.csv of texts of which every fifth has two labels, and valence for some."""
    rng = np.random.default_rng(0)
    names, rows = list(WORDS), []
    for k in range(90):
        label, other = names[k % 3], names[(k + 1) % 3]
        text = " ".join(rng.choice(WORDS[label].split(), 2)) + f" {k}"
        both = f"{label};{other}" if k % 5 == 0 else label
        rows.append({"id": f"u{k}", "text": text, "label": both, "speaker": f"s{k % 7}",
                     "valence": float(k % 3) + rng.normal() / 9, "arousal": 1.0})  # fmt: skip
    pd.DataFrame(rows).to_csv(folder / "m.csv", index=False)


def test_several_labels_are_listed_and_valence_alone_is_refused(tmp_path, capsys):
    several_labels(tmp_path)
    words = ["task.kind=multi_label", "data.ties=votes", "select.rule=threshold"]
    semi.self_train(settings(tmp_path, "several", *words), progress=False)
    for rule in ("margin", "badge", "entropy"):
        table = next_rows(tmp_path / "runs" / "several", 8, rule=rule).table
        chosen = table[table.pick == "next"]
        assert chosen.reason.str.contains("of all classes the least decided").all()
        assert set(";".join(table.machine_label).split(";")) <= {*WORDS, ""}
    words = ["data.manifest=" + str(tmp_path / "m.csv"), f"runs_dir={tmp_path}/runs", "name=affect",
             "task.kind=affect", "encoders.speech.model=none", f"features.store={tmp_path}/store",
             "encoders.text.model=char-ngram"]  # fmt: skip
    semi.self_train(semi.load_config(None, words), progress=False)
    for verb in ("next", "suspects"):
        assert main([verb, str(tmp_path / "runs" / "affect")]) == 2
        assert "has task.kind=affect" in capsys.readouterr().err

"""semi suspects: labels that are wrong are found, with reasons, and nobody is asked twice."""

import shutil
from pathlib import Path

import pandas as pd
import pytest
import torch
from two_runs import WORDS, settings, write_manifest

import semi
from semi.cli import main
from semi.data.manifest import load_manifest
from semi.data.reviews import Review, append_review
from semi.files import read_table
from semi.review.label_errors import LABEL_ERROR_RULES, confident_joint
from semi.review.suspects import suspects
from semi.runs.verify import verify


@pytest.fixture(scope="module")
def spoilt(tmp_path_factory):
    """Returns a finished run on texts of which six have a wrong label, and the ids of these."""
    folder = tmp_path_factory.mktemp("spoilt")
    write_manifest(folder, rows=150)
    table = pd.read_csv(folder / "m.csv", dtype=str)
    names = list(WORDS)
    for k, row in enumerate(table.index):  # no word of another class: clear texts
        label = table.loc[row, "label"]
        words = WORDS[label].split()
        table.loc[row, "text"] = f"{words[k % len(words)]} {words[k // 3 % len(words)]} {k}"
    wrong = {f"u{k}" for k in range(4, 150, 25)}
    at = table.id.isin(wrong)
    table.loc[at, "label"] = [names[(names.index(x) + 1) % 3] for x in table.label[at]]
    table.to_csv(folder / "m.csv", index=False)
    words = ["recipe=auto", "encoders.text.model=char-ngram", "data.labeled_fraction=0.9"]
    semi.self_train(settings(folder, "spoilt", *words), progress=False)
    return folder / "runs" / "spoilt", wrong


def test_wrong_labels_come_first_with_reasons(spoilt, tmp_path):
    run, wrong = spoilt
    splits = pd.read_csv(run / "splits.csv", dtype=str)
    gold = wrong & set(splits.id[splits.role == "labeled"])
    found = suspects(run, output=tmp_path / "s.csv")
    table = found.table
    assert len(gold) >= 3 and set(table.id[: len(gold)]) == gold
    first = table.iloc[0]
    assert first.reason.startswith(
        f"labelled {first.label}; out-of-fold says {first.machine_label}"
    )
    assert (table.label != table.machine_label).all() and (table.pick == "suspect").all()
    assert table.score.is_monotonic_decreasing
    assert read_table(run / "suspects.csv").id.tolist() == table.id.tolist()
    assert (tmp_path / "s.csv").read_bytes() == (run / "suspects.csv").read_bytes()
    assert not verify(run).problems
    again = load_manifest(run / "suspects.csv")  # it is a table of utterances, too
    assert sorted(again.table.id) == sorted(table.id)
    assert len(suspects(run, 2).table) == 2


def test_rows_that_somebody_judged_are_not_asked_again(spoilt, tmp_path):
    run = Path(shutil.copytree(spoilt[0], tmp_path / "run"))
    first = suspects(run).table
    append_review(run / "reviews.csv", Review(first.id[0], "label", first.machine_label[0]))
    found = suspects(run)
    assert first.id[0] not in set(found.table.id)
    assert "1 row not asked again: reviewed" in str(found)


def test_nothing_contradicted_is_said(spoilt, tmp_path):
    run = Path(shutil.copytree(spoilt[0], tmp_path / "run"))
    for i in suspects(run, 1000).table.id:
        append_review(run / "reviews.csv", Review(i, "unsure"))
    found = suspects(run)
    assert not len(found.table) and "out-of-fold answers contradict none of" in str(found)
    assert "id" in read_table(run / "suspects.csv")


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--rule", "self_confidense"], "no rule 'self_confidense'; did you mean 'self_confid"),
        (["-n", "0"], "-n must be a whole number of rows above 0, got 0"),
        (["-o", "s.docx"], "cannot write '.docx'; name it .csv"),
    ],
)
def test_what_cannot_be_done_is_said_in_one_sentence(spoilt, words, sentence, capsys):
    assert main(["suspects", str(spoilt[0]), *words]) == 2
    err = capsys.readouterr().err
    assert sentence in err and err.count("\n") == 1


def test_a_run_at_work_has_no_suspects_yet(spoilt, tmp_path, capsys):
    run = Path(shutil.copytree(spoilt[0], tmp_path / "run"))
    (run / "result.json").unlink()
    assert main(["suspects", str(run)]) == 2
    assert "is an unfinished run; go on with semi train ... --resume" in capsys.readouterr().err


def test_of_several_labels_the_class_that_is_contradicted_is_named(tmp_path):
    write_manifest(tmp_path)
    words = ["task.kind=multi_label", "data.ties=votes", "select.rule=threshold"]
    semi.self_train(settings(tmp_path, "several", *words), progress=False)
    table = suspects(tmp_path / "runs" / "several", 5).table
    assert len(table) == 5
    assert table.reason.str.match(r"labelled (with|without) \w+; out-of-fold says \w+ at 0").all()


@pytest.mark.parametrize("name", LABEL_ERROR_RULES)
def test_rules_see_each_row_whatever_its_place_and_take_any_number(name):
    rule = LABEL_ERROR_RULES[name]
    draw = torch.Generator().manual_seed(0)
    probs = torch.randn(40, 4, generator=draw).softmax(1)
    label = torch.arange(40) % 4
    label[:3] = probs[:3].argmin(1)
    moved = torch.randperm(40, generator=draw)
    assert torch.allclose(rule(probs, label)[moved], rule(probs[moved], label[moved]), atol=1e-6)
    sure = torch.eye(4)[[0, 1, 2, 3]]
    value = rule(sure, torch.tensor([0, 1, 2, 0]))
    assert int(value.argmax()) == 3
    assert rule(probs[:0], label[:0]).shape == (0,)
    assert bool(rule(torch.ones(3, 1), torch.zeros(3, dtype=torch.int64)).isfinite().all())


def test_the_confident_joint_is_the_papers():
    """Against a loop: thresholds are mean self-confidences, and off the diagonal is suspect."""
    draw = torch.Generator().manual_seed(1)
    probs, label = torch.randn(60, 3, generator=draw).softmax(1), torch.arange(60) % 3
    threshold = [float(probs[label == c, c].mean()) for c in range(3)]
    for i in range(60):
        able = [c for c in range(3) if probs[i, c] >= threshold[c]]
        counted_as = max(able, key=lambda c: float(probs[i, c])) if able else int(label[i])
        off = counted_as != int(label[i])
        assert (float(confident_joint(probs, label)[i]) > 1) == off

"""Mixing finished runs: whose rows, whose weights, and what is told about them."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from two_runs import settings, write_manifest

import semi
from semi.cli import main
from semi.errors import RunError
from semi.runs.ensemble import ensemble
from semi.runs.predictions import write_predictions
from semi.runs.reopen import predictions_of


def test_what_a_run_says_of_its_rows_scores_as_the_run_itself(runs):
    for run in runs:
        said = predictions_of(run)
        best = json.loads(Path(run, "result.json").read_text())["best_round"]
        record = json.loads(Path(run, f"round-{best:02d}", "round.json").read_text())
        for split, key in (("oof", "metrics_oof"), ("test", "metrics_test")):
            rows = said.rows(split)
            right = said.probs[rows].argmax(1) == said.label[rows]
            assert right.mean() == pytest.approx(record[key]["accuracy"])
            assert len(rows) == record[key]["rows"]
        again = predictions_of(run)  # read back from the run's folder
        np.testing.assert_array_equal(again.probs, said.probs)
        np.testing.assert_array_equal(again.label, said.label)


def test_weights_given_are_the_weighted_mean_of_the_members(runs):
    done = ensemble(runs, weights=[3, 1], output="given")
    a, b = (predictions_of(r) for r in runs)
    mixed = predictions_of(done.path)
    np.testing.assert_allclose(mixed.probs, 0.75 * a.probs + 0.25 * b.probs, atol=1e-9)
    assert done.weights == pytest.approx([0.75, 0.25])
    alone = ensemble(runs, weights=[1, 0], output="alone")
    for name in ("confusion", "intervals", "support"):
        assert alone.metrics["test"]["ensemble"][name] == alone.metrics["test"]["a"][name]


def test_weights_fitted_on_gold_never_saw_the_fold_they_are_scored_on(runs):
    from pseudo_label.voting import fit_weights
    from semi.runs.ensemble import torch

    done = ensemble(runs, output="fitted")
    a, b = (predictions_of(r) for r in runs)
    mixed, gold = predictions_of(done.path), a.rows("oof")
    fold = a.fold[gold]
    for k in np.unique(fold):
        rest, here = gold[fold != k], gold[fold == k]
        both = torch.from_numpy(np.stack([a.probs, b.probs]))
        w = fit_weights(both[:, rest], torch.from_numpy(a.label[rest])).weights
        np.testing.assert_allclose(
            mixed.probs[here], w[0] * a.probs[here] + w[1] * b.probs[here], atol=1e-9
        )
    assert done.how.startswith("fitted weights (fitted on 33 gold rows")


def test_an_ensemble_reports_every_member_and_class(runs, capsys):
    assert main(["ensemble", *runs, "--weights", "uniform", "-o", "told"]) == 0
    out = capsys.readouterr().out
    folder = Path(runs[0]).parent / "told"
    said = json.loads((folder / "ensemble.json").read_text())
    for name in ("a", "b", "ensemble"):
        assert f"\n{name} " in out and name in said["metrics"]["test"]
    for name in ("anger", "calm", "joy"):
        assert f"\n{name} " in out
    assert "over 2 groups against" in out
    assert said["weights"] == [0.5, 0.5]
    table = pd.read_csv(folder / "probs.csv")
    assert list(table["id"]) == sorted(f"u{k}" for k in range(90))
    held = np.load(folder / "probs.npz")
    np.testing.assert_allclose(held["probs"].sum(1), 1)


def test_probabilities_from_elsewhere_are_put_in_order(runs, tmp_path):
    b = predictions_of(runs[1])
    order = np.random.default_rng(0).permutation(len(b.ids))
    table = pd.DataFrame({"id": b.ids[order]})
    for c in reversed(b.classes):
        table[f"p_{c}"] = b.probs[order, b.classes.index(c)]
    table.to_csv(tmp_path / "other.csv", index=False)
    write_predictions(tmp_path / "other.npz", b)
    direct = ensemble(runs, weights="uniform", output="direct")
    for name in ("other.csv", "other.npz"):
        mixed = ensemble([runs[0], str(tmp_path / name)], weights="uniform", output="outside")
        np.testing.assert_allclose(
            predictions_of(mixed.path).probs, predictions_of(direct.path).probs, atol=1e-9
        )
        assert any("count as out-of-fold" in note for note in mixed.notes)


def test_rows_that_one_member_lacks_are_answered_by_the_others(runs, tmp_path):
    b = predictions_of(runs[1])
    table = b.table()[["id", *(f"p_{c}" for c in b.classes)]]
    table.iloc[5:].to_csv(tmp_path / "part.csv", index=False)
    mixed = ensemble([runs[0], str(tmp_path / "part.csv")], weights="uniform", output="part")
    a = predictions_of(runs[0])
    np.testing.assert_allclose(predictions_of(mixed.path).probs[:5], a.probs[:5], atol=1e-9)


def test_what_cannot_be_mixed_is_refused_in_a_sentence(runs, tmp_path):
    write_manifest(tmp_path, seed=1)
    other = semi.self_train(settings(tmp_path, "other", "rounds.max_rounds=0"), progress=False)
    with pytest.raises(RunError, match="other used another manifest"):
        ensemble([runs[0], str(other.path)])
    folder = Path(runs[0]).parents[1]
    config = settings(folder, "seeded", "seed=3", "rounds.max_rounds=0")
    seeded = semi.self_train(config, progress=False)
    with pytest.raises(RunError, match="seeded and a have different gold test rows"):
        ensemble([runs[0], str(seeded.path)])
    with pytest.raises(RunError, match="3 weights were given for 2 members"):
        ensemble(runs, weights=[1, 1, 1])
    with pytest.raises(RunError, match="exists and is no ensemble"):
        ensemble(runs, output="b")
    with pytest.raises(RunError, match="at least two members"):
        ensemble(runs[:1])
    (tmp_path / "logits.csv").write_text("id,p_anger,p_calm,p_joy\nu1,3.0,-1.0,0.5\n")
    with pytest.raises(RunError, match=r"semi ensemble: .* the row of 'u1' must be >= 0 and sum"):
        ensemble([runs[0], str(tmp_path / "logits.csv")])

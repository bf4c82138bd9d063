"""The comparison of runs: same rows or none, sizes and times, p-values that count how many."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import f1_score
from spoken_run import copied
from two_runs import settings, write_manifest

import semi
from semi.cli import main
from semi.errors import RunError
from semi.evaluation.holm import holm
from semi.experiments.ablation import variants
from semi.runs.compare import compare, least_p
from semi.runs.evaluate_by import evaluate_by
from semi.runs.reopen import predictions_of


def test_holm_steps_down_and_keeps_the_order():
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.5, 0.9]) == [1.0, 1.0]
    assert holm([0.02]) == [0.02]
    rng = np.random.default_rng(0)
    p = rng.random(6)
    assert (np.array(holm(p)) >= p).all()
    assert np.argsort(p)[0] == np.argsort(holm(p), kind="stable")[0]


def test_the_table_holds_protocol_scores_size_and_speed(runs, tmp_path, capsys):
    out = tmp_path / "c.csv"
    (tmp_path / "empty").mkdir()
    words = [*runs, str(tmp_path / "empty"), "--paired", "-o", str(out)]
    assert main(["compare", *words]) == 0
    told = capsys.readouterr().out
    assert f"skipped {tmp_path / 'empty'}: no run" in told
    table = pd.read_csv(out)
    assert list(table["run"]) == ["a", "b"]
    for k, run in enumerate(runs):
        row = table.iloc[k]
        test = semi.evaluate(run).metrics
        for name in ("accuracy", "waf", "macro_f1", "uar", "recall_std"):
            assert row[f"test_{name}"] == pytest.approx(test[name])
        assert row["test_waf_low"] == pytest.approx(test["intervals"]["waf"]["low"])
        oof = semi.evaluate(run, "oof").metrics
        assert row["oof_macro_f1"] == pytest.approx(oof["macro_f1"])
        assert row["manifest"] == Path(run, "manifest.sha256").read_text().strip()
        assert row["split_kind"] == "speaker" and row["gold_rows"] == oof["rows"]
        tensors = Path(run, "model", "model.safetensors")
        assert 0 < row["head_parameters"] * 4 < tensors.stat().st_size
        assert row["parameters"] == row["head_parameters"]  # character n-grams have none
        assert row["model_ms"] > 0 and row["end_to_end_ms"] > 0
    gap = table["test_macro_f1"][1] - table["test_macro_f1"][0]
    assert table["paired_macro_f1"][1] == pytest.approx(gap)
    assert np.isnan(table["paired_macro_f1"][0])
    assert "Caution: test has only 2 groups" in told


def test_a_run_is_no_different_from_itself(runs, tmp_path):
    import shutil

    shutil.copytree(runs[0], tmp_path / "copy")
    done = compare([runs[0], str(tmp_path / "copy")], paired=True, latency=False)
    pair = done.pairs[0]
    assert pair["macro_f1"] == pair["macro_f1_low"] == pair["macro_f1_high"] == 0
    assert pair["p_value"] == pair["mcnemar_p"] == 1
    assert done.rows[0]["model_ms"] is None


def test_two_speakers_prove_nothing(runs):
    assert [least_p(k) for k in (1, 2, 5, 10)] == [1, 0.5, 0.0625, pytest.approx(0.00195, abs=1e-5)]
    pair = compare(runs, paired=True, latency=False).pairs[0]
    assert pair["units"] == 2 and pair["p_value"] >= 0.5


def test_runs_with_other_test_rows_are_not_paired(runs, tmp_path):
    write_manifest(tmp_path, seed=2)
    config = settings(tmp_path, "far", "rounds.max_rounds=0")
    far = str(semi.self_train(config, progress=False).path)
    with pytest.raises(RunError, match="far used another manifest"):
        compare([runs[0], far], paired=True, latency=False)
    told = str(compare([runs[0], far], latency=False))
    assert "Caution: the runs differ in manifest" in told
    with pytest.raises(RunError, match="none of these is a finished run"):
        compare([str(tmp_path)])
    Path(far, "result.json").unlink()
    assert "unfinished run" in compare([runs[0], far], latency=False).skipped[0]


def test_variants_are_single_changes():
    assert variants(["a=1,2", "b.c=[1,2]"]) == ["a=1", "a=2", "b.c=[1,2]"]
    with pytest.raises(RunError, match="got 'a'"):
        variants(["a"])


def test_an_ablation_trains_what_is_missing_and_pairs_it(runs, capsys):
    folder = Path(runs[0]).parents[1]
    yaml = folder / "ablate.yaml"
    yaml.write_text(Path(runs[0], "config.yaml").read_text())
    before = Path(runs[0], "ledger.csv").read_text()
    words = ["ablate", str(yaml), "name=a", "--vary", "rounds.max_rounds=0"]
    assert main(words) == 0
    out = capsys.readouterr().out
    assert "a+rounds.max_rounds=0" in out and "Difference to a" in out
    assert Path(runs[0], "ledger.csv").read_text() == before
    child = folder / "runs" / "a+rounds.max_rounds=0" / "result.json"
    assert json.loads(child.read_text())["rounds"] == 0


def test_defect_003_1_scores_are_told_apart_by_any_column(runs, capsys):
    """A mixed test set must not hide how a system does on one of its corpora."""
    assert main(["compare", *runs, "--by", "speaker", "--no-latency"]) == 0
    out = capsys.readouterr().out
    assert "macro-F1 in % of gold test rows by speaker, with 95 % intervals:" in out
    done = compare(runs, latency=False, by="speaker")
    table = pd.read_csv(Path(runs[0]).parents[1] / "m.csv").set_index("id")
    for run, found in zip(runs, done.parts, strict=True):
        said = predictions_of(run)
        rows = said.scored("test")
        assert sum(p["rows"] for p in found["parts"].values()) == len(rows)
        for speaker, part in found["parts"].items():
            mine = rows[(table.loc[said.ids[rows], "speaker"] == speaker).to_numpy()]
            truth, told = said.label[mine], said.probs[mine].argmax(1)
            want = f1_score(truth, told, average="macro", labels=np.unique(truth), zero_division=0)
            assert part["value"] == pytest.approx(want)
            assert part["rows"] < 10 or part["over"] == f"{part['rows']} rows" in out
    with pytest.raises(RunError, match=r"no column speeker; did you mean 'speaker'\?"):
        compare(runs, latency=False, by="speeker")


@pytest.mark.parametrize("column", ["label", "sex"])
def test_groups_have_the_scores_that_evaluate_gives_them(heard, tmp_path, column):
    """A class that a group has no row of is not counted as 0: it says nothing of the group."""
    (found,) = compare([str(heard)], latency=False, by=column).parts
    (told,) = evaluate_by(copied(heard, tmp_path), [column]).columns
    assert found["parts"].keys() == {value for value, _ in told.groups}
    for value, score in told.groups:
        part, whole = found["parts"][value], score.scores["macro_f1"]
        assert (part["rows"], part["value"]) == (score.rows, whole.value)
        ends = (None, None) if score.small or np.isnan(whole.low) else (whole.low, whole.high)
        assert (part["low"], part["high"]) == ends

"""What is done with finished runs works for every kind of task, not for one label a row alone."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from two_runs import WORDS

import semi
from semi.checksums import derived
from semi.config.schema import save
from semi.errors import RunError
from semi.experiments.cross_validation import all_folds
from semi.experiments.search.search import search
from semi.runs.compare import compare
from semi.runs.distill import distill, soft_labels
from semi.runs.ensemble import ensemble
from semi.runs.export import export
from semi.runs.predictions import write_predictions
from semi.runs.preview import dry_run
from semi.runs.reopen import predictions_of
from semi.runs.scores import gap_of, score_of
from semi.runs.submit import submit

FEELING = {"joy": (4.2, 3.5), "anger": (1.6, 4.3), "calm": (3.2, 1.5)}
KINDS = {
    "multi_label": ["data.ties=votes", "rounds.metric=macro_f1"],
    "affect": ["rounds.metric=ccc"],
    "joint": ["rounds.metric=macro_f1"],
    "joint_multi_label": ["data.ties=votes", "rounds.metric=macro_f1"],
}
SPACE = "train.lr: {low: 1e-3, high: 3e-2, log: true}\nmodel.hidden: [4, 8]\n"


def write_manifest(folder, rows=96, seed=0):
    """Texts of 3 emotions by 8 speakers; every fifth row is a tie, two have no valence."""
    rng = np.random.default_rng(seed)
    names, table = list(WORDS), []
    for k in range(rows):
        label, other = names[k % 3], names[(k + 1) % 3]
        words = [*rng.choice(WORDS[label].split(), 2), *rng.choice(WORDS[other].split(), 1)]
        tie = k % 5 == 0
        feeling = np.array(FEELING[label]) + rng.normal(0, 0.3, 2)
        table.append({
            "id": f"u{k}", "text": " ".join(words) + f" {k}", "speaker": f"s{k // 3 % 8}",
            "label": f"{label};{other}" if tie else label,
            "valence": feeling[0] if k % 40 else None, "arousal": feeling[1],
        })  # fmt: skip
    pd.DataFrame(table).to_csv(folder / "m.csv", index=False)


def settings(folder, kind, name, *words):
    return semi.load_config(None, [
        f"name={name}", f"runs_dir={folder}/runs", f"data.manifest={folder}/m.csv",
        f"features.store={folder}/store", "data.test_fraction=0.25", "data.labeled_fraction=0.7",
        "encoders.speech.model=none", "model.hidden=8", "model.kind=concat", "train.folds=2",
        "train.members=1", "train.steps=15", "train.batch=128", "train.imbalance=none",
        "noise.steps=0", "noise.impulse=0", "contrast.modality=false", "contrast.rest=false",
        "contrast.noise=false", "contrast.pretrain_steps=0", "rounds.max_rounds=0",
        "tracking=false", "threads=1", f"task.kind={kind}", *KINDS[kind], *words,
    ])  # fmt: skip


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tasks")
    write_manifest(folder)
    for kind in KINDS:
        for name, words in (("a", []), ("b", ["train.lr=0.02", "model.hidden=16"])):
            semi.self_train(settings(folder, kind, f"{kind}-{name}", *words), progress=False)
    return folder


def paths(home, kind):
    return [str(home / "runs" / f"{kind}-{x}") for x in "ab"]


@pytest.mark.parametrize("kind", KINDS)
def test_runs_are_compared_in_the_scores_of_their_task(home, kind, tmp_path):
    done = compare(paths(home, kind), paired=True, output=str(tmp_path / "c.csv"))
    table, told = pd.read_csv(tmp_path / "c.csv"), str(done)
    for k, run in enumerate(paths(home, kind)):
        result = json.loads(Path(run, "round-00", "round.json").read_text())["metrics_test"]
        row = table.iloc[k]
        assert row["task"] == kind and row["test_rows"] == result["rows"]
        if kind != "affect":
            assert row["test_macro_f1"] == pytest.approx(result["macro_f1"])
            assert row["test_macro_f1_low"] == pytest.approx(result["intervals"]["macro_f1"]["low"])
        if kind != "multi_label":
            assert row["test_ccc"] == pytest.approx(result["ccc"])
            assert row["test_arousal_pearson"] == pytest.approx(
                result["affect"]["arousal"]["pearson"]
            )
            assert row["test_valence_ccc_low"] <= row["test_valence_ccc"]
    main = "ccc" if kind == "affect" else "macro_f1"
    gap = table[f"test_{main}"][1] - table[f"test_{main}"][0]
    assert table[f"paired_{main}"][1] == pytest.approx(gap)
    assert 0 < table["paired_p_value"][1] <= 1
    assert ("McNemar" in told) == (kind == "joint")
    assert ("CCC" in told) == (kind != "multi_label")
    assert ("F1 per row" in told) == ("multi" in kind)
    assert table["model_ms"][0] > 0 and table["end_to_end_ms"][0] > 0


def test_runs_of_different_tasks_stand_in_tables_of_their_own_and_are_not_paired(home):
    both = [paths(home, "affect")[0], paths(home, "multi_label")[0]]
    told = str(compare(both, latency=False))
    assert "(valence and arousal)" in told and "(several labels a row)" in told
    assert "Caution: the runs differ in task" in told
    with pytest.raises(RunError, match="only runs of one kind of task go together"):
        compare(both, paired=True, latency=False)
    with pytest.raises(RunError, match="metric must be one of ccc, valence_ccc"):
        compare(paths(home, "affect"), paired=True, latency=False, metric="waf")


@pytest.mark.parametrize("kind", KINDS)
def test_an_ensemble_of_any_task_is_the_weighted_mean(home, kind):
    given = ensemble(paths(home, kind), weights=[1, 3], output=f"{kind}-given")
    a, b, mixed = (predictions_of(p) for p in (*paths(home, kind), given.path))
    assert mixed.kind == kind
    np.testing.assert_allclose(mixed.probs, 0.25 * a.probs + 0.75 * b.probs, atol=1e-9)
    if a.affect is not None:
        np.testing.assert_allclose(mixed.affect, 0.25 * a.affect + 0.75 * b.affect, atol=1e-9)
        np.testing.assert_array_equal(mixed.affect_truth, a.affect_truth)
    if a.several is not None:
        np.testing.assert_array_equal(mixed.several, a.several)
        assert (mixed.several.sum(1) == 2).any()
    done = ensemble(paths(home, kind), output=f"{kind}-fitted")
    assert done.how.startswith("fitted weights (fitted on") and sum(done.weights) == pytest.approx(
        1
    )
    told = str(done)
    assert "ensemble" in told and ("CCC" in told) == (kind != "multi_label")
    table = compare([*paths(home, kind), done.path], latency=False)
    assert table.rows[2]["rule"] == "ensemble" and table.rows[2]["task"] == kind


def test_weights_for_values_go_to_the_better_member(home):
    a, b = (predictions_of(p) for p in paths(home, "affect"))
    from semi.runs.ensemble_weights import fit

    rows = a.rows("oof")
    good, bad = a.affect.copy(), b.affect.copy()
    good[rows], bad[rows] = np.nan_to_num(a.affect_truth[rows], nan=3.0), 3.0
    a.affect, b.affect = good, bad
    weights, told = fit([a, b], rows)
    assert weights[0] > 0.6 and "of the variance" in told


@pytest.mark.parametrize("kind", KINDS)
def test_a_student_of_any_task_is_a_run_of_it(home, kind):
    config = settings(home, kind, f"{kind}-student", "model.hidden=4")
    done = distill(paths(home, kind)[1], config, progress=False)
    assert "on gold alone: " in done.sentence and "; on test " in done.sentence
    said = predictions_of(done.path)
    assert said.kind == kind and np.isfinite(score_of(said, "test").metrics[
        "ccc" if kind == "affect" else "macro_f1"])  # fmt: skip
    labels = json.loads((done.path / "round-01" / "round.json").read_text())
    assert labels["rule"] == "distill"
    again = distill(paths(home, kind)[1], config, resume=True, progress=False)
    assert again.sentence == done.sentence


@pytest.mark.parametrize("kind", KINDS)
def test_a_run_of_any_task_ends_with_a_student_of_all_folds(home, kind):
    words = ["distill.final=true", "distill.temperature=1", "distill.alpha=0.9"]
    words += ["train.steps=60", "train.lr=0.02"]
    config = settings(home, kind, f"{kind}-final", *words)
    done = semi.self_train(config, progress=False)
    start, last = (
        json.loads((done.path / f"round-0{k}" / "round.json").read_text()) for k in (0, 1)
    )
    better = last["gate"]["value"] >= start["gate"]["value"]
    assert ("One student ships in place of its 3 models" in done.sentence) == better
    record, said = (last if better else start), predictions_of(done.path)
    name = "ccc" if kind == "affect" else "macro_f1"
    for split in ("test", "oof"):
        assert score_of(said, split).metrics[name] == pytest.approx(
            record[f"metrics_{split}"][name]
        )
    assert len(soft_labels(done.path).pool) == 3


def test_a_student_of_another_task_than_its_teachers_is_refused(home):
    with pytest.raises(RunError, match=r"so set task\.kind=affect"):
        distill(paths(home, "affect")[0], settings(home, "joint", "odd"), progress=False)


@pytest.mark.parametrize("kind", ["joint_multi_label", "affect"])
def test_a_model_of_any_task_is_exported(home, kind, tmp_path):
    done = export(paths(home, kind)[0], tmp_path / "m.pt2")
    assert done.difference < 1e-5
    told = str(done)
    assert ("valence, arousal" in told) == (kind != "multi_label")
    assert ("probabilities (rows, 3)" in told) == (kind != "affect")
    program = torch.export.load(tmp_path / "m.pt2").module()
    outputs = program([torch.randn(2, 512)], torch.ones(2, 1, dtype=torch.bool))
    assert len(outputs) == (2 if "joint" in kind else 1)


@pytest.mark.extras("optuna")
@pytest.mark.parametrize("kind", ["multi_label", "affect"])
def test_a_search_of_any_task_is_judged_out_of_fold(home, kind, tmp_path):
    (tmp_path / "space.yaml").write_text(SPACE)
    words = [f"runs_dir={tmp_path}", "name=s", "train.steps=5"]
    recipe = f"{paths(home, kind)[0]}/config.yaml"
    found = search(recipe, tmp_path / "space.yaml", words, trials=3, batch=2, progress=False)
    assert len(found.trials) == 3 and all(np.isfinite(t["value"]) for t in found.trials)
    assert isinstance(found.corrected, float) and "scored for the chosen trial only" in str(found)


@pytest.mark.parametrize("kind", KINDS)
def test_a_submission_of_any_task_has_every_row(home, kind, tmp_path):
    out = tmp_path / "s.csv"
    if kind == "affect":
        with pytest.raises(RunError, match="says no label"):
            submit(paths(home, kind)[0], out)
        return
    done = submit(paths(home, kind)[0], out)
    table = pd.read_csv(out)
    assert len(table) == done.rows and table["discrete"].notna().all()
    assert ("valence" in table) == (kind != "multi_label")


def test_what_has_no_rule_to_preview_says_so(home):
    for kind in ("multi_label", "affect"):
        with pytest.raises(RunError, match="not by a rule that could be previewed"):
            dry_run(paths(home, kind)[0])


def test_unreadable_rows_are_left_out_of_every_score_and_counted(home):
    a, b = (predictions_of(p) for p in paths(home, "joint"))
    lost = a.rows("test")[:3]
    whole = score_of(a, "test")
    a.probs[lost] = np.nan
    part = score_of(a, "test")
    assert (part.rows, part.left_out) == (whole.rows - 3, 3)
    gap = gap_of(a, b, "test")
    assert (gap.rows, gap.left_out) == (whole.rows - 3, 3)
    rows = np.setdiff1d(b.rows("test"), lost)
    right = (b.probs[rows].argmax(1) == b.label[rows]).mean()
    mine = (a.probs[rows].argmax(1) == a.label[rows]).mean()
    assert gap.differences["accuracy"].value == pytest.approx(mine - right)


def test_compare_names_the_rows_that_one_run_could_not_read(home, tmp_path):
    import shutil

    copy = tmp_path / "half"
    shutil.copytree(paths(home, "joint")[0], copy)
    said = predictions_of(copy)
    said.probs[said.rows("test")[:2]] = np.nan
    with derived(copy / "probs.parquet"):
        write_predictions(copy / "probs.parquet", said)
    told = str(compare([paths(home, "joint")[0], str(copy)], paired=True, latency=False))
    assert "half cannot read 2 gold test rows, which are left out of its scores" in told
    assert "Caution: the runs have different test rows" in told
    row = next(line for line in told.splitlines()[::-1] if line.startswith("half  "))
    assert str(len(said.scored("test"))) in row


def test_no_answer_of_valence_and_arousal_lies_outside_of_what_was_learned(home):
    run = paths(home, "affect")[0]
    gold = pd.read_csv(home / "m.csv")[["valence", "arousal"]]
    low, high = gold.min().to_numpy(), gold.max().to_numpy()
    model = semi.load(run).model
    wild = {m: 50 * torch.randn(64, d) for m, d in model.ensemble.dims.items()}
    said = model.ensemble.predict_logits(wild, torch.ones(64, 1, dtype=torch.bool)).affect
    assert (said.amin((0, 1)).numpy() >= low - 1e-5).all()
    assert (said.amax((0, 1)).numpy() <= high + 1e-5).all()


@pytest.mark.parametrize("kind", ["joint", "affect"])
def test_all_folds_score_every_gold_row_once_by_a_model_that_never_saw_its_speaker(home, kind):
    config = settings(home, kind, f"{kind}-folds", "data.labeled_fraction=null")
    save(config, home / f"{kind}.yaml")
    done = all_folds(str(home / f"{kind}.yaml"), ["data.test_folds=3"], progress=False)
    whole = predictions_of(done.path)
    parts = [predictions_of(p) for p in done.parts]
    rows = whole.rows("test")
    assert len(rows) == len(set(rows)) == sum(len(p.rows("test")) for p in parts) >= 75
    for part in parts:
        mine = part.rows("test")
        trained = set(part.group[part.role == "labeled"])
        assert not trained & set(part.group[mine])
        np.testing.assert_array_equal(whole.probs[mine], part.probs[mine])
    name = "ccc" if kind == "affect" else "macro_f1"
    assert done.mean(name)[0] == pytest.approx(np.mean([s.metrics[name] for s in done.scores]))
    assert done.pooled.rows == len(rows) and "all rows together" in str(done)
    again = all_folds(str(home / f"{kind}.yaml"), ["data.test_folds=3"], progress=False)
    assert str(again) == str(done)
    record = compare([done.path], latency=False).rows[0]
    assert record["rule"] == "folds" and record["split_kind"] == "grouped, 3 parts"
    with pytest.raises(RunError, match="exists and is no pool of parts"):
        all_folds(str(home / f"{kind}.yaml"), ["data.test_folds=3", f"name={kind}-a"])

"""Runs whose checksums are gone: what they hold is held against what they must hold, in words."""

import json
import random
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from fuzz_entries import OTHERS
from fuzz_runs import Copies, copies, uses
from safetensors.numpy import load_file, save_file
from two_runs import settings, two_runs, write_manifest

import semi
from semi.checksums import files_below
from semi.errors import RunError, SemiError
from semi.evaluation.html_report import write_report
from semi.runs.compare import compare
from semi.runs.ensemble import ensemble
from semi.runs.preview import dry_run

CASES = 40


@pytest.fixture(scope="module")
def copied(tmp_path_factory) -> Copies:
    home = tmp_path_factory.mktemp("bare")
    runs = two_runs(home)
    ensemble(runs, output=str(home / "runs" / "both"))
    return copies(Path(runs[0]), home)


@pytest.fixture
def run(copied, tmp_path):
    return Path(shutil.copytree(copied.bare, tmp_path / "bare"))


def test_a_changed_entry_column_or_array_is_a_sentence_that_names_a_file(copied, tmp_path):
    chance, refused = random.Random(0), 0
    names = [n for n in files_below(copied.bare) if Path(n).suffix in OTHERS]
    assert len(names) >= 14
    for case in range(CASES):
        name = names[case % len(names)]
        home = Path(shutil.copytree(copied.bare, tmp_path / f"{case}" / "bare"))
        OTHERS[Path(name).suffix](home / name, chance)
        asked = uses(home, copied, home.parent)
        for use in chance.sample(sorted(asked), 2):
            try:
                asked[use]()
            except (SemiError, FileNotFoundError) as error:
                refused += 1
                assert str(home) in str(error) and "\n  File" not in str(error), (use, name, error)
            except Exception as error:
                pytest.fail(f"{use} with another {name}: {type(error).__name__}: {error}")
        shutil.rmtree(home)
    assert refused > CASES / 4


def entry(path, change):
    value = json.loads(path.read_text())
    change(value)
    path.write_text(json.dumps(value))


@pytest.mark.parametrize(
    ("name", "change", "told"),
    [
        ("result.json", lambda v: v.pop("best_round"), "result.json lacks the entry best_round;"),
        ("result.json", lambda v: v.update(best_round=9), "says that round 9 ships, which is not"),
        ("result.json", lambda v: v.update(notes=7), "result.json has in its entry notes 7 where"),
        ("round-00/round.json", lambda v: v["metrics_oof"].update(f1=[0.5]),
         r"round.json has in its entry metrics_oof.f1 1 numbers of 3 classes;"),
        ("round-00/round.json", lambda v: v["metrics_oof"]["intervals"]["uar"].update(low="x"),
         r"entry metrics_oof.intervals.uar.low 'x' where a number belongs; bring it back"),
        ("round-00/voter.json", lambda v: v["voter"].pop("calibrations"),
         r"voter.json is damaged or not the vote of a round \(lacks the entry calibrations\)"),
        ("round-00/voter.json", lambda v: v["voter"].update(weights=[2.0]), "are no shares"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_an_account_is_told(run, name, change, told):
    entry(run / name, change)
    with pytest.raises(RunError, match=told):
        entry_read(run, name)


def entry_read(run, name):
    if name == "result.json":
        semi.evaluate(run, "oof")
    elif name.endswith("round.json"):
        write_report(run)
    else:
        dry_run(run)


@pytest.mark.parametrize(
    ("name", "change", "told"),
    [
        ("oof_logits", lambda a: a[:, 1:], r"has oof_logits of shape \(1, .*these data have numb"),
        ("oof_logits", lambda a: a * np.nan, "has oof_logits with values that are no numbers"),
        ("ensemble.param.head.bias", lambda a: a[:, 1:], r"head.bias has the shape"),
        ("ensemble.param.head.bias", None, "head.bias is missing"),
    ],
)
def test_what_is_wrong_with_an_array_is_told(run, name, change, told):
    path = run / "round-00" / "state.safetensors"
    arrays = dict(load_file(path))
    assert name in arrays, sorted(arrays)
    value = arrays.pop(name)
    if change:
        arrays[name] = np.ascontiguousarray(change(value))
    save_file(arrays, path)
    with pytest.raises(RunError, match=told):
        dry_run(run)


def test_a_model_whose_parts_do_not_go_together_is_not_used(run):
    about = run / "model" / "model.json"
    before = about.read_text()
    for change, told in (
        (lambda v: v["classes"].append("more"), "names 4 classes and decides between 3"),
        (lambda v: v.update(chains=2), "2 chains cannot share 3 models"),
        (lambda v: v["encoders"].update(video={}), "its encoder is of text, video, not text"),
        (
            lambda v: v["standardizer"]["scale"].update(speech=1.0),
            "it lacks means or deviations of speech",
        ),
        (lambda v: v["ensemble"]["config"].update(hidden="8"), "bare/model is damaged or not a m"),
    ):
        entry(about, change)
        with pytest.raises(RunError, match=told):
            semi.load(run)
        about.write_text(before)
    assert semi.load(run).classes == ["anger", "calm", "joy"]


def test_a_ledger_of_other_rows_is_not_gone_on_with(copied, run):
    path = run / "round-01" / "ledger.parquet"
    table = pd.read_parquet(path)
    words = [f"runs_dir={run.parent}", f"name={run.name}"]
    for changed, told in (
        (table.drop(columns="reason"), "ledger.parquet lacks the column reason"),
        (table.assign(accepted="yes"), "has other values than semi writes in column accepted"),
        (table.iloc[1:], "is not of round 1 and this pool of"),
        (table.assign(round=2), "is not of round 1 and this pool of"),
    ):
        changed.to_parquet(path, index=False)
        with pytest.raises(RunError, match=told):
            semi.self_train(semi.load_config(run / "config.yaml", words), resume=True,
                            progress=False)  # fmt: skip


@pytest.mark.parametrize("kind", ["contrastive", "discriminant"])
def test_what_was_learned_without_labels_is_of_these_data_or_refused(tmp_path, kind):
    write_manifest(tmp_path)
    config = settings(tmp_path, "r", f"model.kind={kind}", "contrast.pretrain_steps=3")
    home = semi.self_train(config, progress=False).path
    for path in home.rglob("checksums.json"):
        path.unlink()
    shutil.rmtree(home / "round-00")
    kept = home / "pretrained" / "state.safetensors"
    whole = dict(load_file(kept))
    name = sorted(whole)[0]
    for changed in (whole[name][..., 1:], whole[name] * np.nan, whole[name].astype(np.float64)):
        save_file(whole | {name: np.ascontiguousarray(changed)}, kept)
        with pytest.raises(RunError, match=f"state.safetensors has in {name} not what {kind} le"):
            semi.self_train(config, resume=True, progress=False)
    save_file(whole, kept)
    assert semi.self_train(config, resume=True, progress=False).path == home


def test_an_ensemble_of_an_earlier_version_is_read_row_by_row_and_held_against_its_kind(
    copied, tmp_path
):
    home = Path(shutil.copytree(copied.manifest.parent / "runs" / "both", tmp_path / "both"))
    (home / "checksums.json").unlink()
    kept, first = home / "probs.parquet", str(copied.manifest.parent / "runs" / "a")
    table = pd.read_parquet(kept)
    whole = compare([first, str(home)], paired=True, latency=False)
    table.iloc[::-1].to_parquet(kept, index=False)  # the order of its manifest
    assert compare([first, str(home)], paired=True, latency=False).pairs == whole.pairs
    for changed, told in (
        (pd.concat([table, table]), "probs.parquet holds an utterance twice"),
        (table.assign(fold="x"), "is damaged or not a table of what a model says of every row"),
        (table.assign(role="x"), "has the role 'x', which there is not"),
        (table.drop(columns="p_joy"), "has the label 'joy', for which it has no column p_<class>"),
        (table.iloc[1:], "does not answer the same rows as a|two finished runs"),
    ):
        changed.to_parquet(kept, index=False)
        with pytest.raises(RunError, match=told):
            compare([first, str(home)], paired=True, latency=False)
    table.to_parquet(kept, index=False)
    entry(home / "ensemble.json", lambda v: v.update(members=-1))
    with pytest.raises(RunError, match=r"ensemble.json has in its entry members -1 where a list"):
        compare([first, str(home)], paired=True, latency=False)


def test_a_line_of_the_log_that_is_none_is_dropped(run, tmp_path):
    log = run / "metrics.jsonl"
    before = log.read_text()
    log.write_text(before + '{"round": []}\n[]\n')
    words = [f"runs_dir={run.parent}", f"name={run.name}"]
    semi.self_train(semi.load_config(run / "config.yaml", words), resume=True, progress=False)
    assert log.read_text() == before


def test_a_setting_that_is_gone_names_the_file_of_the_run(run):
    text = (run / "config.yaml").read_text()
    (run / "config.yaml").write_text(text.replace("  seed:", "  sed:").replace("seed:", "sed:", 1))
    with pytest.raises(SemiError, match=r"problem in .*bare/config.yaml:"):
        semi.evaluate(run, "oof")
    assert settings(run, "x").seed == 0

"""A small run through the commands of the README: what one of them says, the others confirm."""

import json

import numpy as np
import pandas as pd
import pytest

import semi
from semi.cli import main

WORDS = {"joy": "hurra schön toll froh", "anger": "nein weg zorn übel", "calm": "so nun also ruhig"}


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """Returns a folder with a manifest of texts and a YAML for it, and a finished run in it."""
    folder, rng = tmp_path_factory.mktemp("home"), np.random.default_rng(0)
    rows = []
    for k in range(90):
        label = list(WORDS)[k % 3]
        text = " ".join(rng.choice(WORDS[label].split(), 3)) + f" {rng.integers(99)}"
        rows.append({"id": f"u{k}", "text": text, "label": label, "speaker": f"s{k % 7}"})
    pd.DataFrame(rows).to_csv(folder / "m.csv", index=False)
    (folder / "x.yaml").write_text(
        f"""
name: x
runs_dir: {folder}/runs
data: {{manifest: {folder}/m.csv, labeled_fraction: 0.4, test_fraction: 0.3}}
encoders: {{speech: {{model: none}}}}
features: {{store: {folder}/store}}
train: {{folds: 2, members: 1, steps: 12}}
contrast: {{pretrain_steps: 2}}
rounds: {{max_rounds: 1}}
"""
    )
    assert main(["train", str(folder / "x.yaml")]) == 0
    return folder


def test_a_run_holds_what_the_readme_says(home):
    found = {p.name for p in (home / "runs/x").iterdir()}
    assert found >= {
        "config.yaml", "manifest.sha256", "splits.csv", "quarantine.csv", "round-00", "ledger.csv",
        "ledger.parquet", "metrics.jsonl", "result.json", "tb", "report.html", "model",
    }  # fmt: skip


def test_the_model_directory_scores_as_the_run_did(home):
    run = home / "runs/x"
    best = json.loads((run / "result.json").read_text())["best_round"]
    record = json.loads((run / f"round-{best:02d}" / "round.json").read_text())
    test = semi.evaluate(run)
    assert test.metrics["confusion"] == record["metrics_test"]["confusion"]
    assert test.metrics["nll"] == pytest.approx(record["metrics_test"]["nll"], abs=1e-5)
    assert semi.evaluate(run, "oof").metrics == record["metrics_oof"]
    told = str(test)
    assert told.startswith(f"{run}: {record['metrics_test']['rows']} gold test rows, 95 %")
    for name in ("accuracy", "WAF", "macro-F1", "UAR", *WORDS):
        assert f"\n{name} " in told


def test_a_split_without_gold_says_which_have(home):
    with pytest.raises(
        semi.RunError, match="no gold row in the split dev; it has test, and always"
    ):
        semi.evaluate(home / "runs/x", "dev")
    with pytest.raises(semi.RunError, match="split must be one of test, dev, oof, got 'tset'"):
        semi.evaluate(home / "runs/x", "tset")


def test_a_changed_manifest_is_not_scored_silently(home, tmp_path):
    from semi.self_training.run_dir import Run

    run = Run.open(home / "runs/x")
    with pytest.raises(semi.RunError, match="the manifest changed since"):
        run.bind_manifest("0" * 64)


def test_a_text_is_labelled_from_the_command_line(home, capsys):
    assert main(["predict", str(home / "runs/x"), "--text", "hurra toll froh"]) == 0
    line = capsys.readouterr().out
    assert line.startswith("text 1  ") and line.split()[2] in WORDS


def test_a_finished_run_is_neither_repeated_nor_spoilt(home, capsys):
    ledger = (home / "runs/x/ledger.csv").read_bytes()
    assert main(["train", str(home / "x.yaml")]) == 2
    assert "already holds a finished run; choose another name" in capsys.readouterr().err
    assert main(["train", str(home / "x.yaml"), "--resume"]) == 0
    assert (home / "runs/x/ledger.csv").read_bytes() == ledger
    out = capsys.readouterr().out
    assert "round  verdict" in out and f"open {home}/runs/x/report.html" in out


def test_extract_and_report_say_what_they_did(home, capsys):
    assert main(["extract", str(home / "x.yaml")]) == 0
    assert "text: 0 encoded, 90 in the store already" in capsys.readouterr().out
    page = home / "runs/x/report.html"
    page.unlink()
    assert main(["report", str(home / "runs/x")]) == 0
    assert capsys.readouterr().out == f"{page}\n" and page.is_file()

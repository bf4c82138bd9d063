"""Programs under benchmarks/ run as they are called, at a size that takes no time."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from served_run import EXTRAS

from semi.data.corpora import bundled_emodb

ROOT = Path(__file__).resolve().parents[1]


def run(program: str, *words: str, code: int = 0) -> list[str]:
    """Returns the lines that a program prints, of errors where it must not end well."""
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, str(ROOT / "benchmarks" / program), *words],
        capture_output=True, text=True, env=environment, check=False,
    )  # fmt: skip
    assert done.returncode == code, done.stderr
    return (done.stderr if code else done.stdout).splitlines()


def test_both_sides_of_the_selection_benchmark_select_as_many_rows():
    lines = run("selection.py", "--rows", "2000", "--classes", "4")
    selected = {line[:25].strip(): int(line.split()[-1]) for line in lines[1:]}
    assert 590 <= selected["class_topk"] == selected["pandas, top of each class"] <= 610


def test_coverage_is_printed_for_what_is_in_the_folder(tmp_path):
    rng = np.random.default_rng(0)
    label = rng.integers(0, 3, 240)
    view = np.eye(3)[label].repeat(4, 1) + rng.normal(0, 1, (240, 12))
    arrays = {"label": label.astype(str), "speaker": np.repeat(np.arange(12), 20).astype(str)}
    np.savez(tmp_path / "emodb_goemotions.npz", text=view, **arrays)
    words = ["--repeats", "20", "--groups", "2,5"]
    lines = run("interval_coverage.py", str(tmp_path), *words)
    for title in ("Emo-DB, texts", "Emo-DB, texts: self-trained minus warm start"):
        assert f"{title}: 240 rows, 12 groups *" in lines
    assert "Emo-DB, Whisper: no emodb.npz in the folder, left out" in lines
    cells = [line.split() for line in lines if line.startswith("accuracy")]
    assert [row[1] for row in cells] == ["2", "5"] * 2
    assert all(len(row) == 9 and float(row[4]) >= float(row[2]) for row in cells)
    assert all(any(line.startswith(f"{w}: 8 cells,") for line in lines)
               for w in ("scores", "differences"))  # fmt: skip
    lines = run("benchmark_coverage.py", str(tmp_path), *words, "--runs", "5")
    assert "Emo-DB, texts: 12 groups" in lines
    rows = [line.split() for line in lines if line.startswith("macro_f1")]
    assert [row[1:3] for row in rows] == [["2", "5"], ["5", "5"]]
    assert all(float(row[3]) >= 60 for row in rows)


def test_pruning_of_joined_speech_stands_beside_stopping_early(tmp_path):
    from tiny_speech import tiny

    tiny("whisper").save_pretrained(tmp_path / "model")
    table = pd.read_csv(bundled_emodb(), dtype=str)
    table = table[table.label.isin(["anger", "neutral"])].rename(columns={"audio": "path"})
    table = table.groupby(["speaker", "label"]).head(1).copy()
    table["path"] = [str(bundled_emodb().parent / file) for file in table.path]
    table.to_csv(tmp_path / "m.csv", index=False)
    words = [str(tmp_path / "model"), str(tmp_path / "m.csv"), "--seconds", "1", "31"]
    lines = run("prune_long.py", *words, "--a-cell", "1", "1", "--methods", "merge", "stride")
    assert "31 s: positions end at 30 s, left out" in lines
    assert f"## 1 s: {tmp_path.name} {len(table)} utterances, median of distinct sound 1 s" in lines
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines if "| -" in line
            or "| merge" in line or "| stride" in line]  # fmt: skip
    assert [r[:4] for r in rows if r[1] != "-"] == [
        ["layer 3", method, "1", keep] for method in ("merge", "stride") for keep in ("0.7", "0.5")
    ]
    whole = next(r for r in rows if r[:2] == ["layer 3", "-"])
    assert whole[4:7] == ["1.00", "1.00", ""]
    pruned = [r for r in rows if r[1] != "-"]
    assert all(float(r[4]) < 1 and "layer" in r[9] for r in pruned)
    assert all(0 <= float(r[7]) <= 100 for r in rows)
    assert ", 4 comparisons: " in lines[-1]
    tiny("wavlm-base").save_pretrained(tmp_path / "wavlm")
    for model, more, reason in (
        ("model", ["--a-cell", "1"], "--a-cell needs a number for each of 2 lengths"),
        ("wavlm", ["--a-cell", "1", "1"], "model type 'wavlm' cannot be pruned"),
    ):
        refused = run("prune_long.py", str(tmp_path / model), *words[1:], *more, code=2)
        assert reason in refused[-1]


def test_costs_of_pruning_and_stopping_are_shares_of_the_whole_encoder():
    words = ["--sizes", "base", "--seconds", "0.5", "1", "--rounds", "1", "--after", "1"]
    lines = run("prune_speed.py", *words)
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines if line[:1] == "|"]
    assert {r[0] for r in rows[2:]} == {"6", "9", "12"}
    (whole,) = [r for r in rows[2:] if r[:2] == ["12", "-"]]
    assert whole[3:] == ["1.00", "1.00", "", "1.00", "1.00", ""]
    pruned = [r for r in rows[2:] if r[1] != "-"]
    assert len(pruned) == 3 * 3 * 2 and all(float(r[3]) < 1 and float(r[5]) > 0 for r in pruned)
    assert lines[-1].startswith("CPU-seconds a second of sound, un-pruned, 0.5 s = 1: 0.5 s 1.00, ")


def test_contrast_is_shown_with_and_without_in_every_case(tmp_path):
    rng = np.random.default_rng(0)
    label = np.arange(120) % 3
    speech, text = np.eye(3)[label].repeat(4, 1) + rng.normal(0, 0.5, (2, 120, 12))
    speakers = (np.arange(120) // 10).astype(str)
    arrays = {"label": label.astype(str), "speaker": speakers, "speech": speech, "text": text}
    np.savez(tmp_path / "mosi.npz", **arrays)
    words = ["--corpora", "mosi", "--budgets", "20", "--draws", "0"]
    lines = run("contrast.py", str(tmp_path), *words)
    for case in ("as it is", "speech alone", "text alone", "noisy sound"):
        for start in (f"| mosi, 20, {case} |", f"| mosi, 20, few pairs, {case} |"):
            (row,) = [line for line in lines if line.startswith(start)]
            assert row.count("|") == 8 and float(row.split("|")[2]) > 40
    assert lines[-1].startswith("CPU seconds")


def test_fused_contrastive_terms_are_those_of_the_usual_way():
    lines = run("contrast_cost.py", "--repeats", "1")
    assert len(lines) == 4 and all(float(line.split()[-4]) < 1e-5 for line in lines[1:])


@pytest.mark.extras(*EXTRAS)
def test_the_load_on_a_service_is_all_answered(heard):
    lines = run("serving.py", str(heard), "--clients", "1", "3", "--requests", "3", "9",
                "--calls", "2")  # fmt: skip
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines if "->" in line]
    assert [row[:2] for row in rows] == [["1", "3"], ["3", "9"]]
    assert all(row[-1] == "0" and 0 < float(row[3]) <= float(row[4]) for row in rows)
    assert "Largest difference of a probability to `model.predict`: 0.0e+00." in lines[2]
    assert lines[-1].startswith("One `model.predict` call per request in process: ")

"""Programs under benchmarks/ run as they are called, at a size that takes no time."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[1]


def run(program: str, *words: str) -> list[str]:
    """Returns the lines that a program prints; it must end well."""
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, str(ROOT / "benchmarks" / program), *words],
        capture_output=True, text=True, env=environment, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


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

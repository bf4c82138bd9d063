"""benchmarks/scale.py: every command that it measures runs, at a size that takes no time."""

import csv

import pytest
from test_benchmark_programs import run

COMMANDS = ["train", "check", "select", "predict", "evaluate", "report", "next", "verify",
            "review lists"]  # fmt: skip


def rows_of(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    """Returns what is printed and the file of cells after tables of two sizes."""
    folder = tmp_path_factory.mktemp("scale")
    words = ["--sizes", "150", "300", "--labels", "60", "--classes", "3", "--views", "2"]
    lines = run("scale.py", str(folder / "work"), *words, "--verbs", "-o", str(folder / "scale"))
    return lines, folder


def test_each_command_is_measured_at_each_size_with_its_growth(kept):
    lines, folder = kept
    cells = rows_of(folder / "scale.csv")
    assert [cell["command"] for cell in cells if cell["rows"] == "300"] == sorted(COMMANDS)
    assert len(cells) == 2 * len(COMMANDS)
    assert all(float(c["cpu_seconds"]) > 0.1 and float(c["peak_mb"]) > 50 for c in cells)
    assert all(float(c["disk_mb"]) > 0 for c in cells)
    table = [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines if line[:1] == "|"]
    assert [row[0] for row in table[2:]] == COMMANDS * 2
    assert all((row[-1] == "") == (row[1] == "150") for row in table[2:])
    written = (folder / "scale.md").read_text()
    assert all(line in written for line in lines if "| 300 |" in line)
    assert "numpy" in written and str(folder) not in written


def test_a_cell_that_is_measured_again_takes_the_place_of_the_old_one(kept):
    _, folder = kept
    before = rows_of(folder / "scale.csv")
    words = ["--sizes", "300", "--labels", "60", "--classes", "3", "--views", "2"]
    run("scale.py", *words, "-o", str(folder / "scale"))
    after = rows_of(folder / "scale.csv")
    assert len(after) == len(before)
    changed = [(a["rows"], a["command"]) for a, b in zip(after, before, strict=True) if a != b]
    assert changed == [("300", "train")]

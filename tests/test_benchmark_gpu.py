"""benchmarks/gpu.py runs whole, small, on a CPU and on the pretend GPU."""

import json
import sys
from pathlib import Path

import pytest
from pretend_gpu import pretend_gpu
from test_benchmark_programs import run

BENCHMARKS = Path(__file__).resolve().parents[1] / "benchmarks"
PARTS = ["Rates", "The CPU's vectors", "The CPU's solutions", "Extraction", "Training steps",
         "Rounds"]  # fmt: skip


@pytest.fixture
def gpu(monkeypatch):
    """Returns the program as a module; what it imports beside itself is forgotten afterwards."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    before = set(sys.modules)
    import gpu

    yield gpu
    for name in set(sys.modules) - before:
        if name.startswith(("gpu", "extract")):
            del sys.modules[name]


def assert_whole(found, ways):
    assert list(found["parts"]) == PARTS
    assert all(part["note"] == "" and part["rows"] for part in found["parts"].values()), found
    rows = {title: part["rows"] for title, part in found["parts"].items()}
    assert all("no time left" not in str(row) for part in rows.values() for row in part)
    assert all(row["farthest"] < 1e-4 for row in rows["The CPU's solutions"])
    for row in rows["The CPU's vectors"]:
        assert row["farthest"] < (1e-4 if row["precision"] == "fp32" else 0.2)
    extraction = rows["Extraction"]
    assert {row["encoder"] for row in extraction} == {"hubert-base", "whisper-base"}
    assert len(extraction) == 2 * 2 * 6 and all(r["audio-hours an hour"] > 0 for r in extraction)
    assert [row["way"] for row in rows["Training steps"]] == ways
    assert [row["rows"] for row in rows["Rounds"]] == [300, 1000] * 2


def test_it_measures_a_cpu(tmp_path):
    words = ["--small", "--device", "cpu", "--minutes", "9", "--name", "here"]
    lines = run("gpu.py", *words, "--output", str(tmp_path))
    assert lines[-1] == str(tmp_path / "gpu-here.md")
    assert_whole(json.loads((tmp_path / "gpu-here.json").read_text()), ["plain"])
    page = (tmp_path / "gpu-here.md").read_text()
    assert "random: speed only" in page and "small: the figures mean nothing" in page


def test_it_measures_a_pretend_gpu_step_by_step_and_as_a_graph(gpu, tmp_path):
    with pretend_gpu():
        path = gpu.main(
            ["--small", "--device", "cuda", "--minutes", "9", "--output", str(tmp_path)]
        )
    assert path.name == "gpu-pretend-gpu.json"
    found = json.loads(path.read_text())
    assert_whole(found, ["kernel by kernel", "CUDA graph"])
    assert [row["note"] for row in found["parts"]["Training steps"]["rows"]] == ["", ""]


def test_it_ends_in_time_with_what_it_has_and_says_what_failed(gpu, tmp_path, monkeypatch):
    def broken(settings, clock):
        yield {"what": "one row"}
        raise RuntimeError("no kernel image\nis available")

    monkeypatch.setitem(gpu.PARTS, "Rates", (broken, 0.04))
    words = ["--small", "--device", "cpu", "--minutes", "0", "--name", "late"]
    found = json.loads(gpu.main([*words, "--output", str(tmp_path)]).read_text())["parts"]
    assert list(found) == PARTS
    assert found["Rates"]["rows"] == [{"what": "one row"}]
    assert found["Rates"]["note"] == "failed: RuntimeError: no kernel image"
    assert all(r["note"] == "no time left" for r in found["Rounds"]["rows"])
    left_out = [r for r in found["Extraction"]["rows"] if r.get("note")]
    assert len(left_out) == 2 * 2 * 5

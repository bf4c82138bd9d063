"""A benchmark from its settings to its tables: every arm, once, interrupted or by processes."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from bench_arrays import bench, write_features

from semi.cli import main
from semi.config.yaml_format import to_yaml
from semi.errors import ConfigError, RunError
from semi.experiments.benchmark.benchmark import RUN_COLUMNS, benchmark
from semi.experiments.benchmark.config import budget_name, learning_of, load_bench
from semi.experiments.benchmark.results import read_runs
from semi.experiments.benchmark.significance import MIN_RUNS
from semi.self_training.lock import locked

CONFIGS = Path(__file__).parents[1] / "configs"


@pytest.fixture(scope="module")
def features(tmp_path_factory):
    return write_features(tmp_path_factory.mktemp("features") / "toy.npz")


@pytest.fixture(scope="module")
def finished(tmp_path_factory, features):
    folder = tmp_path_factory.mktemp("bench")
    config = bench(folder, features)
    return benchmark(config, progress=False), config


def test_every_arm_runs_on_every_problem(finished):
    folder, _ = finished
    runs = pd.read_csv(folder / "runs.csv", dtype=str)
    assert list(runs.columns) == [*RUN_COLUMNS, "crc"]
    budgeted = {"supervised", "placebo", "shuffled", "class_topk", "logistic",
                "self_training_0.7", "self_training_0.9", "label_spreading"}  # fmt: skip
    for budget, arms in (
        ("12", budgeted),
        ("30%", budgeted),
        ("all", {"oracle", "logistic_oracle"}),
    ):
        mine = runs[runs.budget == budget]
        assert set(mine.arm) == arms and len(mine) == 2 * len(arms)
    assert set(runs[runs.budget == "12"].gold_rows) == {"12"}
    tested = (
        runs[runs.arm == "supervised"]
        .groupby("budget")
        .test_rows.apply(lambda rows: rows.astype(int).sum())
    )
    assert set(tested) == {114}  # every labelled row once


def test_a_finished_line_is_never_computed_again(finished, monkeypatch):
    import semi.experiments.benchmark.cells as home

    folder, config = finished
    before = (folder / "runs.csv").read_bytes()
    monkeypatch.setattr(home, "dataset_of", lambda *a, **k: pytest.fail("computed again"))
    benchmark(config, progress=False)
    assert (folder / "runs.csv").read_bytes() == before


def test_an_interrupted_benchmark_goes_on_and_ends_the_same(finished, features, tmp_path):
    def answers(path):
        return {tuple(r.values())[:6]: r["answers"] for r in read_runs(path)}

    done = answers(finished[0] / "runs.csv")
    config = bench(tmp_path, features)
    (tmp_path / "bench").mkdir()
    lines = (finished[0] / "runs.csv").read_text().splitlines(keepends=True)
    (tmp_path / "bench" / "runs.csv").write_text("".join(lines[:8]) + lines[8][:30])  # a kill
    benchmark(config, progress=False)
    again = {
        tuple(r.values())[:6]: r["answers"] for r in read_runs(tmp_path / "bench" / "runs.csv")
    }
    assert again == done


@pytest.mark.parametrize(
    "more", [[], pytest.param(["engine=ray"], marks=pytest.mark.extras("ray"))]
)
def test_processes_and_ray_come_to_the_same_tables(finished, features, tmp_path, more):
    folder = benchmark(bench(tmp_path, features, "processes=2", *more), progress=False)

    def lines(path):
        table = pd.read_csv(path / "runs.csv", dtype=str).drop(columns=["crc", "cpu_seconds"])
        return table.sort_values(list(table)).reset_index(drop=True)

    pd.testing.assert_frame_equal(lines(folder), lines(finished[0]))
    assert (folder / "summary.md").read_text() == (finished[0] / "summary.md").read_text()
    summary = [pd.read_csv(f / "summary.csv").drop(columns="cpu_seconds")
               for f in (folder, finished[0])]  # fmt: skip
    pd.testing.assert_frame_equal(*summary)
    assert (folder / "gain.png").read_bytes() == (finished[0] / "gain.png").read_bytes()


def test_two_benchmarks_in_one_folder_are_refused(features, tmp_path):
    config = bench(tmp_path, features)
    (tmp_path / "bench").mkdir()
    refused = pytest.raises(RunError, match=r"bench is being written by process \d+; wait for it")
    with locked(tmp_path / "bench"), refused:
        benchmark(config, progress=False)


def test_a_folder_of_other_settings_is_refused(finished, features):
    folder, _ = finished
    with pytest.raises(RunError, match=r"train.steps was 5, is 6; choose another output="):
        benchmark(bench(folder.parent, features, "train.steps=6"), progress=False)


def test_the_summary_gives_no_verdict_on_few_runs(finished):
    folder, _ = finished
    summary = pd.read_csv(folder / "summary.csv")
    assert set(summary.verdict) == {"too few runs"}
    assert {"gain", "gain_low", "gain_high", "share_of_gap", "p_holm"} <= set(summary.columns)
    text = (folder / "summary.md").read_text()
    assert f"fewer than {MIN_RUNS} runs" in text and "0 better, 0 worse" in text
    assert (folder / "gain.png").stat().st_size > 5000 and (folder / "gap.png").is_file()


def test_a_supervised_arm_gains_nothing_over_itself(finished):
    rows = {(r["budget"], r["fold"], r["arm"]): r for r in read_runs(finished[0] / "runs.csv")}
    kept = [r for r in rows.values() if r["arm"] == "class_topk" and r["shipped"] == "0"]
    for row in kept:  # a rolled-back round leaves the supervised answers exactly
        assert row["answers"] == rows[row["budget"], row["fold"], "supervised"]["answers"]
    summary = pd.read_csv(finished[0] / "summary.csv")
    itself = summary[summary.arm == "supervised"]
    assert set(itself.against) == {"logistic"}  # never measured against itself
    text = (finished[0] / "summary.md").read_text()
    assert "## Against logistic regression" in text


def test_arms_are_measured_against_any_other_one_on_request(finished, features, tmp_path):
    folder, config = finished
    (tmp_path / "bench").mkdir()
    for name in ("runs.csv", "settings.json"):
        (tmp_path / "bench" / name).write_bytes((folder / name).read_bytes())
    again = benchmark(bench(tmp_path, features, "reference=class_topk"), progress=False)
    summary = pd.read_csv(again / "summary.csv")
    beside = summary[(summary.against == "class_topk") & (summary.dataset == "toy")]
    assert set(beside.arm) == {"supervised", "placebo", "shuffled", "logistic",
                               *config.baselines}  # fmt: skip
    usual = summary[(summary.arm == "class_topk") & (summary.against == "supervised")]
    both = beside[beside.arm == "supervised"].merge(usual, on=["dataset", "budget"])
    assert len(both) == 2
    np.testing.assert_allclose(both.gain_x, -both.gain_y)
    np.testing.assert_allclose(both.gain_low_x, -both.gain_high_y)
    assert "## Against class_topk" in (again / "summary.md").read_text()


def test_a_budget_beyond_the_labels_is_told_once(features, tmp_path, capsys):
    config = bench(tmp_path, features, "budgets=[12, 500]", "seeds=2", "rules=[]", "controls=[]",
                   "baselines=[]")  # fmt: skip
    folder = benchmark(config)
    told = "toy: budget 500 is skipped; an outer fold trains on 57 labelled rows, and that leaves"
    assert capsys.readouterr().err.count(told) == 1
    text = (folder / "summary.md").read_text()
    assert text.count(f"- {told}") == 1 and "budget 12 is skipped" not in text


def test_the_shipped_benchmark_loads():
    config = load_bench(CONFIGS / "bench.yaml")
    assert len(config.rules) >= 12 and config.seeds >= 5 and config.draws >= 3
    assert learning_of(config, 3, config.variants["certified"]).select.precision_target == 0.85


def test_settings_that_are_wrong_are_named(features, monkeypatch):
    base = [f"datasets.toy.features={features}"]
    for more, told in (
        (["budgets=[1.5]"], "budgets must be whole counts of 1 or more, or shares in"),
        (["rules=[dahs]"], "did you mean 'dash'"),
        (
            ["part=3/2"],
            "part: is no setting any more: it is 1/1 for everybody (one `semi benchmark` "
            "does all parts: processes=4 on this machine, or engine=ray on several); "
            "leave it out, it says 3/2",
        ),
        (["engine=raz"], "engine must be local or ray, got 'raz'"),
        (["recipe=auto"], "recipe: auto chooses the rule, so rules must be"),
        (["reference=autp", "variants.auto=[recipe=auto]"], "did you mean 'auto'"),
        (["variants.v=[select.rul=x]"], "variants.v: select.rul: no such setting"),
        (["datasets.toy.config=x.yaml"], "config or features must be set, and not both"),
    ):
        with pytest.raises(ConfigError, match="problem in the configuration") as caught:
            load_bench(None, base + more)
        assert told in str(caught.value)
    with pytest.raises(ConfigError, match="datasets: required, but not set; name a YAML file"):
        load_bench(None, [])
    monkeypatch.setattr("semi.parallel.find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"engine: ray needs .*semi-emotion\[ray\]', or set eng"):
        load_bench(None, [*base, "engine=ray"])


def test_budgets_have_names():
    assert [budget_name(b) for b in (50, 0.1, 0.05)] == ["50", "10%", "5%"]


def test_the_command_prints_the_summary(finished, features, capsys):
    folder, _ = finished
    (folder.parent / "b.yaml").write_text(to_yaml(bench(folder.parent, features)))
    assert main(["benchmark", str(folder.parent / "b.yaml")]) == 0
    out = capsys.readouterr().out
    assert out.startswith("# Benchmark") and "every run in runs.csv" in out

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from tiny_learning import tiny_dataset, tiny_learning
from two_runs import settings, write_manifest

from semi.cli import main
from semi.config.yaml_format import to_yaml
from semi.errors import ConfigError, RunError
from semi.experiments.benchmark.arms import (
    Starts,
    poison,
    rounds_arm,
    shuffled_arm,
    sklearn_arm,
    supervised_arm,
)
from semi.experiments.benchmark.benchmark import RUN_COLUMNS, RunLog, benchmark
from semi.experiments.benchmark.config import DatasetConfig, budget_name, learning_of, load_bench
from semi.experiments.benchmark.corpus import load_corpus
from semi.experiments.benchmark.data import dataset_of, outer, outer_splits
from semi.experiments.benchmark.results import coded, decoded, read_runs
from semi.experiments.benchmark.significance import MIN_RUNS, Draw, Line, Resampler, share_of
from semi.experiments.benchmark.summary import summary_lines
from semi.features.config import FeaturesConfig
from semi.features.standardize import Standardizer
from semi.self_training.lock import locked
from semi.self_training.rounds import choose, warm_start
from semi.training.views import Views, viewed

CONFIGS = Path(__file__).parents[1] / "configs"


def write_features(path, rows=120, speakers=6, unknown=6, seed=0):
    """Writes an .npz of three classes, a layered view, a flat one and two scripts."""
    rng = np.random.default_rng(seed)
    label = np.arange(rows) % 3
    centre = rng.normal(size=(3, 8))
    layered = np.stack([centre[label] * (k == 1) + rng.normal(size=(rows, 8)) for k in range(3)], 1)
    names = np.array(["calm", "glad", "sad"])[label]
    names[-unknown:] = ""
    np.savez(
        path,
        id=np.array([f"u{i}" for i in range(rows)]),
        label=names,
        speaker=np.array([f"s{i // 3 % speakers}" for i in range(rows)]),
        script=np.array(["one", "two"])[np.arange(rows) // 3 // speakers % 2],
        speech=layered.astype(np.float16),
        text=(centre[label] + rng.normal(size=(rows, 8))).astype(np.float32),
    )
    return path


@pytest.fixture(scope="module")
def features(tmp_path_factory):
    return write_features(tmp_path_factory.mktemp("features") / "toy.npz")


def bench(folder, features, *more):
    """Returns a benchmark of seconds."""
    return load_bench(
        None,
        [
            f"output={folder}/bench", f"datasets.toy.features={features}", "budgets=[12, 0.3]",
            "seeds=1", "draws=1", "outer_folds=2", "rules=[class_topk]", "resamples=200",
            "train.folds=2", "train.members=1", "train.steps=5", "train.batch=16",
            "model.hidden=8", "model.projection=4", "contrast.pretrain_steps=0",
            "contrast.weight=0", "contrast.weight_end=0", "rounds.max_rounds=1",
            "baselines=[self_training_0.7, self_training_0.9, label_spreading]", *more,
        ],
    )  # fmt: skip


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


# --- splits and problems -------------------------------------------------------------------------


def test_test_speakers_are_in_no_pool(features):
    corpus = load_corpus("toy", DatasetConfig(features=str(features)))
    splits = outer_splits(corpus, 3)
    assert sorted(np.concatenate(splits)) == sorted(np.flatnonzero(corpus.label >= 0))
    for fold, test in enumerate(splits):
        dataset = dataset_of(corpus, outer(corpus, test, fold), 0.3, draw=0, folds=2, seed=0)
        rows = torch.cat([dataset.gold, dataset.pool]).numpy()
        assert not set(corpus.group[rows]) & set(corpus.group[test])
        assert set(dataset.test.numpy()) == set(test)
        assert not set(dataset.gold.numpy()) & set(dataset.pool.numpy())
        assert (dataset.target[dataset.pool] == 0).all()


def test_unlabelled_rows_are_pool_and_never_gold_or_test(features):
    corpus = load_corpus("toy", DatasetConfig(features=str(features)))
    split = outer(corpus, outer_splits(corpus, 2)[0], 0)
    unknown = set(np.flatnonzero(corpus.label < 0)) & set(split.train)
    for budget in (12, None):
        dataset = dataset_of(corpus, split, budget, draw=0, folds=2, seed=0)
        assert unknown <= set(dataset.pool.numpy())
    assert set(dataset.pool.numpy()) == unknown  # the oracle knows everything else


def test_a_second_group_is_kept_apart_too(features):
    config = DatasetConfig(features=str(features), second_group="script")
    corpus = load_corpus("toy", config)
    splits = outer_splits(corpus, 3)
    assert sorted(np.concatenate(splits)) == sorted(np.flatnonzero(corpus.label >= 0))
    for fold, test in enumerate(splits):
        train = outer(corpus, test, fold).train
        assert not set(corpus.second[train]) & set(corpus.second[test])
        assert not set(corpus.group[train]) & set(corpus.group[test])


def test_draws_differ_by_draw_seed_and_fold_and_repeat(features):
    corpus = load_corpus("toy", DatasetConfig(features=str(features)))
    test = outer_splits(corpus, 2)

    def gold(draw, seed, fold=0):
        split = outer(corpus, test[fold], fold)
        return dataset_of(corpus, split, 12, draw=draw, folds=2, seed=seed).gold.tolist()

    assert gold(0, 0) == gold(0, 0)
    assert len({tuple(gold(d, s)) for d in (0, 1) for s in (0, 1)}) == 4


def test_a_budget_beyond_the_labels_is_no_problem(features):
    corpus = load_corpus("toy", DatasetConfig(features=str(features)))
    split = outer(corpus, outer_splits(corpus, 2)[0], 0)
    assert dataset_of(corpus, split, 500, draw=0, folds=2, seed=0) is None


def test_a_budget_beyond_the_labels_is_told_once(features, tmp_path, capsys):
    config = bench(tmp_path, features, "budgets=[12, 500]", "seeds=2", "rules=[]", "controls=[]",
                   "baselines=[]")  # fmt: skip
    folder = benchmark(config)
    told = "toy: budget 500 is skipped; an outer fold trains on 57 labelled rows, and that leaves"
    assert capsys.readouterr().err.count(told) == 1
    text = (folder / "summary.md").read_text()
    assert text.count(f"- {told}") == 1 and "budget 12 is skipped" not in text


def test_scaling_reads_no_test_row(features):
    config = DatasetConfig(features=str(features), standardize="global", pca=3)
    corpus = load_corpus("toy", config)
    test = outer_splits(corpus, 2)[0]
    before = outer(corpus, test, 0)
    for view in corpus.features.values.values():
        view[torch.from_numpy(test)] += 100.0
    after = outer(corpus, test, 0)
    rows = torch.from_numpy(before.train)
    for view in before.values:
        assert torch.equal(before.values[view][rows], after.values[view][rows])


def test_a_layer_is_chosen_by_name_or_a_third_of_the_way_up(features):
    def speech(*views):
        config = DatasetConfig(features=str(features), views=list(views))
        return next(iter(load_corpus("toy", config).features.values.values()))

    assert torch.equal(speech("speech"), speech("speech.1"))
    assert not torch.equal(speech("speech.0"), speech("speech.1"))
    with pytest.raises(ConfigError, match=r"datasets.toy.views: 'speech.9' names layer 9 of 3"):
        speech("speech.9")
    with pytest.raises(ConfigError, match=r"no array 'speach'; did you mean 'speech'\?"):
        speech("speach")


def test_a_manifest_with_its_encoders_is_a_corpus_too(tmp_path):
    write_manifest(tmp_path)
    run = settings(tmp_path, "a", "features.standardize=speaker")
    (tmp_path / "run.yaml").write_text(to_yaml(run))
    config = DatasetConfig(config=str(tmp_path / "run.yaml"))
    corpus = load_corpus("texts", config)
    assert corpus.classes == ["anger", "calm", "joy"] and len(corpus) == 90
    assert set(corpus.group) == {f"s{i}" for i in range(7)}
    split = outer(corpus, outer_splits(corpus, 3)[0], 0)
    dataset = dataset_of(corpus, split, 12, draw=0, folds=2, seed=0)
    assert list(dataset.dims) == ["text"] and len(dataset.gold) == 12


@pytest.mark.parametrize(("run", "own", "used"), [
    ("speaker", "", "speaker"), ("global", "", "global"), ("none", "", "none"),
    ("global", "speaker", "speaker"), ("speaker", "none", "none"), ("speaker", "auto", "auto"),
])  # fmt: skip
def test_the_scaling_of_a_run_holds_unless_the_dataset_names_one(tmp_path, run, own, used):
    write_manifest(tmp_path)
    given = settings(tmp_path, "a", f"features.standardize={run}", "features.clamp=2.5")
    (tmp_path / "run.yaml").write_text(to_yaml(given))
    config = DatasetConfig(
        config=str(tmp_path / "run.yaml"), standardize=own, global_views=[], pca=None
    )
    corpus = load_corpus("texts", config)
    test = outer_splits(corpus, 3)[0]
    split = outer(corpus, test, 0)
    learn = torch.zeros(len(corpus), dtype=torch.bool)
    learn[torch.from_numpy(split.train)] = True
    speakers = corpus.group.tolist()

    def scaled(mode):
        about = FeaturesConfig(standardize=mode, clamp=2.5)
        fitted = Standardizer.fit(corpus.features, learn, about, speakers)
        return fitted.apply(corpus.features, speakers).values["text"]

    assert torch.equal(split.values["text"], scaled("global" if used == "auto" else used))
    assert (split.per_speaker is not None) == (used == "auto")
    if split.per_speaker is not None:
        assert torch.equal(split.per_speaker["text"], scaled("speaker"))
        dataset = dataset_of(corpus, split, 40, draw=0, folds=2, seed=0)
        assert any(torch.equal(dataset.values["text"], scaled(m)) for m in ("global", "speaker"))


# --- arms ----------------------------------------------------------------------------------------


def test_arms_share_the_warm_start_and_only_that(monkeypatch):
    import semi.self_training.rounds as home

    calls = []
    real = home.warm_start
    monkeypatch.setattr(home, "warm_start", lambda *a: (calls.append(1), real(*a))[1])
    dataset, learning, starts = tiny_dataset(), tiny_learning(), Starts()
    for rule in ("class_topk", "margin"):
        learning.select.rule = rule
        rounds_arm(dataset, learning, starts)
    supervised_arm(dataset, learning, starts)
    assert len(calls) == 1
    learning.train.steps += 1
    supervised_arm(dataset, learning, starts)
    assert len(calls) == 2


def test_joined_layers_of_one_name_share_no_start():
    data, learning, starts = tiny_dataset(), tiny_learning(max_rounds=0), Starts()
    learning.model.kind, learning.recipe = "discriminant", "none"
    layers = {f"speech.{k}": data.values["speech"] * (-1.0) ** k for k in range(3)}
    whole = replace(data, values=layers, present=data.present[:, :1].expand(-1, 3))
    for parts in (["speech.0", "speech.1"], ["speech.1", "speech.2"]):  # equal shapes and names
        seen = viewed(whole, Views({"speech": parts}))
        alone = supervised_arm(seen, learning, Starts()).predicted
        assert np.array_equal(supervised_arm(seen, learning, starts).predicted, alone)


def test_poison_mislabels_every_chosen_row_and_keeps_everything_else():
    dataset, learning = tiny_dataset(), tiny_learning()
    state = warm_start(dataset, learning, {})
    clean, targets = choose(dataset, state, learning, 0.6, 1)
    bad, target = poison(dataset, state, learning, 0.6, 1)
    assert torch.equal(clean.chosen, bad.chosen) and torch.equal(clean.weight, bad.weight)
    assert torch.equal(clean.label != bad.label, clean.chosen)
    assert torch.equal(target.argmax(-1)[clean.chosen], bad.label[clean.chosen])
    assert torch.equal(target[~clean.chosen], targets[~clean.chosen])


def test_a_poisoned_round_is_rolled_back():
    dataset = tiny_dataset(gold=60, pool=90, spread=0.5, seed=1)
    learning = tiny_learning(steps=60, max_rounds=2)
    learning.train.lr = 0.01
    starts = Starts()
    said = shuffled_arm(dataset, learning, starts)
    assert said.facts["rounds"] > 0 and said.facts["shipped"] == 0
    supervised = supervised_arm(dataset, learning, starts)
    assert np.array_equal(said.predicted, supervised.predicted)


@pytest.mark.parametrize("kind", ["logistic", "self_training_0.7", "label_spreading"])
def test_scikit_learn_answers_for_the_test_rows(kind):
    dataset = tiny_dataset(spread=0.3)
    said = sklearn_arm(dataset, kind)
    assert (said.predicted == dataset.label[dataset.test].numpy()).mean() > 0.8


# --- statistics and words ------------------------------------------------------------------------


def line(gain, low, high, *, runs=15, p_holm=0.01, arm="margin", dataset="toy"):
    drawn = np.linspace(low, high, 201)
    return Line(dataset, "50", arm, "supervised", runs, 0.5, 0.5 - gain, Draw(gain, drawn), None,
                None, p_holm)  # fmt: skip


@pytest.mark.parametrize(
    "given, verdict",
    [
        (line(0.02, 0.01, 0.03), "better"),
        (line(-0.02, -0.03, -0.01), "worse"),
        (line(0.02, 0.01, 0.03, p_holm=0.2), "not distinguishable"),
        (line(0.02, -0.01, 0.05), "not distinguishable"),
        (line(0.02, 0.01, 0.03, runs=MIN_RUNS - 1), "too few runs"),
    ],
)
def test_a_verdict_says_no_more_than_its_interval(given, verdict):
    assert given.verdict() == verdict


def test_a_rule_that_is_good_on_one_corpus_is_said_to_be(features):
    lines = [line(0.02, 0.01, 0.03), line(0.0, -0.01, 0.01, dataset="other")]
    text = "\n".join(
        summary_lines(load_bench(None, [f"datasets.toy.features={features}"]), {}, lines, [])
    )
    assert "- margin: better on 1 of 2 corpora only (toy at 50)." in text
    lines = [line(0.02, -0.01, 0.03)]
    text = "\n".join(
        summary_lines(load_bench(None, [f"datasets.toy.features={features}"]), {}, lines, [])
    )
    assert "margin: no gain over supervised that the intervals support." in text


def test_the_share_of_a_gap_that_may_be_zero_is_not_given():
    gain = Draw(0.01, np.full(100, 0.01))
    assert share_of(gain, Draw(0.02, np.linspace(-0.01, 0.05, 100))) is None
    assert share_of(gain, Draw(0.02, np.full(100, 0.02))).value == pytest.approx(0.5)


def test_the_interval_of_runs_that_differ_covers_their_mean_as_often_as_it_says():
    """Gains of 15 runs drawn around 0: the 95 % interval must miss 0 in about 5 % of tables."""
    from semi.experiments.benchmark.results import Arm

    rng, missed = np.random.default_rng(0), 0
    runs = [(0, d) for d in range(6)]
    for _ in range(150):
        tables = ({}, {})
        for run in runs:
            for side in tables:
                right = rng.binomial(40, np.clip(rng.normal(0.7, 0.05), 0, 1), size=(30, 1))
                table = np.zeros((30, 2, 2))
                table[:, 0, :1], table[:, 0, 1:] = right, 40 - right
                side[run] = table
        sampler = Resampler("x", 30, runs, 200)
        one, other = (sampler.measure(Arm(t), "accuracy", runs) for t in tables)
        low, high = (one - other).interval()
        missed += not low <= 0 <= high
    assert missed / 150 < 0.12


def test_answers_are_written_and_read_back():
    for top in (7, 50):
        given = np.arange(top)
        assert np.array_equal(decoded(coded(given)), given)


def test_a_line_is_appended_whole_and_a_foreign_file_is_refused(tmp_path):
    log = RunLog(tmp_path / "runs.csv")
    row = dict.fromkeys(RUN_COLUMNS, "1") | {"arm": "a, b"}
    log.append(row)
    assert RunLog(tmp_path / "runs.csv").done == {("1", "1", "1", "1", "1", "a, b")}
    (tmp_path / "other.csv").write_text("a,b\n1,2\n")
    with pytest.raises(RunError, match="is not a list of benchmark runs"):
        RunLog(tmp_path / "other.csv")


# --- settings and command ------------------------------------------------------------------------


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
    assert main(["benchmark", str(folder.parent / "b.yaml"), "resamples=100"]) == 0
    out = capsys.readouterr().out
    assert out.startswith("# Benchmark") and "every run in runs.csv" in out

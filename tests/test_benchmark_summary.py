"""What a benchmark says of its runs: verdicts, intervals, and the lines they come from."""

import numpy as np
import pytest
from bench_arrays import write_features

from semi.errors import RunError
from semi.experiments.benchmark.benchmark import RUN_COLUMNS, RunLog
from semi.experiments.benchmark.config import load_bench
from semi.experiments.benchmark.results import coded, decoded
from semi.experiments.benchmark.significance import MIN_RUNS, Draw, Line, Resampler, share_of
from semi.experiments.benchmark.summary import summary_lines


@pytest.fixture(scope="module")
def features(tmp_path_factory):
    return write_features(tmp_path_factory.mktemp("features") / "toy.npz")


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

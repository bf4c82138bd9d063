"""What a benchmark says of its gate: gains promised out-of-fold beside those on test groups."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from semi.experiments.benchmark.gate_account import gate_sentences, promises
from semi.experiments.benchmark.results import Arm, Results
from semi.self_training.closing import ON_NEW_SPEAKERS


def line(fold: int, test: float, **facts: Any) -> dict[str, str]:
    given = {"budget": "50", "seed": 0, "draw": 0, "fold": fold, "macro_f1": test} | facts
    return {key: str(value) for key, value in given.items()}


def shipped(fold: int, test: float, start: float, final: float, number: int) -> dict[str, str]:
    return line(fold, test, oof_start=start, oof_final=final, shipped=number)


@pytest.fixture
def results() -> dict[str, Results]:
    ours = [
        shipped(0, 0.70, 0.5, 0.7, 3),
        shipped(1, 0.58, 0.5, 0.6, 1),
        shipped(2, 0.6, 0.5, 0.5, 0),
    ]
    theirs = [shipped(f, 0.60, 0.5, 0.5, 0) for f in range(3)]
    plain = [line(f, 0.55, oof_start="", oof_final="", shipped="") for f in range(3)]
    arms = {"auto": ours, "supervised": theirs, "logistic": plain, "shuffled": ours}
    corpus: Any = SimpleNamespace()
    found = {("50", name): Arm({}, rows) for name, rows in arms.items()}
    return {"emodb": Results(corpus, 10, found)}


def test_gains_of_the_gate_stand_beside_those_of_the_same_problems_on_test_groups(results):
    found, runs = promises(results, "auto", "macro_f1")
    assert runs == 3
    assert [(round(p.out_of_fold, 6), round(p.test, 6)) for p in found] == [
        (0.2, 0.1),
        (0.1, -0.02),
    ]


def test_the_sentence_names_what_was_promised_what_was_to_be_expected_and_what_came(results):
    [sentence] = gate_sentences(results, "macro_f1")
    assert sentence == (
        "- The gate of auto: rounds shipped in 2 of 3 runs, for +15.0 points out-of-fold in mean; "
        f"{15 * ON_NEW_SPEAKERS:+.1f} were to be expected on new groups, test groups saw +4.0. "
        "Below the supervised arm on test: 1 (50%), by 2.0 points in mean."
    )


def test_a_benchmark_without_rounds_that_shipped_says_nothing_of_its_gate(results):
    del results["emodb"].arms["50", "auto"]
    assert gate_sentences(results, "macro_f1") == []

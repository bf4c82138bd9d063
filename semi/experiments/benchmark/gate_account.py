"""What the gate of a benchmark's runs promised, and what test groups saw of it."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import fmean

from ...data.wording import counted
from ...self_training.closing import ON_NEW_SPEAKERS
from .config import BASELINES, CONTROLS
from .results import SUPERVISED, Results


@dataclass
class Promise:
    """One run that shipped a round: its gains over the warm start, 0 to 1."""

    out_of_fold: float  # of the gate, on gold
    test: float  # over the supervised arm, on groups in no pool


def promises(results: dict[str, Results], arm: str, metric: str) -> tuple[list[Promise], int]:
    """Returns the runs of an arm that shipped a round, and the number of all its runs.

    Args:
        results: of all corpora.
        arm: whose.
        metric: accuracy, waf, macro_f1 or uar; the gate's own where rounds.metric is the same.
    """
    shipped, runs = [], 0
    for result in results.values():
        for budget in result.budgets():
            ours, theirs = (result.arms.get((budget, a)) for a in (arm, SUPERVISED))
            if ours is None or theirs is None:
                continue
            start = {_problem(row): float(row[metric]) for row in theirs.facts}
            for row in ours.facts:
                if _problem(row) not in start or not row["oof_start"]:
                    continue
                runs += 1
                if float(row["shipped"]) > 0:
                    gain = float(row["oof_final"]) - float(row["oof_start"])
                    shipped.append(Promise(gain, float(row[metric]) - start[_problem(row)]))
    return shipped, runs


def _problem(row: dict[str, str]) -> tuple[str, ...]:
    return tuple(row[k] for k in ("budget", "seed", "draw", "fold"))


def gate_sentences(results: dict[str, Results], metric: str) -> list[str]:
    """Returns a sentence for each arm with rounds: promised gains, and those on test groups."""
    names = {arm for result in results.values() for _, arm in result.arms}
    sentences = []
    for arm in sorted(names - {SUPERVISED, *CONTROLS, *BASELINES}):
        shipped, runs = promises(results, arm, metric)
        if not shipped:
            continue
        promised = 100 * fmean(p.out_of_fold for p in shipped)
        seen = 100 * fmean(p.test for p in shipped)
        below = [p.test for p in shipped if p.test < 0]
        lost = f", by {-100 * fmean(below):.1f} points in mean" if below else ""
        sentences.append(
            f"- The gate of {arm}: rounds shipped in {len(shipped)} of {counted(runs, 'run')}, for "
            f"{promised:+.1f} points out-of-fold in mean; {ON_NEW_SPEAKERS * promised:+.1f} were "
            f"to be expected on new groups, test groups saw {seen:+.1f}. Below the supervised arm "
            f"on test: {len(below)} ({len(below) / len(shipped):.0%}){lost}."
        )
    return sentences

"""What a transfer says: scores of every arm on target speakers, and differences between arms."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ...checksums import derived
from ...data.wording import counted, listed
from ...evaluation.holm import holm
from ...evaluation.intervals import Interval, intervals
from ...evaluation.names import METRIC_NAMES
from ...evaluation.text import p_words, percent, points
from ...files import write_table, write_text
from ..benchmark.results import decoded, mean_facts, read_runs
from .config import ARMS, TransferConfig
from .corpora import Pair

if TYPE_CHECKING:
    import pandas as pd

ABOUT = {
    "source": "source only",
    "inductive": "source + self-training, test speakers in no pool",
    "transductive": "source + self-training, test rows in the pool",
    "target": "target's own training speakers, supervised",
}
AGAINST = (("inductive", "source"), ("transductive", "source"), ("target", "source"),
           ("target", "inductive"))  # fmt: skip
POOLED = ("inductive", "transductive")
FACTS = ("gold_rows", "pool_rows", "rounds", "accepted", "precision", "coverage")  # of a line
CHANCE = 0.05


@dataclass
class ArmScore:
    """One arm on one target, all seeds together."""

    pair: str
    arm: str
    seeds: int
    decided: np.ndarray  # (S, T) class numbers of the labelled target rows, by seed
    scores: dict[str, Interval]
    facts: dict[str, float] = field(default_factory=dict)  # means of its lines


@dataclass
class ArmGap:
    """How two arms differ on the same target rows."""

    pair: str
    arm: str
    against: str
    gap: Interval
    p_holm: float = 1.0


def write_summary(
    folder: Path, config: TransferConfig, pairs: dict[str, Pair], notes: Sequence[str]
) -> str:  # fmt: skip
    """Writes summary.csv and summary.md from runs.csv; returns the text of the latter."""
    rows = read_runs(folder / "runs.csv")
    found = {name: arm_scores(pair, rows, config) for name, pair in pairs.items()}
    gaps = [gap for name, pair in pairs.items() for gap in arm_gaps(pair, found[name], config)]
    _correct(gaps)
    with derived(folder / "summary.csv"):
        write_table(folder / "summary.csv", _table(found, gaps))
    text = "\n".join(_lines(config, pairs, found, gaps, notes))
    with derived(folder / "summary.md"):
        write_text(folder / "summary.md", text + "\n")
    return text


def arm_scores(
    pair: Pair, rows: Sequence[dict[str, str]], config: TransferConfig
) -> dict[str, ArmScore]:  # fmt: skip
    """Returns the scores of every arm that answered every labelled target row, by its name."""
    tested = np.sort(np.concatenate(pair.tests))
    label, group = pair.corpus.label[tested], pair.corpus.group[tested]
    found = {}
    for arm in ARMS:
        lines = [r for r in rows if r["dataset"] == pair.name and r["arm"] == arm]
        answers = []
        for seed in range(config.seeds):
            decided = np.full(len(tested), -1)
            for line in (r for r in lines if int(r["seed"]) == seed):
                test = tested if arm == "transductive" else pair.tests[int(line["fold"])]
                decided[np.searchsorted(tested, test)] = decoded(line["answers"])
            if (decided >= 0).all():
                answers.append(decided)
        if not answers:
            continue
        times = len(answers)
        scores = intervals([np.concatenate(answers)], np.tile(label, times), np.tile(group, times))
        found[arm] = ArmScore(
            pair.name, arm, times, np.stack(answers), scores, mean_facts(lines, FACTS)
        )
    return found


def arm_gaps(pair: Pair, found: dict[str, ArmScore], config: TransferConfig) -> list[ArmGap]:
    """Returns the paired differences over target speakers of arms that have the same seeds."""
    tested = np.sort(np.concatenate(pair.tests))
    label, group = pair.corpus.label[tested], pair.corpus.group[tested]
    gaps = []
    for arm, against in AGAINST:
        if arm in found and against in found:
            one, other = found[arm], found[against]
            times = min(one.seeds, other.seeds)
            both = [x.decided[:times].reshape(-1) for x in (one, other)]
            gap = intervals(both, np.tile(label, times), np.tile(group, times))[config.metric]
            gaps.append(ArmGap(pair.name, arm, against, gap))
    return gaps


def _correct(gaps: Sequence[ArmGap]) -> None:
    """Writes Holm-corrected p-values, over all differences of the summary."""
    for one, p in zip(gaps, holm([_p(gap) for gap in gaps]), strict=True):
        one.p_holm = p


def _p(one: ArmGap) -> float:
    return 1.0 if one.gap.p_value is None else one.gap.p_value


def _table(found: dict[str, dict[str, ArmScore]], gaps: Sequence[ArmGap]) -> pd.DataFrame:
    import pandas as pd

    rows = []
    for arms in found.values():
        for x in arms.values():
            row = {"pair": x.pair, "arm": x.arm, "against": "", "seeds": x.seeds, **x.facts}
            for name, value in x.scores.items():
                row |= {name: value.value, f"{name}_low": value.low, f"{name}_high": value.high}
            rows.append(row)
    rows += [
        {"pair": g.pair, "arm": g.arm, "against": g.against, "gap": g.gap.value,
         "gap_low": g.gap.low, "gap_high": g.gap.high, "p": g.gap.p_value, "p_holm": g.p_holm}
        for g in gaps
    ]  # fmt: skip
    return pd.DataFrame(rows)


def _lines(
    config: TransferConfig, pairs: dict[str, Pair], found: dict[str, dict[str, ArmScore]],
    gaps: Sequence[ArmGap], notes: Sequence[str],
) -> list[str]:  # fmt: skip
    metric = METRIC_NAMES[config.metric]
    scaling = {
        "corpus": "by corpus (the target's mean and deviation are those of its unlabelled rows)",
        "speaker": "by speaker (each one's own unlabelled rows)",
        "global": "by the rows whose labels an arm learns", "none": "not at all",
    }[config.standardize]  # fmt: skip
    text = [
        "# Transfer",
        "",
        f"Scores in % on target speakers, 95 % intervals over them. Features are scaled {scaling}. "
        "inductive: the pool is the target's other speakers, without labels; the test speakers "
        "are in no pool. transductive: all target rows are in the pool, without labels, the test "
        "rows too. target: the labels of the target's other speakers, none of the source's.",
        "",
        *(f"- {note}" for note in notes),
    ]
    for name, pair in pairs.items():
        labelled = int((pair.corpus.label[pair.sources :] >= 0).sum())
        rows = len(pair.corpus) - pair.sources
        speakers = len(np.unique(pair.corpus.group[pair.sources :]))
        text += [
            "", f"## {name}", "",
            f"{counted(pair.sources, 'labelled source row')}; {counted(rows, 'target row')} by "
            f"{counted(speakers, 'speaker')}, {labelled:,} tested in "
            f"{counted(len(pair.tests), 'part')}; classes: {listed(pair.corpus.classes, 20)}.",
            *(f"- {note}" for note in pair.notes), "",
            *_arms(found[name]), "",
            *_differences([g for g in gaps if g.pair == name], found[name], metric),
        ]  # fmt: skip
    return text


def _arms(found: dict[str, ArmScore]) -> list[str]:
    lines = ["| arm | macro-F1 | UAR | WAF | rounds that shipped | precision @ coverage | seeds |",
             "|---|---|---|---|---|---|---|"]  # fmt: skip
    for x in found.values():
        scores = [
            percent(i.value, i.low, i.high)
            for i in (x.scores[k] for k in ("macro_f1", "uar", "waf"))
        ]
        pooled = x.facts.get("pool_rows", 0) > 0
        shipped = f"{100 * x.facts['shipped']:.0f} %" if pooled and "shipped" in x.facts else "-"
        quality = "-"
        if "precision" in x.facts:
            quality = f"{x.facts['precision']:.2f} @ {x.facts.get('coverage', 0):.2f}"
        cells = [f"{x.arm}: {ABOUT[x.arm]}", *scores, shipped, quality, str(x.seeds)]
        lines.append("| " + " | ".join(cells) + " |")
    return lines


def _differences(gaps: Sequence[ArmGap], found: dict[str, ArmScore], metric: str) -> list[str]:
    """Returns the table of paired differences and what it supports."""
    if not gaps:
        return ["No two arms are complete yet."]
    lines = [f"| difference in {metric} | points, paired | p (Holm) | |", "|---|---|---|---|"]
    for g in gaps:
        gap = g.gap
        shown = g.p_holm < CHANCE
        word = ("better" if gap.value > 0 else "worse") if shown else "no difference is shown"
        ends, p = points(gap.value, gap.low, gap.high), p_words(g.p_holm)
        lines.append(f"| {g.arm} - {g.against} | {ends} | {p} | {word} |")
    pooled = [found[arm].facts.get("shipped") for arm in POOLED if arm in found]
    why = [
        "",
        "No round of self-training shipped: the gate asks the only gold there is, the source's, "
        "and no round was clearly better there. What differs from source only is what the warm "
        "start takes from unlabelled rows.",
    ]  # fmt: skip
    why = why if pooled and not any(pooled) else []
    return [*lines, "", f"Paired over {gaps[0].gap.over()} of the target.", *why]

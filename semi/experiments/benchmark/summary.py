"""What a benchmark says: a table of every comparison, sentences no stronger than it, two plots."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ...checksums import derived
from ...data.wording import counted
from ...evaluation.names import METRIC_NAMES
from ...files import write_table, write_text
from .config import BenchConfig, budget_name
from .corpus import BenchCorpus
from .gate_account import gate_sentences
from .plots import plot_gains, plot_shares
from .results import LOGISTIC, SUPERVISED, Results, collect, read_runs
from .significance import LEVEL, MIN_RUNS, NOT_RULES, Draw, Line, lines_of, mean_lines


def write_summary(
    folder: Path, config: BenchConfig, corpora: dict[str, BenchCorpus], splits: dict[str, list],
    skipped: Sequence[str] = (),
) -> str:  # fmt: skip
    """Writes summary.csv, summary.md and the plots from runs.csv; returns the text of the latter.

    Args:
        folder: of the benchmark.
        config: its settings.
        corpora: by name.
        splits: test rows of each outer fold, by corpus.
        skipped: a sentence for each budget that a corpus has too few labels for.
    """
    results = collect(_in_order(read_runs(folder / "runs.csv"), config), corpora, splits)
    lines = [
        line
        for name, result in results.items()
        for line in lines_of(name, result, config.metric, config.resamples)
    ]
    means = mean_lines(lines)
    shown = [SUPERVISED, *config.variants]

    def held(against: str, shown: Sequence[str] = ()) -> list[Line]:
        """Returns the arms shown, or all of them, beside one and the same other arm."""
        return [
            line
            for name, result in results.items()
            for line in lines_of(name, result, config.metric, config.resamples, against, shown)
        ]

    plain = held(LOGISTIC, shown)
    beside = held(config.reference) if config.reference else []
    beside += mean_lines(beside)
    with derived(folder / "summary.csv"):
        write_table(folder / "summary.csv", table_of([*lines, *means, *plain, *beside]))
    text = "\n".join([
        *summary_lines(config, results, lines, means, skipped),
        *_other_references(config, beside, plain),
    ])  # fmt: skip
    with derived(folder / "summary.md"):
        write_text(folder / "summary.md", text + "\n")
    with derived(folder / "gain.png"):
        plot_gains(folder / "gain.png", [*lines, *means], METRIC_NAMES[config.metric])
    with derived(folder / "gap.png"):
        plot_shares(folder / "gap.png", [*lines, *means])
    return text


def _in_order(rows: list[dict[str, str]], config: BenchConfig) -> list[dict[str, str]]:
    """Returns the lines draw by draw, as one process writes them, in whatever order they came."""
    budgets = [budget_name(budget) for budget in config.budgets]

    def place(row: dict[str, str]) -> tuple[int, ...]:
        budget = budgets.index(row["budget"]) if row["budget"] in budgets else len(budgets)
        return int(row["draw"]), int(row["seed"]), budget, int(row["fold"])

    return sorted(rows, key=place)


def _other_references(config: BenchConfig, beside: list[Line], plain: list[Line]) -> list[str]:
    """Returns the tables against the chosen reference and against logistic regression."""
    text: list[str] = []
    if beside:
        text += [
            "",
            f"## Against {config.reference}",
            "",
            f"The same test rows, label draws and seeds, but the reference is {config.reference}.",
            "",
            *_markdown(beside, corpus=True),
        ]
    if plain:
        text += [
            "",
            "## Against logistic regression",
            "",
            "The same test rows, but the reference is logistic regression on the labelled rows: "
            "what anybody would train first. Shares are of its own way to all labels.",
            "",
            *_markdown(plain, corpus=True),
        ]
    return text


def table_of(lines: list[Line]):
    """Returns the comparisons as a data frame, numbers unrounded."""
    import pandas as pd

    def spread(name: str, draw: Draw | None) -> dict[str, float | None]:
        low, high = draw.interval() if draw else (None, None)
        return {name: draw.value if draw else None, f"{name}_low": low, f"{name}_high": high}

    return pd.DataFrame(
        [
            {
                "dataset": x.dataset,
                "budget": x.budget,
                "arm": x.arm,
                "against": x.against,
                "runs": x.runs,
                "score": x.score,
                "reference": x.reference,
                **spread("gain", x.gain),
                "p": x.gain.p_value(),
                "p_holm": x.p_holm,
                "verdict": x.verdict(),
                **spread("gap", x.gap),
                **spread("share_of_gap", x.share),
                **(x.facts or {}),
            }
            for x in lines
        ]
    )


def summary_lines(
    config: BenchConfig, results: dict[str, Results], lines: list[Line], means: list[Line],
    skipped: Sequence[str] = (),
) -> list[str]:  # fmt: skip
    """Returns the lines of summary.md."""
    metric = METRIC_NAMES[config.metric]
    text = [
        "# Benchmark",
        "",
        f"Gains are differences of {metric} in points to the supervised arm of the same label "
        f"draw, seed and ensemble size, on test groups that are in no pool; arms of scikit-learn "
        f"and USB are held against logistic regression. Brackets: 95 % intervals from "
        f"{config.resamples} resamples of test groups and of runs (a run is one seed and label "
        f"draw), widened by Student's quantile. A verdict is given from {MIN_RUNS} runs on, and "
        f"only where Holm's correction over the arms of a budget leaves p < {LEVEL}.",
        "",
        *_sizes(results),
        *(f"- {sentence}" for sentence in skipped),
        *_reading(lines, gate_sentences(results, config.metric)),
    ]
    for dataset in dict.fromkeys(x.dataset for x in [*lines, *means]):
        of_dataset = [x for x in [*lines, *means] if x.dataset == dataset]
        text += ["", f"## {dataset}", "", *_over(results.get(dataset)), *_markdown(of_dataset)]
    return text


def _over(result: Results | None) -> list[str]:
    """Returns what the intervals of a corpus are over; nothing for the mean over corpora."""
    if result is None:
        return []
    groups = f"{result.groups} group{'' if result.groups == 1 else 's'}"
    return [f"95 % intervals over {groups} and the runs that a line counts.", ""]


def _sizes(results: dict[str, Results]) -> list[str]:
    sizes = []
    for name, result in results.items():
        partial = counted(result.partial, "unfinished run", "is", "are")
        few = f"; {partial} left out" if result.partial else ""
        sizes.append(
            f"- {name}: {counted(len(result.corpus), 'row')}, "
            f"{counted(len(result.corpus.classes), 'class')}, {counted(result.groups, 'group')}, "
            f"budgets {', '.join(result.budgets()) or 'none yet'}{few}"
        )
    return sizes


def _reading(lines: list[Line], gate: list[str]) -> list[str]:
    """Returns the sentences: harm, gains, on how many corpora, the noise floor, the gate."""
    rules = [x for x in lines if x.arm not in NOT_RULES]
    if not rules:
        return ["", "No comparison is complete yet."]
    sentences = ["", "## Reading", "", *_verdicts(rules), *_controls(lines), *gate]
    ours = [x for x in rules if x.against != LOGISTIC]
    if ours and not any(x.verdict() == "better" for x in ours):
        sentences.append("- No rule of ours is distinguishable from supervised training as a gain.")
    return sentences


def _verdicts(rules: list[Line]) -> list[str]:
    """Returns how many comparisons are better or worse, and on which corpora every arm gains."""
    worse, better = ([x for x in rules if x.verdict() == v] for v in ("worse", "better"))
    few = sum(x.runs < MIN_RUNS for x in rules)
    harm = [f"{x.arm} ({x.dataset}, {x.budget})" for x in worse]
    sentences = [
        f"- {counted(len(rules), 'comparison')}: {len(better)} better, {len(worse)} worse, "
        f"{len(rules) - len(better) - len(worse) - few} not distinguishable from the reference"
        + (f", {few} of fewer than {MIN_RUNS} runs and so without a verdict." if few else "."),
        f"- Distinguishably worse than the reference: {'; '.join(harm) or 'none'}.",
    ]
    for arm in dict.fromkeys(x.arm for x in rules):
        of_arm = [x for x in rules if x.arm == arm]
        corpora = list(dict.fromkeys(x.dataset for x in of_arm))
        gains = [x for x in of_arm if x.verdict() == "better"]
        good = list(dict.fromkeys(x.dataset for x in gains))
        if not good:
            sentences.append(
                f"- {arm}: no gain over {of_arm[0].against} that the intervals support."
            )
            continue
        only = " only" if len(good) < len(corpora) else ""
        budgets = ", ".join(f"{x.dataset} at {x.budget}" for x in gains)
        sentences.append(
            f"- {arm}: better on {len(good)} of {len(corpora)} corpora{only} ({budgets})."
        )
    return sentences


def _controls(lines: list[Line]) -> list[str]:
    """Returns the noise floor of the placebo, and what wrong labels did."""
    sentences = []
    floor = [abs(x.gain.value) for x in lines if x.arm == "placebo"]
    if floor and not max(floor):
        sentences.append(
            "- The placebo (another seed, no pseudo-label) gives the same answers: this model does "
            "not depend on its seed, so no noise floor is measured."
        )
    elif floor:
        sentences.append(
            f"- Noise floor: the placebo (another seed, no pseudo-label) moves by "
            f"{100 * float(np.mean(floor)):.1f} points in mean, at most {100 * max(floor):.1f}."
        )
    poisoned = [x for x in lines if x.arm == "shuffled" and x.facts]
    if poisoned:
        shipped = float(np.mean([(x.facts or {}).get("shipped", 0.0) for x in poisoned]))
        harmed = [x for x in poisoned if x.verdict() == "worse"]
        sentences.append(
            f"- Poisoned rounds (wrong labels) shipped in {100 * shipped:.0f} % of runs; "
            + (f"worse than supervised in {len(harmed)} of {counted(len(poisoned), 'table')}."
               if harmed else "in no table distinguishably worse than supervised.")
        )  # fmt: skip
    return sentences


def _markdown(lines: list[Line], *, corpus: bool = False) -> list[str]:
    head = ["corpus"] if corpus else []
    head += ["labels", "arm", "score", "gain", "verdict", "share of the oracle gap", "shipped",
            "precision @ coverage", "runs"]  # fmt: skip
    table = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    for x in lines:
        facts = x.facts or {}
        shipped = f"{100 * facts['shipped']:.0f} %" if "shipped" in facts else "-"
        quality = "-"
        if "precision" in facts:
            quality = f"{facts['precision']:.2f} @ {facts.get('coverage', 0):.2f}"
        verdict = x.verdict()
        if verdict == "not distinguishable":
            verdict += f" from {x.against}"
        share = _points(x.share, " %") if x.share else "-"
        score = f"{100 * x.score:.1f}"
        cells = [x.dataset] if corpus else []
        rows = f" ({facts['gold_rows']:.0f} rows)" if "gold_rows" in facts else ""
        cells += [x.budget + rows, x.arm, score, _points(x.gain), verdict, share, shipped, quality]
        cells.append(str(x.runs))
        table.append("| " + " | ".join(cells) + " |")
    return table


def _points(draw: Draw, unit: str = "") -> str:
    low, high = draw.interval()
    return f"{100 * draw.value:+.1f}{unit} [{100 * low:+.1f}, {100 * high:+.1f}]"

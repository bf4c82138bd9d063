"""What `semi compare` found, in words."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from ..data.wording import counted
from ..evaluation.as_tables import ShownAsTables
from ..evaluation.text import percent, points, table
from .scores import names_of

TASK_WORDS = {"single": "one label a row", "joint": "one label a row, valence and arousal",
         "multi_label": "several labels a row", "affect": "valence and arousal",
         "joint_multi_label": "several labels a row, valence and arousal"}  # fmt: skip
FEW_GROUPS = 10  # groups below which an interval shows large differences only


@dataclass(repr=False)
class Comparison(ShownAsTables):
    """The rows of `semi compare`; each a flat record, the columns of the CSV."""

    rows: list[dict[str, Any]]
    skipped: list[str]  # what was named and is not a finished run, and why
    threads: int
    pairs: list[dict[str, Any]] = field(default_factory=list)  # differences to the first run
    metric: str = "macro_f1"  # the one that Holm's correction looks at
    by: str = ""  # column whose values are scored apart
    parts: list[dict[str, Any]] = field(default_factory=list)  # of each run, by value

    def __str__(self) -> str:
        """Returns the tables in words."""
        cautions = self._cautions()
        return "\n".join([
            *self._protocol(), *self._scores(), *self._gains(), *self._by(), *self._costs(),
            *self._pairs(),
            *(["", *cautions] if cautions else []),
            *(["", *(f"skipped {s}" for s in self.skipped)] if self.skipped else []),
        ])  # fmt: skip

    def _cautions(self) -> list[str]:
        """Returns what a sceptical reader must be told."""
        cautions = []
        for split in ("test", "oof"):
            units = {r[f"{split}_units"] for r in self.rows if r.get(f"{split}_units")}
            few = sorted(u for u in units if int(u.split()[0]) < FEW_GROUPS)
            if few:
                cautions.append(
                    f"Caution: {split} has only {' or '.join(few)}; so few show large differences "
                    "only, and an interval that holds 0 says little."
                )
        for name in ("manifest", "classes", "task"):
            if len({r[name] for r in self.rows}) > 1:
                cautions.append(f"Caution: the runs differ in {name}; their scores do not compare.")
        if len({(r["test_rows"], r["test_key"]) for r in self.rows}) > 1:
            cautions.append(
                "Caution: the runs have different test rows; their scores do not compare."
            )
        for r in self.rows:
            if r["unreadable_test_rows"]:
                cautions.append(
                    f"{r['run']} cannot read "
                    f"{counted(r['unreadable_test_rows'], 'gold test row')}, which are left out of "
                    "its scores, as in its report."
                )
            if r.get("leaks_allowed"):
                cautions.append(
                    f"{r['run']} accepts leaks between its splits: {r['leaks_allowed']}."
                )
        return cautions

    def _protocol(self) -> list[str]:
        head = ["run", "task", "manifest", "split", "gold", "pool", "test", "rule", "rounds"]
        body = [
            [r["run"], r["task"], r["manifest"][:8], r["split_kind"], *(str(r[k]) for k in (
                "gold_rows", "pool_rows", "test_rows")), r["rule"], r["rounds"]]
            for r in self.rows
        ]  # fmt: skip
        return [table(head, body), ""]

    def _scores(self) -> list[str]:
        lines = []
        for split, title in (("test", "held-out test"), ("oof", "out-of-fold training")):
            for kind in dict.fromkeys(r["task"] for r in self.rows):
                runs = [r for r in self.rows if r["task"] == kind and r[f"{split}_rows"]]
                if runs:
                    lines += self._scores_of(runs, kind, split, title)
        return lines

    def _scores_of(self, runs: list[dict], kind: str, split: str, title: str) -> list[str]:
        """Returns the table of the runs of one kind of task on one split."""
        names, spread = names_of(kind), f"{split}_recall_std"
        single = spread in runs[0]
        body = [
            [r["run"],
             *(percent(r[f"{split}_{m}"], r[f"{split}_{m}_low"], r[f"{split}_{m}_high"])
               for m in names),
             *([percent(r[spread])] if single else [])]
            for r in runs
        ]  # fmt: skip
        counts = " / ".join(dict.fromkeys(str(r[f"{split}_rows"]) for r in runs))
        groups = " / ".join(dict.fromkeys(r[f"{split}_units"] for r in runs))
        several = len({r["task"] for r in self.rows}) > 1
        return [
            f"In % on {counts} gold {title} rows{f' ({TASK_WORDS[kind]})' if several else ''}, "
            f"95 % intervals over {groups}:",
            "",
            table(["run", *names.values(), *(["recall std"] if single else [])], body),
            "",
        ]

    def _gains(self) -> list[str]:
        """Returns the table of what the rounds of each run brought over its warm start."""
        parts = [p for p in ("oof", "test") if any(f"gain_{p}" in r for r in self.rows)]
        if not parts:
            return []
        body = [[r["run"], *(_gain(r, part) for part in parts)] for r in self.rows]
        names = {"oof": "out-of-fold", "test": "test"}
        return [
            "What ships against the run's own warm start, in points of its rounds.metric, paired:",
            "",
            table(["run", *(names[part] for part in parts)], body),
            "",
        ]

    def _by(self) -> list[str]:
        """Returns the table of the main score by the values of a column."""
        lines = []
        for kind in dict.fromkeys(p["kind"] for p in self.parts):
            runs = [p for p in self.parts if p["kind"] == kind]
            values = list(dict.fromkeys(value for p in runs for value in p["parts"]))
            body = []
            for value in values:
                of_runs = [p["parts"].get(value, {}) for p in runs]
                cells = [percent(*(o.get(k) for k in ("value", "low", "high"))) for o in of_runs]
                over = " / ".join(dict.fromkeys(o["over"] for o in of_runs if o.get("over")))
                body.append([value, *cells, str(max(o.get("rows", 0) for o in of_runs)), over])
            name = names_of(kind)[runs[0]["metric"]]
            lines += [
                f"{name} in % of gold test rows by {self.by}, with 95 % intervals:", "",
                table([self.by, *(p["run"] for p in runs), "rows", "interval over"], body), "",
            ]  # fmt: skip
        return lines

    def _costs(self) -> list[str]:
        body = [
            [r["run"], _count(r["parameters"]), _count(r["head_parameters"]), _ms(r["model_ms"]),
             _ms(r["end_to_end_ms"])]
            for r in self.rows if r["head_parameters"] is not None
        ]  # fmt: skip
        if not body:
            return []
        head = ["run", "parameters", "of the head", "model ms", "end to end ms"]
        cores = counted(self.threads, "CPU thread")
        notes = [f"{r['run']}: {r['cost_note']}" for r in self.rows if r["cost_note"]]
        return [
            f"Size, and milliseconds per utterance at batch 1 (medians, runs by turns, {cores}):",
            "", table(head, body), *notes,
        ]  # fmt: skip

    def _pairs(self) -> list[str]:
        if not self.pairs:
            return []
        names = names_of(self.rows[0]["task"])
        tested = self.pairs[0]["mcnemar_p"] is not None
        keys = ["p_value", "p_holm", *(["mcnemar_p", "mcnemar_p_holm"] if tested else [])]
        body = [
            [p["run"], str(p["rows"]), *(_difference(p, m) for m in names),
             *(f"{p[k]:.3f}" for k in keys)]
            for p in self.pairs
        ]  # fmt: skip
        first, count = self.pairs[0], len(self.pairs)
        units = " / ".join(dict.fromkeys(p["over"] for p in self.pairs))
        other = ", and of McNemar's exact test of accuracy (which takes rows as independent)"
        heads = ["p", "p Holm", "McNemar", "McN. Holm"][: len(keys)]
        return [
            "",
            f"Difference to {first['against']} on the test rows that both can read, in points, "
            f"95 % intervals over {units} (paired); p "
            f"of {names[self.metric]} (never below what an exact test over as many groups could "
            f"give){other if tested else ''}, {'each also' if tested else 'and'} after Holm's "
            f"correction for {counted(count, 'comparison')}:",
            "",
            table(["run", "rows", *names.values(), *heads], body),
        ]


def _gain(record: dict, part: str) -> str:
    if f"gain_{part}" not in record:
        return "-"
    return f"{_difference(record, f'gain_{part}')} over {record[f'gain_{part}_over']}"


def _difference(pair: dict, name: str) -> str:
    return points(*(pair[k] for k in (name, f"{name}_low", f"{name}_high")))


def _count(value: int | None) -> str:
    return "-" if value is None else f"{value:,}"


def _ms(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"

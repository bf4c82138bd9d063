"""`dry_run(run, overrides)`: what a selection rule would add to a finished run; adds nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from pseudo_label.pool import Pool, Selection
from pseudo_label.preview import Preview, preview
from pseudo_label.selection import select

from ..config.engine import engine_of
from ..config.paths import PLACE_SETTINGS, found_again
from ..config.schema import Config, load_config
from ..data.wording import counted
from ..errors import RunError
from ..evaluation.as_tables import ShownAsTables
from ..evaluation.metrics import PseudoReport, pseudo_report
from ..evaluation.run_json import round_records
from ..evaluation.text import percent, table
from ..self_training.checkpoints import read_round
from ..self_training.integrity import check_run
from ..self_training.pool import Pools
from ..self_training.prepare import load_dataset
from ..self_training.resumed import refuse_other_sides
from ..self_training.rounds import coverage_at
from ..self_training.run_dir import Run
from ..self_training.tasks import TASKS
from ..training.dataset import Dataset


@dataclass(repr=False)
class DryRun(ShownAsTables):
    """What the rule would add, by two estimates and, where gold was hidden, in truth."""

    run: str
    rule: str
    teacher: int  # number of the round whose models would label the pool
    number: int  # number of the round this would be
    rate: float  # coverage asked for
    preview: Preview
    hidden: PseudoReport | None  # None where the pool has no hidden gold

    def __str__(self) -> str:
        """Returns the table for people."""
        seen, hidden = self.preview, self.hidden
        head = ["class", "would add", "expected", "out-of-fold gold", "at least"]
        head += ["hidden gold"] if hidden else []
        rows = []
        for c in seen.classes:
            gold = f"{percent(c.gold_precision)} of {c.gold_rows}" if c.gold_rows else "no row"
            least = percent(c.gold_lower) if c.gold_rows else "-"
            row = [c.name, str(c.chosen), _share(c.expected), gold, least]
            rows.append(row + ([_share(hidden.by_class[c.name]["precision"])] if hidden else []))
        teacher = "the warm start" if not self.teacher else f"round {self.teacher}"
        lines = [
            f"{self.run}: what rule={self.rule} would add in round {self.number}, taught by "
            f"{teacher}: {seen.chosen} of {counted(seen.rows, 'pool row')} "
            f"({percent(seen.coverage)} %; {percent(self.rate)} % asked). Nothing was added.",
            "",
            "Precision in %:",
            "",
            table(head, rows),
            "",
            f"Expected in all: {_share(seen.expected)} % (if the probabilities are right)."
            + (f" On hidden gold: {_share(hidden.precision)} % of {counted(hidden.checked, 'row')}."
               if hidden else ""),
            "'out-of-fold gold' counts labelled rows that the same thresholds would take; "
            "'at least' is its one-sided 95 % bound, class by class.",
            "Not taken: "
            + (", ".join(f"{n} {word}" for word, n in seen.reasons.items() if word != "chosen")
               or "none"),
        ]  # fmt: skip
        return "\n".join([*lines, *seen.notes])


def dry_run(run: str | Path, overrides: Sequence[str] = ()) -> DryRun:
    """Returns what a rule would add to a finished run in one more round.

    Args:
        run: folder of the run.
        overrides: key=value of the selection, such as rule=margin; "select." may stand before.
            Where the data are now, and what encodes features that the store lacks: engine=ray.
    """
    engine, overrides = engine_of(overrides)
    places = [w for w in overrides if w.partition("=")[0] in PLACE_SETTINGS]
    opened = Run.open(run, places)
    check_run(run)
    settings = [word if word.startswith("select.") else f"select.{word}" for word in overrides
                if word not in places]  # fmt: skip
    # the run's file holds what its recipe chose already
    overrides = [*settings, *places, "recipe=none"]
    config = load_config(opened.path / "config.yaml", overrides, elsewhere=True)
    config = replace(found_again(config, opened.path), **vars(engine))
    config.device = "cpu"
    task = config.task
    if not TASKS[task.kind].one_class:
        raise RunError(
            f"{run} has task.kind={task.kind}: its rounds take rows by the spread of the members, "
            "or where every class is decided, not by a rule that could be previewed here; its "
            "ledger lists what each round took"
        )
    dataset = _dataset(opened, config)
    if not len(dataset.pool):
        raise RunError(f"{run} has no pool: every training row is labelled")
    pool, teacher, accepted = _pool(opened, config, dataset)
    selection = select(pool, config.select)
    return DryRun(
        str(run),
        config.select.rule,
        teacher,
        pool.round,
        coverage_at(config, accepted, False),
        preview(selection, pool),
        _hidden(dataset, selection),
    )


def _dataset(run: Run, config: Config) -> Dataset:
    """Returns the run's data, drawn and standardised again as they were."""
    run.need_manifest()
    ready = load_dataset(config)
    run.bind_manifest(ready.manifest.sha256)
    refuse_other_sides(run.path, ready.manifest, ready.drawn)
    return ready.dataset


def _pool(run: Run, config: Config, dataset: Dataset) -> tuple[Pool, int, int]:
    """Returns the pool as the last accepted round sees it, its number, and how many there were."""
    records = round_records(run.path)
    kept = [r["round"] for r in records if r["accepted"] and not r.get("alone")]
    if not kept:
        raise RunError(f"{run.path} has no finished round; go on with semi train ... --resume")
    accepted = len(kept) - 1  # the warm start is none
    state, rate = read_round(run.round_dir(kept[-1]), dataset), coverage_at(config, accepted, False)
    pools = Pools(dataset, state, config, rate, kept[-1] + 1)
    return pools.of(dataset.folds), kept[-1], accepted  # the chain that holds nothing out


def _hidden(dataset: Dataset, selection: Selection) -> PseudoReport | None:
    truth = dataset.label[dataset.pool]
    if not bool((truth >= 0).any()):
        return None
    return pseudo_report(selection.chosen, selection.label, truth, dataset.classes)


def _share(value: float) -> str:
    return percent(None if value != value else value)

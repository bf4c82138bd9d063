"""The rows of a run: the manifest as its task reads it, and who is gold, pool, dev and test."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np

from ..config.schema import Config
from ..config.task import TaskConfig
from ..data.columns import INPUTS, check_columns, elsewhere, refuse_unnamed
from ..data.manifest import Manifest, load_manifest
from ..data.reading import HINT
from ..data.reviewed import reviews_of, with_reviews
from ..data.roles import Splits
from ..data.splits import make_splits
from ..data.wording import WARNING
from ..errors import ManifestError
from ..evaluation.multitask import AFFECT

RARE = 20  # rows: strata smaller than this are put together


def rows_to_train(config: Config) -> tuple[Config, Manifest, Splits]:
    """Returns the settings for what the rows have, and `read_rows` with them.

    Speech or text that no row has is left out where its encoder is the default that nobody named:
    a folder of sounds has no texts. A note of the manifest says so; `read_rows` refuses it. Where a
    column of another name seems to hold it, nothing is left out: ManifestError asks.
    """
    given = _in_order(config)
    config, notes = _without_what_no_row_has(config, given)
    given.reading.notes.extend(notes)
    return config, *_checked_rows(config, given)


def _without_what_no_row_has(config: Config, manifest: Manifest) -> tuple[Config, list[str]]:
    encoders = config.encoders
    sections = {"speech": encoders.speech, "text": encoders.text}
    missing = {
        name: section
        for name, section in sections.items()
        if section == type(section)()
        and not any(key.startswith(f"encoders.{name}") for key in config.given)
        and not manifest.table[INPUTS[name]].notna().to_numpy().any()
    }
    left = [n for n, section in sections.items() if n not in missing and section.model != "none"]
    if not left and not encoders.extra:
        return config, []
    off = {name: replace(section, model="none") for name, section in missing.items()}
    notes = []
    for name in off:
        refuse_unnamed(manifest, name)
        perhaps = elsewhere(manifest, INPUTS[name])  # unknown columns are left: one may hold it
        note = f"no row has {INPUTS[name]}, so encoders.{name}.model=none{perhaps}"
        notes.append(WARNING + note if perhaps else note)
    return replace(config, encoders=replace(encoders, **off)), notes


def read_rows(config: Config) -> tuple[Manifest, Splits]:
    """Returns the manifest and the splits of a configuration; the same for every verb.

    The rows are sorted by id, so that the order of the file changes nothing that is learned from
    them, to the last bit. Contiguous slices are slices of the file, whose order then counts.
    """
    return _checked_rows(config, _in_order(config))


def _in_order(config: Config) -> Manifest:
    """Returns the table as learning reads it; the one in the file's order is let go."""
    manifest = load_manifest(config.data.manifest, config.data)
    return manifest if config.data.fold_method == "contiguous" else manifest.by_id()


def _checked_rows(config: Config, manifest: Manifest) -> tuple[Manifest, Splits]:
    reading = manifest.reading
    try:
        check_columns(manifest, config.encoders)
        manifest = manifest_of_task(manifest, config.task)
        if config.data.reviews:
            manifest.reviewed = reviews_of(manifest, config.data, config.data.reviews)
        splits = make_splits(
            manifest, config.data, folds=config.train.folds, seed=config.seed,
            several=config.task.multi, inputs=config.encoders.inputs,
        )  # fmt: skip
    except ManifestError as error:
        error.reading = reading  # what was understood helps
        raise
    return with_reviews(manifest), splits


def manifest_of_task(manifest: Manifest, task: TaskConfig) -> Manifest:
    """Returns the manifest whose labels say which rows are gold for the task.

    Where only valence and arousal count, a row is gold if it has one of them, and its "label" is
    low or high by the median: folds and held-out rows are drawn as evenly as for classes. Nothing
    else reads that label.
    """
    if task.kind != "affect":
        return manifest
    values = manifest.table[list(AFFECT)].to_numpy(dtype=float)
    known = ~np.isnan(values)
    used = [i for i in range(len(AFFECT)) if known[:, i].any()]
    strata = _strata(values, used)
    smallest = min(Counter(s for s in strata if s).values(), default=0)
    if smallest < RARE and len(used) > 1:  # two halves: a stratum may not lie in one fold alone
        strata = _strata(values, used[:1])
        other = known.any(1) & (strata == "")
        strata[other] = f"low {AFFECT[used[0]]}"
    classes = sorted(set(strata) - {""})
    if len(classes) < 2:
        raise ManifestError(
            f"{manifest.path}: task.kind affect needs rows that differ in valence or arousal; "
            "fill these columns with numbers"
        )
    table = manifest.table.copy()
    table["label"] = [s or None for s in strata]
    table["votes"] = None
    notes = [note for note in manifest.notes if HINT not in note]  # it does learn these
    reading = replace(manifest.reading, notes=notes)
    return replace(manifest, table=table, classes=classes, notes=notes, reading=reading)


def _strata(values: np.ndarray, used: list[int]) -> np.ndarray:
    """Returns (N,) words such as 'high valence, low arousal'; '' where neither is known.

    An unknown one beside a known one counts as low.
    """
    known = ~np.isnan(values)
    if not used:
        return np.full(len(values), "", dtype=object)
    words = []
    for i in used:
        middle = np.median(values[known[:, i], i])
        words.append(np.where(np.nan_to_num(values[:, i], nan=-np.inf) > middle, "high", "low"))
    joined = [
        ", ".join(f"{w} {AFFECT[i]}" for w, i in zip(row, used, strict=True))
        for row in zip(*words, strict=True)
    ]
    return np.where(known[:, used].any(1), np.array(joined, dtype=object), "")

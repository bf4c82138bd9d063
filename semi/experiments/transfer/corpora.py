"""Two corpora as one: rows of the source, then rows of a target, with the classes both have.

Letters: N rows, n source rows, T test rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import torch

from ...data.wording import counted, listed
from ...errors import ConfigError
from ...features.config import FeaturesConfig
from ...features.standardize import Standardizer
from ...features.tensors import Features
from ..benchmark.corpus import BenchCorpus
from ..benchmark.data import Sides, outer_splits
from .config import TransferConfig


@dataclass
class Pair:
    """The sources and one target."""

    name: str  # such as emodb->etts
    target: str
    corpus: BenchCorpus  # N rows: first the sources', all labelled; nothing is scaled
    sources: int  # n
    home: list[str]  # (N,) corpus of each row
    tests: list[np.ndarray]  # (T,) rows of each outer fold, whole target speakers
    sides: list[Side]  # the sources and the target, as they were read
    notes: list[str] = field(default_factory=list)  # what was left out, in sentences


@dataclass
class Side:
    """One corpus with the names that its classes have here."""

    corpus: BenchCorpus
    names: dict[str, str | None]  # class -> common name, None = left out

    def labels(self) -> np.ndarray:
        """Returns (N,) common names; '' = no label, None = left out."""
        table = np.array([*(self.names[c] for c in self.corpus.classes), ""], dtype=object)
        return table[self.corpus.label]


def pair_of(
    sources: Sequence[Side], target: Side, config: TransferConfig
) -> Pair:  # fmt: skip
    """Returns the labelled rows of the sources and the rows of the target, in common classes."""
    sides = [*sources, target]
    taught = {str(name) for side in sources for name in side.labels().tolist() if name}
    asked = {str(name) for name in target.labels().tolist() if name}
    name = f"{'+'.join(s.corpus.name for s in sources)}->{target.corpus.name}"
    classes = sorted(taught & asked)
    _refuse_unlabelled(name, sides)
    if len(classes) < 2:
        raise ConfigError(
            f"{name}: {counted(len(classes), 'class')} in common ({listed(sorted(taught))}; "
            f"{listed(sorted(asked))}); a transfer needs two: name what is the same in a YAML "
            f"file, labels=map.yaml, such as '{target.corpus.name}: {{{min(asked, default='joy')}: "
            f"{min(taught, default='joy')}}}'"
        )
    notes, parts, labels, rows_of = [], [], [], []
    number = {c: i for i, c in enumerate(classes)}
    for side in sides:
        of_target = side is target
        labelled = side.labels()
        label = np.array([number.get(c, -1) if c else -1 for c in labelled.tolist()])
        left = np.array([c is None for c in labelled.tolist()])
        foreign = np.array([bool(c) and c not in number for c in labelled.tolist()])
        kept = ~left & (label >= 0 if not of_target else (config.foreign == "keep") | ~foreign)
        rows = np.flatnonzero(kept)
        notes += _left_out(side, foreign, kept, labelled)
        parts.append(side.corpus.features.rows(torch.from_numpy(rows)))
        labels.append(label[rows])
        rows_of.append(rows)
    count = sum(map(len, rows_of[:-1]))
    pieces = list(zip(sides, rows_of, strict=True))
    home = [s.corpus.name for s, rows in pieces for _ in rows]
    features = joined(parts, [s.corpus.name for s in sides])
    notes += _views_left_out(sides, features)

    def words(what: str) -> np.ndarray:
        return np.array(
            [f"{s.corpus.name}/{w}" for s, rows in pieces for w in getattr(s.corpus, what)[rows]]
        )

    corpus = replace(
        target.corpus, name=name, ids=words("ids"), features=features,
        label=np.concatenate(labels), classes=classes, group=words("group"), second=None,
    )  # fmt: skip
    tests = _tests(corpus, count, config.outer_folds)
    return Pair(name, target.corpus.name, corpus, count, home, tests, sides, notes)


def _refuse_unlabelled(name: str, sides: Sequence[Side]) -> None:
    """Raises ConfigError where a corpus has no label at all."""
    if bare := [s.corpus.name for s in sides if not any(s.labels().tolist())]:
        raise ConfigError(
            f"{name}: no row of {listed(bare)} has a label; a transfer compares one label a row: "
            "fill in the column label, or, where it is valence and arousal, train on one table "
            "that holds both corpora, its column split naming the target test (semi train)"
        )


def _views_left_out(sides: Sequence[Side], features: Features) -> list[str]:
    """Returns which views are not used, by corpus."""
    return [
        f"views {listed(missing)} of {s.corpus.name} are left out: not every corpus has them"
        for s in sides
        if (missing := [v for v in s.corpus.features.names if v not in features.names])
    ]


def _tests(corpus: BenchCorpus, sources: int, folds: int) -> list[np.ndarray]:
    """Returns the labelled target rows (T,) of each outer fold."""
    rows = torch.arange(sources, len(corpus))
    target = replace(
        corpus, ids=corpus.ids[sources:], features=corpus.features.rows(rows),
        label=corpus.label[sources:], group=corpus.group[sources:],
    )  # fmt: skip
    return [sources + part for part in outer_splits(target, folds)]


def _left_out(side: Side, foreign: np.ndarray, kept: np.ndarray, labelled: np.ndarray) -> list[str]:
    """Returns what is left out of a corpus, and what stays without its label."""
    name, notes = side.corpus.name, []
    for rows, what in ((foreign & ~kept, "left out"), (foreign & kept, "in the pool, unlabelled")):
        if rows.any():
            names = sorted({str(c) for c in labelled[rows].tolist()})
            many = counted(int(rows.sum()), "row")
            notes.append(f"{name}: {many} of {listed(names)} {what}: only one side has them")
    bare = int(((labelled == "") & ~kept).sum())
    return [*notes, f"{name}: {counted(bare, 'row')} without a label left out"] if bare else notes


def joined(parts: Sequence[Features], names: Sequence[str]) -> Features:
    """Returns the rows of all corpora below each other, in the views that all of them have."""
    views = [v for v in parts[0].names if all(v in p.names for p in parts)]
    if not views:
        have = "; ".join(
            f"{n} has {listed(list(p.names))}" for n, p in zip(names, parts, strict=True)
        )
        raise ConfigError(f"no view that every corpus has: {have}")
    for view in views:
        widths = [p.values[view].shape[1] for p in parts]
        if len(set(widths)) > 1:
            sizes = listed([f"{w} in {n}" for n, w in zip(names, widths, strict=True)])
            raise ConfigError(
                f"view {view} has other widths ({sizes}); use one encoder for all corpora"
            )
    present = [p.present[:, [p.names.index(v) for v in views]] for p in parts]
    values = {v: torch.cat([p.values[v][:] for p in parts]) for v in views}
    return Features(values, torch.cat(present))


def scaled(pair: Pair, learn: np.ndarray, config: TransferConfig) -> dict[str, torch.Tensor]:
    """Returns every view (N, D), scaled on the rows of `learn`; labels play no part."""
    mask = torch.zeros(len(pair.corpus), dtype=torch.bool)
    mask[torch.from_numpy(learn)] = True
    mode = "speaker" if config.standardize == "corpus" else config.standardize
    units = pair.home if config.standardize == "corpus" else pair.corpus.group.tolist()
    scaling = FeaturesConfig(standardize=mode, pca=config.pca)
    fitted = Standardizer.fit(pair.corpus.features, mask, scaling, units)
    found = fitted.apply(pair.corpus.features, units).values
    return {name: value[:] for name, value in found.items()}


@dataclass
class Parts(Sides):
    """Which rows an arm learns from and is tested on."""

    learn: np.ndarray  # rows that scale the features


def parts_of(pair: Pair, arm: str, fold: int, scaling: str) -> Parts:
    """Returns the rows of an arm in one outer fold; `transductive` has one alone."""
    every, source = np.arange(len(pair.corpus)), np.arange(pair.sources)
    target = every[pair.sources :]
    if arm == "transductive":
        test, train = target[pair.corpus.label[target] >= 0], target
    else:
        test = pair.tests[fold]
        apart = np.isin(pair.corpus.group[target], pair.corpus.group[test])
        train = target[~apart]
    pool = train if arm in ("inductive", "transductive") else target[:0]
    gold = train[pair.corpus.label[train] >= 0] if arm == "target" else source
    learn = np.concatenate([source, train])
    if scaling == "global":
        learn = gold
    return Parts(gold, pool, test, learn)

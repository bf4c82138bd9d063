"""The outer splits of a benchmark's corpora, scaled, and the problems cut from them.

Letters: N rows, M views, C classes, T test rows.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch

from ...data.folds import assign_folds, draw_labels
from ...errors import ManifestError
from ...features.standardize import Standardizer
from ...features.tensors import Features
from ...self_training.standardize_selection import choose_speaker
from ...training.dataset import Dataset
from .config import DatasetConfig
from .corpus import BenchCorpus


@dataclass
class Outer:
    """One outer split: scaled views, and who trains and who tests."""

    fold: int
    values: dict[str, torch.Tensor]  # view -> (N, D), scaled on training rows
    # the same per speaker, where standardize=auto chooses for each draw of labels
    per_speaker: dict[str, torch.Tensor] | None
    present: torch.Tensor  # (N, M) bool
    train: np.ndarray  # (n,) rows of training groups, unlabelled ones too
    test: np.ndarray  # (T,) labelled rows of the groups held out


def outer_splits(corpus: BenchCorpus, folds: int) -> list[np.ndarray]:
    """Returns the labelled test rows of each outer fold; the same in every draw."""
    labelled = np.flatnonzero(corpus.label >= 0)
    groups = len(np.unique(corpus.group[labelled]))
    if groups < 2:
        raise ManifestError(
            f"{corpus.name}: the labelled rows come from {groups} group; a benchmark needs at "
            "least 2, so that test speakers are new"
        )
    parts = min(folds, groups)
    fold, _ = assign_folds(corpus.rows.at(labelled), parts, 0, "group")
    if corpus.second is None:
        return [labelled[fold == f] for f in range(parts)]
    names, index = np.unique(corpus.second[labelled], return_inverse=True)
    other = index % min(parts, len(names))
    # every pair of parts is the test part once, so every row is tested once
    pairs = [(fold == f) & (other == s) for f in range(parts) for s in range(int(other.max()) + 1)]
    return [labelled[pair] for pair in pairs if pair.any()]


def outer(corpus: BenchCorpus, test: np.ndarray, fold: int) -> Outer:
    """Returns one outer split, its views scaled on the rows that train."""
    apart = np.isin(corpus.group, corpus.group[test])
    if corpus.second is not None:
        apart |= np.isin(corpus.second, corpus.second[test])
    train = np.flatnonzero(~apart)
    learn = torch.zeros(len(corpus), dtype=torch.bool)
    learn[torch.from_numpy(train)] = True
    mode, both = corpus.scaling.standardize, None
    if mode == "auto":
        apart_views = [v for v in corpus.features.names if not _together(corpus.config, v)]
        both = _scaled(corpus, learn, "speaker") if apart_views else None
        mode = "global"
    return Outer(fold, _scaled(corpus, learn, mode), both, corpus.features.present, train, test)


def _scaled(corpus: BenchCorpus, learn: torch.Tensor, mode: str) -> dict[str, torch.Tensor]:
    """Returns every view (N, D) scaled on the rows (N,) bool that train."""
    values: dict[str, torch.Tensor] = {}
    for everywhere in (True, False):
        names = [v for v in corpus.features.names if _together(corpus.config, v) is everywhere]
        if not names:
            continue
        columns = [corpus.features.names.index(v) for v in names]
        part = Features(
            {v: corpus.features.values[v] for v in names}, corpus.features.present[:, columns]
        )
        mine = "global" if everywhere and mode == "speaker" else mode
        scaling = replace(corpus.scaling, standardize=mine)
        speakers = corpus.group.tolist()
        scaled = Standardizer.fit(part, learn, scaling, speakers).apply(part, speakers).values
        values |= {v: vectors[:] for v, vectors in scaled.items()}
    return {v: values[v] for v in corpus.features.names}


def _together(config: DatasetConfig, view: str) -> bool:
    return view.partition(".")[0] in config.global_views or view in config.global_views


def _gold_rows(
    corpus: BenchCorpus, split: Outer, budget: float | None, seed: int
) -> np.ndarray | None:
    """Returns the training rows that keep their label; None where none is hidden or learnable."""
    labelled = split.train[corpus.label[split.train] >= 0]
    kept = np.ones(len(labelled), dtype=bool)
    if budget is not None:
        if budget >= len(labelled):
            return None
        share, count = (budget, None) if budget < 1 else (None, int(budget))
        kept, _ = draw_labels(corpus.rows.at(labelled), share, count, seed)
        if kept.all():
            return None
    gold = labelled[kept]
    return gold if len(np.unique(corpus.label[gold])) >= 2 else None


def dataset_of(
    corpus: BenchCorpus, split: Outer, budget: float | None,
    *, draw: int, folds: int, seed: int, device: str = "cpu",
) -> Dataset | None:  # fmt: skip
    """Returns the dataset of one label draw, or None where the budget leaves nothing to hide.

    Args:
        corpus: all rows.
        split: the outer split.
        budget: labelled rows as a count, or below 1 as a share; None = all (the oracle).
        draw: number of the label draw; every seed and every outer fold has draws of its own.
        folds: inner out-of-fold parts.
        seed: of the models, of the inner folds and, with `draw`, of the label draw.
        device: where the tensors go.
    """
    gold = _gold_rows(corpus, split, budget, (draw * 10_007 + seed) * 1009 + split.fold)
    if gold is None:
        return None
    pool = np.setdiff1d(split.train, gold)
    sides = Sides(gold, pool, split.test)
    features = Features(split.values, split.present)
    dataset = dataset_of_sides(corpus, sides, features, folds=folds, seed=seed, device=device)
    if split.per_speaker is not None:
        other = replace(dataset, values={v: x.to(device) for v, x in split.per_speaker.items()})
        dataset = other if choose_speaker(dataset, other, seed) else dataset
    return dataset


@dataclass
class Sides:
    """Which rows of a corpus are what."""

    gold: np.ndarray  # rows whose labels are learned
    pool: np.ndarray  # rows without a label
    test: np.ndarray  # (T,)


def dataset_of_sides(
    corpus: BenchCorpus, sides: Sides, features: Features, *, folds: int, seed: int, device: str
) -> Dataset:
    """Returns what an arm trains on.

    Args:
        corpus: all N rows.
        sides: which of them are learned, unlabelled and tested.
        features: of all N rows, scaled.
        folds: inner out-of-fold parts of whole groups.
        seed: of these.
        device: where the tensors go.
    """
    fold, _ = assign_folds(corpus.rows.at(sides.gold), folds, seed, "group")
    target = torch.zeros(len(corpus), len(corpus.classes))
    target[sides.gold, corpus.label[sides.gold]] = 1.0

    def rows(index: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(np.asarray(index, dtype=np.int64)).to(device)

    return Dataset(
        ids=corpus.ids, values={v: x[:].to(device) for v, x in features.values.items()},
        present=features.present.to(device), target=target.to(device), label=rows(corpus.label),
        gold=rows(sides.gold), pool=rows(sides.pool), dev=rows(sides.gold[:0]),
        test=rows(sides.test), fold=rows(fold), group=corpus.group, classes=corpus.classes,
    )  # fmt: skip

"""The corpora of a benchmark as tensors, their outer splits and the problems cut from them.

Letters: N rows, M views, C classes, T test rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from ...data.draws import GoldRows
from ...data.folds import assign_folds, draw_labels
from ...errors import ConfigError, ManifestError, nearest
from ...features.config import FeaturesConfig
from ...features.standardize import Standardizer
from ...features.tensors import Features
from ...training.dataset import Dataset
from .config import DatasetConfig

LAYER_SHARE = 1 / 3  # of a layered array without a chosen layer, the layer a third of the way up


@dataclass
class Corpus:
    """All rows of one corpus that have a view, sorted by id; nothing is scaled or split yet."""

    name: str
    ids: np.ndarray  # (N,) str
    features: Features  # raw values and presence
    label: np.ndarray  # (N,) int, -1 = unknown (such rows are pool only)
    classes: list[str]
    group: np.ndarray  # (N,) str
    second: np.ndarray | None  # (N,) str, a further group kept apart
    config: DatasetConfig

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def rows(self) -> GoldRows:
        """Returns the rows as draws are made among them."""
        return GoldRows(self.ids, self.label, self.group)


@dataclass
class Outer:
    """One outer split: scaled views, and who trains and who tests."""

    fold: int
    values: dict[str, torch.Tensor]  # view -> (N, D), scaled on training rows
    present: torch.Tensor  # (N, M) bool
    train: np.ndarray  # (n,) rows of training groups, unlabelled ones too
    test: np.ndarray  # (T,) labelled rows of the groups held out


def load_corpus(name: str, config: DatasetConfig) -> Corpus:
    """Returns the corpus that a dataset's settings name."""
    corpus = _from_run(name, config) if config.config else _from_arrays(name, config)
    usable = corpus.features.present.any(1).numpy()
    rows = np.flatnonzero(usable)
    rows = rows[np.argsort(corpus.ids[rows], kind="stable")]  # the file's order plays no part
    return replace(
        corpus,
        ids=corpus.ids[rows],
        features=corpus.features.rows(torch.from_numpy(rows)),
        label=corpus.label[rows],
        group=corpus.group[rows],
        second=None if corpus.second is None else corpus.second[rows],
    )


def _from_arrays(name: str, config: DatasetConfig) -> Corpus:
    path = Path(config.features)
    if not path.is_file():
        raise ConfigError(f"datasets.{name}.features: {path}: no such file")
    try:
        with np.load(path) as file:
            arrays = {key: file[key] for key in file.files}
    except ValueError as error:  # an array of Python objects, which would be unpickled
        raise ConfigError(
            f"datasets.{name}.features: {path} cannot be read without running what is in it "
            f"({error}); save words with .astype(str)"
        ) from None
    groups = (config.group, *([config.second_group] if config.second_group else []))
    for key in ("label", *groups):
        if key not in arrays:
            message = f"{path} has no array '{key}'{nearest(key, arrays)}"
            raise ConfigError(f"datasets.{name}: {message}; it has {', '.join(arrays)}")
    names = arrays["label"].astype(str)
    classes = sorted(set(names.tolist()) - {"", "None", "nan"})
    index = {c: i for i, c in enumerate(classes)}
    label = np.array([index.get(w, -1) for w in names.tolist()])
    views = config.views or [
        k for k, v in arrays.items() if v.ndim in (2, 3) and v.dtype.kind == "f"
    ]
    values, present = {}, []
    for view in views:
        x = _view(name, path, arrays, view, len(label))
        readable = np.asarray(np.isfinite(x).all(1))
        values[view] = torch.from_numpy(np.where(readable[:, None], x, 0.0))
        present.append(torch.from_numpy(readable))
    if not values:
        raise ConfigError(f"datasets.{name}: {path} has no array of shape (N, D) or (N, L, D)")
    ids = arrays["id"] if "id" in arrays else np.arange(len(label))
    return Corpus(
        name,
        ids.astype(str),
        Features(values, torch.stack(present, 1)),
        label,
        classes,
        arrays[config.group].astype(str),
        arrays[config.second_group].astype(str) if config.second_group else None,
        config,
    )


def _view(name: str, path: Path, arrays: dict, view: str, rows: int) -> np.ndarray:
    """Returns the (N, D) float32 array of a view such as text or speech.3."""
    key, _, layer = view.partition(".")
    if key not in arrays:
        message = f"{path} has no array '{key}'{nearest(key, arrays)}; it has {', '.join(arrays)}"
        raise ConfigError(f"datasets.{name}.views: {message}")
    x = arrays[key]
    if x.ndim not in (2, 3) or len(x) != rows or x.dtype.kind not in "fiu":
        raise ConfigError(
            f"datasets.{name}.views: '{key}' must be numbers of shape ({rows}, D) or "
            f"({rows}, L, D), got {x.dtype} of shape {x.shape}"
        )
    if x.ndim == 3:
        number = int(layer) if layer.lstrip("-").isdigit() else round(x.shape[1] * LAYER_SHARE)
        if not -x.shape[1] <= number < x.shape[1]:
            raise ConfigError(
                f"datasets.{name}.views: '{view}' names layer {number} of {x.shape[1]}"
            )
        x = x[:, number]
    elif layer:
        raise ConfigError(f"datasets.{name}.views: '{view}' names a layer, but {key} has none")
    return x.astype(np.float32)


def _from_run(name: str, config: DatasetConfig) -> Corpus:
    """Returns the corpus of a run's YAML: its manifest and its encoders' features."""
    from ...config.schema import load_config
    from ...data.manifest import load_manifest
    from ...data.splits import _gold, _groups
    from ...features.extract import open_encoders
    from ...features.read import read_features
    from ...features.sources import Limits

    run = load_config(config.config, config.settings)
    manifest = load_manifest(run.data.manifest, run.data)
    raw = read_features(
        manifest.table, open_encoders(run), run.features.store,
        Limits(run.data.min_seconds, run.data.max_seconds), workers=run.data.workers,
    )  # fmt: skip
    if raw.vectors is None:
        raise ConfigError(f"datasets.{name}: {config.config} leaves no modality to read")
    _, group, _ = _groups(manifest, run.data, [])
    second = None
    if config.second_group:
        if config.second_group not in manifest.table:
            raise ConfigError(
                f"datasets.{name}.second_group: {manifest.path} has no column "
                f"'{config.second_group}'{nearest(config.second_group, manifest.table)}"
            )
        second = manifest.table[config.second_group].astype(str).to_numpy()
    return Corpus(
        name,
        manifest.table["id"].to_numpy().astype(str),
        raw.vectors,
        _gold(manifest)[0],
        list(manifest.classes),
        group.astype(str),
        second,
        config,
    )


def outer_splits(corpus: Corpus, folds: int) -> list[np.ndarray]:
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


def outer(corpus: Corpus, test: np.ndarray, fold: int) -> Outer:
    """Returns one outer split, its views scaled on the rows that train."""
    apart = np.isin(corpus.group, corpus.group[test])
    if corpus.second is not None:
        apart |= np.isin(corpus.second, corpus.second[test])
    train = np.flatnonzero(~apart)
    learn = torch.zeros(len(corpus), dtype=torch.bool)
    learn[torch.from_numpy(train)] = True
    values: dict[str, torch.Tensor] = {}
    for everywhere in (True, False):
        names = [v for v in corpus.features.names if _together(corpus.config, v) is everywhere]
        if not names:
            continue
        columns = [corpus.features.names.index(v) for v in names]
        part = Features(
            {v: corpus.features.values[v] for v in names}, corpus.features.present[:, columns]
        )
        mode = corpus.config.standardize
        mode = "global" if everywhere and mode == "speaker" else mode
        scaling = FeaturesConfig(standardize=mode, pca=corpus.config.pca)
        speakers = corpus.group.tolist()
        values |= Standardizer.fit(part, learn, scaling, speakers).apply(part, speakers).values
    ordered = {v: values[v] for v in corpus.features.names}
    return Outer(fold, ordered, corpus.features.present, train, test)


def _together(config: DatasetConfig, view: str) -> bool:
    return view.partition(".")[0] in config.global_views or view in config.global_views


def _gold_rows(corpus: Corpus, split: Outer, budget: float | None, seed: int) -> np.ndarray | None:
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
    corpus: Corpus,
    split: Outer,
    budget: float | None,
    *,
    draw: int,
    folds: int,
    seed: int,
    device: str = "cpu",
) -> Dataset | None:
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
    fold, _ = assign_folds(corpus.rows.at(gold), folds, seed, "group")
    target = torch.zeros(len(corpus), len(corpus.classes))
    target[gold, corpus.label[gold]] = 1.0

    def rows(index: Sequence[int] | np.ndarray) -> torch.Tensor:
        return torch.from_numpy(np.asarray(index, dtype=np.int64)).to(device)

    return Dataset(
        ids=corpus.ids,
        values={v: x.to(device) for v, x in split.values.items()},
        present=split.present.to(device),
        target=target.to(device),
        label=rows(corpus.label),
        gold=rows(gold),
        pool=rows(pool),
        dev=rows([]),
        test=rows(split.test),
        fold=rows(fold),
        group=corpus.group,
        classes=corpus.classes,
    )

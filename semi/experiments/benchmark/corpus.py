"""The corpora of a benchmark: every row's raw features, label and group, from a run's YAML or .npz.

Letters: N rows, M views.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from ...data.draws import LabelledRows
from ...data.row_ids import array_ids
from ...data.wording import nearest
from ...errors import ConfigError
from ...features.config import FeaturesConfig
from ...features.tensors import Features
from .config import DatasetConfig

LAYER_SHARE = 1 / 3  # of a layered array without a chosen layer, the layer a third of the way up


@dataclass
class BenchCorpus:
    """All rows of one corpus that have a view, sorted by id; nothing is scaled or split yet."""

    name: str
    ids: np.ndarray  # (N,) str
    features: Features  # raw values and presence
    label: np.ndarray  # (N,) int, -1 = unknown (such rows are pool only)
    classes: list[str]
    group: np.ndarray  # (N,) str
    second: np.ndarray | None  # (N,) str, a further group kept apart
    config: DatasetConfig
    scaling: FeaturesConfig  # of the dataset's settings, what they leave open of the run's YAML

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def rows(self) -> LabelledRows:
        """Returns the rows as draws are made among them."""
        return LabelledRows(self.ids, self.label, self.group)


def load_corpus(name: str, config: DatasetConfig) -> BenchCorpus:
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


def _from_arrays(name: str, config: DatasetConfig) -> BenchCorpus:
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
    ids = arrays["id"] if "id" in arrays else array_ids(arrays, ("label", *groups))
    return BenchCorpus(
        name,
        ids.astype(str),
        Features(values, torch.stack(present, 1)),
        label,
        classes,
        arrays[config.group].astype(str),
        arrays[config.second_group].astype(str) if config.second_group else None,
        config,
        FeaturesConfig(standardize=config.standardize, pca=config.pca),
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


def _from_run(name: str, config: DatasetConfig) -> BenchCorpus:
    """Returns the corpus of a run's YAML: its manifest and its encoders' features."""
    from ...config.schema import load_config
    from ...data.groups import groups_of
    from ...data.manifest import load_manifest
    from ...data.splits import gold_of
    from ...features.extract import open_encoders
    from ...features.read import read_features
    from ...features.sources import Limits

    run = load_config(config.config, config.settings)
    if run.data.reviews:
        raise ConfigError(
            f"datasets.{name}: the benchmark draws which labels are known and reads no "
            "data.reviews; leave it out"
        )
    manifest = load_manifest(run.data.manifest, run.data)
    raw = read_features(
        manifest.table, open_encoders(run), run.features.store,
        Limits(run.data.min_seconds, run.data.max_seconds), workers=run.data.workers, engine=run,
        compare=run.precision != "fp32",
    )  # fmt: skip
    if raw.vectors is None:
        raise ConfigError(f"datasets.{name}: {config.config} leaves no modality to read")
    _, group, _ = groups_of(manifest, run.data, [])
    second = None
    if config.second_group:
        if config.second_group not in manifest.table:
            raise ConfigError(
                f"datasets.{name}.second_group: {manifest.path} has no column "
                f"'{config.second_group}'{nearest(config.second_group, manifest.table)}"
            )
        second = manifest.table[config.second_group].astype(str).to_numpy()
    return BenchCorpus(
        name,
        manifest.table["id"].to_numpy().astype(str),
        raw.vectors,
        gold_of(manifest)[0],
        list(manifest.classes),
        group.astype(str),
        second,
        config,
        replace(
            run.features, pca=config.pca, standardize=config.standardize or run.features.standardize
        ),
    )

"""The inputs of the rounds: features read or extracted, checked, standardised; rows set apart."""

from __future__ import annotations

import hashlib
import sys
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from ..config.recipes import with_open_layers
from ..config.schema import Config
from ..data.external_votes import outside_votes
from ..data.gold import left_out
from ..data.leaks import content_key, leak_report
from ..data.manifest import Manifest
from ..data.roles import Splits
from ..data.wording import WARNING, counted
from ..devices import need_device
from ..errors import ManifestError
from ..features.extract import Extraction, open_encoders
from ..features.notes import encoder_notes
from ..features.read import RawFeatures, read_features
from ..features.sequences import sequences
from ..features.sources import Limits
from ..features.standardize import Standardizer
from ..features.table import layer_counts
from ..training.dataset import Dataset, build_dataset
from ..training.rows import read_rows
from .outside import outside_sentences
from .standardize_selection import Scaling, choose_scaling
from .tasks import TASKS

if TYPE_CHECKING:
    import pandas as pd

    from models.encoders import Encoder


@dataclass
class Prepared:
    """The inputs of the rounds, read and checked."""

    manifest: Manifest
    splits: Splits  # without the rows that cannot be used
    drawn: Splits  # as they were drawn
    leaks: list[str]
    extraction: Extraction
    standardizer: Standardizer
    identities: dict[str, dict[str, Any]]
    dataset: Dataset
    notes: list[str]
    sha256: str  # of the raw features of all rows, and of what outside voters say of them
    scaling: Scaling | None = None  # what features.standardize=auto came to


def load_dataset(config: Config, *, progress: bool = False) -> Prepared:
    """Returns all that rounds and finished runs read: rows, splits, standardised features."""
    return prepare(config, *read_rows(config), progress=progress)


def prepare(
    config: Config, manifest: Manifest, splits: Splits, *, progress: bool = True
) -> Prepared:
    """Returns the checked and standardised inputs of the rounds; extracts what is missing."""
    need_device(config.device)
    drawn = replace(splits, role=splits.role.copy(), fold=splits.fold.copy())
    encoders = open_encoders(with_open_layers(config))
    for note in encoder_notes(encoders) if progress else []:
        print(note, file=sys.stderr, flush=True)
    raw = _read(config, manifest, encoders, progress=progress)
    sha256 = digest(raw)
    features = raw.vectors or sequences(raw.frames, config.features.max_frames)
    notes = [
        *raw.extraction.notes,
        *splits.notes,
        *_lacking(features),
        *_drop_unusable(features, splits, raw.extraction),
    ]
    if manifest.reviewed is not None:
        raw.extraction.quarantine += left_out(manifest)
    scaling = _scaling(config, manifest, splits, raw)
    if scaling is not None:
        config = replace(config, features=replace(config.features, standardize=scaling.mode))
    learn = torch.from_numpy(np.isin(splits.role, ("labeled", "pool")))
    speakers = manifest.table["speaker"].tolist()
    if raw.frames:
        standardizer = Standardizer.fit_frames(raw.frames, learn, config.features, speakers)
        scaled = standardizer.apply_frames(raw.frames, speakers)
        features = sequences(scaled, config.features.max_frames)
    else:
        standardizer = Standardizer.fit(features, learn, config.features, speakers)
        features = standardizer.apply(features, speakers, in_place=True)
    ids = manifest.table["id"].to_numpy()
    dataset = build_dataset(ids, features, splits, manifest.classes, config.device)
    dataset.blocks = layer_counts(encoders) if config.features.pca is None else {}
    dataset = TASKS[config.task.kind].dataset(dataset, manifest)
    if config.data.outside:
        sha256 += _ask_outside(config, dataset, notes, progress)
    found = leak_report(manifest, splits, content_key, config.encoders.inputs).found
    leaks = [str(leak) for leak in found.values()]
    return Prepared(
        manifest, splits, drawn, leaks, raw.extraction, standardizer,
        {name: e.identity() for name, e in encoders.items()}, dataset, notes, sha256, scaling,
    )  # fmt: skip


def _read(
    config: Config, manifest: Manifest, encoders: dict[str, Encoder], *, progress: bool
) -> RawFeatures:
    """Returns the raw features; says how near vectors in fewer bits are to those of float32."""
    raw = read_features(
        manifest.table, encoders, config.features.store,
        Limits(config.data.min_seconds, config.data.max_seconds), workers=config.data.workers,
        frames=config.encoders.keeps_frames, progress=progress, engine=config,
        compare=config.precision != "fp32",
    )  # fmt: skip
    for name, count in raw.extraction.modalities.items() if progress else []:
        if count.exactness:
            print(f"{name}: {count.exactness}", file=sys.stderr, flush=True)
    return raw


def _ask_outside(config: Config, dataset: Dataset, notes: list[str], progress: bool) -> str:
    """Gives a dataset its outside voters, tells of them, and returns their SHA-256."""
    spoken: list[str] = []
    votes = outside_votes(config.data.outside, dataset.ids, dataset.classes, spoken)
    assert votes is not None
    dataset.external = votes.to(config.device)
    spoken += outside_sentences(config, dataset, TASKS[config.task.kind].one_class)
    notes += spoken
    for note in spoken if progress else []:
        print(note, file=sys.stderr, flush=True)
    return f" {hashlib.sha256(votes.numpy().tobytes()).hexdigest()}"


def digest(raw: RawFeatures) -> str:
    """Returns the SHA-256 of raw features: names, which rows have them, and every number."""
    sha256 = hashlib.sha256()
    vectors = raw.vectors.values if raw.vectors else {}
    arrays = {"present": raw.vectors.present} if raw.vectors else {}
    arrays |= vectors
    for name, frames in raw.frames.items():
        arrays |= {name: frames.values, f"{name} offsets": frames.offsets}
    for name, values in sorted(arrays.items()):
        sha256.update(f"{name} {tuple(values.shape)}".encode())
        sha256.update(np.ascontiguousarray(values.numpy()).reshape(-1).view(np.uint8).data)
    return sha256.hexdigest()


def _scaling(
    config: Config, manifest: Manifest, splits: Splits, raw: RawFeatures
) -> Scaling | None:
    """Returns the scaling that gold chooses, None where the settings name one."""
    if config.features.standardize != "auto":
        return None
    ids, speakers = (manifest.table[k].to_numpy(dtype=object) for k in ("id", "speaker"))
    return choose_scaling(
        raw.vectors or raw.frames, splits, ids.astype(str), speakers.tolist(), config.features,
        config.seed,
    )  # fmt: skip


def _lacking(features: Any) -> list[str]:
    """Returns a sentence for each modality that some rows lack or that cannot be used there."""
    rows = len(features.present)
    counts = zip(features.names, (~features.present).sum(0).tolist(), strict=True)
    return [
        f"{count} of {counted(rows, 'row')} lack usable {name}" for name, count in counts if count
    ]


def _drop_unusable(features: Any, splits: Splits, extraction: Extraction) -> list[str]:
    """Takes rows without any usable modality out of every role; returns what was done."""
    usable = features.present.any(1).numpy()
    lost = ~usable & (splits.role != "unused")
    if not lost.any():
        return []
    counts = {r: int((lost & (splits.role == r)).sum()) for r in np.unique(splits.role[lost])}
    splits.role[lost] = "unused"
    splits.fold[lost] = -1
    gold = splits.role == "labeled"
    if not gold.any():
        first = next((f" (first: {q.path}: {q.reason})" for q in extraction.quarantine), "")
        raise ManifestError(
            f"no labelled training row has a readable file or a text{first}; semi extract with the "
            "same settings tells each reason"
        )
    kept = np.unique(splits.fold[gold])
    splits.fold[gold] = np.searchsorted(kept, splits.fold[gold])  # a fold may have emptied
    sides = ", ".join(f"{n} {role}" for role, n in counts.items())
    return [
        f"{WARNING}{counted(int(lost.sum()), 'row')} without any usable modality, left out of "
        f"everything ({sides})"
    ]


def splits_table(manifest: Manifest, splits: Splits) -> pd.DataFrame:
    """Returns id, role, group and fold of every row."""
    import pandas as pd

    return pd.DataFrame(
        {
            "id": manifest.table["id"],
            "role": splits.role,
            "group": splits.group,
            "fold": splits.fold,
        }
    )

"""`features.standardize: auto`: over all rows or per speaker, whichever knows more of gold.

A linear student in closed form is trained on both; gold out-of-fold decides, never a test row.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from models.fusion import FusionConfig

from ..config.learning import LearningConfig
from ..config.training import TrainConfig, VoteConfig
from ..data.draws import shuffled
from ..data.roles import Splits
from ..data.wording import counted
from ..features.config import FeaturesConfig
from ..features.standardize import Standardizer
from ..features.tensors import Features, Frames
from ..training.dataset import Dataset, build_dataset
from ..training.students import learned_start
from ..training.views import Views, layers_by_encoder, viewed
from .gate import surprise
from .model_selection import gain_of
from .rounds import warm_start

ENOUGH = 20  # gold rows; with fewer nothing is compared
MOST = 4000  # gold rows, and as many pool rows, that are looked at
# Standard errors by which speaker must know more. On five corpora with 24 to 100 labels (90 draws)
# macro-F1 on held-out speakers was 2.3 points above global in mean, of 2.9 with the better scaling
# each time; at 0 a wrong choice cost 0.3 in mean, at 0.5 0.1, at 1 nothing, but 0.4 of the gain.
MARGIN = 0.5


@dataclass
class Scaling:
    """What was chosen, and why."""

    mode: str  # global or speaker
    sentence: str


def choose_scaling(
    raw: Features | dict[str, Frames],
    splits: Splits,
    ids: np.ndarray,
    speakers: list[str | None],
    config: FeaturesConfig,
    seed: int,
) -> Scaling:
    """Returns the scaling of features that a linear student knows most of gold with, out-of-fold.

    Args:
        raw: features of all N rows, not yet scaled: vectors, or frames, of which means are taken.
        splits: of the same rows.
        ids: (N,) utterance ids.
        speakers: (N,) names, None = unknown.
        config: section `features`.
        seed: of the run.
    """
    gold = splits.role == "labeled"
    named = {s for s, mine in zip(speakers, gold, strict=True) if mine and isinstance(s, str)}
    if len(named) < 2:
        known = "one speaker" if named else "no speaker"
        return Scaling("global", f"features.standardize=global: gold rows know {known}")
    if gold.sum() < ENOUGH or splits.folds < 2:
        few = (
            f"{counted(int(gold.sum()), 'gold row', 'is', 'are')} too few to compare it with "
            "speaker"
        )
        return Scaling("global", f"features.standardize=global: {few}")
    features = raw if isinstance(raw, Features) else _means(raw)
    learn = torch.from_numpy(np.isin(splits.role, ("labeled", "pool")))
    rows = _some(splits, ids)
    found = {}
    for mode in ("global", "speaker"):
        about = replace(config, standardize=mode, pca=None)
        scaling = Standardizer.fit(features, learn, about, speakers)
        scaled = scaling.apply(features.rows(torch.from_numpy(rows)), [speakers[i] for i in rows])
        found[mode] = _dataset(scaled, splits, ids, rows)
    gain, error = speaker_gain(found["global"], found["speaker"], seed)
    mode = "speaker" if gain > MARGIN * error else "global"
    return Scaling(
        mode,
        f"features.standardize={mode}, as {counted(int(gold.sum()), 'gold row')} out-of-fold say: "
        f"speaker knows {gain:+.3f} nats over global (SE {error:.3f})",
    )


def choose_speaker(over_all: Dataset, per_speaker: Dataset, seed: int) -> bool:
    """Says whether a dataset of any source is scaled per speaker; see `choose_scaling`."""
    if len(over_all.gold) < ENOUGH or over_all.folds < 2:
        return False
    gain, error = speaker_gain(over_all, per_speaker, seed)
    return gain > MARGIN * error


def speaker_gain(over_all: Dataset, per_speaker: Dataset, seed: int) -> tuple[float, float]:
    """Returns by how many nats of gold out-of-fold the second knows more, and the standard error.

    Both are the same rows, scaled over all rows and per speaker.
    """
    return gain_of(over_all, _least_surprise(over_all, seed), _least_surprise(per_speaker, seed))


def _least_surprise(dataset: Dataset, seed: int) -> Tensor:
    """Returns the log-loss (n,) of gold out-of-fold, of the encoders that know most of it.

    All together, or one alone: what texts that say nothing add would hide what scaling does to
    speech, and one of them will be kept quiet later.
    """
    about = LearningConfig(
        seed=seed,
        recipe="none",
        model=FusionConfig(kind="discriminant"),
        train=TrainConfig(folds=dataset.folds, members=1),
        vote=VoteConfig(calibration="none"),
    )
    encoders = layers_by_encoder(list(dataset.values))
    tried = [encoders, *({name: parts} for name, parts in encoders.items())]
    losses = []
    for parts in tried if len(encoders) > 1 else tried[:1]:
        seen = viewed(dataset, Views(parts))
        state = warm_start(seen, about, learned_start(seen, about))
        losses.append(surprise(seen, state.outputs))
    return min(losses, key=lambda loss: float(loss.mean()))


def _some(splits: Splits, ids: np.ndarray) -> np.ndarray:
    """Returns the gold and pool rows that are looked at; of many, those of the smallest hashes."""
    order = shuffled(ids, 0, "scaling")
    role = splits.role[order]
    chosen = [order[role == name][:MOST] for name in ("labeled", "pool")]
    return np.sort(np.concatenate(chosen))


def _dataset(features: Features, splits: Splits, ids: np.ndarray, rows: np.ndarray) -> Dataset:
    """Returns the dataset of some rows, each gold row of its one class."""
    role = splits.role[rows]
    gold = role == "labeled"
    classes, label = np.unique(splits.label[rows][gold], return_inverse=True)
    _, fold = np.unique(splits.fold[rows][gold], return_inverse=True)
    known = np.full((2, len(rows)), -1)
    known[:, gold] = label, fold
    target = np.eye(len(classes), dtype=np.float32)[known[0]]  # of gold rows alone it is read
    part = Splits(role, known[0], target, splits.group[rows], known[1])
    return build_dataset(ids[rows], features, part, [str(c) for c in classes], "cpu")


def _means(frames: dict[str, Frames]) -> Features:
    """Returns the mean frame (N, D) of every row and modality."""
    values: dict[str, Tensor] = {}
    for name, packed in frames.items():
        total = torch.zeros(len(packed), packed.values.shape[1])
        total.index_add_(0, packed.owner(), packed.values)
        values[name] = total / packed.offsets.diff().clamp(min=1)[:, None]
    return Features(values, torch.stack([f.present for f in frames.values()], 1), list(frames))

"""scikit-activeml's own acquisition strategies, on the same features as ours."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from labelled_learner import Learned

from semi.self_training.pool import joined_features

STRATEGIES = {
    "sa_random": "RandomSampling",
    "sa_margin": "UncertaintySampling",
    "sa_badge": "Badge",
    "sa_core_set": "CoreSet",
    "sa_typiclust": "TypiClust",
    "sa_probcover": "ProbCover",
    "sa_falcun": "Falcun",
    "sa_dropquery": "DropQuery",
    "sa_clue": "Clue",
    "sa_maxherding": "MaxHerding",
}
ASKING = ("sa_margin", "sa_badge", "sa_falcun", "sa_dropquery", "sa_clue")


def theirs(learned: Learned, rule: str, count: int, seed: int) -> np.ndarray:
    """Returns the dataset rows (count,) that a strategy of scikit-activeml asks about."""
    from skactiveml import pool  # pyright: ignore[reportMissingImports]
    from skactiveml.classifier import (  # pyright: ignore[reportMissingImports]
        SklearnClassifier,
    )
    from sklearn.linear_model import LogisticRegression

    dataset = learned.dataset
    rows = torch.cat([dataset.gold, dataset.pool])
    x = joined_features(dataset, rows)
    y = torch.full((len(rows),), torch.nan)
    y[: len(dataset.gold)] = dataset.label[dataset.gold].float()
    x, y = x.double().numpy(), y.double().numpy()
    classes = list(range(len(dataset.classes)))
    about: dict[str, Any] = {"random_state": seed}
    asked: dict[str, Any] = {}
    if rule == "sa_margin":
        about["method"] = "margin_sampling"
    name = STRATEGIES[rule]
    if rule in ASKING:
        about["missing_label"] = np.nan
        logistic = LogisticRegression(C=1.0, max_iter=300)
        asked["clf"] = SklearnClassifier(logistic, classes=classes, random_state=seed)
    strategy = getattr(pool, name)(**about)
    return rows[strategy.query(X=x, y=y, batch_size=count, **asked)].numpy()

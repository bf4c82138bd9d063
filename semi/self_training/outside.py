"""What outside voters are worth in a run: sentences about them on gold, columns of the ledger.

Letters: V voters, R rows, n gold rows, C classes.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from torch import Tensor

from pseudo_label.calibration import Calibration

from ..config.schema import Config
from ..data.external_votes import outside_notes
from ..data.wording import VOTER, WARNING
from ..evaluation.gold_share import GoldShare
from ..training.dataset import Dataset

HOW_TO_ASK = "select.rule=external, or select.agreement={mode: soft, over: [external]}"


def shares_on_gold(dataset: Dataset) -> list[GoldShare]:
    """Returns how right each voter (V,) is on gold rows, calibrated without the row's fold."""
    outside = dataset.outside()
    if outside is None:
        return []
    names, gold = np.array(dataset.classes, dtype=object), dataset.label[dataset.gold].cpu().numpy()
    shares = []
    for probs in outside.gold[-1].cpu().numpy():  # (n, C)
        heard = ~np.isnan(probs).any(1)
        named = names[np.nan_to_num(probs[heard]).argmax(1)].tolist()
        shares.append(GoldShare.of(named, names[gold[heard]].tolist(), dataset.classes))
    return shares


def outside_sentences(config: Config, dataset: Dataset, one_class: bool) -> list[str]:
    """Returns what a run says of its outside voters: where they voted, and how right they are.

    Args:
        config: the settings; of data.outside and the selection.
        dataset: what they voted on.
        one_class: a row has one class, so that they can be judged.
    """
    paths, notes = config.data.outside, []
    if dataset.external is None:
        return []
    spoken = outside_notes(paths, dataset.external[:, dataset.pool])
    if not one_class:
        return [*spoken, f"{WARNING}task.kind={config.task.kind} asks no outside voter; its rows "
                "are chosen by the models' own spread"]  # fmt: skip
    outside = dataset.outside()
    assert outside is not None
    for number, share in enumerate(shares_on_gold(dataset)):
        line = f"{spoken[number]}; {share.words('gold row')}"
        if share.rows:
            line += f"; by the label that it names: {share.class_words()}"
        line += _how(outside.calibrations[-1][number])
        notes += [line, *_doubts(paths[number], share)]
    if not config.select.asks_outside:
        notes.append(f"{WARNING}nothing asks the voters of data.outside; set {HOW_TO_ASK}")
    return notes


def _how(fitted: Calibration) -> str:
    """Returns how a voter is calibrated; '' where nothing is known to do it by."""
    if not fitted.rows:
        return ""
    if fitted.method == "vector":
        return "; calibrated by a scale and a shift of each class"
    return f"; calibrated by temperature {fitted.temperature:.2f}"


def _doubts(path: str, share: GoldShare) -> list[str]:
    """Returns the warning about a voter whose word is not known to be worth anything."""
    if not share.rows:
        return [f"{WARNING}{VOTER}{path} has no vote on any gold row, so its probabilities are "
                "taken as they come; have it vote on the whole table"]  # fmt: skip
    if not share.beats_chance:
        return [f"{WARNING}{VOTER}{path} is not shown to be right more often than chance "
                f"({share.words('gold row')}); what it confirms may be wrong"]  # fmt: skip
    return []


def outside_columns(dataset: Dataset, rows: Tensor, shares: list[GoldShare]) -> dict[str, Any]:
    """Returns the ledger's columns of each voter: its label, how sure, and how right on gold.

    `precision_outside_<k>` is the share of the gold rows that it gives the same label which have it
    (calibrated without the row's fold); empty where it gives that label to no gold row.

    Args:
        dataset: the data.
        rows: (R,) of it.
        shares: how right each voter is on gold; see `shares_on_gold`.
    """
    outside = dataset.outside()
    if outside is None:
        return {}
    votes = outside.of(rows, dataset.folds).cpu().numpy()  # (V, R, C)
    names, columns = np.array(dataset.classes, dtype=object), {}
    for number, (probs, share) in enumerate(zip(votes, shares, strict=True), 1):
        heard = ~np.isnan(probs).any(1)
        label = np.nan_to_num(probs).argmax(1)
        words = zip(names[label], heard, strict=True)
        right = np.array([_precision(share, name) for name in dataset.classes])
        columns |= {
            f"vote_outside_{number}": np.array([n if h else None for n, h in words], object),
            f"confidence_outside_{number}": np.where(heard, probs.max(1), np.nan).round(6),
            f"precision_outside_{number}": np.where(heard, right[label], np.nan).round(6),
        }
    return columns


def _precision(share: GoldShare, name: str) -> float:
    right, rows = share.by_class.get(name, (0, 0))
    return right / rows if rows else float("nan")

"""The ledger: one row per pool utterance and round; who was taken, why, and what became of it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from pseudo_label.pool import REASONS

from ..config.task import TaskConfig
from ..evaluation.multitask import AFFECT
from ..training.dataset import Dataset
from .multitask_record import several_words
from .state import RoundState

ORDER = ["id", "round", "chosen", "accepted", "label", "weight", "reason", "rule", "threshold"]


def round_rows(
    dataset: Dataset,
    state: RoundState,
    before: RoundState,
    rule: str,
    task: TaskConfig | None = None,
) -> pd.DataFrame:
    """Returns a round's (P, columns) table as known when the round was judged.

    Args:
        dataset: the data.
        state: the judged round, number >= 1.
        before: the round whose models were the teacher.
        rule: name of the selection rule.
        task: what is predicted; None = one class a row.
    """
    pseudo_labels, outputs, task = state.pseudo_labels, before.outputs, task or TaskConfig()
    if pseudo_labels is None:
        raise ValueError("round 0 has no ledger: it learned from gold alone")
    rows = dataset.pool.cpu().numpy()
    raw = outputs.pool_logits[-1]  # (H, P, C), the chain that ships
    by_head = outputs.voter.by_head(raw).cpu().numpy()
    likely = raw[0].sigmoid() if task.multi else raw[0].exp()
    probs, before_calibration = pseudo_labels.probs.cpu().numpy(), likely.cpu().numpy()
    chosen = pseudo_labels.chosen[-1].cpu().numpy()
    label = pseudo_labels.label[-1].cpu().numpy()
    names = np.array(dataset.classes, dtype=object)
    present = dataset.present[dataset.pool].cpu().numpy()
    table = {
        "id": dataset.ids[rows],
        "round": np.full(len(rows), state.number),
        "chosen": chosen,
        "accepted": chosen & state.accepted,
        "label": names[label],
        "weight": pseudo_labels.weight[-1].cpu().numpy().round(6),
        "reason": np.array(REASONS, dtype=object)[pseudo_labels.reason.cpu().numpy()],
        "rule": np.full(len(rows), rule, dtype=object),
        "threshold": pseudo_labels.threshold.cpu().numpy()[label].round(6),
        "confidence": probs.max(1).round(6) if probs.size else np.zeros(0),
    }
    if task.multi:
        table["label"] = several_words(probs, dataset.classes)
        table["confidence"] = np.maximum(probs, 1 - probs).min(1).round(6)
    if task.affect and outputs.affect is not None:
        for i, name in enumerate(AFFECT):
            table[name] = outputs.affect.pool[-1, :, i].cpu().numpy().round(6)
            spread = outputs.affect.pool_spread[-1, :, i]
            table[f"{name}_spread"] = spread.cpu().numpy().round(6)
    if task.kind == "affect":  # classes are only what folds were drawn by
        return pd.DataFrame(table | {"label": None, "threshold": np.nan}).drop(columns="confidence")
    for i, head in enumerate(outputs.voter.heads):
        vote: Any = names[by_head[i].argmax(1)] if len(rows) else np.zeros(0, dtype=object)
        if task.multi:
            vote = several_words(by_head[i], dataset.classes)
        sure = by_head[i].max(1).round(6) if len(rows) else np.zeros(0)
        if i:  # a modality that a row lacks has no vote
            vote = np.where(present[:, i - 1], vote, None)
            sure = np.where(present[:, i - 1], sure, np.nan)
        table |= {f"vote_{head}": vote, f"confidence_{head}": sure}
    for c, name in enumerate(dataset.classes):
        table[f"p_{name}"] = probs[:, c].round(6)
    for c, name in enumerate(dataset.classes):
        table[f"raw_{name}"] = before_calibration[:, c].round(6)
    return pd.DataFrame(table)


def merge_rounds(parts: list[pd.DataFrame]) -> pd.DataFrame:
    """Returns the ledger of all rounds with first_round, last_round and flips.

    first_round and last_round are the first and the latest accepted round up to the row's own
    that learned from the utterance (-1 = none so far); flips counts changes of its label so far.
    """
    if not parts:
        return pd.DataFrame(columns=[*ORDER, "first_round", "last_round", "flips"])
    ledger = pd.concat(parts, ignore_index=True)
    taken = ledger["round"].where(ledger["accepted"])
    by_id = ledger.assign(taken=taken).groupby("id", sort=False)
    ledger["first_round"] = by_id["taken"].cummin().groupby(ledger["id"]).ffill()
    ledger["last_round"] = by_id["taken"].cummax().groupby(ledger["id"]).ffill()
    before = by_id["label"].shift()
    flip = before.notna() & (before != ledger["label"])
    ledger["flips"] = flip.groupby(ledger["id"], sort=False).cumsum().astype(np.int64)
    for name in ("first_round", "last_round"):
        ledger[name] = ledger[name].fillna(-1).astype(np.int64)
    rest = [c for c in ledger.columns if c not in ORDER]
    return ledger.reindex(columns=[*ORDER, *rest])

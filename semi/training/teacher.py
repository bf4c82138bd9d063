"""What the models of a round say: out-of-fold on gold, or chain by chain; calibrated, voted.

Letters: G chains (last one holds nothing out), H heads (fused first), n gold rows, P pool rows,
R rows, C classes. Chain k never saw the gold rows of fold k, so neither did its
pseudo-labels (but for the class shares and the calibration, a few numbers of all gold rows).

A task of several labels a row (`multi`) has the log odds of each class where others have
log-probabilities, and is calibrated and voted as R x C yes-no questions.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from ..config.task import TaskConfig
from ..config.training import VoteConfig
from ..features.tensors import Vectors
from .dataset import Dataset
from .ensemble import Ensemble, Logits
from .voter import FUSED, Voter, fit_voter, mean_odds

ASKED_AT_ONCE = 8192  # rows


@torch.no_grad()
def chain_logits(
    ensemble: Ensemble,
    values: Mapping[str, Vectors],
    present: Tensor,
    chains: int,
    *,
    multi: bool = False,
    heads: int | None = None,
    rows: Tensor | None = None,
) -> Tensor:
    """Returns (G, H, R, C) log of the mean member probability of each chain and head.

    With `multi` the log odds of the mean probability of each class. `heads` are the first so many,
    None = all. `rows` (R,) are those of `values` and `present` that are asked, a few thousand at a
    time; None = all of them.
    """
    count, start, every = len(present if rows is None else rows), 0, None
    for out in _asked(ensemble, values, present, rows):
        asked = list(out.heads().values())[:heads]
        part = torch.stack([_of_chains(logits, chains, multi) for logits in asked], 1)
        if every is None:
            every = part.new_empty(*part.shape[:2], count, part.shape[3])
        every[:, :, start : start + part.shape[2]] = part
        start += part.shape[2]
    assert every is not None  # of no rows one empty part is asked
    return every


def _of_chains(logits: Tensor, chains: int, multi: bool) -> Tensor:
    """Returns (G, r, C): the log of what the members (E, r, C) of each chain say in mean."""
    if multi:
        return mean_odds(logits.unflatten(0, (chains, -1)), 1)
    exact = logits.to(torch.promote_types(logits.dtype, torch.float32))
    return _log_mean(log_probs(exact).unflatten(0, (chains, -1)))  # of (G, E/G, r, C)


def _log_mean(log_probs: Tensor) -> Tensor:
    """Returns the log of the mean probability of members (G, E/G, r, C), over the members."""
    count = log_probs.shape[1]
    if count == 1:
        return log_probs[:, 0]
    return log_probs.logsumexp(1) - torch.tensor(float(count)).log()


def log_probs(logits: Tensor) -> Tensor:
    """Returns the log_softmax over the last dimension, in memory as `logits` lie."""
    if logits.stride(-1) == 1:
        return logits.log_softmax(-1)
    return logits.mT.log_softmax(-2).mT


def _asked(
    ensemble: Ensemble, values: Mapping[str, Vectors], present: Tensor, rows: Tensor | None
) -> Iterator[Logits]:
    """Yields what all members say of rows (R,), None = of all, ASKED_AT_ONCE at a time."""
    for start in range(0, max(len(present if rows is None else rows), 1), ASKED_AT_ONCE):
        some = slice(start, start + ASKED_AT_ONCE)
        some = some if rows is None else rows[some]
        yield ensemble.predict_logits({m: v[some] for m, v in values.items()}, present[some])


@torch.no_grad()
def chain_affect(
    ensemble: Ensemble, values: Mapping[str, Vectors], present: Tensor, chains: int,
    *, rows: Tensor | None = None,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """Returns valence and arousal of each chain (G, R, 2): mean and deviation of its members.

    `rows` as in `chain_logits`.
    """
    means, spreads = [], []
    for out in _asked(ensemble, values, present, rows):
        if out.affect is None or not out.affect.shape[1]:  # no row at all
            nothing = present.new_zeros(chains, 0, 2, dtype=torch.float32)
            return nothing, nothing
        affect = out.affect.unflatten(0, (chains, -1))  # (G, E/G, r, 2)
        means.append(affect.mean(1))
        spreads.append(affect.std(1, correction=0))
    return torch.cat(means, 1), torch.cat(spreads, 1)


@dataclass
class AffectOutputs:
    """What the models say of valence and arousal, on the manifest's scale."""

    oof: Tensor  # (n, 2) each gold row from the chain that held it out
    pool: Tensor  # (G, P, 2)
    pool_spread: Tensor  # (G, P, 2) deviation of the chain's members


@dataclass
class TeacherOutputs:
    """The teacher's word after one round."""

    voter: Voter
    oof_logits: Tensor  # (H, n, C) raw, each gold row from the chain that held it out
    oof_heads: Tensor  # (H, n, C) calibrated
    oof: Tensor  # (n, C) calibrated and voted
    affect: AffectOutputs | None = None


def teacher_outputs(
    dataset: Dataset, ensemble: Ensemble, config: VoteConfig, task: TaskConfig | None = None
) -> TeacherOutputs:
    """Returns what the ensemble of all chains says about gold, out-of-fold.

    And of the pool its valence and arousal; `semi.self_training.pool_answers` asks for classes.
    """
    task = task or TaskConfig()
    chains, gold = dataset.folds + 1, dataset.gold
    heads = [FUSED, *(dataset.dims if len(dataset.dims) > 1 else [])]
    if task.kind == "affect":  # its classes are only what folds were drawn by: nothing to fit
        heads, config = [FUSED], VoteConfig(method="fused", calibration="none")
    on_gold = chain_logits(
        ensemble, dataset.values, dataset.present, chains, multi=task.multi, heads=len(heads),
        rows=gold,
    )  # fmt: skip
    pick = dataset.fold.view(1, 1, -1, 1).expand(1, *on_gold.shape[1:])
    oof = on_gold.gather(0, pick)[0]  # (H, n, C), of (G, H, n, C)
    truth = (dataset.target[gold] > 0.5).long() if task.multi else dataset.label[gold]
    voter = fit_voter(heads, oof, truth, dataset.present[gold], config, ensemble.config.quiet)
    outputs = outputs_of_logits(dataset, voter, oof)
    if task.affect:
        outputs.affect = _affect_outputs(dataset, ensemble)
    return outputs


def _affect_outputs(dataset: Dataset, ensemble: Ensemble) -> AffectOutputs:
    chains = dataset.folds + 1

    def ask(rows: Tensor) -> tuple[Tensor, Tensor]:
        return chain_affect(ensemble, dataset.values, dataset.present, chains, rows=rows)

    on_gold = ask(dataset.gold)[0]  # (G, n, 2)
    pick = dataset.fold.view(1, -1, 1).expand(1, -1, 2)
    return AffectOutputs(on_gold.gather(0, pick)[0], *ask(dataset.pool))


def outputs_of_logits(dataset: Dataset, voter: Voter, oof_logits: Tensor) -> TeacherOutputs:
    """Returns the outputs that follow from a voter and raw logits, new or read back."""
    by_head = voter.by_head(oof_logits)
    voted = voter.vote(by_head, dataset.present[dataset.gold])
    return TeacherOutputs(voter, oof_logits, by_head, voted)


@dataclass
class Prediction:
    """What a finished model says about R rows."""

    probs: Tensor  # (R, C) calibrated and voted
    by_head: Tensor  # (H, R, C) calibrated, heads in the voter's order
    affect: Tensor | None = None  # (R, 2) valence and arousal, where the model has that head


def answer(
    ensemble: Ensemble, voter: Voter, values: Mapping[str, Vectors], present: Tensor, chains: int,
    *, rows: Tensor | None = None,
) -> Prediction:  # fmt: skip
    """Returns the prediction of all chains together: a row's answer depends on that row alone.

    `rows` (R,) as in `chain_logits`.
    """
    logits = chain_logits(
        ensemble, values, present, chains, multi=voter.multi, heads=len(voter.heads), rows=rows
    )
    affect = None
    if ensemble.config.affect:
        affect = chain_affect(ensemble, values, present, chains, rows=rows)[0].mean(0)
    return prediction_of(voter, logits, present if rows is None else present[rows], affect)


def prediction_of(
    voter: Voter, logits: Tensor, present: Tensor, affect: Tensor | None = None
) -> Prediction:
    """Returns the prediction of some chains together, of what each says (G, H, R, C), raw."""
    if voter.multi:
        mean = mean_odds(logits, 0)
    else:
        mean = logits.logsumexp(0) - torch.tensor(float(len(logits))).log()  # (H, R, C)
    by_head = voter.by_head(mean)
    return Prediction(voter.vote(by_head, present), by_head, affect)

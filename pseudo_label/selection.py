"""One call from teacher outputs to pseudo-labels: prepare, apply the rule, bound, target, weigh."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from .alignment import alignment_ratio, bbse_prior, em_prior, near, normalise, shrink_prior
from .bounds import precision_thresholds
from .config import SelectionConfig
from .pool import (
    QUOTA,
    REASONS,
    UNCERTIFIED,
    Gold,
    Pool,
    Selection,
    at_label,
    nothing,
    one_hot,
    quotas,
    rank_in_class,
    unknown,
)
from .rules import RULES
from .rules.agreement import with_agreement
from .rules.external import confirmed, consensus_note

__all__ = ["REASONS", "Gold", "Pool", "Selection", "SelectionConfig", "cap_mass", "select"]

NAME_LENGTH = 60  # letters of a class that a note shows


def select(pool: Pool, config: SelectionConfig) -> Selection:
    """Returns which pool rows to learn from; pure, deterministic, on the pool's device.

    Steps: average over rounds -> estimate the prior -> align -> agreement of views -> the rule ->
    quota -> precision bound -> targets -> weights. `cap_mass` is left to the caller, who knows how
    much the gold rows of each fold weigh.
    """
    if config.rule not in RULES:
        raise ValueError(unknown("rule", config.rule, RULES))
    _check(pool)
    if not len(pool):
        return nothing(pool)
    notes: list[str] = []
    pool = _full_precision(pool)
    pool = _average(pool, config.temporal)
    pool = _estimate_prior(pool, config.prior, notes)
    pool = _align(pool, config.align_gamma)
    if pool.external is not None and pool.gold is not None and config.asks_outside:
        notes.append(consensus_note(pool.gold))
    pool = _agreed(pool, config)
    selection = RULES[config.rule](pool, config)
    selection.notes = notes + selection.notes
    if config.quota:
        _apply_quota(selection, pool)
    if config.precision_target is not None:
        _apply_bound(selection, pool, config)
    selection.target = _targets(selection, config)
    selection.weight = _weights(selection, config)
    return selection


def _agreed(pool: Pool, config: SelectionConfig) -> Pool:
    """Returns the pool with agreement worked in, that of a rule on outside voters, too.

    Such a rule asks again, and finds it so; here it is done that the bound counts the gold rows
    that are confirmed.
    """
    pool = with_agreement(pool, config.agreement, config.agreement.mode)
    if config.rule == "external":
        return confirmed(pool)
    if config.rule == "agreement" and config.asks_outside and config.agreement.mode == "off":
        return with_agreement(pool, config.agreement, "hard")
    return pool


def cap_mass(weight: Tensor, gold_mass: float, cap: float) -> Tensor:
    """Returns the weights scaled down so that together they weigh at most cap * gold_mass, (N,)."""
    total = weight.sum()
    return weight * (cap * gold_mass / total.clamp(min=1e-12)).clamp(max=1.0)


def _check(pool: Pool) -> None:
    total = pool.probs.sum(1)
    bad = ~((total - 1).abs() <= 0.02) | (pool.probs.amin(1) < 0 if len(pool) else total < 0)
    if bool(bad.any()):
        row = int(bad.nonzero()[0, 0])
        raise ValueError(
            f"probs must be probabilities that sum to 1 in every row; {int(bad.sum())} of "
            f"{len(bad)} are not, the first is row {row}: "
            f"{[round(v, 4) for v in pool.probs[row].tolist()]}"
        )


def _full_precision(pool: Pool) -> Pool:
    """Probabilities may be stored in 16 bits; sums and sorts over them are not taken in 16 bits."""
    if pool.probs.dtype in (torch.float32, torch.float64):
        return pool
    views = {n: getattr(pool, n) for n in ("by_modality", "members", "external")}
    views = {n: None if v is None else v.float() for n, v in views.items()}
    return replace(pool, probs=pool.probs.float(), prior=pool.prior.float(), **views)


def _average(pool: Pool, keep: float) -> Pool:
    """Temporal ensembling over rounds (https://arxiv.org/abs/1610.02242), bias-corrected."""
    if keep == 0:
        return pool
    old, mass = pool.state.get("temporal_probs"), pool.state.get("temporal_mass")
    if old is None or mass is None:
        old, mass = torch.zeros_like(pool.probs), pool.probs.new_zeros(())
    if old.shape != pool.probs.shape:
        raise ValueError(
            f"state holds probabilities of shape {tuple(old.shape)}, the pool has "
            f"{tuple(pool.probs.shape)}; the pool's rows must not change between rounds"
        )
    total = keep * old.to(pool.probs) + (1 - keep) * pool.probs
    mass = keep * mass.to(pool.probs) + (1 - keep)
    state = dict(pool.state) | {"temporal_probs": total, "temporal_mass": mass}
    return replace(pool, probs=total / mass, state=state)


def _estimate_prior(pool: Pool, kind: str, notes: list[str]) -> Pool:
    if kind == "labelled":
        return pool
    if kind == "uniform":
        return replace(pool, prior=torch.full_like(pool.prior, 1 / len(pool.prior)))
    gold = pool.gold
    if gold is None or not len(gold.label):
        raise ValueError(f"prior '{kind}' needs out-of-fold gold, but pool.gold is missing")
    estimate = (
        em_prior(pool.probs, pool.prior if pool.assumed is None else pool.assumed)
        if kind == "em"
        else bbse_prior(pool.probs, gold.probs, gold.label)
    )
    prior = near(shrink_prior(estimate, pool.prior, len(gold.label)), pool.prior)
    names = pool.classes or [str(c) for c in range(len(prior))]
    names = [n if len(n) <= NAME_LENGTH else f"{n[:NAME_LENGTH]}..." for n in names]
    shown = ", ".join(f"{n} {v:.3f}" for n, v in zip(names, prior.tolist(), strict=True))
    notes.append(f"class shares of the pool estimated by {kind}: {shown}")
    return replace(pool, prior=prior)


def _align(pool: Pool, gamma: float | None) -> Pool:
    if gamma is None:
        return pool
    target = normalise(pool.prior.clamp(min=1e-12) ** gamma)
    ratio = alignment_ratio(pool.probs, target)
    gold = pool.gold
    if gold is not None:  # the bound compares confidences, so gold must live on the same scale
        gold = replace(gold, probs=normalise(gold.probs * ratio))
    return replace(pool, probs=normalise(pool.probs * ratio), gold=gold)


def _apply_quota(selection: Selection, pool: Pool) -> None:
    score = at_label(pool.probs, selection.label)
    rank = rank_in_class(score, selection.label, selection.chosen, pool.tie)
    quota = quotas(pool.rate, len(pool), pool.prior)
    _drop(selection, rank >= quota[selection.label], QUOTA)


def _apply_bound(selection: Selection, pool: Pool, config: SelectionConfig) -> None:
    gold, target = pool.gold, config.precision_target
    assert target is not None
    if gold is None:
        raise ValueError("precision_target needs out-of-fold gold, but pool.gold is missing")
    label, checked = selection.label, selection.chosen & (pool.predicted == selection.label)
    speakers = None
    if gold.group is not None and pool.group is not None:
        of_gold = gold.group if gold.eligible is None else gold.group[gold.eligible]
        speakers = (of_gold, pool.group[checked])
    counts = slice(None) if gold.eligible is None else gold.eligible
    bound = precision_thresholds(
        gold.probs[counts],
        gold.label[counts],
        target,
        alpha=config.alpha,
        mode=config.bound,
        classes=pool.classes,
        taken=(pool.confidence[checked], label[checked]),
        group=speakers,
    )
    passes = at_label(pool.probs, label) >= bound.threshold[label]
    _drop(selection, ~(passes & (pool.predicted == label)), UNCERTIFIED)
    selection.threshold = torch.maximum(selection.threshold, bound.threshold)
    selection.notes.append(bound.note)


def _drop(selection: Selection, out: Tensor, reason: int) -> None:
    newly, old = selection.chosen & out, selection.reason
    selection.chosen = selection.chosen & ~out
    selection.reason = torch.where(newly, torch.full_like(old, reason), old)


def _targets(selection: Selection, config: SelectionConfig) -> Tensor:
    assert selection.probs is not None
    if config.targets == "rule":
        target = selection.target
    elif config.targets == "hard":
        target = one_hot(selection.label, selection.probs)
    else:
        hard = one_hot(selection.label, selection.probs)
        soft = selection.probs if torch.equal(selection.target, hard) else selection.target
        power = 1.0 if config.targets == "soft" else 1.0 / config.temperature
        target = normalise(soft**power)
    classes = target.shape[1]
    return target * (1 - config.smoothing) + config.smoothing / classes


def _weights(selection: Selection, config: SelectionConfig) -> Tensor:
    probs = selection.probs
    assert probs is not None
    if config.weights == "rule":
        weight = selection.weight
    elif config.weights == "uniform":
        weight = torch.ones_like(selection.weight)
    elif config.weights == "confidence" or probs.shape[1] < 2:
        weight = at_label(probs, selection.label).clamp(config.weight_floor, 1.0)
    else:
        best = probs.topk(2, dim=1).values
        weight = (best[:, 0] - best[:, 1]).clamp(config.weight_floor, 1.0)
    return torch.where(selection.chosen, weight, torch.zeros_like(weight))

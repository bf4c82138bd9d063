"""An outside voter (another model, a language model, a human panel) must confirm the label."""

from __future__ import annotations

from dataclasses import replace
from typing import Protocol

from torch import Tensor

from ..pool import Gold, Pool, Selection
from .agreement import AgreementConfig, agree, with_agreement
from .class_topk import class_topk


class _Reads(Protocol):
    """What the rule reads of the settings."""

    agreement: AgreementConfig


def external(pool: Pool, config: _Reads) -> Selection:
    """Takes the class-prior top-k of the rows whose fused class every outside voter names too.

    Consensus of a model and an outside one, as in https://arxiv.org/abs/2508.06036. To let the
    voter count softly instead: agreement = {mode: soft, over: [external]} before any rule.
    """
    return class_topk(confirmed(pool), config)


def confirmed(pool: Pool) -> Pool:
    """Returns the pool whose eligible rows, of gold too, are those that the outside voters confirm.

    A row that no voter saw is confirmed by nobody; where some did, all of these must.
    """
    if pool.external is None:
        raise ValueError("rule 'external' needs pool.external (V, N, C), the outside voters")
    pool = replace(pool, eligible=pool.allowed() & asked(pool.external))
    pool = with_agreement(pool, AgreementConfig(mode="hard", over=["external"]), "hard")
    gold = pool.gold
    if gold is not None and gold.external is not None and gold.eligible is not None:
        gold = replace(gold, eligible=gold.eligible & asked(gold.external))
    return replace(pool, gold=gold)


def asked(external: Tensor) -> Tensor:
    """Returns (N,) bool: the rows on which at least one of the voters (V, N, C) has a vote."""
    return ~external.isnan().any(-1).all(0)


def consensus_note(gold: Gold) -> str:
    """Returns how right model and outside voters are on gold where they agree, and where not."""
    if gold.external is None or not bool((rows := asked(gold.external)).any()):
        return "no gold row has an outside vote, so how right the consensus is, is not known"
    predicted = gold.probs.argmax(1)
    right = predicted == gold.label
    voted = ~gold.external.isnan().any(-1)
    same = agree(gold.external.nan_to_num(), voted, predicted) & rows
    differ = rows & ~same
    first = (
        f"on {_rows(rows)} of gold out-of-fold the model is right in {_share(right, rows)}; model "
        f"and outside voters agree on {int(same.sum())} of them"
    )
    if bool(same.any()):
        first += f" and are right in {_share(right, same)}"
    return first + (f"; where they differ the model is in {_share(right, differ)}"
                    if bool(differ.any()) else "")  # fmt: skip


def _rows(mask: Tensor) -> str:
    count = int(mask.sum())
    return f"{count:,} row{'s' * (count != 1)}"


def _share(right: Tensor, among: Tensor) -> str:
    return f"{100 * float(right[among].double().mean()):.0f} %"

"""An outside voter (another model, a language model, a human panel) must confirm the label."""

from __future__ import annotations

from dataclasses import replace
from typing import Protocol

from ..pool import Pool, Selection
from .agreement import AgreementConfig, with_agreement
from .class_topk import class_topk


class _Reads(Protocol):
    """What the rule reads of the settings."""

    agreement: AgreementConfig


def external(pool: Pool, config: _Reads) -> Selection:
    """Takes the class-prior top-k of the rows whose fused class every outside voter names too.

    Consensus of a model and an outside one, as in https://arxiv.org/abs/2508.06036. To let the
    voter count softly instead: agreement = {mode: soft, over: [external]} before any rule.
    """
    if pool.external is None:
        raise ValueError("rule 'external' needs pool.external (V, N, C), the outside voters")
    asked = ~pool.external.isnan().any(-1).all(0)  # a row that no voter saw is confirmed by nobody
    pool = replace(pool, eligible=pool.allowed() & asked)
    return class_topk(
        with_agreement(pool, replace(config.agreement, over=["external"]), "hard"), config
    )

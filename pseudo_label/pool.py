"""What every selection rule receives and returns, and the few tensor steps the rules share.

Letters: N pool rows, G gold rows, C classes, M modalities, E ensemble members, V external voters,
D features.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property

import torch
from torch import Tensor

from .pool_checks import check_pool

REASONS = (
    "chosen",
    "below_threshold",  # confidence under the rule's threshold for the row's class
    "over_quota",  # confident enough, but the class had no place left
    "disagreement",  # the views do not name the same class
    "uncertain",  # members spread, entropy or margin too bad
    "not_certified",  # removed by the precision bound
    "noisy",  # the loss split calls the row noisy
    "isolated",  # the graph brought no label to the row
)
CHOSEN, BELOW, QUOTA, DISAGREE, UNCERTAIN, UNCERTIFIED, NOISY, ISOLATED = range(len(REASONS))
CONSTANT = {"constant": True}  # of a field: the published number, not a setting of a YAML
NEVER = 2.0  # a threshold that no probability reaches


@dataclass
class Gold:
    """Out-of-fold outputs on rows whose true label is known: no model here saw its own row."""

    probs: Tensor  # (G, C) calibrated, fused
    label: Tensor  # (G,) int64
    by_modality: Tensor | None = None  # (M, G, C)
    features: Tensor | None = None  # (G, D), same space as Pool.features
    group: Tensor | None = None  # (G,) int64 speaker, same numbering as Pool.group
    external: Tensor | None = None  # (V, G, C) of the voters of Pool.external, NaN = not asked
    eligible: Tensor | None = None  # (G,) bool, rows that a rule might take; None = all


@dataclass
class Pool:
    """Teacher outputs on the unlabelled rows, all tensors on one device."""

    probs: Tensor  # (N, C) calibrated, fused; rows sum to 1
    prior: Tensor  # (C,) class shares expected in the pool, usually the smoothed labelled ones
    tie: Tensor  # (N,) int64 fixed hash of the utterance id: decides between equal confidences
    assumed: Tensor | None = None  # (C,) class shares that probs assume; None = prior
    rate: float = 0.3  # coverage asked of this round, in (0, 1]
    round: int = 1  # 1 = first round of pseudo-labels
    classes: list[str] = field(default_factory=list)  # names, for per-class thresholds
    by_modality: Tensor | None = None  # (M, N, C)
    present: Tensor | None = None  # (N, M) bool, which modalities a row has; None = all
    members: Tensor | None = None  # (E, N, C)
    external: Tensor | None = None  # (V, N, C) probabilities from anywhere else
    gold: Gold | None = None
    features: Tensor | None = None  # (N, D), for the graph rule
    group: Tensor | None = None  # (N,) int64 speaker, -1 = unknown
    eligible: Tensor | None = None  # (N,) bool, rows a rule may take; None = all
    state: dict[str, Tensor] = field(default_factory=dict)  # what the last Selection returned

    def __post_init__(self):
        check_pool(self)

    def __len__(self) -> int:
        return len(self.probs)

    @cached_property
    def confidence(self) -> Tensor:
        """Largest probability of each row, (N,)."""
        return self.probs.amax(1)

    @cached_property
    def predicted(self) -> Tensor:
        """Class of the largest probability of each row, (N,)."""
        return self.probs.argmax(1)

    def allowed(self) -> Tensor:
        """Rows a rule may take, (N,) bool."""
        if self.eligible is None:
            return torch.ones(len(self), dtype=torch.bool, device=self.probs.device)
        return self.eligible


@dataclass
class Selection:
    """Which pool rows to learn from, as what, and how much; one entry per pool row."""

    chosen: Tensor  # (N,) bool
    label: Tensor  # (N,) int64, the rule's label for every row, chosen or not
    target: Tensor  # (N, C) what the student learns; rows sum to 1
    weight: Tensor  # (N,) in [0, 1], 0 where not chosen
    threshold: Tensor  # (C,) lowest confidence that was (or would be) taken; 2.0 = none
    reason: Tensor  # (N,) int8, index into REASONS
    state: dict[str, Tensor] = field(default_factory=dict)  # give back as Pool.state next round
    probs: Tensor | None = None  # (N, C) probabilities the rule saw, after averaging and alignment
    prior: Tensor | None = None  # (C,) class shares the rule used
    negative: Tensor | None = None  # (N, C) bool, classes the row is surely not (negative learning)
    notes: list[str] = field(default_factory=list)  # sentences for the report
    gold: Gold | None = None  # gold as the rule saw it: aligned, mixed and eligible as the pool is

    def __len__(self) -> int:
        return len(self.chosen)

    def words(self) -> list[str]:
        """Returns the reason of every row as a word."""
        return [REASONS[code] for code in self.reason.tolist()]


def decide(
    pool: Pool,
    chosen: Tensor,
    refusal: Tensor | int,
    *,
    label: Tensor | None = None,
    target: Tensor | None = None,
    weight: Tensor | None = None,
    threshold: Tensor | None = None,
    state: dict[str, Tensor] | None = None,
    negative: Tensor | None = None,
    notes: list[str] | None = None,
) -> Selection:
    """Returns the Selection of a mask; left out means hard labels and confidence weights."""
    label = pool.predicted if label is None else label
    chosen = chosen & pool.allowed()
    if not isinstance(refusal, Tensor):
        refusal = torch.full_like(label, refusal)
    refusal = torch.where(pool.allowed(), refusal, torch.full_like(refusal, DISAGREE))
    if target is None:
        target = one_hot(label, pool.probs)
    if weight is None:
        weight = at_label(pool.probs, label).clamp(0.1, 1.0)
    if threshold is None:
        threshold = lowest_chosen(at_label(pool.probs, label), label, chosen, pool.probs.shape[1])
    return Selection(
        chosen=chosen,
        label=label,
        target=target,
        weight=torch.where(chosen, weight, torch.zeros_like(weight)),
        threshold=threshold,
        reason=torch.where(chosen, torch.zeros_like(refusal), refusal).to(torch.int8),
        state=dict(pool.state) | (state or {}),
        probs=pool.probs,
        prior=pool.prior,
        negative=negative,
        notes=list(notes or []),
        gold=pool.gold,
    )


def nothing(pool: Pool) -> Selection:
    """Returns the Selection that takes no row and keeps the state."""
    none = torch.zeros(len(pool), dtype=torch.bool, device=pool.probs.device)
    return decide(pool, none, BELOW)


def at_label(probs: Tensor, label: Tensor) -> Tensor:
    """Returns each row's probability of its label, (N,)."""
    return probs.gather(1, label[:, None])[:, 0]


def one_hot(label: Tensor, like: Tensor) -> Tensor:
    """Returns (N, C) one-hot rows in the type of `like`."""
    return torch.zeros_like(like).scatter_(1, label[:, None], 1.0)


def lowest_chosen(score: Tensor, label: Tensor, chosen: Tensor, classes: int) -> Tensor:
    """Returns per class the lowest score among chosen rows, NEVER where there is none, (C,)."""
    start = torch.full((classes,), NEVER, dtype=score.dtype, device=score.device)
    value = torch.where(chosen, score, torch.full_like(score, NEVER))
    return start.scatter_reduce(0, label, value, "amin")


def rank_in_class(score: Tensor, label: Tensor, allowed: Tensor, tie: Tensor) -> Tensor:
    """Returns each row's place (0 = best) among the allowed rows of its class, (N,) int64.

    Two stable sorts for any number of classes: by `tie`, then by one integer that holds class and
    score (float32 bits made order-preserving), so equal scores are decided by `tie` on any device.
    """
    bits = (score.float() + 0.0).view(torch.int32).long()  # + 0.0 turns -0.0 into 0.0
    bits = torch.where(bits < 0, bits ^ 0x7FFFFFFF, bits)
    group = torch.where(allowed, label, torch.full_like(label, -1)) + 1  # 0 = not allowed
    order = tie.argsort(dim=0, stable=True)
    key = (group << 33) - bits
    order = order[key[order].argsort(dim=0, stable=True)]
    sizes = torch.bincount(group)
    first = sizes.cumsum(0) - sizes
    rank = torch.empty_like(order)
    rank[order] = torch.arange(len(order), device=order.device) - first[group[order]]
    return rank


def quotas(rate: float, rows: int, prior: Tensor) -> Tensor:
    """Returns ceil(rate * rows * prior) per class, (C,) int64; float32's 30.0000004 is 30."""
    wanted = rate * rows * prior.double() / prior.double().sum()
    return (wanted * (1 - 1e-6) - 1e-9).ceil().clamp(min=0).long()


def unknown(kind: str, name: str, known: Iterable[str]) -> str:
    """Returns the sentence for a name that is not known, with the nearest one."""
    names = list(known)
    close = difflib.get_close_matches(str(name), names, n=1)
    hint = f"; did you mean '{close[0]}'?" if close else ""
    return f"{kind} must be one of {', '.join(names)}, got '{name}'{hint}"

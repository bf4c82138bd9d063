"""When another round would be in vain: nothing to learn, nothing new, or refused before."""

from __future__ import annotations

from torch import Tensor

from .state import PseudoLabels, RoundState

STEADY = 0.01  # share of the weight that may still shift in a selection that counts as the same
STOPPED = {
    "max_rounds": "rounds.max_rounds are done",
    "all_labeled": "the whole pool is labelled and less than rounds.min_change of it is new",
    "no_change": "no row was chosen, or less than rounds.min_change of the selection is new",
    "converged": "the rows, labels and weights are those of the round before",
    "gate": "gold refused a round, and its retry or there was none to make",
}
"""Every value of `stopped` and what it says."""


def in_vain(
    now: PseudoLabels, taught: RoundState, refused: RoundState | None, min_change: float
) -> str:
    """Returns why a round of this selection need not be trained, a key of STOPPED, or ''.

    Args:
        now: the selection.
        taught: the last accepted round, by which it was made.
        refused: the round that gold refused since, if any.
        min_change: rounds.min_change.
    """
    if refused is not None and same_selection(now, refused.pseudo_labels):
        return "gate"
    if same_selection(now, taught.pseudo_labels):
        return "converged"
    if not now.chosen[-1].any() or changed_share(now, taught.pseudo_labels) < min_change:
        return "all_labeled" if now.chosen[-1].all() else "no_change"
    return ""


def changed_share(now: PseudoLabels, before: PseudoLabels | None) -> float:
    """Returns the share of the last chain's selection that is new, gone or relabelled."""
    chosen = now.chosen[-1]
    if before is None:
        return 1.0
    old = before.chosen[-1]
    moved = (chosen ^ old) | (chosen & old & (now.label[-1] != before.label[-1]))
    return float(moved.sum()) / max(1, int((chosen | old).sum()))


def same_selection(now: PseudoLabels, before: PseudoLabels | None) -> bool:
    """Says whether every chain would learn the same labels of the same rows, weighted alike.

    Weights are alike where less than STEADY of their sum has shifted: a rule of soft weights comes
    ever closer to its end and never arrives.
    """
    if before is None or not bool(now.chosen.any()):
        return False
    chosen = now.chosen
    if not bool((chosen == before.chosen).all()):
        return False
    if bool((now.label != before.label)[chosen].any()):
        return False
    pairs = [(now.weight * chosen, before.weight * before.chosen)]
    if now.affect is not None and before.affect is not None:
        pairs.append((now.affect[chosen], before.affect[chosen]))
    return all(_shifted(*pair) < STEADY for pair in pairs)


def _shifted(now: Tensor, before: Tensor) -> float:
    """Returns the sum of changes as a share of the sum of values."""
    return float((now - before).abs().sum() / before.abs().sum().clamp(min=1e-12))

"""The gate: what a round is worth on gold out-of-fold, whether it stays, and which round ships."""

from __future__ import annotations

from typing import Any

import torch

from .evaluation import bootstrap, score
from .problem import Problem
from .round_state import RoundState
from .task_config import task_of
from .teaching import Teaching


def judge(problem: Problem, teaching: Teaching, config: Any) -> tuple[float, float]:
    """Returns the gate's metric on gold out-of-fold rows and its standard error."""
    rows = problem.gold.cpu().numpy()
    probs, label = teaching.oof.cpu().numpy(), problem.label[problem.gold].cpu().numpy()
    name = config.rounds.metric
    if name == "ccc" or task_of(config).multi:
        from .task_rounds import judge_task

        return judge_task(problem, teaching, config)
    value = getattr(score(probs, label, problem.classes), name)
    se = bootstrap(probs, label, problem.group[rows], name, seed=config.seed).se
    return float(value), float(se)


def information(problem: Problem, teaching: Teaching) -> float:
    """Returns how much less surprised (nats per row) the model is by gold than class shares are.

    Labels that are plainly wrong cost most of it, also where a few dozen rows leave the gate's
    metric too coarse to notice. Measured at the model's best temperature, so that a few rows that
    it is far too sure of do not hide what it knows; never below 0, which class shares have.
    """
    gold = problem.target[problem.gold]  # (n, C)
    share = gold.mean(0).clamp(min=1e-6).log()
    said = teaching.oof.clamp(min=1e-6).log()
    heat = torch.logspace(-1, 0, 21, device=gold.device)[:, None, None]  # 1 / T; 0 = class shares
    mixed = (heat * said + (1 - heat) * share).log_softmax(-1)  # (21, n, C)
    surprise = -(gold * mixed).sum(-1).mean(1)
    at_start = -(gold * share).sum(1).mean()
    return max(0.0, float((at_start - surprise).max()))


def gate(state: RoundState, best: RoundState, config: Any) -> None:
    """Writes the verdict into a trained round: kept only if gold out-of-fold does not object.

    Two objections: the metric falls by more than `accept_se` standard errors below the best round,
    or less than `min_information` of that round's information about gold is left.
    """
    name, floor = config.rounds.metric, best.metric - config.rounds.accept_se * best.se
    state.accepted = state.metric >= floor
    word = "accepted" if state.accepted else "rolled back"
    sign = ">=" if state.accepted else "<"
    state.verdict = (
        f"{word}: out-of-fold {name} {state.metric:.3f} {sign} {floor:.3f} "
        f"(best {best.metric:.3f} - {config.rounds.accept_se:g} SE of {best.se:.3f})"
    )
    if state.information is None or best.information is None:
        return
    kept = config.rounds.min_information
    least = kept * best.information
    blind = kept > 0 and state.information == 0  # nor does it show anything where the best did not
    if state.accepted and (state.information < least or blind):
        state.accepted = False
        short = "which is none" if blind else f"less than {least:.2f}"
        state.verdict = (
            f"rolled back: {state.information:.2f} nats of information about gold out-of-fold, "
            f"{short} ({kept:g} of {best.information:.2f})"
        )


def ships(states: list[RoundState], keep: str) -> RoundState:
    """Returns the round whose model ships; never one below the warm start on gold out-of-fold.

    Rounds differ by less than the noise of a few dozen gold rows, so the highest of them is mostly
    luck, while later rounds have learned from more: `latest` takes the last accepted one that is
    not below the warm start, `best` the highest.
    """
    fit = [s for s in states if s.accepted and s.metric >= states[0].metric]
    return fit[-1] if keep == "latest" else max(fit, key=lambda s: (s.metric, s.number))

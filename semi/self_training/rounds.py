"""The rounds themselves: warm start, select, train a fresh student, gate. Pure; no files.

Every chain (fold) lives its own self-training life on pool labels from its own earlier models, so
the gold rows it holds out stay unseen in every round; the last chain holds nothing out and ships.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import torch
from torch import Tensor

from models.fusion.config import CLOSED_FORM
from pseudo_label.selection import Selection, cap_mass, select

from ..config.task import online_refused, task_of
from ..training.batches import Lessons
from ..training.closed_form import fit_linear
from ..training.consistency import online_of
from ..training.dataset import Problem
from ..training.fit import OnStep, fit
from ..training.initialisation import fresh_ensemble, learned_start
from ..training.projection import on_axes
from .gate import agreement, gate, judged, ships
from .pool import assumed_shares, graph_features, pool_of
from .state import Picked, RoundState, negatives

STOPPED = ("max_rounds", "no_change", "all_labeled", "gate")


# (problem, state of the teacher, config, coverage, number of the round) -> see `choose`
Pick = Callable[[Problem, RoundState, Any, float, int], tuple[Picked, Tensor]]


class Recorder(Protocol):
    """Where finished rounds go and come back from after an interruption."""

    def load(self, number: int) -> RoundState | None:
        """Returns the finished round, or None."""
        ...

    def save(self, state: RoundState) -> None:
        """Keeps a finished round, whole or not at all."""
        ...

    def load_pretrained(self) -> dict[str, Tensor] | None:
        """Returns the tensors of a finished pre-training, or None."""
        ...

    def save_pretrained(self, tensors: dict[str, Tensor]) -> None:
        """Keeps the pre-trained tensors."""
        ...


@dataclass
class Outcome:
    """The rounds of a run: all of them, the one that ships, and why they ended."""

    states: list[RoundState]
    final: RoundState
    stopped: str
    notes: list[str] = field(default_factory=list)


def lessons_of(problem: Problem, picked: Picked | None, target: Tensor | None) -> Lessons:
    """Returns gold, minus each chain's held-out fold, plus what each chain picked.

    Args:
        problem: the data.
        picked: the round's pseudo-labels, or None in round 0.
        target: (G, P, C) their soft targets.
    """
    chains, n = problem.folds + 1, len(problem.present)
    weight = torch.zeros(chains, n, device=problem.device)
    for k in range(chains):
        weight[k, problem.gold] = (problem.fold != k).float()
    every = problem.target.expand(chains, -1, -1)
    pseudo, negative = problem.gold[:0], None
    if picked is not None and target is not None:
        every = every.clone()
        every[:, problem.pool] = target.to(every)
        weight[:, problem.pool] = picked.weight.to(weight)
        taught = picked.chosen.any(0)
        if picked.negative is not None:
            negative = torch.zeros_like(every)
            negative[:, problem.pool] = picked.negative.to(every)
            taught = taught | picked.negative.any(2).any(0)
        pseudo = problem.pool[taught]
    affect = None
    if problem.affect is not None:
        affect = torch.full_like(problem.affect, torch.nan).repeat(chains, 1, 1)
        affect[:, problem.gold] = problem.affect[problem.gold]
        if picked is not None and picked.affect is not None:
            affect[:, problem.pool] = picked.affect.to(affect)
    return Lessons(
        problem.values, problem.present, every, weight, problem.gold, pseudo, affect, negative
    )


def choose(
    problem: Problem, state: RoundState, config: Any, rate: float, number: int
) -> tuple[Picked, Tensor]:
    """Returns what the rule picks for each chain and the (G, P, C) targets of all pool rows."""
    task = task_of(config)
    if task.multi or task.kind == "affect":
        from .multitask import choose_affect, choose_several

        take = choose_several if task.multi else choose_affect
        return take(problem, state, config, rate)
    features = graph_features(problem, config.select)
    parts: list[Selection] = []
    for k in range(problem.folds + 1):
        pool = pool_of(
            problem,
            state.teaching,
            k,
            config.select,
            rate=rate,
            number=number,
            state=state.picked.state[k] if state.picked else {},
            ensemble=state.ensemble,
            features=features,
            assumed=assumed_shares(problem, config.train),
        )
        parts.append(select(pool, config.select))
    weight = [
        cap_mass(part.weight, float((problem.fold != k).sum()), config.select.mass_cap)
        for k, part in enumerate(parts)
    ]
    last, negative = parts[-1], None
    if config.model.kind not in CLOSED_FORM:
        mass = [float((problem.fold != k).sum()) for k in range(problem.folds + 1)]
        negative = negatives([p.negative for p in parts], mass, config.select.mass_cap)
    picked = Picked(
        torch.stack([p.chosen for p in parts]),
        torch.stack([p.label for p in parts]),
        torch.stack(weight),
        last.probs if last.probs is not None else pool.probs,
        last.threshold,
        last.reason,
        [p.state for p in parts],
        last.notes,
        affect=state.teaching.affect.pool if state.teaching.affect is not None else None,
        negative=negative,
    )
    return picked, torch.stack([p.target for p in parts])


def trained(
    problem: Problem,
    config: Any,
    learned: dict[str, Tensor],
    number: int,
    on_step: OnStep | None,
    picked: Picked | None = None,
    target: Tensor | None = None,
    rate: float = 0.0,
    online: bool = False,
) -> RoundState:
    """Returns a round of fresh models on gold, and on what was picked if anything; not yet judged.

    `target` (G, P, C) are the soft targets of the pool rows, `rate` the coverage asked for. With
    `online` the models learn from the pool by themselves; picked is then what they end up taking.
    """
    linear = config.model.kind in CLOSED_FORM
    seen = on_axes(problem, learned) if linear else problem
    fresh = fresh_ensemble(seen, config, {} if linear else learned)
    lessons = lessons_of(seen, picked, target)
    if online:
        engine = online_of(config.select, problem.prior())
        lessons = replace(lessons, pseudo=problem.pool, online=engine)
    if linear:
        ensemble = fit_linear(fresh, lessons, config.train, seed=config.seed)
    else:
        ensemble = fit(
            fresh, lessons, config.train, config.noise, config.contrast,
            seed=config.seed, on_step=on_step, task=task_of(config),
        )  # fmt: skip
    state = judged(seen, ensemble, config, number, picked, rate)
    if linear:
        state.ensemble = ensemble.from_axes(problem.dims, learned)
    if online:
        state.picked = choose(problem, state, config, 1.0, number)[0]
    return state


def warm_start(
    problem: Problem, config: Any, learned: dict[str, Tensor], on_step: OnStep | None = None
) -> RoundState:
    """Returns round 0: the supervised model, on gold alone."""
    state = trained(problem, config, learned, 0, on_step)
    state.verdict = "warm start on gold only"
    return state


def changed_share(now: Picked, before: Picked | None) -> float:
    """Returns the share of the last chain's selection that is new, gone or relabelled."""
    chosen = now.chosen[-1]
    if before is None:
        return 1.0
    old = before.chosen[-1]
    moved = (chosen ^ old) | (chosen & old & (now.label[-1] != before.label[-1]))
    return float(moved.sum()) / max(1, int((chosen | old).sum()))


def coverage_at(config: Any, taken: int, halved: bool) -> float:
    """Returns the share of the pool asked for after `taken` accepted rounds."""
    steps = config.select.coverage
    return steps[min(taken, len(steps) - 1)] * (0.5 if halved else 1.0)


def run_rounds(
    problem: Problem,
    config: Any,
    *,
    recorder: Recorder | None = None,
    on_step: Callable[[int], OnStep | None] = lambda number: None,
    on_round: Callable[[RoundState], None] = lambda state: None,
    pick: Pick | None = None,
) -> Outcome:
    """Returns the outcome of warm start, rounds and gate; finished rounds are read back.

    Args:
        problem: the data.
        config: sections seed, model, train, noise, contrast, vote, select, rounds.
        recorder: keeps finished rounds; None keeps them in memory only.
        on_step: given a round number (-1 = pre-training), returns its step callback or None.
        on_round: called with every judged round, read back or new.
        pick: what chooses a round's pseudo-labels in place of `choose`.
    """
    online = config.rounds.engine == "online" and pick is None
    if online:
        kind, rule = task_of(config).kind, config.select.rule
        told = online_refused(config.model.kind, kind, rule, config.noise.mixup_alpha)
        if told:
            raise ValueError(f"rounds.engine {told}")
    learned = recorder.load_pretrained() if recorder else None
    if learned is None:
        learned = learned_start(problem, config, on_step(-1))
        if recorder:
            recorder.save_pretrained(learned)
    if config.model.kind in CLOSED_FORM:
        problem = replace(problem, seen=on_axes(problem, learned).seen)

    state = recorder.load(0) if recorder else None
    if state is None:
        state = warm_start(problem, config, learned, on_step(0))
        if recorder:
            recorder.save(state)
    on_round(state)
    states, current, best = [state], state, state
    taken, halved, stopped = 0, False, "max_rounds"
    for number in range(1, config.rounds.max_rounds + 1):
        if not len(problem.pool):
            stopped = "all_labeled"
            break
        if online and number > 1:
            stopped = "no_change"  # it would learn the same again
            break
        rate = 1.0 if online else coverage_at(config, taken, halved)
        state = recorder.load(number) if recorder else None
        if state is None:
            picked = target = None
            if not online:
                picked, target = (pick or choose)(problem, current, config, rate, number)
                moved = changed_share(picked, current.picked)
                if not picked.chosen[-1].any() or moved < config.rounds.min_change:
                    stopped = "all_labeled" if picked.chosen[-1].all() else "no_change"
                    break
            state = trained(
                problem, config, learned, number, on_step(number), picked, target, rate, online
            )
            state.agreement = agreement(problem, states[0].teaching, state.picked, config)
            gate(state, best, config)
            if recorder:
                recorder.save(state)
        on_round(state)
        states.append(state)
        if state.accepted:
            current, taken = state, taken + 1
            best = state if state.metric >= best.metric else best
            continue
        state.ensemble = None
        if halved or online or not config.rounds.retry:
            stopped = "gate"
            break
        halved = True
    return Outcome(states, ships(states, config.rounds.keep), stopped)

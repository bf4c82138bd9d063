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

from ..config.task import task_of
from ..training.batches import TrainingTargets
from ..training.closed_form import fit_linear
from ..training.dataset import Dataset
from ..training.fit import OnStep, fit
from ..training.initialisation import fresh_ensemble, learned_start
from ..training.projection import on_axes
from .gate import agreement, gate, judged, ships
from .pool import assumed_shares, graph_features, pool_of
from .state import PseudoLabels, RoundState, negatives

STOPPED = ("max_rounds", "no_change", "all_labeled", "gate")


# (dataset, state of the teacher, config, coverage, number of the round) -> see `choose`
Pick = Callable[[Dataset, RoundState, Any, float, int], tuple[PseudoLabels, Tensor]]


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


def targets_of(
    dataset: Dataset, pseudo_labels: PseudoLabels | None, target: Tensor | None
) -> TrainingTargets:
    """Returns gold, minus each chain's held-out fold, plus what each chain picked.

    Args:
        dataset: the data.
        pseudo_labels: the round's pseudo-labels, or None in round 0.
        target: (G, P, C) their soft targets.
    """
    chains, n = dataset.folds + 1, len(dataset.present)
    weight = torch.zeros(chains, n, device=dataset.device)
    for k in range(chains):
        weight[k, dataset.gold] = (dataset.fold != k).float()
    every = dataset.target.expand(chains, -1, -1)
    pseudo, negative = dataset.gold[:0], None
    if pseudo_labels is not None and target is not None:
        every = every.clone()
        every[:, dataset.pool] = target.to(every)
        weight[:, dataset.pool] = pseudo_labels.weight.to(weight)
        taught = pseudo_labels.chosen.any(0)
        if pseudo_labels.negative is not None:
            negative = torch.zeros_like(every)
            negative[:, dataset.pool] = pseudo_labels.negative.to(every)
            taught = taught | pseudo_labels.negative.any(2).any(0)
        pseudo = dataset.pool[taught]
    affect = None
    if dataset.affect is not None:
        affect = torch.full_like(dataset.affect, torch.nan).repeat(chains, 1, 1)
        affect[:, dataset.gold] = dataset.affect[dataset.gold]
        if pseudo_labels is not None and pseudo_labels.affect is not None:
            affect[:, dataset.pool] = pseudo_labels.affect.to(affect)
    return TrainingTargets(
        dataset.values, dataset.present, every, weight, dataset.gold, pseudo, affect, negative
    )


def choose(
    dataset: Dataset, state: RoundState, config: Any, rate: float, number: int
) -> tuple[PseudoLabels, Tensor]:
    """Returns what the rule picks for each chain and the (G, P, C) targets of all pool rows."""
    task = task_of(config)
    if task.multi or task.kind == "affect":
        from .multitask import choose_affect, choose_several

        take = choose_several if task.multi else choose_affect
        return take(dataset, state, config, rate)
    features = graph_features(dataset, config.select)
    parts: list[Selection] = []
    for k in range(dataset.folds + 1):
        pool = pool_of(
            dataset,
            state.outputs,
            k,
            config.select,
            rate=rate,
            number=number,
            state=state.pseudo_labels.state[k] if state.pseudo_labels else {},
            ensemble=state.ensemble,
            features=features,
            assumed=assumed_shares(dataset, config.train),
        )
        parts.append(select(pool, config.select))
    weight = [
        cap_mass(part.weight, float((dataset.fold != k).sum()), config.select.mass_cap)
        for k, part in enumerate(parts)
    ]
    last, negative = parts[-1], None
    if config.model.kind not in CLOSED_FORM:
        mass = [float((dataset.fold != k).sum()) for k in range(dataset.folds + 1)]
        negative = negatives([p.negative for p in parts], mass, config.select.mass_cap)
    pseudo_labels = PseudoLabels(
        torch.stack([p.chosen for p in parts]),
        torch.stack([p.label for p in parts]),
        torch.stack(weight),
        last.probs if last.probs is not None else pool.probs,
        last.threshold,
        last.reason,
        [p.state for p in parts],
        last.notes,
        affect=state.outputs.affect.pool if state.outputs.affect is not None else None,
        negative=negative,
    )
    return pseudo_labels, torch.stack([p.target for p in parts])


def trained(
    dataset: Dataset,
    config: Any,
    learned: dict[str, Tensor],
    number: int,
    on_step: OnStep | None,
    pseudo_labels: PseudoLabels | None = None,
    target: Tensor | None = None,
    rate: float = 0.0,
) -> RoundState:
    """Returns a round of fresh models on gold, and on what was picked if anything; not yet judged.

    `target` (G, P, C) are the soft targets of the pool rows, `rate` the coverage asked for.
    """
    linear = config.model.kind in CLOSED_FORM
    seen = on_axes(dataset, learned) if linear else dataset
    fresh = fresh_ensemble(seen, config, {} if linear else learned)
    targets = targets_of(seen, pseudo_labels, target)
    if linear:
        ensemble = fit_linear(fresh, targets, config.train, seed=config.seed)
    else:
        ensemble = fit(
            fresh, targets, config.train, config.noise, config.contrast,
            seed=config.seed, on_step=on_step, task=task_of(config),
        )  # fmt: skip
    state = judged(seen, ensemble, config, number, pseudo_labels, rate)
    if linear:
        state.ensemble = ensemble.from_axes(dataset.dims, learned)
    return state


def warm_start(
    dataset: Dataset, config: Any, learned: dict[str, Tensor], on_step: OnStep | None = None
) -> RoundState:
    """Returns round 0: the supervised model, on gold alone."""
    state = trained(dataset, config, learned, 0, on_step)
    state.verdict = "warm start on gold only"
    return state


def changed_share(now: PseudoLabels, before: PseudoLabels | None) -> float:
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
    dataset: Dataset,
    config: Any,
    *,
    recorder: Recorder | None = None,
    on_step: Callable[[int], OnStep | None] = lambda number: None,
    on_round: Callable[[RoundState], None] = lambda state: None,
    pick: Pick | None = None,
) -> Outcome:
    """Returns the outcome of warm start, rounds and gate; finished rounds are read back.

    Args:
        dataset: the data.
        config: sections seed, model, train, noise, contrast, vote, select, rounds.
        recorder: keeps finished rounds; None keeps them in memory only.
        on_step: given a round number (-1 = pre-training), returns its step callback or None.
        on_round: called with every judged round, read back or new.
        pick: what chooses a round's pseudo-labels in place of `choose`.
    """
    learned = recorder.load_pretrained() if recorder else None
    if learned is None:
        learned = learned_start(dataset, config, on_step(-1))
        if recorder:
            recorder.save_pretrained(learned)
    if config.model.kind in CLOSED_FORM:
        dataset = replace(dataset, seen=on_axes(dataset, learned).seen)

    state = recorder.load(0) if recorder else None
    if state is None:
        state = warm_start(dataset, config, learned, on_step(0))
        if recorder:
            recorder.save(state)
    on_round(state)
    states, current, best = [state], state, state
    taken, halved, stopped = 0, False, "max_rounds"
    for number in range(1, config.rounds.max_rounds + 1):
        if not len(dataset.pool):
            stopped = "all_labeled"
            break
        rate = coverage_at(config, taken, halved)
        state = recorder.load(number) if recorder else None
        if state is None:
            pseudo_labels, target = (pick or choose)(dataset, current, config, rate, number)
            moved = changed_share(pseudo_labels, current.pseudo_labels)
            if not pseudo_labels.chosen[-1].any() or moved < config.rounds.min_change:
                stopped = "all_labeled" if pseudo_labels.chosen[-1].all() else "no_change"
                break
            state = trained(
                dataset, config, learned, number, on_step(number), pseudo_labels, target, rate
            )
            state.agreement = agreement(dataset, states[0].outputs, state.pseudo_labels, config)
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
        if halved or not config.rounds.retry:
            stopped = "gate"
            break
        halved = True
    return Outcome(states, ships(states, config.rounds.keep), stopped)

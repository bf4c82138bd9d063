"""USB's FixMatch, FlexMatch, FreeMatch, SoftMatch and AdaMatch on fixed features, as baselines.

Restated from microsoft/Semi-supervised-learning (its train_step, masking and alignment hooks, and
config/usb_audio): a batch of labelled rows beside as many unlabelled ones (uratio 1, labelled rows
are among them), hard pseudo-labels of the weak view taught to the strong view, p_cutoff 0.95,
lambda_u 1, n_sigma 2, fairness 0.001, no averaged copy of the parameters (ema_m 0), AdamW, 5 % of
warm-up, then a cosine over 7/16 of a cycle. T 0.5 does nothing there: hard labels know none.

Not theirs: the network, one hidden layer on the views side by side in place of a fine-tuned
encoder; the views, clean features with dropout (weak) and our noise and modality dropout on them
(strong); STEPS and LEARNING_RATE, as theirs are for 102,400 steps of fine-tuning. 600 steps take
about half a CPU second; they, the rate and the momentum were among the best of a few tried on four
corpora. One repair: published moving averages (ema_p 0.999) begin at 1 / C and would still be
half of that after so short a run; here they are bias-corrected and forget over a tenth of the run.

Letters: B rows of a batch, D features of all views, H hidden, C classes, U unlabelled rows.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.nn import functional as F

from noise import Corruption, NoiseConfig, modality_dropout
from pseudo_label.rules.adamatch import AdaMatchConfig, align_to_gold, relative_threshold
from pseudo_label.rules.flexmatch import FlexMatchConfig, flexmatch_batch
from pseudo_label.rules.freematch import FreeMatchConfig, adaptive_thresholds, fairness_term
from pseudo_label.rules.softmatch import SoftMatchConfig, gaussian_weight

from ...training.dataset import Dataset
from .arms import ArmPredictions

STEPS = 600
BATCH_ROWS = 16
HIDDEN = 128
DROPOUT = 0.1
LEARNING_RATE = 1e-3
WEIGHT_DECAY = 5e-4
CUTOFF = 0.95
MOMENTUM = 1 - 10 / STEPS  # ema_p
FAIRNESS = 0.001
STRONG = NoiseConfig(abar_min=0.3)
CHUNK = 50  # steps whose noise is drawn at once


@dataclass
class Weak:
    """What the network says of one step, without gradient."""

    gold: Tensor  # (B, C) probabilities of the labelled rows
    probs: Tensor  # (B, C) of the weak views
    rows: Tensor  # (B,) places of the unlabelled rows among U
    state: dict[str, Tensor]  # of the algorithm, from the steps before


@dataclass
class Taught:
    """What the strong views learn at one step."""

    label: Tensor  # (B,) int64
    weight: Tensor  # (B,) mask or weight
    state: dict[str, Tensor] = field(default_factory=dict)
    fair: tuple[Tensor, Tensor] | None = None  # FreeMatch: running mean and histogram, (C,) each


def fixmatch(seen: Weak) -> Taught:
    """Returns max p >= 0.95 (https://arxiv.org/abs/2001.07685)."""
    top, label = seen.probs.max(1)
    return Taught(label, (top >= CUTOFF).float())


def flexmatch(seen: Weak) -> Taught:
    """Returns max p >= 0.95 a_c / (2 - a_c), counts of the batches before it."""
    taken = (seen.probs, seen.rows, seen.state["selected"], seen.state["effect"])
    mask, selected, effect = flexmatch_batch(*taken, FlexMatchConfig(CUTOFF))
    return Taught(seen.probs.argmax(1), mask.float(), {"selected": selected, "effect": effect})


def freematch(seen: Weak) -> Taught:
    """Returns max p >= tau_t p_c / max p, and what its fairness term compares with."""
    tau, state = adaptive_thresholds(seen.probs, seen.state, FreeMatchConfig(momentum=MOMENTUM))
    top, label = seen.probs.max(1)
    mass = {k: state[f"freematch.{k}"] / state[f"freematch.{k}.mass"] for k in ("model", "hist")}
    return Taught(label, (top >= tau[label]).float(), state, (mass["model"], mass["hist"]))


def softmatch(seen: Weak) -> Taught:
    """Returns the truncated Gaussian of uniformly aligned confidence; labels are not aligned."""
    uniform = torch.full_like(seen.probs[:1], 1 / seen.probs.shape[1])
    aligned, state = align_to_gold(seen.probs, uniform, seen.state, _averages())
    weight, more = gaussian_weight(aligned, seen.state, SoftMatchConfig(momentum=MOMENTUM))
    return Taught(seen.probs.argmax(1), weight, state | more)


def adamatch(seen: Weak) -> Taught:
    """Returns aligned labels where their p >= 0.95 times the mean confidence on the labelled."""
    aligned, state = align_to_gold(seen.probs, seen.gold, seen.state, _averages())
    top, label = aligned.max(1)
    return Taught(label, (top >= relative_threshold(seen.gold, CUTOFF)).float(), state)


def _averages() -> AdaMatchConfig:
    return AdaMatchConfig(threshold=CUTOFF, momentum=MOMENTUM)


ALGORITHMS: dict[str, Callable[[Weak], Taught] | None] = {
    "usb_supervised": None,
    "usb_fixmatch": fixmatch,
    "usb_flexmatch": flexmatch,
    "usb_freematch": freematch,
    "usb_softmatch": softmatch,
    "usb_adamatch": adamatch,
}


def usb_arm(dataset: Dataset, kind: str, seed: int = 0) -> ArmPredictions:
    """Returns the answers of one of USB's algorithms after STEPS steps; kind is usb_<algorithm>."""
    begun = time.process_time()
    net, facts = _trained(dataset, ALGORITHMS[kind], seed)
    with torch.no_grad():
        logits = net(torch.cat([v[dataset.test] for v in dataset.values.values()], 1))
    facts["cpu_seconds"] = time.process_time() - begun
    return ArmPredictions(logits.argmax(1).cpu().numpy(), facts)


def learning_rate(step: int, steps: int) -> float:
    """Returns the factor of the rate: linear warm-up over 5 %, then cos(7/16 pi t)."""
    warm = max(1, steps // 20)
    if step < warm:
        return (step + 1) / warm
    return math.cos(math.pi * 7 / 16 * (step - warm) / max(1, steps - warm))


def _trained(
    dataset: Dataset, algorithm: Callable[[Weak], Taught] | None, seed: int
) -> tuple[torch.nn.Module, dict[str, float]]:
    device, classes = dataset.device, len(dataset.classes)
    generator = torch.Generator(device=device).manual_seed(seed)
    draws = _Draws(dataset, generator)
    counted = torch.zeros(3, device=device)  # weights of known pool rows: all, taught, right
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(seed)  # of weights and dropout
        net = torch.nn.Sequential(
            torch.nn.Linear(draws.x.shape[1], HIDDEN), torch.nn.GELU(), torch.nn.Dropout(DROPOUT),
            torch.nn.Linear(HIDDEN, classes),
        ).to(device)  # fmt: skip
        optimizer = torch.optim.AdamW(
            net.parameters(), lr=LEARNING_RATE, weight_decay=WEIGHT_DECAY, fused=True
        )
        state = {
            "selected": torch.full((len(draws.unlabelled),), -1, device=device),
            "effect": torch.zeros(classes, device=device),
        }
        for step in range(STEPS):
            optimizer.param_groups[0]["lr"] = LEARNING_RATE * learning_rate(step, STEPS)
            gold, rows, strong = draws.step(step)
            label = dataset.label[gold]
            if algorithm is None:
                loss = F.cross_entropy(net(draws.x[gold]), label)
            else:
                logits = net(torch.cat([draws.x[gold], strong]))
                given, weak = logits[:BATCH_ROWS], draws.x[draws.unlabelled[rows]]
                with torch.no_grad():
                    probs = torch.cat([given.detach(), net(weak)]).softmax(1)
                    taught = algorithm(Weak(probs[:BATCH_ROWS], probs[BATCH_ROWS:], rows, state))
                state = state | taught.state
                loss = F.cross_entropy(given, label) + consistency(logits[BATCH_ROWS:], taught)
                if step >= STEPS // 2:  # for reports only: how much is taught, and how much right
                    true = dataset.label[draws.unlabelled[rows]]
                    known = (true >= 0) & (rows < len(dataset.pool))
                    used = taught.weight * known
                    right = used * (taught.label == true)
                    counted += torch.stack([known.sum(), used.sum(), right.sum()])
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
    seen, used, right = counted.tolist()
    facts = {"coverage": used / seen} if seen else {}
    return net.eval(), facts | ({"precision": right / used} if used else {})


def consistency(strong: Tensor, taught: Taught) -> Tensor:
    """Returns the batch mean of weight times cross-entropy, and FreeMatch's fairness beside."""
    loss = (F.cross_entropy(strong, taught.label, reduction="none") * taught.weight).mean()
    if taught.fair is not None:
        loss = loss + FAIRNESS * fairness_term(taught.weight, strong, *taught.fair)
    return loss


class _Draws:
    """Batches and strong views of every step, drawn in chunks."""

    def __init__(self, dataset: Dataset, generator: torch.Generator) -> None:
        self.dataset, self.generator = dataset, generator
        values = [v[:] for v in dataset.values.values()]
        self.x = torch.cat(values, 1)  # (N, D), zeros where missing
        self.unlabelled = torch.cat([dataset.pool, dataset.gold])
        self.corrupt = Corruption(STRONG, device=dataset.device)

    def step(self, step: int) -> tuple[Tensor, Tensor, Tensor]:
        """Returns labelled rows (B,), places among the unlabelled (B,), strong views (B, D)."""
        at = step % CHUNK
        if at == 0:
            self._draw()
        here = slice(at * BATCH_ROWS, (at + 1) * BATCH_ROWS)
        return self.gold[here], self.rows[here], self.strong[here]

    def _draw(self) -> None:
        size, device = (CHUNK * BATCH_ROWS,), self.dataset.device
        gold, draw = self.dataset.gold, {"generator": self.generator, "device": device}
        self.gold = gold[torch.randint(len(gold), size, **draw)]
        self.rows = torch.randint(len(self.unlabelled), size, **draw)
        at = self.unlabelled[self.rows]
        present = self.dataset.present[at]
        kept = modality_dropout(present, STRONG.modality_dropout, generator=self.generator)
        self.strong = torch.cat(
            [
                self.corrupt(v[at], generator=self.generator) * kept[:, i, None]
                for i, v in enumerate(self.dataset.values.values())
            ],
            1,
        )

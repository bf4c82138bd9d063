"""Prints what token pruning costs and brings on long utterances, beside stopping early.

    python benchmarks/prune_long.py MODEL_FOLDER MANIFEST.csv [MANIFEST.csv ...] [--corpora A B]

Utterances of 3, 10 and 30 seconds are made of real ones: see benchmarks/joined_speech.py. A reading
is the layer or layers that are used; the encoder stops at the last of them. Each reading stands
un-pruned, and pruned by every method and keep rate at a third and half of the layers that run.
FLOPs and CPU are shares of the whole encoder un-pruned, `saved` is of the CPU-seconds of the same
reading. CPU-seconds are summed from parts (front end, halves of layers, pruning step) that are
timed in turn on every utterance, one at a time. Macro-F1 is that of a logistic regression over
unseen speakers, one for all lengths, trained and tested on vectors of that very setting; 95 %
intervals of differences are over whole speakers. `best stop` is the un-pruned reading of most F1
among those that cost no more CPU-seconds: the best of several, so flattered by some noise.
Random weights tell nothing here: see benchmarks/prune_speed.py.
"""

from __future__ import annotations

import argparse
import itertools
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from joined_speech import RATE, join
from prune_fidelity import Gold, Setting, gold_of, macro_f1, read_manifests

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from models.encoders.backbone import Backbone
from models.encoders.config import resolve_layers
from models.encoders.cost import operations
from models.encoders.padding import normalized
from models.encoders.pruning import PruningConfig, TokenPruner, Tokens, supports_pruning
from models.encoders.speech_models import make_backbone, speech_model
from semi.evaluation.intervals import paired_interval

WHOLE: Setting = ("stop", 0, 1.0)  # the un-pruned pass, which gives every layer


@dataclass
class Passes:
    """What all passes over the utterances of one length gave; a pass is named by its setting."""

    rows: int
    done: int = 0
    vectors: dict[tuple[Setting, int], np.ndarray] = field(default_factory=dict)  # (rows, D)
    took: dict[tuple[Setting, int], float] = field(default_factory=dict)  # to a layer, CPU-seconds

    def add(self, setting: Setting, layer: int, vector: torch.Tensor, took: float) -> None:
        """Takes one utterance's vector (D,) after `layer` layers."""
        if (setting, layer) not in self.vectors:  # small blocks, one by one, would tear the memory
            self.vectors[setting, layer] = np.zeros((self.rows, len(vector)), np.float32)
        self.vectors[setting, layer][self.done] = vector.numpy()
        self.took[setting, layer] = self.took.get((setting, layer), 0.0) + took

    def read(self, setting: Setting, layers: list[int]) -> np.ndarray:
        """Returns (N, layers x D) of a reading, the layers side by side."""
        pick = [WHOLE if setting == WHOLE or k <= setting[1] else setting for k in layers]
        return np.hstack([self.vectors[s, k] for s, k in zip(pick, layers, strict=True)])


class Clock:
    """CPU-seconds since it was last asked."""

    def __init__(self) -> None:
        self.last = time.process_time()

    def lap(self) -> float:
        """Returns the seconds since the last call and starts anew."""
        now = time.process_time()
        passed, self.last = now - self.last, now
        return passed


def readings(depth: int) -> dict[str, list[int]]:
    """Returns the layers that are used together, by name: half, two thirds, all; the middle."""
    middle = resolve_layers(None, depth, "joined")
    single = sorted({depth // 2, max(middle), depth})
    return {**{f"layer {k}": [k] for k in single}, f"layers {min(middle)}-{max(middle)}": middle}


def places(last: int) -> list[int]:
    """Returns the pruning layers (0-based) where `last` layers run: at a third and at half."""
    return sorted({place for place in (max(last // 3, 1), max(last // 2, 1)) if place < last})


def run(backbone: Backbone, wave: torch.Tensor, chains: dict[Setting, int], into: Passes) -> None:
    """Runs one utterance un-pruned, and from each pruning on as far as that chain is read."""
    clock = Clock()
    row = backbone.prepare(wave)[None]
    hidden, frames = backbone.embed(row, [row.shape[-1]])
    tokens = Tokens(frames, hidden.shape[1], hidden.device)
    took = clock.lap()
    for index, layer in enumerate(backbone.layers):
        clock.lap()
        middle = backbone.attend(layer, hidden, None, None)
        took += clock.lap()
        for setting, end in chains.items():
            if setting[1] == index:
                follow(backbone, setting, end, (middle, tokens, took), into)
        clock.lap()
        hidden = backbone.feed_forward(layer, middle.hidden)
        hidden = backbone.finish(hidden) if index + 1 == backbone.depth else hidden
        took += clock.lap()
        into.add(WHOLE, index + 1, tokens.mean(hidden)[0], took)


def follow(backbone: Backbone, setting: Setting, end: int, begun: tuple, into: Passes) -> None:
    """Prunes in the middle of a layer and runs on as far as layer `end`."""
    method, at, rate = setting
    middle, tokens, took = begun
    pruner = TokenPruner(PruningConfig(method, rate, layer=at), backbone.depth)
    clock = Clock()
    state, now = pruner.prune(
        at, middle.hidden, tokens, middle.q, middle.k, middle.v, middle.out_weight
    )
    state = backbone.feed_forward(backbone.layers[at], state)
    for done in range(at + 1, end + 1):
        if done > at + 1:
            layer = backbone.layers[done - 1]
            state = backbone.attend(layer, state, now.attention_bias(state.dtype), None).hidden
            state = backbone.feed_forward(layer, state)
        state = backbone.finish(state) if done == backbone.depth else state
        took += clock.lap()
        into.add(setting, done, now.mean(state)[0], took)
        clock.lap()


@dataclass
class Line:
    """One reading in one setting."""

    reading: str
    layers: list[int]
    setting: Setting
    predicted: list[np.ndarray] = field(default_factory=list)  # per corpus (N_c,), of all lengths

    def cost(self, found: dict[float, Passes], backbone: Backbone) -> tuple[float, float]:
        """Returns FLOPs and CPU-seconds as shares of the whole encoder un-pruned, by lengths."""
        (method, at, rate), last, depth = self.setting, max(self.layers), backbone.depth
        pruning = None if method == "stop" else PruningConfig(method, rate, layer=at)
        mine, whole = np.zeros(2), np.zeros(2)
        for seconds, passes in found.items():
            samples, rows = int(seconds * RATE), passes.rows
            flops = operations(backbone, samples, last=last, pruning=pruning)
            mine += rows * flops, passes.took[self.setting, last]
            flops = operations(backbone, samples, last=depth)
            whole += rows * flops, passes.took[WHOLE, depth]
        return float(mine[0] / whole[0]), float(mine[1] / whole[1])


def settings(depth: int, chains: dict[Setting, int]) -> list[Line]:
    """Returns every reading un-pruned and pruned, and every single layer un-pruned."""
    table = readings(depth)
    singles = {f"layer {k}": [k] for k in range(1, depth + 1)}
    return [
        Line(name, layers, setting)
        for name, layers in {**singles, **table}.items()
        for setting in [WHOLE, *chains]
        if setting == WHOLE or (name in table and setting[1] in places(max(layers)))
    ]


def out_of_fold(x: np.ndarray, gold: Gold) -> np.ndarray:
    """Returns (N,) predictions of logistic regressions that have not heard the row's speaker.

    One head for all lengths; its strength is that of semi.experiments.pruning.fidelity at 500 rows,
    and the same in effect at other numbers of rows.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    predicted = np.zeros(len(gold.rows), np.int64)
    x = x[gold.rows]
    for part in np.unique(gold.fold):
        held = gold.fold == part
        strength = 2_500 / x.shape[1] / np.count_nonzero(~held)
        head = make_pipeline(StandardScaler(), LogisticRegression(C=strength, max_iter=1000))
        predicted[held] = head.fit(x[~held], gold.label[~held]).predict(x[held])
    return predicted


def report(table: list[Line], costs: list[tuple[float, float]], golds: list[Gold], here):
    """Prints a table as Markdown; returns how often pruning is ahead of the best stop and behind.

    `here` (N,) bool: the rows it is of.
    """
    cpu = {id(line): cost[1] for line, cost in zip(table, costs, strict=True)}
    stops = [line for line in table if line.setting == WHOLE]
    names = "".join(f" {g.name} | to un-pruned | best stop | to it |" for g in golds)
    print(f"| reading | method | at layer | keep | FLOPs | CPU | saved |{names}")
    print("|---" * (7 + 4 * len(golds)) + "|")
    ahead = np.zeros(2, int)
    for line, (flops, own_cpu) in zip(table, costs, strict=True):
        method, at, rate = line.setting
        plain = next(s for s in stops if s.reading == line.reading)
        cells = [line.reading, "-", "", "", f"{flops:.2f}", f"{own_cpu:.2f}", ""]
        if line is not plain:
            cells[1:4] = method, str(at), f"{rate:g}"
            cells[6] = f"{100 * (1 - own_cpu / cpu[id(plain)]):.0f} %"
        for number, whole in enumerate(golds):
            test = here[whole.rows]
            gold = Gold(whole.name, *(a[test] for a in (whole.rows, whole.label, whole.corpus,
                                                        whole.speaker, whole.fold)))  # fmt: skip
            score = {id(s): macro_f1(gold, s.predicted[number][test]) for s in [*stops, line]}
            cells.append(f"{score[id(line)]:.1f}")
            if line is plain:
                cells += ["", "", ""]
                continue
            best = max((s for s in stops if cpu[id(s)] <= own_cpu), key=lambda s: score[id(s)])
            mine = line.predicted[number][test]
            gaps = [
                paired_interval(mine, s.predicted[number][test], gold.label, gold.speaker,
                                "macro_f1")
                for s in (plain, best)
            ]  # fmt: skip
            words = ["{:+.1f} [{:+.1f}, {:+.1f}]".format(
                *(100 * v for v in (gap.value, gap.low, gap.high))) for gap in gaps]  # fmt: skip
            stop = f"{best.reading}: {score[id(best)]:.1f} at {cpu[id(best)]:.2f}"
            cells += [words[0], stop, words[1]]
            ahead += gaps[1].low > 0, gaps[1].high < 0
        print("|", " | ".join(cells), "|", flush=True)
    return ahead


def passes_of(model, backbone: Backbone, waves: list[np.ndarray], chains) -> Passes:
    """Returns what all passes over utterances of one length give."""
    passes = Passes(len(waves))
    with torch.inference_mode():
        for passes.done, wave in enumerate(waves):
            ready = normalized(wave, model.epsilon) if model.normalize else wave
            run(backbone, torch.from_numpy(ready), chains, passes)
    return passes


def evaluate(backbone: Backbone, frame: pd.DataFrame, found: dict[float, Passes], chains) -> None:
    """Trains the heads on rows of all lengths and prints a table for each length."""
    golds = gold_of(frame.assign(source=frame.corpus))
    table = settings(backbone.depth, chains)
    for line in table:
        x = np.concatenate([p.read(line.setting, line.layers) for p in found.values()])
        line.predicted = [out_of_fold(x, gold) for gold in golds]
    ahead, compared = np.zeros(2, int), 0
    every = {"all lengths": found} if len(found) > 1 else {}
    for name, some in {**{f"{s:g} s": {s: passes} for s, passes in found.items()}, **every}.items():
        here = frame.seconds.isin(list(some)).to_numpy()
        counts = ", ".join(f"{g.name} {np.count_nonzero(here[g.rows])}" for g in golds)
        print(f"\n## {name}: {counts} utterances, median of distinct sound "
              f"{frame.distinct[here].median():.0f} s\n")  # fmt: skip
        ahead += report(table, [line.cost(some, backbone) for line in table], golds, here)
        compared += len(golds) * sum(line.setting != WHOLE for line in table)
    print(f"\nPruning against the best stop of no more CPU-seconds, {compared} comparisons: "
          f"{ahead[0]} intervals are above 0, {ahead[1]} below")  # fmt: skip


def main() -> None:
    """Runs every length."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("model")
    parser.add_argument("manifests", nargs="+")
    parser.add_argument("--corpora", nargs="+", default=None, help="every one of the manifests")
    parser.add_argument("--seconds", nargs="+", type=float, default=[3, 10, 30])
    parser.add_argument("--a-cell", nargs="+", type=int, default=[2, 1, 1], help="of each length")
    parser.add_argument("--methods", nargs="+", default=["merge", "stride", "topk"])
    parser.add_argument("--keep", nargs="+", type=float, default=[0.7, 0.5])
    args = parser.parse_args()
    torch.set_num_threads(1)
    sounds = read_manifests(args.manifests, 0)
    sounds["corpus"] = sounds.reindex(columns=["corpus"]).corpus.fillna(sounds.source)
    if args.corpora:
        sounds = sounds.loc[sounds.corpus.isin(args.corpora)]
    model = speech_model(args.model)
    problem = supports_pruning(model.model_type)[1]
    if len(args.seconds) != len(args.a_cell):
        problem = f"--a-cell needs a number for each of {len(args.seconds)} lengths"
    if problem:
        parser.error(problem)
    backbone = make_backbone(model.load()).float().eval()
    chains: dict[Setting, int] = {}
    for last in sorted({max(layers) for layers in readings(backbone.depth).values()}):
        chains |= dict.fromkeys(itertools.product(args.methods, places(last), args.keep), last)
    frames, found = [], {}
    for seconds, a_cell in zip(args.seconds, args.a_cell, strict=True):
        if seconds * RATE > backbone.longest:
            print(f"\n{seconds:g} s: positions end at {backbone.longest / RATE:g} s, left out")
            continue
        rows, waves = join(sounds, seconds, a_cell)
        frames.append(rows)
        found[seconds] = passes_of(model, backbone, waves, chains)
    evaluate(backbone, pd.concat(frames, ignore_index=True), found, chains)


if __name__ == "__main__":
    main()

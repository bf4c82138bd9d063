"""Prints what token pruning and stopping early save in CPU-seconds in encoders of the true sizes.

    python benchmarks/prune_speed.py [--sizes base large] [--seconds 10 20 30 60]

HuBERT-base (12 layers) and HuBERT-large (24) with RANDOM weights: time and operations are real,
vectors mean nothing. One un-padded piece of noise at a time, float32, one thread. Layers of as many
tokens are alike, so the median of a layer's CPU-seconds counts for all of them: un-pruned ones of
whole passes, shortened ones of the `--after` layers that follow a pruning at half depth. Figures
are shares of the whole encoder un-pruned at the same length. `like stop` is the number of un-pruned
layers that take as many CPU-seconds: the rival without any pruning. Semi never runs pieces longer
than encoders.speech.chunk_seconds (20, at most 30), so 60 s in one piece is shown for comparison
only; the last line of a size says what cutting alone saves.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

import torch
from extract import random_hubert

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from models.encoders.backbone import Backbone
from models.encoders.cost import operations
from models.encoders.numerics import fold_weight_norm
from models.encoders.pruning import PruningConfig, TokenPruner, Tokens
from models.encoders.speech_models import make_backbone
from models.encoders.wav2vec import Wav2VecBackbone

RATE = 16_000


@dataclass
class Parts:
    """CPU-seconds of what a pass is made of, at one length; every list holds repetitions."""

    front: list[float] = field(default_factory=list)
    attention: list[float] = field(default_factory=list)  # first half of an un-pruned layer
    feed_forward: list[float] = field(default_factory=list)  # its second half
    step: dict[float, list[float]] = field(default_factory=dict)  # pruning and second half, by rate
    short: dict[float, list[float]] = field(default_factory=dict)  # a layer after it

    def total(self, last: int, at: int | None = None, rate: float = 1.0) -> float:
        """Returns the CPU-seconds of `last` layers, pruned to `rate` in layer `at` (0-based)."""
        middle = statistics.median
        layer = middle(self.attention) + middle(self.feed_forward)
        if at is None:
            return middle(self.front) + last * layer
        begun = middle(self.front) + at * layer + middle(self.attention)
        return begun + middle(self.step[rate]) + (last - at - 1) * middle(self.short[rate])

    def like_stop(self, seconds: float) -> float:
        """Returns the number of un-pruned layers, not whole, that takes as many CPU-seconds."""
        return (seconds - self.total(0)) / (self.total(1) - self.total(0))


def measure(backbone: Backbone, seconds: float, keep: list[float], after: int, parts: Parts):
    """Runs one piece whole, and at half depth each keep rate for `after` layers more."""
    wave = torch.randn(int(seconds * RATE), generator=torch.Generator().manual_seed(1)) * 0.1
    clock = time.process_time
    began = clock()
    row = backbone.prepare(wave)[None]
    hidden, frames = backbone.embed(row, [row.shape[-1]])
    parts.front.append(clock() - began)
    tokens = Tokens(frames, hidden.shape[1], hidden.device)
    half = backbone.depth // 2
    for index, layer in enumerate(backbone.layers):
        began = clock()
        middle = backbone.attend(layer, hidden, None, None)
        parts.attention.append(clock() - began)
        for rate in keep if index == half else []:
            pruner = TokenPruner(PruningConfig("merge", rate, layer=half), backbone.depth)
            began = clock()
            state, now = pruner.prune(half, middle.hidden, tokens, middle.q, middle.k)
            state = backbone.feed_forward(layer, state)
            parts.step.setdefault(rate, []).append(clock() - began)
            for later in backbone.layers[half + 1 : half + 1 + after]:
                began = clock()
                bias = now.attention_bias(state.dtype)
                state = backbone.feed_forward(
                    later, backbone.attend(later, state, bias, None).hidden
                )
                parts.short.setdefault(rate, []).append(clock() - began)
        began = clock()
        hidden = backbone.feed_forward(layer, middle.hidden)
        parts.feed_forward.append(clock() - began)


def report(backbone: Backbone, found: dict[float, Parts], rates: list[float]) -> None:
    """Prints a table: a line for every setting, three columns for every length."""
    depth = backbone.depth
    lengths = list(found)
    head = "".join(f" FLOPs {s:g} s | CPU | like stop |" for s in lengths)
    print(f"| layers that run | merge at layer | keep |{head}")
    print("|---" * (3 + 3 * len(lengths)) + "|")
    for last in (depth // 2, 3 * depth // 4, depth):
        places = sorted({last // 3, last // 2, 3 * last // 4})
        for at, rate in [(None, 1.0), *((at, rate) for at in places for rate in rates)]:
            cells = [str(last), "-" if at is None else str(at), f"{rate:g}"]
            for seconds, parts in found.items():
                samples = int(seconds * RATE)
                pruning = None if at is None else PruningConfig("merge", rate, layer=at)
                flops = operations(backbone, samples, last=last, pruning=pruning)
                took = parts.total(last, at, rate)
                like = "" if at is None else f"{parts.like_stop(took):.1f}"
                cells += [f"{flops / operations(backbone, samples, last=depth):.2f}",
                          f"{took / parts.total(depth):.2f}", like]  # fmt: skip
            print("|", " | ".join(cells), "|")
    first = lengths[0]
    base = found[first].total(depth) / first
    costs = (f"{s:g} s {parts.total(depth) / s / base:.2f}" for s, parts in found.items())
    print(f"\nCPU-seconds a second of sound, un-pruned, {first:g} s = 1: {', '.join(costs)}")


def main() -> None:
    """Runs both sizes."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--sizes", nargs="+", default=["base", "large"])
    parser.add_argument("--seconds", nargs="+", type=float, default=[10, 20, 30, 60])
    parser.add_argument("--keep", nargs="+", type=float, default=[0.7, 0.5])
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--after", type=int, default=3, help="layers run after a pruning")
    args = parser.parse_args()
    torch.set_num_threads(1)
    for size in args.sizes:
        backbone = fold_weight_norm(make_backbone(random_hubert(f"random-{size}"))).eval()
        if isinstance(backbone, Wav2VecBackbone):
            backbone.store_frames_first()  # as SpeechEncoder does on a CPU
        found: dict[float, Parts] = {}
        with torch.inference_mode():
            measure(backbone, 2, args.keep, args.after, Parts())  # warms up
            for _ in range(args.rounds):
                for seconds in args.seconds:
                    parts = found.setdefault(seconds, Parts())
                    measure(backbone, seconds, args.keep, args.after, parts)
        print(
            f"\n## HuBERT-{size}: {backbone.depth} layers, {backbone.width} wide, random weights\n"
        )
        report(backbone, found, args.keep)
    print(f"{time.process_time():.0f} CPU-seconds in all", file=sys.stderr)


if __name__ == "__main__":
    main()

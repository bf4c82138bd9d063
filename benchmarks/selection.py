"""Selection from cached probabilities of a large pool: CPU seconds of a rule, beside pandas.

    python benchmarks/selection.py [--rows 1000000] [--classes 7] [--threads 1]

One call of `pseudo_label.select` on made-up float32 probabilities, the least of three; the default
settings of each rule, 30 % of the pool asked for. The baseline is the per-class top share as pandas
does it: rank(method="first") of the confidence within groupby(label), without ties by id, targets,
weights. It selects exactly as many rows of each class as class_topk, which is checked; the other
rules ask for something else, so every line says how many rows it selected.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from pseudo_label import SelectionConfig
from pseudo_label.pool import quotas
from pseudo_label.selection import Pool, select

RULES = ("class_topk", "soft_allocation", "threshold", "freematch", "flexmatch", "softmatch")
RATE = 0.3


def made_up(rows: int, classes: int) -> Pool:
    """Returns a pool of random probabilities."""
    generator = torch.Generator().manual_seed(0)
    logits = 2 * torch.randn(rows, classes, generator=generator)
    prior = torch.linspace(1, 2, classes)
    tie = torch.randint(2**62, (rows,), generator=generator)
    return Pool(logits.softmax(1), prior / prior.sum(), tie, rate=RATE)


def by_pandas(pool: Pool) -> np.ndarray:
    """Returns which rows are among the best of their class (N,) bool."""
    probs = pool.probs.numpy()
    label, score = probs.argmax(1), probs.max(1)
    rank = pd.Series(score).groupby(label).rank(method="first", ascending=False).to_numpy()
    quota = quotas(pool.rate, len(probs), pool.prior).numpy()
    return rank <= quota[label]


def cost(run: Callable[[], object]) -> float:
    """Returns the CPU seconds of a call, the least of three."""
    spent = []
    for _ in range(3):
        begun = time.process_time()
        run()
        spent.append(time.process_time() - begun)
    return min(spent)


def main() -> None:
    """Prints one line for each rule."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--classes", type=int, default=7)
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    pool = made_up(args.rows, args.classes)
    baseline = by_pandas(pool)
    print(f"{args.rows} rows x {args.classes} classes, CPU seconds, rows selected")
    print(f"pandas, top of each class  {cost(lambda: by_pandas(pool)):6.2f}  {baseline.sum():7d}")
    for rule in RULES:
        config = SelectionConfig(rule=rule, coverage=[RATE])
        chosen = select(replace(pool), config).chosen
        spent = cost(lambda: select(replace(pool), config))  # noqa: B023
        print(f"{rule:25s}  {spent:6.2f}  {int(chosen.sum()):7d}", flush=True)
        if rule == "class_topk":
            per_class = [np.bincount(pool.predicted[x], minlength=args.classes)
                         for x in (chosen, torch.from_numpy(baseline))]  # fmt: skip
            if (per_class[0] != per_class[1]).any():
                sys.exit(f"the two sides select different numbers: {per_class[0]}, {per_class[1]}")


if __name__ == "__main__":
    main()

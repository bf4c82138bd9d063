"""Selection from cached probabilities of a large pool: CPU seconds of a rule, beside pandas.

    python benchmarks/selection.py [--rows 1000000] [--classes 7] [--threads 1]

One call of `pseudo_label.select` on made-up float32 probabilities, the least of three; the default
settings of each rule, coverage 0.3. The baseline is the per-class top share as pandas does it:
rank(method="first") of the confidence within groupby(label), without ties by id, targets, weights.
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
from pseudo_label.selection import Pool, select

RULES = ("class_topk", "soft_allocation", "threshold", "freematch", "flexmatch", "softmatch")
RATE = 0.3


def made_up(rows: int, classes: int) -> Pool:
    """Returns a pool of random probabilities."""
    generator = torch.Generator().manual_seed(0)
    logits = 2 * torch.randn(rows, classes, generator=generator)
    prior = torch.linspace(1, 2, classes)
    tie = torch.randint(2**62, (rows,), generator=generator)
    return Pool(logits.softmax(1), prior / prior.sum(), tie, RATE, 1)


def by_pandas(pool: Pool) -> np.ndarray:
    """Returns which rows are among the best of their class (N,) bool."""
    probs = pool.probs.numpy()
    label, score = probs.argmax(1), probs.max(1)
    rank = pd.Series(score).groupby(label).rank(method="first", ascending=False).to_numpy()
    quota = np.ceil(RATE * len(probs) * pool.prior.numpy())
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
    print(f"{args.rows} rows x {args.classes} classes, CPU seconds")
    print(f"pandas, top of each class  {cost(lambda: by_pandas(pool)):6.2f}")
    for rule in RULES:
        config = SelectionConfig(rule=rule, coverage=[RATE])
        print(f"{rule:25s}  {cost(lambda: select(replace(pool), config)):6.2f}", flush=True)  # noqa: B023


if __name__ == "__main__":
    main()

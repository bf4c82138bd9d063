"""Reads N stored utterances two ways in one run: one .npy file each, and the feature store.

    python benchmarks/store.py [N] [D]

The first way is how the challenge baselines keep features. Prints seconds and their ratio.
"""

from __future__ import annotations

import hashlib
import statistics
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from semi.features.merge import Shard, merge
from semi.features.store import FeatureStore


def main(n: int = 5000, dims: int = 1024, repeats: int = 5) -> None:
    """Writes the same random features both ways, then times reading them alternately."""
    values = np.random.default_rng(0).normal(size=(n, dims)).astype(np.float32)
    keys = np.array([hashlib.sha256(str(i).encode()).hexdigest() for i in range(n)], "S64")
    with tempfile.TemporaryDirectory() as folder:
        names = [Path(folder) / f"{i}.npy" for i in range(n)]
        for name, value in zip(names, values, strict=True):
            np.save(name, value)
        shelf = FeatureStore(Path(folder) / "store").shelf("speech", {"model": "random"})
        with shelf.locked():
            shelf.describe()
            part = Path(folder) / "shard.npz"
            Shard(keys, np.ones(n, np.float32), values, None).save(part)
            merge(shelf, [part])
        files, store = [], []
        for _ in range(repeats):
            start = time.perf_counter()
            one = np.stack([np.load(name) for name in names])
            files.append(time.perf_counter() - start)
            start = time.perf_counter()
            two = shelf.get(keys)
            store.append(time.perf_counter() - start)
            assert (one == two).all()
    slow, fast = statistics.median(files), statistics.median(store)
    print(f"{n} rows of {dims}: a file each {slow:.3f} s, the store {fast:.3f} s")
    print(f"ratio {slow / fast:.1f}")


if __name__ == "__main__":
    main(*(int(word) for word in sys.argv[1:3]))

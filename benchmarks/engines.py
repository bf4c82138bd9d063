"""What it costs to run cells elsewhere: in this process, in processes of this machine, on Ray.

    python benchmarks/engines.py            # a minute; without the extra ray two lines

The same cells by each engine: equal results are checked first, then CPU-seconds of all processes
together (Linux), beside those of one process. What is on top is the start of the workers (each
imports PyTorch) and of Ray's own processes, and a few milliseconds a cell; so an engine pays where
all cells together take minutes.
"""

from __future__ import annotations

import argparse
import os
import resource
import sys
import time
from importlib.util import find_spec
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from semi.parallel import EngineConfig, connected, run_cells

TICK = os.sysconf("SC_CLK_TCK")


def cell(seed: int) -> float:
    """Returns a number that takes about half a second of one core."""
    x = np.random.default_rng(seed).normal(size=(300, 300))
    for _ in range(150):
        x = np.tanh(x @ x.T / 300)
    return float(x.sum())


def below(root: int) -> float:
    """Returns the CPU-seconds of all living processes that descend from one."""
    parent, spent = {}, {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            words = path.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        number = int(path.parent.name)
        parent[number], spent[number] = int(words[1]), (int(words[11]) + int(words[12])) / TICK

    def inside(number: int) -> bool:
        while number in parent and number != root:
            number = parent[number]
        return number == root

    return sum(seconds for number, seconds in spent.items() if number != root and inside(number))


def measured(engine: EngineConfig, cells: int) -> tuple[dict[int, float], float, float]:
    """Returns the results, CPU-seconds of all processes and of this one alone."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    here = time.process_time()
    with connected(engine):
        results = dict(run_cells(engine, cell, range(cells)))
        living = below(os.getpid())
    own = time.process_time() - here
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    ended = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return results, own + max(living, ended), own


def main() -> None:
    """Prints a line for each engine."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--cells", type=int, default=40)
    args = parser.parse_args()
    engines = {"this process": EngineConfig(), "2 processes": EngineConfig(processes=2)}
    if find_spec("ray"):
        engines["Ray, 2 workers"] = EngineConfig("ray", processes=2)
    first, alone = {}, 0.0
    print(f"{args.cells} cells")
    for name, engine in engines.items():
        results, total, own = measured(engine, args.cells)
        first, alone = (results, total) if not first else (first, alone)
        if results != first:
            raise SystemExit(f"{name}: other results")
        print(f"{name:15} {total:6.1f} CPU-s in all, {total / alone:.2f}x; of this process "
              f"{own:.1f}, {(total - alone):+.1f} on top", flush=True)  # fmt: skip


if __name__ == "__main__":
    main()

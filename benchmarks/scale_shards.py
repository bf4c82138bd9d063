"""Ten thousand tiny shards on Ray, stragglers among them, workers and drivers killed at random.

    python benchmarks/scale_shards.py                       # about five minutes on two cores
    python benchmarks/scale_shards.py --shards 300 --kills 4

Needs the extra ray. Three extractions of the same texts by an encoder that does nothing: in one
process, on Ray, and on Ray with random kills (SIGKILL) until none is left to give, each driver that
was killed being started again. It prints what a shard costs the driver, how many shards were
encoded more than once, and whether all three stores are equal byte for byte.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import platform
import random
import resource
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from semi.features import encode
from semi.features.extract import extract_rows
from semi.features.store import FeatureStore
from semi.parallel import EngineConfig

STRAGGLERS = 500  # one shard of so many takes SLOW_SECONDS
SLOW_SECONDS = 0.5


class Nothing:
    """An encoder of a text's hash; notes in a log what it was given, and by whom."""

    modality, shape = "text", (8,)

    def __init__(self, log: str):
        self.log = log

    def identity(self) -> dict:
        """Returns what its numbers follow from."""
        return {"nothing": 1}

    def encode(self, batch: list[str]) -> np.ndarray:
        """Returns (B, 8) numbers of the texts' hashes; some texts take long."""
        with open(self.log, "a") as file:
            file.writelines(f"{os.getpid()} {text}\n" for text in batch)
        if any(int(text) % STRAGGLERS == 0 for text in batch):
            time.sleep(SLOW_SECONDS)
        digests = [hashlib.sha256(text.encode()).digest()[:8] for text in batch]
        return np.array([list(d) for d in digests], np.float32)


def drive(store: str, log: str, shards: int, engine: str) -> None:
    """Extracts all texts, one a shard, and prints rows done and cached and the driver's CPU."""
    encode.INPUT_KINDS["text"].shard = (1.0, 1.0)  # less than any text: each is a shard of its own
    texts = [f"{number:05d}" for number in range(shards)]
    table = pd.DataFrame({"id": texts, "text": texts})
    where = EngineConfig("ray", processes=2) if engine == "ray" else EngineConfig()
    begun = resource.getrusage(resource.RUSAGE_SELF)
    encoders: Any = {"text": Nothing(log)}
    done = extract_rows(table, encoders, FeatureStore(store), progress=False, engine=where)
    spent = resource.getrusage(resource.RUSAGE_SELF)
    cpu = spent.ru_utime + spent.ru_stime - begun.ru_utime - begun.ru_stime
    print(done.done, done.cached, f"{cpu:.2f}", spent.ru_maxrss // 1024, flush=True)


def started(store: Path, shards: int, engine: str) -> subprocess.Popen:
    """Returns a driver in a process of its own."""
    command = [sys.executable, __file__, "--drive", str(store), str(store) + ".log", engine,
               "--shards", str(shards)]  # fmt: skip
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def ended(driver: subprocess.Popen) -> list[float]:
    """Returns what a driver that ended by itself printed."""
    words = driver.communicate()[0].split()
    if driver.returncode:
        raise SystemExit(f"a driver ended with {driver.returncode}")
    return [float(word) for word in words]


def lines(store: Path) -> list[list[str]]:
    """Returns (process, text) of everything that was encoded for a store."""
    log = Path(f"{store}.log")
    return [line.split() for line in log.read_text().splitlines()] if log.exists() else []


def digest(store: Path) -> str:
    """Returns the SHA-256 of all files of a store and their names."""
    found = hashlib.sha256()
    for path in sorted(p for p in store.rglob("*") if p.is_file()):
        found.update(str(path.relative_to(store)).encode() + path.read_bytes())
    return found.hexdigest()


def killed_at_random(store: Path, shards: int, kills: int, seed: int) -> dict[str, int]:
    """Extracts on Ray and kills workers and drivers; returns how many of each."""
    chance, count = random.Random(seed), {"worker": 0, "driver": 0}
    driver, share = started(store, shards, "ray"), shards // (kills + 2)
    while sum(count.values()) < kills:
        aim = len(lines(store)) + chance.randrange(share // 2, share)
        while driver.poll() is None and len(lines(store)) < aim:
            time.sleep(0.05)
        if driver.poll() is not None:
            break
        victim = chance.choice(["worker", "driver"])
        if victim == "driver":
            driver.kill()
            driver.communicate()
            driver = started(store, shards, "ray")
        else:
            try:
                os.kill(int(lines(store)[-1][0]), signal.SIGKILL)
            except ProcessLookupError:
                continue
        count[victim] += 1
    ended(driver)
    return count


def main() -> None:
    """Runs the three extractions and prints the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--shards", type=int, default=10_000)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--drive", nargs=3, metavar=("STORE", "LOG", "ENGINE"))
    args = parser.parse_args()
    if args.drive:
        store, log, engine = args.drive
        drive(store, log, args.shards, engine)
        return
    from extract import processor
    from ray import __version__ as ray  # pyright: ignore[reportMissingImports]

    print(f"{processor()}, {os.cpu_count()} cores; Python {platform.python_version()}, Ray {ray}; "
          f"one shard in {STRAGGLERS} takes {SLOW_SECONDS} s", flush=True)  # fmt: skip
    with tempfile.TemporaryDirectory() as name:
        stores = {kind: Path(name, kind) for kind in ("one process", "Ray", "Ray, killed")}
        for kind, engine in (("one process", "local"), ("Ray", "ray")):
            done, _, cpu, memory = ended(started(stores[kind], args.shards, engine))
            print(f"{kind}: {done:,.0f} shards, {1000 * cpu / args.shards:.2f} CPU-ms of the "
                  f"driver each, {memory:,.0f} MB", flush=True)  # fmt: skip
        count = killed_at_random(stores["Ray, killed"], args.shards, args.kills, args.seed)
        again = len(lines(stores["Ray, killed"])) - args.shards
        each = again / max(1, sum(count.values()))
        print(f"Ray, killed: {count['worker']} workers and {count['driver']} drivers; {again} "
              f"shards encoded again, {each:.1f} a kill")  # fmt: skip
        same = len({digest(store) for store in stores.values()}) == 1
        print(f"stores equal byte for byte: {'yes' if same else 'NO'}")
        raise SystemExit(not same)


if __name__ == "__main__":
    main()

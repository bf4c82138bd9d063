"""Kills a run with tracking on at random moments: is it whole after each, does it go on?

    python benchmarks/kills.py [KILLS] [SEED]

Every kill is followed by `semi verify`, which must find nothing, and by `--resume`. The end must be
the ledger and the model of a run that was never killed.
"""

from __future__ import annotations

import os
import random
import signal
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from two_runs import settings, write_manifest  # noqa: E402 # pyright: ignore[reportMissingImports]

import semi  # noqa: E402
from semi.runs.verify import verify  # noqa: E402

WORDS = ["tracking=true", "rounds.max_rounds=3", "rounds.accept_se=99", "rounds.min_change=0"]
SAME = ("ledger.csv", "result.json", "model/model.safetensors", "splits.csv")


def child(config) -> int:
    """Begins or resumes the run in a process of its own and returns its number."""
    number = os.fork()
    if not number:
        semi.self_train(config, resume=True, progress=False)
        os._exit(0)
    return number


def main(kills: int = 50, seed: int = 0) -> None:
    """Prints what became of `kills` kills."""
    chance, folder = random.Random(seed), Path(tempfile.mkdtemp(prefix="kills-"))
    write_manifest(folder)
    began = time.monotonic()
    whole = semi.self_train(settings(folder, "whole", *WORDS), progress=False)
    took = time.monotonic() - began
    done, finished, name = 0, 0, 0
    while done < kills:
        config = settings(folder, f"killed{name}", *WORDS)
        path = Path(config.path)
        while done < kills:
            process = child(config)
            time.sleep(chance.uniform(0, took / 2))
            os.kill(process, signal.SIGKILL)
            ended = os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
            if ended == 0:
                break
            done += 1
            if (path / "config.yaml").is_file():
                problems = verify(path).problems
                if problems:
                    raise SystemExit(f"after kill {done}: {problems}")
        semi.self_train(config, resume=True, progress=False)
        different = [n for n in SAME if (path / n).read_bytes() != (whole.path / n).read_bytes()]
        if different or verify(path).problems:
            raise SystemExit(f"{path}: {different} {verify(path).problems}")
        finished, name = finished + 1, name + 1
    print(f"{done} kills over {finished} runs: none looked damaged, all ended as the whole run did")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))

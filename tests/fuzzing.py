"""Damaged tables, sounds, settings, arrays, voter files, model folders and runs: `make fuzz`.

    python tests/fuzzing.py [COUNT] [SEED]

A case is fine if what reads it raises an error of semi's own, or returns and has lost nothing; each
family of cases knows what it wrote. Cases run in a process whose CPU time and memory are bounded,
so a hang is stopped and named like any other failure. The same seed gives the same cases.
"""

from __future__ import annotations

import json
import math
import os
import random
import resource
import select
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
if __name__ == "__main__":
    sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from fuzz_files import arrays_case, model_case, settings_case, votes_case  # noqa: E402
from fuzz_sounds import sound_case  # noqa: E402
from fuzz_tables import table_case  # noqa: E402

from semi.errors import SemiError  # noqa: E402

Case = Callable[[Path, random.Random], str]  # writes into a folder, reads; what is wrong, or ""
CPU = 30  # seconds of one case that count as a hang
SILENT = 600  # seconds without a word, of a process that waits for something
MEMORY = 8 << 30  # bytes that cases may ask for
FAMILIES: dict[str, tuple[Case, int]] = {  # each with its share of the cases
    "table": (lambda f, c: table_case(f / c.choice(["case.csv", "case.txt"]), c), 8),
    "sound": (lambda f, c: sound_case(f / "case.sound", c), 4),
    "settings": (settings_case, 2),
    "votes": (votes_case, 2),
    "arrays": (arrays_case, 3),
    "model": (model_case, 1),
}


def judged(case: Case, folder: Path, chance: random.Random) -> str:
    """Returns what is wrong with how a case was taken, "" if nothing is."""
    try:
        return case(folder, chance)
    except (SemiError, FileNotFoundError):
        return ""
    except Exception as error:
        return f"{type(error).__name__}: {str(error)[:200]}"


def work(names: list[str], cases: dict[str, Case], seed: int, begin: int, pipe: int) -> None:
    """Takes cases from number `begin` on; tells a pipe which, and what was wrong with it."""
    silent = os.open(os.devnull, os.O_WRONLY)
    os.dup2(silent, 1)
    os.dup2(silent, 2)
    pages = int(Path("/proc/self/statm").read_text().split()[0]) if os.path.exists("/proc") else 0
    if pages:
        room = pages * resource.getpagesize() + MEMORY
        resource.setrlimit(resource.RLIMIT_AS, (room, resource.RLIM_INFINITY))
    for number in range(begin, len(names)):
        os.write(pipe, f"{number}\n".encode())
        limit = math.ceil(time.process_time()) + CPU
        resource.setrlimit(resource.RLIMIT_CPU, (limit, resource.RLIM_INFINITY))
        name, folder = names[number], Path.cwd() / "case"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        wrong = judged(cases[name], folder, random.Random(f"{seed}/{number}"))
        if wrong:
            kept = Path.cwd() / f"failure-{number}"
            shutil.copytree(folder, kept, dirs_exist_ok=True)
            os.write(
                pipe, (json.dumps(f"{name} {number}: {wrong} ({kept})"[:3000]) + "\n").encode()
            )


def watched(names: list[str], cases: dict[str, Case], seed: int) -> list[str]:
    """Returns what was wrong with each case that failed; a worker that dies is replaced."""
    failures, begin = [], 0
    while begin < len(names):
        reads, writes = os.pipe()
        worker = os.fork()
        if not worker:
            os.close(reads)
            work(names, cases, seed, begin, writes)
            os._exit(0)
        os.close(writes)
        with os.fdopen(reads, "rb", buffering=0) as told:
            rest = b""
            while select.select([told], [], [], SILENT)[0] and (block := told.read(65536)):
                *lines, rest = (rest + block).split(b"\n")
                for line in map(json.loads, lines):
                    if isinstance(line, int):
                        begin = line
                    else:
                        failures.append(line)
                        print(line, flush=True)
        os.kill(worker, signal.SIGKILL)
        ended = os.waitstatus_to_exitcode(os.waitpid(worker, 0)[1])
        if ended:
            signals = {-signal.SIGXCPU: "hangs", -signal.SIGKILL: "waits, or takes all memory"}
            failures.append(f"{names[begin]} {begin}: {signals.get(ended, f'ended with {ended}')}")
            print(failures[-1], flush=True)
        begin += 1
    return failures


def apart(function: Callable[[], object]) -> None:
    """Calls a function in a process of its own, so that no thread of torch is met by a fork."""
    process = os.fork()
    if not process:
        status = 1
        try:
            function()
            status = 0
        finally:
            os._exit(status)
    if os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]):
        raise SystemExit("the run to damage could not be trained")


def main(count: int = 5000, seed: int = 0) -> int:
    """Prints the failures of `count` cases, a tenth of them runs; returns how many failed."""
    from fuzz_runs import copies, run_case
    from two_runs import two_runs

    folder = Path(tempfile.mkdtemp(prefix="fuzz-"))
    os.chdir(folder)
    apart(lambda: two_runs(folder))
    copied = copies(folder / "runs" / "a", folder)
    cases = {name: case for name, (case, _) in FAMILIES.items()}
    cases["run"] = lambda f, c: run_case(copied, f, c)
    turn = [name for name, (_, share) in FAMILIES.items() for _ in range(share)] + ["run"] * 2
    names = [turn[k % len(turn)] for k in range(count)]
    random.Random(0).shuffle(names)
    failures = watched(names, cases, seed)
    print(f"{count} cases of seed {seed}: {len(failures)} failures")
    if not failures:
        shutil.rmtree(folder)
    return len(failures)


if __name__ == "__main__":
    sys.exit(bool(main(*map(int, sys.argv[1:]))))

"""A command on Ray whose workers and driver are killed at random moments, until it has ended."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PAUSE = 2.0  # seconds at most from the first worker that is seen to the next kill


def started(words):
    """Returns `semi` with these words in a process of its own; what it prints goes to a pipe."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        [sys.executable, "-m", "semi", *words], cwd=ROOT, env=environment, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip


def workers_of(driver):
    """Returns the numbers of the workers on Ray that descend from a process (Linux)."""
    parent, workers = {}, []
    for path in Path("/proc").glob("[0-9]*"):
        try:
            number = int(path.name)
            parent[number] = int((path / "stat").read_text().rpartition(")")[2].split()[1])
            if (path / "cmdline").read_text().startswith("ray::Cells"):
                workers.append(number)
        except OSError:
            continue

    def ours(number):
        while number in parent and number != driver:
            number = parent[number]
        return number == driver

    return [number for number in workers if ours(number)]


def killed_at_random(words, kills, seed=0):
    """Gives a command again and again until it ends well; returns how many of whom were killed.

    Args:
        words: of the command, with engine=ray.
        kills: at most, of workers and drivers together; a driver that was killed is started anew at
            once, while its workers may still be at work.
        seed: of the moments and victims.
    """
    chance, count = random.Random(seed), {"worker": 0, "driver": 0}
    while True:
        process = started(words)
        while process.poll() is None and sum(count.values()) < kills:
            if not workers_of(process.pid):
                time.sleep(0.05)
                continue
            time.sleep(chance.uniform(0, PAUSE))
            victims = workers_of(process.pid)
            if chance.random() < 0.5 or not victims:
                process.kill()
                count["driver"] += 1
            else:
                os.kill(chance.choice(victims), signal.SIGKILL)
                count["worker"] += 1
        said = process.communicate()[0]
        if process.returncode == 0:
            return count
        assert process.returncode == -signal.SIGKILL, said

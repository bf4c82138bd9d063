"""Which layout costs a CPU least: measured once on noise, and remembered in a folder.

Every layout gives the same numbers, to the rounding of float32; which is cheapest depends on the
caches and vector units of the processor. Measured is CPU time, so that other work on the machine
does not decide. `rows` stays unless another is clearly cheaper: measured again it is the same.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import platform
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

MEASURED = ("rows", "plain", "packed")
CLEARLY = 0.95  # of the CPU time of rows
ENOUGH_SECONDS = 1800.0  # of sound to encode; for less, measuring costs more than it can save
SECONDS = (2.0, 3.0)  # of the noise
REPEATS = 2
BATCH_SECONDS = 10.0  # packed on a CPU: more falls out of its caches


def cheapest(encode: Callable[[str, list[np.ndarray]], object]) -> dict[str, float]:
    """Returns the least CPU-seconds that each layout takes for a few seconds of noise.

    `encode(layout, sounds)` encodes the sounds in a layout. All are run in turn; a first run of
    each is not counted.
    """
    random = np.random.default_rng(0)
    sounds = [random.normal(0, 0.1, int(s * 16_000)).astype(np.float32) for s in SECONDS]
    spent: dict[str, list[float]] = {layout: [] for layout in MEASURED}
    for number in range(1 + REPEATS):
        for layout in MEASURED:
            began = time.process_time()
            encode(layout, sounds)
            if number:
                spent[layout].append(time.process_time() - began)
    return {layout: min(seconds) for layout, seconds in spent.items()}


def chosen(seconds: dict[str, float]) -> str:
    """Returns the cheapest layout, `rows` where none is clearly cheaper than it."""
    best = min(seconds, key=seconds.__getitem__)
    return best if seconds[best] < CLEARLY * seconds["rows"] else "rows"


def machine() -> str:
    """Returns what a measurement holds for: processor, its vector unit, threads, torch."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text(errors="replace").splitlines() if info.is_file() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    processor = names[0] if names else platform.processor() or platform.machine()
    unit = torch.backends.cpu.get_cpu_capability()
    return f"{processor}, {unit}, {torch.get_num_threads()} threads, torch {torch.__version__}"


def recall(folder: Path, what: str) -> str:
    """Returns the layout that was chosen for `what` in this folder, '' where none was."""
    with contextlib.suppress(OSError, ValueError, AttributeError):
        kept = json.loads(_file(folder, what).read_text(encoding="utf-8"))
        if kept.get("of") == what and kept.get("layout") in MEASURED:
            return kept["layout"]
    return ""


def remember(folder: Path, what: str, seconds: dict[str, float]) -> str:
    """Keeps a choice, unless somebody else was first, and returns the one that holds.

    A folder that cannot be written only costs the next measurement.
    """
    content = {"of": what, "layout": chosen(seconds), "cpu_seconds": seconds}
    file = _file(folder, what)
    own = file.with_name(f".{file.name}.{os.getpid()}.tmp")
    with contextlib.suppress(OSError):
        folder.mkdir(parents=True, exist_ok=True)
        own.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
        with contextlib.suppress(FileExistsError):
            os.link(own, file)  # whole, and only if it is not there
    with contextlib.suppress(OSError):
        own.unlink()
    return recall(folder, what) or chosen(seconds)


def _file(folder: Path, what: str) -> Path:
    return folder / f"layout-{hashlib.sha256(what.encode()).hexdigest()[:16]}.json"

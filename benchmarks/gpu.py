"""What a GPU does with semi, measured in one run of under eight minutes.

    python benchmarks/gpu.py                      # the first GPU; a CPU where there is none
    python benchmarks/gpu.py --model FOLDER ...   # real encoders beside the random ones
    python benchmarks/gpu.py --small --device cpu # seconds, to see that it works

Weights are random where no --model is given: speed is that of the true size, vectors mean nothing.
Sounds are noise. Measured are the rate of matrix products and of copies; extraction (one file at a
time as challenge baselines do it, padded, packed, pruned, stopped early; fp32, bf16; 10 s and 1 to
20 s); training steps kernel by kernel and as a CUDA graph; rounds of self-training on 10^4 to 10^7
rows; and whether GPU and CPU give the same numbers. Each part has its share of the minutes and
leaves out what no longer fits; what fails is written down, and the rest goes on. The results are
written after every part: --output/gpu-<name>.json and .md.
"""

from __future__ import annotations

import argparse
import json
import platform
import re
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import torch
from extract import processor
from gpu_encoders import equal_vectors, extraction
from gpu_timing import Clock, Settings, timed
from gpu_training import equal_solutions, rounds, training_steps

RESULTS = Path(__file__).resolve().parent / "results"


Part = Callable[[Settings, Clock], Iterator[dict[str, Any]]]


def rates(settings: Settings, clock: Clock) -> Iterator[dict[str, Any]]:
    """Yields the rate of matrix products in both precisions, and of copies on the device."""
    size = 256 if settings.small or settings.device.type == "cpu" else 8192
    for name, dtype in (("bf16", torch.bfloat16), ("fp32", torch.float32)):
        a = torch.randn(size, size, device=settings.device).to(dtype)
        seconds = timed(lambda a=a: a @ a, settings, clock)
        settings.found[name] = 2 * size**3 / seconds
        yield {"what": f"{name} product of {size} x {size}", "TFLOP/s": settings.found[name] / 1e12}
    x = torch.zeros(size * size, device=settings.device)
    seconds = timed(lambda: x.clone(), settings, clock)
    yield {"what": "copy within the device", "GB/s": 2 * x.numel() * 4 / seconds / 1e9}


PARTS: dict[str, tuple[Part, float]] = {  # title -> what it yields and its share of the time
    "Rates": (rates, 0.04),
    "The CPU's vectors": (equal_vectors, 0.08),
    "The CPU's solutions": (equal_solutions, 0.04),
    "Extraction": (extraction, 0.48),
    "Training steps": (training_steps, 0.12),
    "Rounds": (rounds, 0.24),
}


def measure(settings: Settings, minutes: float, save: Callable[[dict[str, Any]], None]) -> None:
    """Goes through the parts; what a part leaves of its time goes to those that follow."""
    started, shares = time.monotonic(), [share for _, share in PARTS.values()]
    results: dict[str, Any] = {}
    for place, (title, (part, share)) in enumerate(PARTS.items()):
        left = 60 * minutes - (time.monotonic() - started)
        clock, rows = Clock(left * share / sum(shares[place:])), []
        began, note = time.monotonic(), ""
        try:
            rows.extend(part(settings, clock))
        except Exception as error:  # the other parts are worth having
            note = f"failed: {type(error).__name__}: {(str(error).splitlines() or [''])[0]}"
        results[title] = {"rows": rows, "seconds": round(time.monotonic() - began, 1), "note": note}
        print(f"{title}: {len(rows)} rows in {results[title]['seconds']} s {note}", flush=True)
        save(results)


def about(settings: Settings) -> dict[str, Any]:
    """Returns what the figures depend on."""
    import transformers

    gpu = settings.device.type == "cuda"
    name = torch.cuda.get_device_name(settings.device) if gpu else processor()
    return {
        "device": name, "processor": processor(), "python": platform.python_version(),
        "torch": torch.__version__, "transformers": transformers.__version__,
        "weights": ", ".join(Path(m).name for m in settings.models) or "random: speed only",
        "size": "small: the figures mean nothing" if settings.small else "full",
    }  # fmt: skip


def page(facts: dict[str, Any], results: dict[str, Any]) -> str:
    """Returns the results as Markdown."""
    lines = [f"# {facts['device']}", "", *(f"- {k}: {v}" for k, v in facts.items())]
    for title, part in results.items():
        lines += ["", f"## {title}", "", f"{part['seconds']} s. {part['note']}".strip(), ""]
        columns = list(dict.fromkeys(key for row in part["rows"] for key in row))
        if columns:
            lines += ["| " + " | ".join(columns) + " |", "|" + "---|" * len(columns)]
        for row in part["rows"]:
            lines.append("| " + " | ".join(shown(row.get(c, "")) for c in columns) + " |")
    return "\n".join(lines) + "\n"


def shown(value: Any) -> str:
    """Returns a cell: numbers with three digits that count."""
    if not isinstance(value, float):
        return str(value)
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def main(words: list[str] | None = None) -> Path:
    """Measures and returns the path of the JSON file."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--model", nargs="*", default=[], help="folders or names of real encoders")
    parser.add_argument("--minutes", type=float, default=7.0)
    parser.add_argument("--small", action="store_true", help="sizes of a test")
    parser.add_argument("--output", type=Path, default=RESULTS)
    parser.add_argument("--name", default="", help="of the files; default: the device's")
    args = parser.parse_args(words)
    settings = Settings(torch.device(args.device), args.small, args.model)
    facts = about(settings)
    name = args.name or re.sub(r"\W+", "-", facts["device"].lower()).strip("-")
    args.output.mkdir(parents=True, exist_ok=True)
    target = args.output / f"gpu-{name}.json"

    def save(results: dict[str, Any]) -> None:
        target.write_text(json.dumps({"about": facts, "parts": results}, indent=1) + "\n")
        target.with_suffix(".md").write_text(page(facts, results))

    measure(settings, args.minutes, save)
    print(target.with_suffix(".md"))
    return target


if __name__ == "__main__":
    main()

"""Finished runs of which one file is damaged: refused in a sentence, or the same answers."""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from fuzz_entries import OTHERS
from fuzz_files import mutated, mutated_values

import semi
from semi.checksums import files_below
from semi.errors import SemiError
from semi.runs.verify import verify


@dataclass
class Copies:
    """A run as it was written, and the same without its records of checksums."""

    names: list[str]
    recorded: Path
    bare: Path
    manifest: Path


def copies(run: Path, folder: Path) -> Copies:
    """Makes the two copies."""
    for name in ("recorded", "bare"):
        shutil.copytree(run, folder / name)
    for path in [
        *(folder / "bare").rglob("checksums.json"),
        *(folder / "bare").rglob("derived.json"),
    ]:
        path.unlink()
    names = [n for n in files_below(run) if n != ".lock" and not n.startswith("tb/")]
    return Copies(names, folder / "recorded", folder / "bare", run.parent.parent / "m.csv")


def damaged(path: Path, chance: random.Random) -> bytes:
    """Returns what a file of a run holds after damage, which may well be parsed."""
    before = path.read_bytes()
    if path.suffix == ".json" and chance.random() < 0.3:
        return json.dumps(mutated_values(json.loads(before), chance), indent=1).encode()
    if path.suffix in OTHERS and chance.random() < 0.6:
        OTHERS[path.suffix](path, chance)
        return path.read_bytes()
    return mutated(before, chance)


def uses(home: Path, copied: Copies, out: Path) -> dict[str, Callable[[], object]]:
    """Returns what is asked of a run, by name."""
    from semi.evaluation.html_report import write_report
    from semi.runs.compare import compare
    from semi.runs.export import export
    from semi.runs.predict import predict
    from semi.runs.preview import dry_run

    again = [f"runs_dir={home.parent}", f"name={home.name}"]
    return {
        "evaluate": lambda: str(semi.evaluate(home, "oof")),
        "predict": lambda: predict(home, manifest=str(copied.manifest)),
        "compare": lambda: str(compare([str(home)], latency=False)).replace(home.name, ""),
        "select": lambda: str(dry_run(home, ["rule=class_topk"])),
        "report": lambda: write_report(home) and "",
        "export": lambda: export(home, out / "probs.npz") and "",
        "resume": lambda: semi.self_train(
            semi.load_config(home / "config.yaml", again),
            resume=True, progress=False) and "",
    }  # fmt: skip


def run_case(copied: Copies, folder: Path, chance: random.Random) -> str:
    """Damages a file of a run and uses the run; a record of checksums leaves no other answer."""
    home = chance.choice([copied.recorded, copied.bare])
    name = chance.choice(copied.names)
    if not (home / name).is_file():
        return ""
    kept = folder / "kept"
    shutil.rmtree(kept, ignore_errors=True)
    shutil.copytree(home, kept)
    chosen = chance.sample(list(uses(home, copied, folder)), 2)
    try:
        for use in chosen:
            right = str(uses(home, copied, folder)[use]()).replace(str(home), "")
            before = (home / name).read_bytes()
            content = damaged(home / name, chance)
            (home / name).write_bytes(content)
            (folder / "damaged").write_bytes(content)
            if home is copied.recorded and content != before and not verify(home).problems:
                return f"{name}: a change that verify does not name"
            try:
                said = str(uses(home, copied, folder)[use]()).replace(str(home), "")
            except (SemiError, FileNotFoundError):
                said = right
            except Exception as error:
                return f"{use} with a damaged {home.name}/{name}: {type(error).__name__}: {error}"
            if home is copied.recorded and said != right:
                return f"{use} with a damaged {name} answers otherwise"
            shutil.rmtree(home)
            shutil.copytree(kept, home)
    finally:
        shutil.rmtree(home)
        shutil.copytree(kept, home)
    return ""

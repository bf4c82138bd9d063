"""Mutations of small valid inputs, and what reads them: for the fuzz test and `make fuzz`.

    python tests/fuzzing.py [COUNT] [SEED]

A case is fine if its reader returns or raises an error of semi's own; anything else is a failure.
"""

from __future__ import annotations

import io
import random
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

ROOT = Path(__file__).resolve().parents[1]
if __name__ == "__main__":
    sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from semi.config.schema import load_config  # noqa: E402
from semi.data.config import DataConfig  # noqa: E402
from semi.data.external_votes import outside_votes  # noqa: E402
from semi.data.manifest import load_manifest  # noqa: E402
from semi.errors import SemiError  # noqa: E402

IDS = np.array([f"u{k}" for k in range(12)])
CLASSES = ["anger", "joy", "calm"]
SLOW = 20.0  # seconds of one case that count as a hang
STRANGE = [b"\x00", b"\xff\xfe", b'"', b"\n", b"\t", b";", b",", b"NaN", b"-1e999", b"\xed\xa0\x80",
           b"[" * 200, b"{", b"&a *a", b"!!python/name:os.system", b"=1+1", b"9" * 400]  # fmt: skip


@dataclass
class Kind:
    """One kind of input: a valid file and what reads it."""

    suffix: str
    valid: bytes
    read: Callable[[Path], object]


@dataclass
class Failure:
    """A case that was neither read nor refused in a sentence."""

    case: str
    what: str
    content: bytes


def mutated(content: bytes, chance: random.Random) -> bytes:
    """Returns a copy with one to four bits flipped, pieces cut, doubled, swapped or put in."""
    out = bytearray(content)
    for _ in range(chance.randint(1, 4)):
        at = chance.randrange(len(out) + 1)
        to = min(len(out), at + chance.choice([1, 2, 8, 64, 1000]))
        how = chance.randrange(7)
        if how == 0 and out:
            out[at % len(out)] ^= 1 << chance.randrange(8)
        elif how == 1:
            del out[at:to]
        elif how == 2:
            out[at:at] = out[at:to]
        elif how == 3:
            out[at:at] = chance.choice(STRANGE)
        elif how == 4:
            out[at:to] = chance.choice(STRANGE)
        elif how == 5:
            out[at:to] = bytes(chance.randrange(256) for _ in range(to - at))
        else:
            del out[at:]
    return bytes(out)


def table_bytes(separator: str = ",") -> bytes:
    """Returns a small manifest of texts."""
    rows = [
        {"id": i, "text": f'he said "{i}", and left', "label": CLASSES[k % 3],
         "speaker": f"s{k % 4}"}
        for k, i in enumerate(IDS)
    ]  # fmt: skip
    return pd.DataFrame(rows).to_csv(index=False, sep=separator).encode()


def votes() -> dict[str, Any]:
    """Returns a valid voter file's arrays."""
    probs = np.random.default_rng(0).dirichlet(np.ones(3), len(IDS))
    return {"ids": IDS, "classes": np.array(CLASSES), "probs": probs}


def written(write: Callable) -> bytes:
    """Returns what a function writes into a file."""
    target = io.BytesIO()
    write(target)
    return target.getvalue()


def read_manifest(path: Path) -> object:
    """Reads a table; every row that pandas or the file's lines show is there or refused."""
    return load_manifest(path, DataConfig(manifest=str(path)))


def read_sound(path: Path) -> object:
    """Reads a sound."""
    from semi.data.audio import load_audio

    return load_audio(path)


def read_votes(path: Path) -> object:
    """Reads a file of outside votes."""
    return outside_votes([str(path)], IDS, CLASSES)


def read_arrays(path: Path) -> object:
    """Opens precomputed arrays and reads what they hold of every utterance, as extraction does."""
    from models.encoders import EncoderUnavailable, build_array_encoder
    from models.encoders.config import ArrayConfig
    from semi.errors import EncoderError

    try:
        encoder: Any = build_array_encoder(ArrayConfig(path=str(path)), modality="bio")
        encoder.identity()
        return [encoder.path_of(i) for i in IDS]
    except (EncoderUnavailable, ValueError) as error:  # extraction says these as they are
        raise EncoderError(str(error)) from error


def kinds() -> dict[str, Kind]:
    """Returns every kind of file that stands alone."""
    import soundfile

    held = votes()
    table = pd.DataFrame(
        {"id": IDS} | {f"p_{c}": held["probs"][:, k] for k, c in enumerate(CLASSES)}
    )
    wave = (0.1 * np.sin(np.arange(8000) / 7)).astype(np.float32)
    yaml = (ROOT / "configs" / "demo.yaml").read_bytes()
    array = np.ones((12, 4), np.float32)
    sounds = {
        kind: written(lambda t, kind=kind: soundfile.write(t, wave, 16000, format=kind))
        for kind in ("WAV", "FLAC")
    }
    return {
        "csv": Kind(".csv", table_bytes(), read_manifest),
        "tsv": Kind(".tsv", table_bytes("\t"), read_manifest),
        "wav": Kind(".wav", sounds["WAV"], read_sound),
        "flac": Kind(".flac", sounds["FLAC"], read_sound),
        "yaml": Kind(".yaml", yaml, lambda p: load_config(p, ["data.manifest=m.csv"])),
        "votes npz": Kind(".npz", written(lambda t: np.savez(t, **held)), read_votes),
        "votes csv": Kind(".csv", table.to_csv(index=False).encode(), read_votes),
        "votes parquet": Kind(".parquet", written(lambda t: table.to_parquet(t)), read_votes),
        "arrays": Kind(".npz", written(lambda t: np.savez(t, id=IDS, v=array)), read_arrays),
    }  # fmt: skip


def judged(case: str, content: bytes, read: Callable[[], object]) -> Failure | None:
    """Returns what is wrong with how a case was taken, None if nothing is."""
    began = time.process_time()
    try:
        read()
    except (SemiError, FileNotFoundError):
        pass
    except Exception as error:
        return Failure(case, f"{type(error).__name__}: {str(error)[:150]}", content)
    if time.process_time() - began > SLOW:
        return Failure(case, "took too long", content)
    return None


def files_cases(count: int, seed: int, folder: Path) -> Iterator[Failure | None]:
    """Yields what became of `count` mutated files of all kinds, in turn."""
    chance, every = random.Random(seed), list(kinds().items())
    for k in range(count):
        name, kind = every[k % len(every)]
        content = mutated(kind.valid, chance)
        path = folder / f"case{kind.suffix}"
        path.write_bytes(content)
        yield judged(f"{name} {k}", content, lambda kind=kind, path=path: kind.read(path))


def run_cases(count: int, seed: int, run: Path, folder: Path) -> Iterator[Failure | None]:
    """Yields what became of a run with one file of it mutated, with and without records."""
    import semi
    from semi.checksums import files_below
    from semi.runs.verify import verify

    chance, copy = random.Random(seed), folder / "copy"
    shutil.copytree(run, copy)
    names = [n for n in files_below(copy) if n != ".lock" and not n.startswith("tb/")]
    bare = folder / "bare"
    shutil.copytree(run, bare)
    for path in [*bare.rglob("checksums.json"), *bare.rglob("derived.json")]:
        path.unlink()
    for k in range(count):
        home = (copy, bare)[k % 2]
        name = chance.choice(names)
        if not (home / name).is_file():
            continue
        before = (home / name).read_bytes()
        content = mutated(before, chance)
        (home / name).write_bytes(content)
        case = f"{home.name}/{name} {k}"
        for what in (semi.load, lambda path: semi.evaluate(path, "oof"), verify):
            yield judged(case, content, partial(what, home))
        if home is copy and content != before and not verify(home).problems:
            yield Failure(case, "a change that verify does not name", content)
        (home / name).write_bytes(before)


def main(count: int = 5000, seed: int = 0) -> int:
    """Prints the failures of `count` files and a tenth as many runs; returns how many."""
    from two_runs import two_runs

    folder, failures = Path(tempfile.mkdtemp(prefix="fuzz-")), []
    run = Path(two_runs(folder)[0])
    for found in (*files_cases(count, seed, folder), *run_cases(count // 10, seed, run, folder)):
        if found is not None:
            path = folder / f"failure-{len(failures)}"
            path.write_bytes(found.content)
            failures.append(found)
            print(f"{found.case}: {found.what} ({path})", flush=True)
    print(f"{count} files and {count // 10} runs of seed {seed}: {len(failures)} failures")
    return len(failures)


if __name__ == "__main__":
    sys.exit(bool(main(*map(int, sys.argv[1:]))))

"""Runs on a real disk that fills up: what is said, and does it go on once there is room?

    unshare -rm python benchmarks/full_disk.py [STEP]     # or as root, without unshare

A tmpfs of STEP, 2 STEP, 3 STEP ... KiB (and one of few inodes) holds the store and the runs. Every
command that finds it full must end with one sentence and status 2. Then the disk grows, the command
is given again, and the run must be the one that never met a full disk. Linux only.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from two_runs import settings, write_manifest  # noqa: E402 # pyright: ignore[reportMissingImports]

from semi.cli import main as semi  # noqa: E402
from semi.config.schema import save  # noqa: E402
from semi.runs.verify import verify  # noqa: E402

WORDS = ["tracking=true", "rounds.accept_se=99"]
SAME = ("ledger.csv", "result.json", "model/model.safetensors", "splits.csv")
ROOMY = "size=64m,nr_inodes=10000"
OUTPUTS = {
    "predict": ["predict", "RUN", "--manifest", "MANIFEST", "-o", "DISK/out.csv"],
    "export": ["export", "RUN", "-o", "DISK/model.pt2"],
    "export rows": ["export", "RUN", "-o", "DISK/out.npz"],
    "report": ["report", "RUN"],
}


@dataclass
class Said:
    """How one command ended."""

    status: int
    errors: str

    def as_refused(self) -> str:
        """Returns its sentence; SystemExit where it is no single sentence about a full disk."""
        *_, last = lines = self.errors.splitlines() or [""]
        alone = sum("rror" in line for line in lines) == 1 and "Traceback" not in self.errors
        told = last.count("No space left on device") == 1 and ".tmp" not in last
        if self.status != 2 or not (alone and told and last.startswith("semi: error: ")):
            raise SystemExit(f"status {self.status}, and it said:\n{self.errors}")
        return last.removeprefix("semi: error: ")


def call(words: list[str], scratch: Path) -> Said:
    """Calls the command line in a process of its own."""
    number = os.fork()
    if not number:
        with open(scratch / "said", "wb") as file:
            os.dup2(file.fileno(), 2)
            os.dup2(file.fileno(), 1)
        status = 1
        try:
            with open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(nowhere):
                status = semi(words)
        finally:
            sys.stderr.flush()
            os._exit(status)
    status = os.waitstatus_to_exitcode(os.waitpid(number, 0)[1])
    return Said(status, (scratch / "said").read_text(errors="replace"))


@contextlib.contextmanager
def disk(folder: Path, options: str) -> Iterator[None]:
    """Lets a small disk lie at `folder`."""
    folder.mkdir(exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", folder], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", folder], check=True)


def grow(folder: Path) -> None:
    """Gives the disk room."""
    subprocess.run(["mount", "-o", f"remount,{ROOMY}", folder], check=True)


def row(what: str, options: str, sentence: str, folder: Path) -> None:
    """Prints one line of the table."""
    print(f"{what:12} {options:14} {sentence.replace(str(folder), '')[:110]}", flush=True)


def begun(words: list[str], small: Path, options: str, like: Path) -> bool:
    """Fills a disk with a run; returns whether it did, after the run was resumed and compared."""
    run = small / "runs" / "full"
    with disk(small, options):
        said = call(words, small.parent)
        if said.status == 0:
            return False
        sentence = said.as_refused()
        if (run / "checksums.json").is_file() and verify(run).problems:
            raise SystemExit(f"{options}: {verify(run).problems}")
        grow(small)
        again = call([*words, *(["--resume"] if run.is_dir() else [])], small.parent)
        if again.status != 0:
            raise SystemExit(f"{options}: it does not go on: {again.errors}")
        if words[0] != "extract":
            differs = [n for n in SAME if (run / n).read_bytes() != (like / n).read_bytes()]
            if differs or verify(run).problems:
                raise SystemExit(f"{options}: {differs} {verify(run).problems}")
        row(words[0], options, sentence, small.parent)
    return True


def written(what: str, small: Path, run: Path, kib: int) -> bool:
    """Writes an output on a disk that has `kib` left; returns whether that was too little."""
    names = {"DISK": small, "MANIFEST": small.parent / "m.csv", "RUN": run}
    if what == "report":  # it stands in its run
        names["RUN"] = small / "run"
    words = OUTPUTS[what]
    for name, path in names.items():
        words = [word.replace(name, str(path)) for word in words]
    with disk(small, ROOMY):
        shutil.copytree(run, small / "run")
        (small / "run" / "report.html").unlink()
        before = {p for p in small.rglob("*") if p.is_file()}
        room = os.statvfs(small)
        used = (room.f_blocks - room.f_bfree) * room.f_frsize // 1024
        subprocess.run(["mount", "-o", f"remount,size={used + kib}k", small], check=True)
        said = call(words, small.parent)
        if said.status == 0:
            return False
        sentence = said.as_refused()
        left = {p for p in small.rglob("*") if p.is_file()} - before
        left -= {small / "run" / "report.html"}  # whole; what could not be written is its record
        if left or verify(small / "run").problems:
            raise SystemExit(f"{what}: left {left} {verify(small / 'run').problems}")
        row(what, f"{kib}k left", sentence, small.parent)
    return True


def main(step: int = 64) -> None:
    """Prints what every command said of every disk."""
    home = Path(tempfile.mkdtemp(prefix="full-disk-"))
    small, count = home / "small", 0
    write_manifest(home)
    like = {}
    for name, more in (("train", []), ("distill", ["model.kind=concat"])):
        config = settings(home, name, *WORDS, *more)
        words = [name, str(like["train"])] if name == "distill" else [name]
        save(config, home / f"{name}.yaml")
        if call([*words, str(home / f"{name}.yaml")], home).status:
            raise SystemExit((home / "said").read_text())
        like[name] = Path(config.path)
    for verb in ("extract", "train", "distill"):
        config = settings(home, "full", *WORDS, *(["model.kind=concat"] * (verb == "distill")))
        config.runs_dir, config.features.store = str(small / "runs"), str(small / "store")
        save(config, home / "full.yaml")
        words = [
            verb,
            *([str(like["train"])] if verb == "distill" else []),
            str(home / "full.yaml"),
        ]
        for kind, unit, size in (("size", "k", step), ("nr_inodes", "", max(1, step // 8))):
            other = "" if kind == "size" else "size=64m,"
            for k in range(1, 10**6):
                options = f"{other}{kind}={k * size}{unit}"
                if not begun(words, small, options, like.get(verb, home)):
                    break
                count += 1
    for what in OUTPUTS:
        kib = 0
        while written(what, small, like["train"], kib):
            count, kib = count + 1, 2 * kib + 4
    shutil.rmtree(home)
    print(
        f"{count} times full: one sentence each, and the same runs as without once there was room"
    )


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))

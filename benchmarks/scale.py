"""What whole runs cost as the table grows: CPU seconds, peak memory, disk and how fast they grow.

    python benchmarks/scale.py WORK [--sizes 10000 100000 1000000] [--classes 7] [--views 1]
                               [--verbs] [-o benchmarks/results/scale]

Made-up vectors of 256 numbers a view (classes are Gaussians; right for cost, without meaning for
quality) in one .npz, a table beside them with --labels labelled rows and a speaker every 100 rows.
Each cell is `semi train` of it, whole, in a process of its own: default recipe, tracking on. With
--verbs the commands that read such a run follow, each in its own process: check, select, predict
(as many new rows, to Parquet), evaluate, report, next, verify, and the lists of the review page.

CPU seconds are of all threads of the process, user and system; peak is its largest resident set,
pages of mapped files among it; disk is the run's folder. The exponent of a cell is log(cost / cost
before) / log(rows / rows before), of the next smaller size with as many classes and views: 1 is
linear.

With -o the cells are kept in FILE.csv, those measured anew in place of the old ones, and FILE.md is
made of all of them. WORK takes about 1 KB a row and view, with --verbs twice that, and 2 KB a row
for each run; all tables stay there, with their runs.
"""

from __future__ import annotations

import argparse
import csv
import importlib.metadata
import math
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
DIMS = 256
CHUNK = 4096  # rows made at once: this program must stay smaller than what it measures
LISTS = """
import sys
from semi.review.query import Query
from semi.review.rows import review_table
from semi.review.server import Requests
index = Requests(review_table(sys.argv[1]), "").index
for asked in ({}, {"order": "confidence"}, {"q": "r1"}, {"part": "held-out"}, {"order": "margin"}):
    index.select(Query(**asked), {}, set())
"""


@dataclass
class Cell:
    """What one command cost on one table."""

    rows: int
    classes: int
    views: int
    command: str
    cpu_seconds: float
    peak_mb: float
    disk_mb: float  # of the run's folder; of predict of what it wrote
    machine: str

    @property
    def key(self) -> tuple[int, int, int, str]:
        """Says which cell it is."""
        return self.classes, self.views, self.rows, self.command


def make_table(folder: Path, rows: int, classes: int, views: int, labels: int, seed: int) -> None:
    """Writes table.csv and features.npz with arrays view0, view1 ... of so many rows.

    Args:
        folder: where to.
        rows: of the table; every (rows / labels)-th has a label.
        classes: the same Gaussians whatever the seed is.
        views: arrays.
        labels: rows with a label; 0 = none.
        seed: of the rows.
    """
    draw = np.random.default_rng(seed)
    label = draw.integers(classes, size=rows)
    step = rows // labels if labels else 0
    with open(folder / "table.csv", "w", encoding="utf-8", newline="\n") as file:
        file.write("id,label,speaker\n")
        for i in range(rows):
            name = f"c{label[i]}" if step and i % step == 0 and i < step * labels else ""
            file.write(f"r{seed}-{i:08d},{name},s{i * 7919 % rows // 100}\n")
    middles = np.random.default_rng(0).normal(size=(views, classes, DIMS)).astype(np.float32)
    with zipfile.ZipFile(folder / "features.npz", "w") as archive:
        names = (f"r{seed}-{i:08d}".encode() for i in range(rows))
        chunks = (np.array(list(part), "S11") for part in _parts(names))
        _write_array(archive, "id", (rows,), np.dtype("U11"), (c.astype("U11") for c in chunks))
        for view in range(views):
            values = (
                0.12 * middles[view][label[at : at + CHUNK]]
                + draw.standard_normal((len(label[at : at + CHUNK]), DIMS), np.float32)
                for at in range(0, rows, CHUNK)
            )
            _write_array(archive, f"view{view}", (rows, DIMS), np.dtype("f4"), values)


def _parts(names: Iterator[bytes]) -> Iterator[list[bytes]]:
    part: list[bytes] = []
    for name in names:
        part.append(name)
        if len(part) == CHUNK:
            yield part
            part = []
    if part:
        yield part


def _write_array(
    archive: zipfile.ZipFile, name: str, shape: tuple[int, ...], kind: np.dtype,
    chunks: Iterator[np.ndarray],
) -> None:  # fmt: skip
    """Adds an array to an .npz without ever holding it."""
    with archive.open(f"{name}.npy", "w", force_zip64=True) as file:
        facts = {"descr": kind.str, "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_2_0(file, facts)
        for chunk in chunks:
            file.write(chunk.astype(kind).tobytes())


def measured(words: list[str], folder: Path) -> tuple[float, float]:
    """Returns CPU seconds and peak MB of a Python process, run to its end in a folder."""
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    with open(folder / "output.txt", "w", encoding="utf-8") as output:
        child = subprocess.Popen(
            [sys.executable, *words], cwd=folder, env=environment, stdout=output, stderr=output
        )
        _, status, usage = os.wait4(child.pid, 0)
    if status:
        said = (folder / "output.txt").read_text(encoding="utf-8")[-2000:]
        raise SystemExit(f"{' '.join(words[:4])} failed:\n{said}")
    unit = 2**20 if sys.platform == "darwin" else 2**10  # of ru_maxrss: bytes there, KB elsewhere
    return usage.ru_utime + usage.ru_stime, usage.ru_maxrss / unit


def size_mb(path: Path) -> float:
    """Returns the size of a file, or of all files of a folder."""
    files = [path] if path.is_file() else [p for p in path.rglob("*") if p.is_file()]
    return sum(p.stat().st_size for p in files) / 2**20


def settings(table: Path, views: int) -> list[str]:
    """Returns what `semi train` is told of a table of vectors."""
    words = [f"data.manifest={table}", "features.store=store", "runs_dir=.", "name=run"]
    words += ["encoders.text.model=none", "encoders.speech.model=precomputed"]
    words.append("encoders.speech.path=features.npz:view0")
    return words + [f"encoders.extra.view{i}.path=features.npz:view{i}" for i in range(1, views)]


def commands(folder: Path, views: int, verbs: bool) -> Iterator[tuple[str, list[str], Path]]:
    """Yields name, words and what is written of each command that is measured, in their order."""
    semi, told, run = ["-m", "semi"], settings(folder / "table.csv", views), folder / "run"
    yield "train", [*semi, "train", *told], run
    if not verbs:
        return
    arrays = ["speech=new/features.npz:view0"]
    arrays += [f"view{i}=new/features.npz:view{i}" for i in range(1, views)]
    more = [word for array in arrays for word in ("--arrays", array)]
    yield "check", [*semi, "check", *told], run
    yield "select", [*semi, "select", "--dry-run", "run"], run
    said = folder / "said.parquet"
    new = ["predict", "run", "--manifest", "new/table.csv", *more, "-o", said.name]
    yield "predict", [*semi, *new], said
    for verb in ("evaluate", "report", "next", "verify"):
        yield verb, [*semi, verb, "run"], run
    yield "review lists", ["-c", LISTS, "run"], run


def cells(work: Path, rows: int, classes: int, views: int, args: argparse.Namespace):
    """Yields the cells of one table, whose files it makes first."""
    folder = work / f"{rows}-{classes}-{views}"
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "new").mkdir(parents=True)
    make_table(folder, rows, classes, views, min(args.labels, rows // 3), 1)
    if args.verbs:
        make_table(folder / "new", rows, classes, views, 0, 2)
    for name, words, written in commands(folder, views, args.verbs):
        cpu, peak = measured(words, folder)
        yield Cell(rows, classes, views, name, round(cpu, 2), round(peak, 1),
                   round(size_mb(written), 2), machine())  # fmt: skip


def machine() -> str:
    """Returns processor and versions."""
    names = ("numpy", "pandas", "pyarrow", "torch")
    versions = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in names)
    threads = os.environ.get("OMP_NUM_THREADS", "not set")
    return (
        f"{processor()}, {os.cpu_count()} cores, OMP_NUM_THREADS {threads}, "
        f"Python {platform.python_version()}, {versions}"
    )


def processor() -> str:
    """Returns the processor's name as Linux has it, else its kind."""
    facts = Path("/proc/cpuinfo")
    lines = facts.read_text(encoding="utf-8").splitlines() if facts.is_file() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def exponent(cell: Cell, others: dict[tuple, Cell]) -> float | None:
    """Returns how CPU seconds grew from the next smaller table, None where there is none."""
    smaller = [c for c in others.values() if (c.classes, c.views, c.command) ==
               (cell.classes, cell.views, cell.command) and c.rows < cell.rows]  # fmt: skip
    if not smaller:
        return None
    before = max(smaller, key=lambda c: c.rows)
    more = math.log(max(cell.cpu_seconds, 0.01) / max(before.cpu_seconds, 0.01))
    return more / math.log(cell.rows / before.rows)


def line_of(cell: Cell, others: dict[tuple, Cell]) -> str:
    """Returns a cell as a line of the table."""
    grown = exponent(cell, others)
    return (
        f"| {cell.command} | {cell.rows:,} | {cell.classes} | {cell.views} | "
        f"{cell.cpu_seconds:.1f} | {cell.peak_mb:,.0f} | {cell.disk_mb:,.1f} | "
        f"{'' if grown is None else f'{grown:.2f}'} |"
    )


HEAD = (
    "| command | rows | classes | views | CPU s | peak MB | disk MB | exponent |\n"
    "|---|---|---|---|---|---|---|---|"
)


def read_cells(path: Path) -> dict[tuple, Cell]:
    """Returns the cells that a file keeps, none where there is no file."""
    if not path.is_file():
        return {}
    kinds = {"int": int, "float": float, "str": str}
    with path.open(encoding="utf-8", newline="") as file:
        found = [Cell(**{f.name: kinds[str(f.type)](row[f.name]) for f in fields(Cell)})
                 for row in csv.DictReader(file)]  # fmt: skip
    return {cell.key: cell for cell in found}


def write_cells(path: Path, found: dict[tuple, Cell]) -> None:
    """Writes all cells as path.csv and path.md."""
    order = [found[key] for key in sorted(found)]
    with path.with_suffix(".csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, [f.name for f in fields(Cell)], lineterminator="\n")
        writer.writeheader()
        writer.writerows(asdict(cell) for cell in order)
    machines = sorted({cell.machine for cell in order})
    commands_in_order = list(dict.fromkeys(c.command for c in order if c.command != "train"))
    lines = ["`python benchmarks/scale.py WORK`: its docstring says what is measured.", ""]
    lines += [f"- {name}" for name in machines] + ["", HEAD]
    for command in ("train", *commands_in_order):
        lines += [line_of(cell, found) for cell in order if cell.command == command]
    path.with_suffix(".md").write_text("\n".join(lines) + "\n", encoding="utf-8")


def main() -> None:
    """Parses the command line, prints the table and keeps it."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("work", nargs="?", help="folder of the tables and runs; left out: a "
                                                "temporary one, removed at the end")  # fmt: skip
    parser.add_argument("--sizes", type=int, nargs="+", default=[10**4, 10**5, 10**6])
    parser.add_argument("--classes", type=int, nargs="+", default=[7])
    parser.add_argument("--views", type=int, nargs="+", default=[1])
    parser.add_argument("--labels", type=int, default=1000, help="at most one row in three")
    parser.add_argument("--verbs", action="store_true", help="the commands that read the run, too")
    parser.add_argument("-o", "--output", type=Path, help="FILE without ending: FILE.csv, FILE.md")
    args = parser.parse_args()
    found = read_cells(args.output.with_suffix(".csv")) if args.output else {}
    print(machine(), HEAD, sep="\n", flush=True)
    with tempfile.TemporaryDirectory() as temporary:
        work = Path(args.work or temporary).absolute()
        for views in args.views:
            for classes in args.classes:
                for rows in sorted(args.sizes):
                    for cell in cells(work, rows, classes, views, args):
                        found[cell.key] = cell
                        print(line_of(cell, found), flush=True)
                        if args.output:
                            write_cells(args.output, found)


if __name__ == "__main__":
    main()

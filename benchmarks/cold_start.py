"""CPU-seconds from a cold start to an answer, beside those of importing torch alone.

    python benchmarks/cold_start.py [--rounds 5] [--whisper FOLDER]

Each command is a process of its own; what counts is its CPU time and its children's, user and
system, as the median over the rounds, which run all commands in turn. One thread, files in the page
cache, bytecode cached (a first run of each is not counted). The runs that predict are made first of
a few bundled recordings: what a start costs does not depend on how well a model learned. The HuBERT
has the true size and random weights. The ONNX row needs the extra `onnx`.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import os
import platform
import re
import resource
import statistics
import subprocess
import sys
import tempfile
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pandas as pd
import soundfile
from extract import processor, random_hubert

ROOT = Path(__file__).resolve().parents[1]
EMODB = ROOT / "examples" / "emodb"
SEMI = [sys.executable, "-m", "semi"]
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1"}
ENVIRONMENT.pop("PYTHONDONTWRITEBYTECODE", None)


def cpu_seconds(command: list[str]) -> float:
    """Returns the CPU time of a process and its children; stops where it fails."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env=ENVIRONMENT)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode:
        sys.exit(f"{' '.join(command)}\n{done.stderr}")
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def train(folder: Path, name: str, *words: str) -> str:
    """Trains a run on a few recordings of each speaker and returns its folder."""
    table = pd.read_csv(EMODB / "manifest.csv", dtype=str)
    table = table[table["label"].isin(["anger", "sadness", "neutral"])]
    table = table.groupby(["speaker", "label"]).head(1).head(18)
    table["audio"] = [str(EMODB / name) for name in table["audio"]]
    table.to_csv(folder / "few.csv", index=False)
    settings = [
        f"name={name}", f"runs_dir={folder}/runs", f"features.store={folder}/store",
        f"data.manifest={folder}/few.csv", "recipe=none", "rounds.max_rounds=0", "train.members=1",
        "train.steps=10", "train.folds=2", "contrast.pretrain_steps=0", "tracking=false", *words,
    ]  # fmt: skip
    cpu_seconds([*SEMI, "train", *settings])
    return str(folder / "runs" / name)


def onnx_command(folder: Path, run: str) -> list[str]:
    """Returns the command that asks an exported student by the script of docs/formats.md."""
    cpu_seconds([*SEMI, "export", run, "-o", str(folder / "student.onnx")])
    page = (ROOT / "docs" / "formats.md").read_text(encoding="utf-8")
    (script,) = re.findall(r"^```python\n(import json.*?)^```", page, flags=re.S | re.M)
    draw = np.random.default_rng(0)
    vectors = {"speech": draw.normal(size=(1, 395)), "text": draw.normal(size=(1, 512))}
    vectors = {name: value.astype(np.float32) for name, value in vectors.items()}
    np.savez(folder / "vectors.npz", present=np.ones((1, 2), bool), **vectors)
    return [sys.executable, "-c", script, str(folder / "student.onnx"), f"{folder}/vectors.npz"]


def commands(folder: Path, whisper: str) -> dict[str, list[str]]:
    """Returns every row of the table with its command."""
    import torch

    from semi.data.audio import load_audio

    sound = str(folder / "one.wav")
    soundfile.write(sound, load_audio(EMODB / "audio" / "03a01Fa.opus"), 16_000)
    torch.set_num_threads(1)
    random_hubert("random-base").save_pretrained(folder / "hubert-base")
    offline = train(folder, "offline", "encoders.speech.model=acoustic")
    alone = ["encoders.text.model=none", "precision=fp32"]
    hubert = train(folder, "hubert", f"encoders.speech.model={folder}/hubert-base", *alone)
    table = {
        "`python -c pass`": [sys.executable, "-c", "pass"],
        "`import torch`": [sys.executable, "-c", "import torch"],
        "`import torch`, HubertModel of transformers": [
            sys.executable, "-c", "import torch; from transformers import HubertModel",
        ],
        "`semi --version`": [*SEMI, "--version"],
        "`semi --help`": [*SEMI, "--help"],
        "`semi check configs/demo.yaml`": [*SEMI, "check", "configs/demo.yaml"],
        "`semi predict RUN one.wav`, offline encoders": [*SEMI, "predict", offline, sound],
        "the same with `--text`": [*SEMI, "predict", offline, sound, "--text", "Der Lappen liegt."],
        "`semi predict RUN one.wav`, HuBERT-base": [*SEMI, "predict", hubert, sound],
    }  # fmt: skip
    if whisper:
        run = train(folder, "whisper", f"encoders.speech.model={whisper}", *alone)
        table["`semi predict RUN one.wav`, Whisper-base"] = [*SEMI, "predict", run, sound]
    if all(find_spec(name) for name in ("onnx", "onnxruntime", "onnxscript")):
        table["an exported ONNX student, from vectors"] = onnx_command(folder, offline)
    return table


def main() -> None:
    """Makes the runs, times every command and prints the table as Markdown."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--whisper", default="", help="folder of a Whisper-base encoder")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="cold-") as folder:
        table = commands(Path(folder), args.whisper)
        spent: dict[str, list[float]] = {name: [] for name in table}
        for number in range(args.rounds + 1):
            for name, command in table.items():
                seconds = cpu_seconds(command)
                if number:  # the first fills the caches
                    spent[name].append(seconds)
    versions = [f"{name} {importlib.metadata.version(name)}" for name in
                ("torch", "transformers", "numpy", "pandas", "onnxruntime")
                if find_spec(name)]  # fmt: skip
    print("# From a cold start to an answer\n")
    print(
        f"`python benchmarks/cold_start.py`: {processor()}, one thread; Python "
        f"{platform.python_version()}, {', '.join(versions)}. CPU-seconds of the whole process, "
        f"median (least) of {args.rounds} rounds. The sound has 2 s.\n"
    )
    whole = statistics.median(spent["`import torch`"])
    print("| command | CPU-seconds | of `import torch` |\n|---|---|---|")
    for name, seconds in spent.items():
        median = statistics.median(seconds)
        print(f"| {name} | {median:.2f} ({min(seconds):.2f}) | {median / whole:.2f} x |")


if __name__ == "__main__":
    main()

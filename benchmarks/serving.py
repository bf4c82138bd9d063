"""Load on `semi serve RUN`, against one `model.predict` call per request in process.

    python benchmarks/serving.py [RUN] [--clients 1 4 16] [--requests 300 600 10000]

Without a run one is trained on the bundled speech with the demo's settings. A client sends its next
request when it has the answer to the last (closed loop), over one connection. Both sides label the
same recordings with the same texts, and their answers are compared before anything is timed. CPU
seconds and memory are the server's own; the clients run on the same machine beside it, so requests
a second are a lower bound.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import platform
import re
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

import semi
from semi.data.corpora import bundled_emodb

ROOT = Path(__file__).resolve().parents[1]
DISTINCT = 40  # recordings, sent in turn
EVERY = 250  # requests between two looks at the server's memory


@dataclass
class Load:
    """What one load came to."""

    clients: int
    requests: int
    seconds: float
    latencies: list[float]  # seconds, sorted
    cpu: float  # seconds of the server
    memory: list[float]  # MB of the server, over time
    refused: int

    def cells(self) -> list[str]:
        """Returns the row of the table."""
        at = [1000 * self.latencies[int(q * (len(self.latencies) - 1))] for q in (0.5, 0.99)]
        per = 1000 * self.cpu / self.requests
        flat = f"{self.memory[len(self.memory) // 10]:.0f} -> {self.memory[-1]:.0f}"
        return [str(self.clients), f"{self.requests:,}", f"{self.requests / self.seconds:.1f}",
                f"{at[0]:.0f}", f"{at[1]:.0f}", f"{per:.1f}", flat, str(self.refused)]  # fmt: skip


def utterances(count: int = DISTINCT) -> list[tuple[Path, str]]:
    """Returns real recordings with what is said in them."""
    table = pd.read_csv(bundled_emodb(), dtype=str, keep_default_na=False)
    table = table.iloc[:: max(1, len(table) // count)].head(count)
    return [(bundled_emodb().parent / a, t)
            for a, t in zip(table["audio"], table["text"], strict=True)]  # fmt: skip


def trained(folder: Path) -> Path:
    """Trains the demo's run without a word, and returns its folder."""
    words = [f"runs_dir={folder}", f"features.store={folder}/store", "name=served", "threads=1",
             "tracking=false", "rounds.max_rounds=1"]  # fmt: skip
    config = semi.load_config(ROOT / "configs" / "demo.yaml", words)
    return semi.self_train(config, progress=False).path


def body_of(sound: Path, text: str) -> bytes:
    """Returns the form that a client sends."""
    head = 'Content-Disposition: form-data; name="{}"{}\r\n\r\n'
    return b"".join([
        b"--b\r\n", head.format("file", '; filename="a"').encode(), sound.read_bytes(),
        b"\r\n--b\r\n",
        head.format("text", "").encode(), text.encode(), b"\r\n--b--\r\n",
    ])  # fmt: skip


@contextmanager
def server(run: Path) -> Iterator[tuple[int, int]]:
    """Runs `semi serve RUN` as a process of its own; yields its process and its port."""
    process = subprocess.Popen(
        [sys.executable, "-m", "semi", "serve", str(run), "--port", "0"],
        stdout=subprocess.PIPE, text=True, cwd=ROOT,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )  # fmt: skip
    assert process.stdout is not None
    try:
        line = next(line for line in process.stdout if "http://" in line)
        port = re.search(r":(\d+)/", line)
        assert port is not None
        yield process.pid, int(port.group(1))
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(60)
        process.stdout.close()


def cpu_seconds(pid: int) -> float:
    """Returns the CPU seconds of a process so far (Linux)."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def memory_mb(pid: int) -> float:
    """Returns the resident memory of a process in MB (Linux)."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6


def loaded(pid: int, port: int, bodies: list[bytes], requests: int, clients: int) -> Load:
    """Sends so many requests from so many clients, and returns what came of it."""
    latencies: list[float] = []
    memory = [memory_mb(pid)]
    refused, turn, lock = [0], iter(range(requests)), threading.Lock()

    def client() -> None:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
        while True:
            with lock:
                k = next(turn, None)
            if k is None:
                connection.close()
                return
            begun = time.perf_counter()
            status = asked(connection, bodies[k % len(bodies)])[0]
            took = time.perf_counter() - begun
            with lock:
                latencies.append(took)
                refused[0] += status != 200
                if len(latencies) % EVERY == 0:
                    memory.append(memory_mb(pid))

    threads = [threading.Thread(target=client) for _ in range(clients)]
    begun, cpu = time.perf_counter(), cpu_seconds(pid)
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    seconds, cpu = time.perf_counter() - begun, cpu_seconds(pid) - cpu
    memory.append(memory_mb(pid))
    return Load(clients, requests, seconds, sorted(latencies), cpu, memory, refused[0])


def asked(connection: http.client.HTTPConnection, body: bytes) -> tuple[int, dict]:
    """Sends one utterance and returns status and answer."""
    headers = {"Content-Type": "multipart/form-data; boundary=b"}
    connection.request("POST", "/predict", body, headers)
    answer = connection.getresponse()
    return answer.status, json.loads(answer.read())


def baseline(run: Path, rows: list[tuple[Path, str]], requests: int) -> tuple[list[dict], list]:
    """Labels by one call of `model.predict` each; returns answers, and (CPU, wall) seconds."""
    model, answers, took = semi.load(run), [], []
    model.predict([str(rows[0][0])], texts=[rows[0][1]])  # imports, and weights from the disk
    for k in range(max(requests, len(rows))):
        sound, text = rows[k % len(rows)]
        begun, wall = time.process_time(), time.perf_counter()
        table = model.predict([str(sound)], texts=[text])
        took.append((time.process_time() - begun, time.perf_counter() - wall))
        if k < len(rows):
            answers.append(table.iloc[0].to_dict())
    return answers, took


def apart(answer: dict, row: dict) -> float:
    """Returns the largest difference of a probability between an answer and a row of predict."""
    return max(abs(p - row[f"p_{name}"]) for name, p in answer["probabilities"].items())


def processor() -> str:
    """Returns the processor's name."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.is_file() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return f"{names[0] if names else platform.machine()}, {os.cpu_count()} cores"


def table_of(loads: list[Load], took: list, difference: float, rows: int) -> str:
    """Returns what was measured, as Markdown."""
    import fastapi
    import torch
    import uvicorn

    cpu, wall = (statistics.mean(pair[k] for pair in took) for k in (0, 1))
    best = min(load.cpu / load.requests for load in loads)
    lines = [
        f"{processor()}; Python {platform.python_version()}, torch {torch.__version__}, fastapi "
        f"{fastapi.__version__}, uvicorn {uvicorn.__version__}; one compute thread.",
        "",
        f"{rows} recordings of the bundled speech in turn, each with its text. Largest difference "
        f"of a probability to `model.predict`: {difference:.1e}.",
        "",
        "| clients | requests | requests/s | p50 ms | p99 ms | CPU ms a request | server's MB, "
        "after a tenth and at the end | not answered |",
        "|---|---|---|---|---|---|---|---|",
        *("| " + " | ".join(load.cells()) + " |" for load in loads),
        "",
        f"One `model.predict` call per request in process: {1 / wall:.1f} requests/s, "
        f"{1000 * cpu:.1f} CPU ms each ({len(took)} calls). The service takes "
        f"{best / cpu:.2f} of that CPU time, its HTTP included.",
    ]
    return "\n".join(lines) + "\n"


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("run", nargs="?", type=Path)
    parser.add_argument("--clients", type=int, nargs="+", default=[1, 4, 16])
    parser.add_argument("--requests", type=int, nargs="+", default=[300, 600, 10_000],
                        help="of each load")  # fmt: skip
    parser.add_argument("--calls", type=int, default=100, help="of the baseline")
    parser.add_argument("--output", type=Path)
    args = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = "1"
    with tempfile.TemporaryDirectory(prefix="semi-") as place:
        run = args.run or trained(Path(place))
        rows = utterances(min(DISTINCT, args.calls))
        bodies = [body_of(*row) for row in rows]
        expected, took = baseline(run, rows, args.calls)
        with server(run.resolve()) as (pid, port):
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
            answers = [asked(connection, body)[1] for body in bodies]
            connection.close()
            difference = max(apart(a, e) for a, e in zip(answers, expected, strict=True))
            if difference > 1e-6:
                sys.exit(f"the answers differ by {difference:.1e}: nothing is timed")
            pairs = zip(args.requests, args.clients, strict=True)
            loads = [loaded(pid, port, bodies, *pair) for pair in pairs]
    text = table_of(loads, took, difference, len(rows))
    print(text, end="")
    if args.output:
        args.output.write_text(f"# Serving\n\n{text}", encoding="utf-8")


if __name__ == "__main__":
    main()

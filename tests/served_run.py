"""A run as a service, for the tests: in this process, or as `semi serve` runs it."""

import re
import signal
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).parents[1]
EXTRAS = ("fastapi", "prometheus_client", "python_multipart", "uvicorn")


@contextmanager
def service(run, *words):
    """Runs `semi serve RUN` as a process of its own; yields it, its address and what it said."""
    server = subprocess.Popen(
        [sys.executable, "-m", "semi", "serve", str(run), "--port", "0", *words],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=ROOT,
        # a shell that runs the tests in the background hands down SIGINT as ignored
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )  # fmt: skip
    assert server.stdout is not None
    told = []
    try:
        for line in server.stdout:
            told.append(line)
            if address := re.search(r"serving \S+ at (http://[^ ]+?)/ ", line):
                yield server, address.group(1), "".join(told)
                return
        raise AssertionError("".join(told))
    finally:
        server.kill()
        server.wait()
        server.stdout.close()

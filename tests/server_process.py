"""A command of semi that serves, run as a process of its own."""

import re
import signal
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).parents[1]


@contextmanager
def server_process(words, address):
    """Runs `semi WORDS`; yields it, the match of `address` in its lines, and the lines so far."""
    server = subprocess.Popen(
        [sys.executable, "-m", "semi", *words],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=ROOT,
        # a shell that runs the tests in the background hands down SIGINT as ignored
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )  # fmt: skip
    assert server.stdout is not None
    lines = []
    try:
        for line in server.stdout:
            lines.append(line)
            if found := re.search(address, line):
                yield server, found, "".join(lines)
                return
        raise AssertionError("".join(lines))
    finally:
        server.kill()
        server.wait()
        server.stdout.close()

"""A run as a service, for the tests: in this process, or as `semi serve` runs it."""

import re
import signal
import socket
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


@contextmanager
def listening(app):
    """Serves an application in a thread of this process; yields (host, port)."""
    import threading
    import time

    import uvicorn

    listener = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(app, log_level="critical", ws="none"))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    try:
        while not server.started:
            time.sleep(0.005)
        yield listener.getsockname()
    finally:
        server.should_exit = True
        thread.join()
        listener.close()


def exchanged(place, *pieces, pause=0.0):
    """Sends bytes over a bare connection, piece by piece, and returns all that comes back."""
    import time

    with socket.create_connection(place, timeout=60) as connection:
        for piece in pieces:
            try:
                connection.sendall(piece)
            except OSError:  # it has answered and closed
                break
            time.sleep(pause)
        found = b""
        try:
            while block := connection.recv(65536):
                found += block
        except ConnectionResetError:
            pass
    return found

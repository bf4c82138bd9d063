"""A run as a service, for the tests: in this process, or as `semi serve` runs it."""

import socket
from contextlib import contextmanager

from server_process import server_process

EXTRAS = ("fastapi", "prometheus_client", "python_multipart", "uvicorn")


@contextmanager
def service(run, *words):
    """Runs `semi serve RUN` as a process of its own; yields it, its address and what it said."""
    told = ["serve", str(run), "--port", "0", *words]
    with server_process(told, r"serving \S+ at (http://[^ ]+?)/ ") as (server, address, lines):
        yield server, address.group(1), lines


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

"""`semi serve RUN`: the service on this machine, until Ctrl-C."""

from __future__ import annotations

import contextlib
import os
import socket
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import SemiError, how_to_install
from ..host_names import is_loopback
from .called import called_as

if TYPE_CHECKING:
    from .labelling import RunLabeller

LOOPBACK = "127.0.0.1"
TOKEN = "SEMI_SERVE_TOKEN"  # the environment's, where --token would stand in the list of processes
NEEDED = (
    "semi serve needs fastapi, uvicorn, python-multipart and prometheus-client: "
    f"{how_to_install('serve')}"
)


def serve(
    run: str | Path, *, host: str = LOOPBACK, port: int = 8000, token: str = "", queue: int = 64,
    most_mb: float = 32.0, seconds: float = 30.0, names: Sequence[str] = (),
) -> str:  # fmt: skip
    """Serves a finished run until Ctrl-C; returns the sentence that ends it.

    Args:
        run: folder of a finished run, or of its model.
        host: address to listen at; any but the loopback's is open to others.
        port: 0 = any that is free.
        token: what requests must bring; '' = SEMI_SERVE_TOKEN of the environment, or nothing.
        queue: utterances that may wait.
        most_mb: megabytes of a request.
        seconds: until an utterance must be labelled.
        names: by which it may be called, too, where no token is needed.
    """
    try:
        import fastapi  # noqa: F401 # pyright: ignore[reportMissingImports]
        import prometheus_client  # noqa: F401 # pyright: ignore[reportMissingImports]
        import python_multipart  # noqa: F401 # pyright: ignore[reportMissingImports]
        import uvicorn

        from .app import ServiceLimits, serving_app
        from .uploads import UploadLimits
    except ImportError:
        raise SemiError(NEEDED) from None
    from .labelling import RunLabeller

    _check(queue, most_mb, seconds)
    called, token = called_as(host, names), token or os.environ.get(TOKEN, "")
    labeller = RunLabeller(run)
    with contextlib.closing(_listening(host, port)) as listener:
        labeller.warm_up()
        uploads = UploadLimits(bytes=int(most_mb * 1e6), files=min(32, queue))
        limits = ServiceLimits(uploads, places=queue, seconds=seconds)
        app = serving_app(labeller, limits, token, None if token else called)
        _announce(labeller, host, listener.getsockname()[1], token)
        server = uvicorn.Server(
            uvicorn.Config(
                app, log_level="warning", access_log=False, ws="none", server_header=False,
                timeout_keep_alive=5, timeout_graceful_shutdown=int(seconds) + 1,
            )
        )  # fmt: skip
        with contextlib.suppress(KeyboardInterrupt):  # uvicorn ends at Ctrl-C, then raises it again
            server.run(sockets=[listener])
    return "ended"


def _check(queue: int, most_mb: float, seconds: float) -> None:
    if not 1 <= queue <= 10_000:
        raise SemiError(f"--queue must be from 1 to 10000 utterances, got {queue}")
    if not 0.1 <= most_mb <= 2_000:
        raise SemiError(f"--max-mb must be from 0.1 to 2000, got {most_mb:g}")
    if not 0.1 <= seconds <= 3_600:
        raise SemiError(f"--timeout must be from 0.1 to 3600 seconds, got {seconds:g}")


def _announce(labeller: RunLabeller, host: str, port: int, token: str) -> None:
    shown = f"[{host}]" if ":" in host else host
    if not is_loopback(host):
        open_to = "whoever has the token" if token else "anybody: set --token"
        print(
            f"semi: warning: {host} can be reached from other machines, by {open_to}. What is sent "
            "is not encrypted: put a proxy with TLS in front",
            file=sys.stderr, flush=True,
        )  # fmt: skip
    address = f"http://{shown}:{port}"
    bearer = ' -H "Authorization: Bearer TOKEN"' if token else ""
    print(
        f"serving {labeller.name} at {address}/ (docs: /docs, health: /health, metrics: /metrics), "
        f"for example\n\n  {example(labeller, address, bearer)}\n\n"
        "Ctrl-C ends it.",
        flush=True,
    )


def example(labeller: RunLabeller, address: str, header: str = "") -> str:
    """Returns a call of curl that sends what the model reads; `header` is an option of curl's."""
    reads = labeller.reads()
    parts = " -F file=@a.wav" * reads["sound"] + ' -F text="what was said"' * reads["text"]
    if parts:
        return f"curl{header}{parts} {address}/predict"
    vectors = ", ".join(f'"{m}": [{w} numbers]' for m, w in labeller.sendable.items())
    body = f"""'{{"rows": [{{"vectors": {{{vectors}}}}}]}}'"""
    return f'curl{header} -H "Content-Type: application/json" -d {body} {address}/predict/batch'


def _listening(host: str, port: int) -> socket.socket:
    """Returns a socket that listens there; SemiError says why it cannot."""
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
    except OSError as error:
        raise SemiError(f"--host {host}: {error.strerror or error}; name an address of this "
                        "machine, such as 127.0.0.1 or 0.0.0.0") from None  # fmt: skip
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
        listener.listen(256)
    except OSError as error:
        listener.close()
        raise SemiError(
            f"{host}:{port} cannot be listened at: {error.strerror}; name another port with "
            "--port, or 0 for any that is free"
        ) from None
    return listener

"""`semi review RUN`: the page on this machine, until Ctrl-C."""

from __future__ import annotations

import contextlib
import secrets
import socket
import threading
import webbrowser
from collections.abc import Sequence
from pathlib import Path

from ..data.reviews import REVIEWS
from ..data.wording import counted
from ..errors import SemiError, how_to_install
from ..evaluation.reviewed_precision import precision_sentence
from .rows import ReviewTable, review_table

HOST = "127.0.0.1"
MISSING = f"semi review needs starlette and uvicorn: {how_to_install('review')}"


def serve(
    run: str | Path, *, port: int = 8765, browser: bool = True, reviewer: str = "",
    places: Sequence[str] = (),
) -> str:  # fmt: skip
    """Serves a run's review page until Ctrl-C; returns a sentence that says where reviews are.

    And how many of the run's pseudo-labels are right, once enough random rows were reviewed.

    Args:
        run: folder of a finished run.
        port: on 127.0.0.1; another one is taken where it is in use. 0 = any.
        browser: opens the page in the reader's browser.
        reviewer: name to begin with; '' = the page asks.
        places: where the run's data are now, such as data.manifest=moved/table.csv.
    """
    try:
        import uvicorn

        from .server import review_app
    except ImportError:
        raise SemiError(MISSING) from None
    table = review_table(run, places)
    token = secrets.token_urlsafe(24)
    app = review_app(table, token, reviewer)
    path = table.path / REVIEWS
    # uvicorn ends at Ctrl-C and then raises it again
    with contextlib.closing(_listening(port)) as listener, contextlib.suppress(KeyboardInterrupt):
        taken = listener.getsockname()[1]
        address = f"http://{HOST}:{taken}/?token={token}"
        if port not in (0, taken):
            print(f"port {port} is in use; taking {taken}")
        _announce(table, address, path)
        server = uvicorn.Server(
            uvicorn.Config(
                app, log_level="critical", access_log=False, lifespan="off", ws="none",
                server_header=False, timeout_graceful_shutdown=2,
            )
        )  # fmt: skip
        if browser:
            opening = threading.Timer(0.5, webbrowser.open, [address])
            opening.daemon = True
            opening.start()
        server.run(sockets=[listener])
    there = f"reviews are in {path}" if path.is_file() else "nothing was reviewed"
    try:
        stated = precision_sentence(table.path)
    except SemiError as error:  # where the reviews are is said in any case
        stated = f"what they say of the pseudo-labels cannot be told: {error}"
    return f"ended; {there}" + (f"\n{stated}" if stated else "")


def _announce(table: ReviewTable, address: str, path: Path) -> None:
    for note in table.notes:
        print(f"note: {note}")
    print(
        f"review {table.name} ({counted(len(table), 'row')}) at\n\n  {address}\n\n"
        "for this machine and "
        f"whoever has the address. Every review is written to {path}\nat once. Ctrl-C ends it.",
        flush=True,
    )


def _listening(port: int) -> socket.socket:
    """Returns a socket that listens on the loopback address: at the port, or at any free one."""
    for wanted in (port, 0):
        listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((HOST, wanted))
            listener.listen(128)
            return listener
        except PermissionError:
            listener.close()
            raise SemiError(
                f"--port {port} is not yours to use on this machine; name one above 1023"
            ) from None
        except OSError:
            listener.close()
    raise SemiError(f"no port is free on {HOST}")

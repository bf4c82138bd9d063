"""Who may talk to the review page: this machine, with the token, from the page itself.

A page of another site that is open in the same browser can send requests here. It is kept out four
times: it does not know the token, its Origin is another, a name that it points at this machine
(DNS rebinding) is no name of this machine, and nothing here allows it to read an answer.
"""

from __future__ import annotations

import hmac
import sys
from urllib.parse import parse_qs

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import ClientDisconnect
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ..host_names import host_name

LOOPBACK = ("127.0.0.1", "localhost", "::1")
TOKEN_HEADER = "x-review-token"
BODY_LIMIT = 16_384  # bytes of a request; a review has a few hundred
HEADERS = {
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=()",
}
NO_PAGE = "default-src 'none'; frame-ancestors 'none'; sandbox"  # of answers that are no page


class TooLargeError(Exception):
    """A request has a longer body than any review."""


class Guard:
    """Lets a request through to the application, or answers it with a sentence."""

    def __init__(self, app: ASGIApp, token: str) -> None:
        """Guards the application with a token."""
        self.app, self.token = app, token

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers one request."""
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return
        if scope["type"] != "http":
            return  # nothing here speaks WebSocket: the server refuses it
        begun = False

        async def hardened(message: Message) -> None:
            nonlocal begun
            if message["type"] == "http.response.start":
                begun = True
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers[name] = value
                headers.setdefault("Content-Security-Policy", NO_PAGE)
            await send(message)

        refused = self._refused(scope)
        try:
            if refused is None:
                await self.app(scope, _limited(receive), hardened)
                return
        except ClientDisconnect:
            return
        except TooLargeError:
            refused = 413, f"a request has at most {BODY_LIMIT} bytes"
        except Exception as error:  # a fault of ours: one line here, nothing of it to the client
            print(f"semi review: {type(error).__name__}: {error}", file=sys.stderr, flush=True)
            refused = 500, "something went wrong; the terminal of semi review says what"
        if not begun:
            status, sentence = refused
            await JSONResponse({"error": sentence}, status)(scope, receive, hardened)

    def _refused(self, scope: Scope) -> tuple[int, str] | None:
        """Returns the status and the sentence of a request that is not let through."""
        headers = Headers(scope=scope)
        host = headers.get("host", "")
        if len(headers.getlist("host")) != 1 or host_name(host) not in LOOPBACK:
            return 421, "this page is served on this machine alone, as 127.0.0.1 or localhost"
        for origin in headers.getlist("origin"):
            if origin != f"http://{host}":
                return 403, "requests of other sites are refused"
        entry = scope["path"] == "/"
        if headers.get("sec-fetch-site", "none") not in ("none", "same-origin") and not entry:
            return 403, "requests of other sites are refused"
        if scope["method"] not in ("GET", "HEAD", "POST"):
            return 405, "that cannot be done here"
        length = headers.get("content-length", "0")
        if not length.isdecimal() or int(length[:12]) > BODY_LIMIT:
            return 413, f"a request has at most {BODY_LIMIT} bytes"
        asked = parse_qs(scope["query_string"].decode("latin-1")).get("token", [""])
        given = headers.get(TOKEN_HEADER) or asked[0]
        if not hmac.compare_digest(given.encode(), self.token.encode()):
            return 403, "the address lacks its token: open the one that semi review printed"
        return None


def _limited(receive: Receive) -> Receive:
    """Counts what a body without a length brings."""
    read = 0

    async def counted() -> Message:
        nonlocal read
        message = await receive()
        read += len(message.get("body", b""))
        if read > BODY_LIMIT:
            raise TooLargeError
        return message

    return counted

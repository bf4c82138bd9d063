"""One address that speaks OpenAI's chat protocol: a question posted, tried again where that helps.

The standard library's client: of the packages that semi installs only huggingface-hub brings one,
and which one (requests, httpx, httpx2) depends on its version.
"""

from __future__ import annotations

import http.client
import json
import random
import socket
import ssl
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from typing import Any

from ..data.wording import shown
from ..errors import ConfigError, SemiError
from ..host_names import is_loopback
from .answers import ModelReply

AGAIN = (408, 409, 425, 429)  # and all from 500 on: the same question may be answered later
FATAL = (401, 402, 403, 404, 405, 407, 501)  # no question will be answered
REPLY_BYTES = 10_000_000  # of a reply
FIRST_WAIT, LONGEST_WAIT = 1.0, 60.0  # seconds before the first try again; at most by ourselves
LONGEST_ASKED = 900.0  # seconds that a server's Retry-After is heeded


class EndpointError(SemiError):
    """No question can be answered by this server: wrong address, key or model."""


class QuestionRefused(Exception):
    """The server will not answer this question, now or later; it may answer others."""


class NoReply(Exception):
    """The server did not answer, however often it was asked."""


@dataclass
class Endpoint:
    """Where questions are asked, and how patiently."""

    address: str  # of the API, such as http://127.0.0.1:8000/v1
    key: str = field(default="", repr=False)
    timeout: float = 60.0  # seconds for one reply, from the first byte sent to the last one read
    retries: int = 5
    per_minute: float = 0.0  # requests at most; 0 = no limit
    stop: threading.Event = field(default_factory=threading.Event, repr=False)

    def __post_init__(self) -> None:
        """Raises ConfigError where it is no address of an API."""
        self.address = api_address(self.address)
        if not (self.key.isascii() and self.key.isprintable() and " " not in self.key):
            raise ConfigError(
                "the server's key in the environment is no key: it has blanks or "
                "letters that no header may hold"
            )
        self.answered = False  # once: a server that is away later may come back
        self._lock, self._free_at = threading.Lock(), 0.0
        handlers: list[Any] = [_NoRedirects()]
        if is_this_machine(self.address):  # a proxy of the environment does not know it
            handlers.append(urllib.request.ProxyHandler({}))
        self._opener = urllib.request.build_opener(*handlers)

    def ask(self, body: dict[str, Any]) -> ModelReply:
        """Returns the reply to a chat completion request.

        Raises:
            EndpointError: no question will be answered here.
            QuestionRefused: this one will not.
            NoReply: it was not, however often it was asked.
        """
        data = json.dumps(body, ensure_ascii=False).encode("utf-8", "backslashreplace")
        for tried in range(self.retries + 1):
            self._wait_for_turn()
            if self.stop.is_set():
                raise NoReply("the command ended")
            try:
                reply = reply_of(self._post(data))
                self.answered = True
                return reply
            except QuestionRefused:
                self.answered = True
                raise
            except _TryAgain as fault:
                if fault.absent and not self.answered:
                    raise EndpointError(
                        f"no server answers at {self.address}: {fault}; start it, or correct "
                        "--endpoint"
                    ) from None
                if tried == self.retries or self.stop.is_set():
                    raise NoReply(str(fault)) from None
                self._rest(fault, tried)
        raise AssertionError("unreachable")

    def _post(self, data: bytes) -> bytes:
        headers = {"Content-Type": "application/json", "Accept": "application/json",
                   "User-Agent": "semi"}  # fmt: skip
        if self.key:
            headers["Authorization"] = f"Bearer {self.key}"
        request = urllib.request.Request(f"{self.address}/chat/completions", data, headers)
        end = time.monotonic() + self.timeout
        try:
            with self._opener.open(request, timeout=self.timeout) as response:
                return _read_all(response, end)
        except urllib.error.HTTPError as error:
            with error:
                raise _fault_of(error, self.address, self.key) from None
        except urllib.error.URLError as error:
            raise self._unreached(error.reason) from None
        except (OSError, http.client.HTTPException) as error:
            raise self._unreached(error) from None

    def _unreached(self, reason: object) -> Exception:
        """Returns what to raise where no reply came."""
        if isinstance(reason, ssl.SSLCertVerificationError):
            return EndpointError(
                f"{self.address} cannot be trusted: {reason.verify_message}; name a server whose "
                "certificate this machine knows (SSL_CERT_FILE names more of them)"
            )
        if isinstance(reason, TimeoutError):
            return _TryAgain(f"no answer within {self.timeout:g} s")
        text = getattr(reason, "strerror", None) or str(reason) or type(reason).__name__
        absent = isinstance(reason, (ConnectionRefusedError, socket.gaierror))
        return _TryAgain(shown(text), absent=absent)

    def _wait_for_turn(self) -> None:
        """Waits until a request may be sent: none before a pause ends, and so many a minute."""
        with self._lock:
            now = time.monotonic()
            at = max(now, self._free_at)
            self._free_at = at + (60 / self.per_minute if self.per_minute else 0)
        self.stop.wait(at - now)

    def _rest(self, fault: _TryAgain, tried: int) -> None:
        """Waits before a question is asked again; where the server names a time, all wait."""
        if fault.wait:
            with self._lock:
                pause = min(fault.wait, LONGEST_ASKED)
                self._free_at = max(self._free_at, time.monotonic() + pause)
            return
        self.stop.wait(min(FIRST_WAIT * 2**tried, LONGEST_WAIT) * random.uniform(0.5, 1))


class _TryAgain(Exception):
    """This time no reply came."""

    def __init__(self, text: str, wait: float | None = None, absent: bool = False) -> None:
        super().__init__(text)
        self.wait, self.absent = wait, absent


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """A redirected POST would become a GET, and the key would go to whom nobody named."""

    def redirect_request(self, *args: Any, **kwargs: Any) -> None:
        """Returns None: the redirect is an error of its status."""


def api_address(address: str) -> str:
    """Returns the address of an API without what follows it; ConfigError where it is none."""
    example = "write it as http://127.0.0.1:8000/v1"
    parts = urllib.parse.urlsplit("")
    try:
        parts = urllib.parse.urlsplit(address.strip())
        is_sound = parts.hostname and parts.port != 0 and parts.path.isascii()
    except ValueError:  # no port, or a bracket that does not close
        is_sound = False
    if parts.scheme not in ("http", "https") or not is_sound:
        raise ConfigError(f"--endpoint {shown(address, 100)} is no address of a server; {example}")
    if parts.username or parts.password or parts.query or parts.fragment:
        raise ConfigError(
            f"--endpoint must name a server and a path alone; {example}, and put a key into the "
            "environment"
        )
    path = parts.path.rstrip("/").removesuffix("/chat/completions")
    return urllib.parse.urlunsplit((parts.scheme, parts.netloc, path or "/v1", "", ""))


def is_this_machine(address: str) -> bool:
    """Says whether an address is of this very machine."""
    return is_loopback(urllib.parse.urlsplit(address).hostname or "")


def reply_of(data: bytes) -> ModelReply:
    """Returns the first choice of a chat completion; `_TryAgain` where the bytes are none."""
    try:
        value = json.loads(data)
        choice = value["choices"][0]
        message = choice.get("message") or {}
        content = message.get("content", choice.get("text"))
        if isinstance(content, list):  # parts
            content = "".join(str(part.get("text", "")) for part in content)
        if content is not None and not isinstance(content, str):
            raise TypeError("content is no text")
        text = content or ""
        top = _first_token(choice.get("logprobs"))
        return ModelReply(text, top, choice.get("finish_reason") == "length")
    except (ValueError, TypeError, KeyError, IndexError, AttributeError, RecursionError):
        start = shown(data[:80].decode("utf-8", "replace"))
        raise _TryAgain(f"the reply is no chat completion: {start or 'nothing'}") from None


def _first_token(logprobs: Any) -> list[tuple[str, float]]:
    """Returns (token, logprob) of the likeliest first tokens; of the first that is not blank."""
    if not logprobs:
        return []
    if isinstance(logprobs.get("content"), list):
        places = [
            (one.get("token", ""), [(t["token"], float(t["logprob"])) for t in _likeliest(one)])
            for one in logprobs["content"]
        ]
    else:  # of the older completions: [{token: logprob}, ...]
        given = [one for one in logprobs.get("top_logprobs") or [] if one]
        pairs = [[(token, float(value)) for token, value in one.items()] for one in given]
        places = [(max(top, key=lambda pair: pair[1])[0], top) for top in pairs]
    return next((top for token, top in places if token.strip() and top), [])


def _likeliest(place: dict) -> list[dict]:
    return place.get("top_logprobs") or []


def _read_all(response: Any, end: float) -> bytes:
    """Returns a reply's bytes; TimeoutError where they drip beyond the end."""
    parts, size = [], 0
    while part := response.read1(65536):
        parts.append(part)
        size += len(part)
        if time.monotonic() > end:
            raise TimeoutError
        if size > REPLY_BYTES:
            raise _TryAgain(f"the reply is longer than {REPLY_BYTES // 1_000_000} MB")
    length = response.headers.get("Content-Length") or ""
    if length.isdecimal() and size < int(length):
        raise _TryAgain(f"the reply broke off after {size} of {length} bytes")
    return b"".join(parts)


def _fault_of(error: urllib.error.HTTPError, address: str, key: str) -> Exception:
    """Returns what to raise for a status that is no success."""
    message = _message_in(error, key)
    text = f"{error.code} {shown(message or error.reason or '')}".strip()
    if 300 <= error.code < 400:
        target = shown(error.headers.get("Location", "another address"), 100)
        return EndpointError(f"{address} redirects to {target}; name the server itself")
    if error.code in FATAL:
        remedy = "correct --endpoint or --model" if error.code in (404, 405) else (
            "put the server's key into the environment; see --key-env"
        )  # fmt: skip
        return EndpointError(f"{address} answers no question ({text}); {remedy}")
    if error.code in AGAIN or error.code >= 500:
        return _TryAgain(text, _seconds_of(error.headers.get("Retry-After")))
    return QuestionRefused(text)


def _message_in(error: urllib.error.HTTPError, key: str) -> str:
    """Returns what a server says of its refusal, without the key that some repeat."""
    try:
        data = error.read(4096)
    except (OSError, http.client.HTTPException):
        return ""
    text = data.decode("utf-8", "replace")
    try:
        value = json.loads(text)
        found = value.get("error", value.get("message", value.get("detail", text)))
        text = found.get("message", text) if isinstance(found, dict) else str(found)
    except (ValueError, AttributeError):
        pass
    text = " ".join(str(text).split())
    return text.replace(key, "***") if key else text


def _seconds_of(retry_after: str | None) -> float | None:
    """Returns the seconds that a Retry-After header asks for: a number, or a date."""
    if not retry_after:
        return None
    try:
        return max(0.0, float(retry_after))
    except ValueError:
        pass
    try:
        return max(0.0, parsedate_to_datetime(retry_after).timestamp() - time.time())
    except (TypeError, ValueError):
        return None

"""What `semi vote` may be told about the model, the question and the asking."""

from __future__ import annotations

import json
import os
import re
from dataclasses import dataclass, field
from typing import Any

from ..data.wording import shown
from ..errors import ConfigError
from .answers import METHODS
from .endpoint import Endpoint, is_this_machine

KEY_NAME = "SEMI_VOTE_KEY"  # of the environment variable that holds the server's key
CACHE = "vote_cache.sqlite"
OURS = ("model", "messages", "n", "stream")  # fields of a request that are not for others to set


@dataclass
class VoteSettings:
    """The model that is asked, the question, and how patiently it is put."""

    endpoint: str
    """Address of the API, such as http://127.0.0.1:8000/v1."""
    model: str
    """Name of the model, as the server calls it."""
    prompt: str = ""
    """File of a Jinja template; '' = the one of `semi.outside.prompt`."""
    names: dict[str, str] = field(default_factory=dict)
    """label -> what the model is shown for it, such as {"ang": "anger"}."""
    context: int = 0
    """Turns of the same dialogue that are shown before the text."""
    order: str = ""
    """Column of numbers that orders a dialogue; '' = start, where there is one, else the table."""
    answers: str = "auto"
    """logprobs (of the first token) | json (an object of numbers) | samples (counted) | auto."""
    samples: int = 5
    """Answers to each question, where answers=samples."""
    request: dict[str, Any] = field(default_factory=dict)
    """More fields of each request; null takes one of ours out."""
    parallel: int = 4
    """Questions under way at once."""
    per_minute: float = 0.0
    """Requests a minute at most; 0 = no limit."""
    retries: int = 5
    """How often a question is put again after 429, 5xx, a timeout or a broken connection."""
    timeout: float = 60.0
    """Seconds for one reply."""
    cache: str = CACHE
    """SQLite file of what was answered."""
    key_env: str = KEY_NAME
    """Environment variable that holds the server's key, if it wants one."""

    def __post_init__(self) -> None:
        """Raises ConfigError naming the first option that cannot be used."""
        if not self.model.strip():
            raise ConfigError("--model must name the model as the server calls it, got ''")
        if self.answers not in METHODS:
            raise ConfigError(
                f"--answers must be one of {', '.join(METHODS)}, got '{shown(self.answers, 40)}'"
            )
        least = {"context": 0, "samples": 2, "parallel": 1, "retries": 0}
        most = {"context": 1000, "samples": 100, "parallel": 256, "retries": 100}
        for name, low in least.items():
            if not low <= getattr(self, name) <= most[name]:
                raise ConfigError(
                    f"--{name} must be {low} to {most[name]}, got {getattr(self, name)}"
                )
        if not 0 < self.timeout <= 3600:
            raise ConfigError(f"--timeout must be in (0, 3600] seconds, got {self.timeout:g}")
        if not 0 <= self.per_minute <= 1e6:
            raise ConfigError(f"--rate must be 0 to 1,000,000 a minute, got {self.per_minute:g}")
        if ours := [name for name in self.request if name in OURS]:
            raise ConfigError(f"--request cannot set {ours[0]}; semi vote sets it itself")

    def opened(self) -> Endpoint:
        """Returns the server that is asked, with its key from the environment."""
        return Endpoint(
            self.endpoint, self._key(), self.timeout, self.retries, self.per_minute
        )  # fmt: skip

    def warning(self) -> str:
        """Returns the sentence about a key that everybody on the way can read, '' without one."""
        plain = self.endpoint.strip().startswith("http://") and not is_this_machine(self.endpoint)
        if not (plain and self._key()):
            return ""
        return "warning: the server's key goes to another machine unencrypted; use https if it can"

    def _key(self) -> str:
        if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", self.key_env):  # a key itself, perhaps
            raise ConfigError(
                "--key-env takes the name of an environment variable, such as OPENAI_API_KEY, "
                "never the key"
            )
        if self.key_env != KEY_NAME and self.key_env not in os.environ:
            raise ConfigError(
                "--key-env names an environment variable that is not set; export it, or leave the "
                "option out where the server wants no key"
            )
        return os.environ.get(self.key_env, "").strip()


def request_fields(text: str) -> dict[str, Any]:
    """Returns the fields that --request adds to each request; ConfigError of what is no object."""
    try:
        found = json.loads(text) if text.strip() else {}
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"--request is no JSON ({error}); {_EXAMPLE}") from None
    if not isinstance(found, dict):
        raise ConfigError(f"--request must be a JSON object; {_EXAMPLE}")
    return found


def spoken_pairs(pairs: list[str]) -> dict[str, str]:
    """Returns label -> words of LABEL=WORDS; ConfigError of what is none, or named twice."""
    found: dict[str, str] = {}
    for pair in pairs:
        label, equals, words = pair.partition("=")
        if not equals or not label.strip():
            raise ConfigError(
                f"--name {shown(pair, 60)} must be LABEL=WORDS, such as --name ang=anger"
            )
        if label.strip() in found:
            raise ConfigError(f"--name names {shown(label, 40)} twice; keep one")
        found[label.strip()] = words
    return found


_EXAMPLE = "such as --request '{\"max_tokens\": 1000}'"

"""What the Hugging Face hub and its library say, as one sentence each: what, where, what to do."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import Any, TypeVar

from ..errors import RunError, SemiError, is_full_disk, os_sentence, system_error
from ..hub_names import HubName

T = TypeVar("T")
WAITS = (0.5, 1.0, 2.0)  # seconds before each further try of what may be a passing fault
BAD_TOKEN = "Invalid credentials"
LIBRARIES = ("httpx", "httpx2", "httpcore", "requests", "urllib3")  # that carry the bytes


def hub() -> Any:
    """Returns the client of the hub, with the endpoint and the token that its own places name."""
    from huggingface_hub import HfApi

    from .. import __version__

    endpoint = os.environ.get("HF_ENDPOINT", "").rstrip("/") or None
    return HfApi(endpoint=endpoint, library_name="semi", library_version=__version__)


def asked(name: HubName, question: Callable[[], T]) -> T:
    """Returns what the hub answers; asks again after a passing fault, RunError after any other.

    Args:
        name: the model that it is about.
        question: asks; without side effects that a second time would change.
    """
    for wait in (*WAITS, None):
        try:
            return question()
        except SemiError:
            raise
        except Exception as error:
            if wait is None or not _may_pass(error):
                raise RunError(hub_sentence(error, name)) from error
            time.sleep(wait)
    raise AssertionError("the last try returns or raises")


def status_of(error: BaseException | None) -> int:
    """Returns the HTTP status that an error, or what it came from, tells of; 0 without one."""
    while error is not None:
        response = getattr(error, "response", None)
        if response is not None and getattr(response, "status_code", None):
            return int(response.status_code)
        error = error.__cause__ or error.__context__
    return 0


def is_missing(error: BaseException | None) -> bool:
    """Says whether the hub knows no such model, or shows it to others only.

    To who has no token it says 401 of both; of a token that it does not know, in other words.
    """
    from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError

    if isinstance(error, GatedRepoError):
        return False
    unseen = status_of(error) == 401 and BAD_TOKEN not in str(error)
    return isinstance(error, RepositoryNotFoundError) or unseen


def is_unreachable(error: BaseException | None) -> bool:
    """Says whether nobody was asked: no network, switched off, or the hub is down."""
    from huggingface_hub.errors import OfflineModeIsEnabled

    status = status_of(error)
    return isinstance(error, OfflineModeIsEnabled) or status >= 500 or (
        not status and _is_of_network(error)
    )  # fmt: skip


def hub_sentence(error: BaseException, name: HubName) -> str:
    """Returns what is wrong, where and what to do, of whatever the hub's library raises."""
    from huggingface_hub import errors

    where, status = hub().endpoint, status_of(error)
    if isinstance(error, errors.RevisionNotFoundError):
        return (
            f"{name.repo} on {where} has no revision '{name.revision or 'main'}'; name one of its "
            "branches, tags or commits, or leave @ out"
        )
    if isinstance(error, errors.GatedRepoError):
        return (
            f"{name} is gated: its owner must let you in; ask at {where}/{name.repo}, then log in "
            "with hf auth login, or set HF_TOKEN"
        )
    if is_missing(error):
        return (
            f"{name} is neither a folder here nor a model that you may see on {where}; correct the "
            "name, or, if it is private, log in with hf auth login or set HF_TOKEN"
        )
    if status == 401:
        return f"{where} does not know your token; log in with hf auth login, or set HF_TOKEN anew"
    if status == 403:
        return (
            f"{where} does not allow your token to do this to {name.repo}; take a token that may "
            "(write access to it), or another name"
        )
    if status == 429 or status >= 500:
        return f"{where} cannot serve {name} at the moment (status {status}); try again later"
    if isinstance(error, errors.OfflineModeIsEnabled | errors.LocalEntryNotFoundError):
        return _not_cached(error, name, where)
    if _is_of_network(error):
        return f"{where} cannot be reached ({first_line(error)}); try again, or name a local folder"
    if is_full_disk(error):
        found = system_error(error)
        return os_sentence(found or OSError(), f"the copy of {name}", "written")
    return f"{name}: {where} or its library refuses this ({first_line(error)})"


def first_line(error: BaseException) -> str:
    """Returns the first line of what an error says, cut short."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0][:160].rstrip(".") if lines else type(error).__name__


def _not_cached(error: BaseException, name: HubName, where: str) -> str:
    from huggingface_hub import constants

    switched_off = constants.HF_HUB_OFFLINE
    why = "HF_HUB_OFFLINE is set" if switched_off else f"{where} cannot be reached"
    remedy = "take it away" if switched_off else "connect to the network"
    return (
        f"{name} is neither a folder here nor whole in the cache {constants.HF_HUB_CACHE}, and "
        f"{why}; {remedy} once, or name a local folder"
    )


def _is_of_network(error: BaseException | None) -> bool:
    if error is None:
        return False
    ours = type(error).__module__.partition(".")[0] in LIBRARIES
    return ours or isinstance(error, ConnectionError | TimeoutError)


def _may_pass(error: BaseException) -> bool:
    """Says whether the same question may be answered in a moment: 5xx, 429, a cut answer."""
    status = status_of(error)
    if status:
        return status == 429 or status >= 500
    if type(error).__name__.startswith("Connect"):  # nobody is there
        return False
    cut = isinstance(error, OSError) and "consistency" in str(error).lower()
    return cut or (_is_of_network(error) and not _is_offline(error))


def _is_offline(error: BaseException) -> bool:
    from huggingface_hub.errors import OfflineModeIsEnabled

    return isinstance(error, OfflineModeIsEnabled)

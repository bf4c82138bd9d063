"""What a client sent, as utterances: bounded in bytes, parts and seconds, refused in sentences."""

from __future__ import annotations

import asyncio
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from starlette.datastructures import FormData, UploadFile
from starlette.formparsers import MultiPartException
from starlette.requests import ClientDisconnect, Request
from starlette.types import Message, Receive

from ..data.wording import counted, listed, shown
from .labelling import Utterance

LONGEST_TEXT = 20_000  # letters
HEADROOM = 65_536  # bytes of a form beside its files


class Refused(Exception):
    """Why a request is not answered, with the status of the refusal."""

    def __init__(self, status: int, sentence: str, *, retry_after: int | None = None) -> None:
        super().__init__(sentence)
        self.status, self.retry_after = status, retry_after


@dataclass(frozen=True)
class UploadLimits:
    """What one request may bring."""

    bytes: int = 32_000_000  # in all
    files: int = 32  # of a batch
    seconds: float = 20.0  # to send it


def bounded(receive: Receive, limits: UploadLimits) -> Receive:
    """Returns a `receive` that raises Refused once a body is too large, or takes too long."""
    loop = asyncio.get_running_loop()
    until, left = loop.time() + limits.seconds, limits.bytes + HEADROOM

    async def bounded_receive() -> Message:
        nonlocal left
        try:
            message = await asyncio.wait_for(receive(), max(0.0, until - loop.time()))
        except asyncio.TimeoutError:
            raise Refused(
                408, f"the body did not come within {limits.seconds:g} s; send it again, or less"
            ) from None
        left -= len(message.get("body", b""))
        if left < 0:
            raise too_large(limits)
        return message

    return bounded_receive


def too_large(limits: UploadLimits) -> Refused:
    """Returns the refusal of a body that is too large."""
    return Refused(
        413,
        f"the body is larger than {limits.bytes / 1e6:g} MB; send fewer or shorter sounds, or as "
        "flac, mp3, ogg or opus",
    )


def declared_bytes(request: Request, limits: UploadLimits) -> int:
    """Returns how many bytes a request says that it brings, the most that it may where it does not.

    Refused where that is no number, or too many.
    """
    declared = request.headers.get("content-length")
    if declared is None:
        return limits.bytes
    if not (declared.isascii() and declared.isdecimal()):
        raise Refused(400, "Content-Length must be a number of bytes")
    if len(declared) > 18 or int(declared) > limits.bytes + HEADROOM:
        raise too_large(limits)
    return int(declared)


async def one_utterance(request: Request, limits: UploadLimits) -> Utterance:
    """Returns the utterance of a form with a part `file`, a part `text`, or both."""
    sounds, texts = await _form_parts(request, limits, files=1)
    if not sounds and not texts:
        raise Refused(422, "nothing to label: send a part 'file' (a sound), 'text', or both")
    if len(texts) > 1:
        raise Refused(422, "one utterance has one text; /predict/batch takes several")
    return Utterance(sounds[0] if sounds else None, texts[0] if texts else None)


async def several_utterances(
    request: Request, limits: UploadLimits, sendable: Mapping[str, int]
) -> list[Utterance]:
    """Returns the utterances of a form with parts `file` and `text`, or of a JSON body.

    Args:
        request: the request.
        limits: what it may bring.
        sendable: modality -> width of the vectors that the model takes as numbers.
    """
    if _kind(request) == "application/json":
        return _of_json(await _json(request, limits), limits, sendable)
    sounds, texts = await _form_parts(request, limits, files=limits.files)
    if not sounds and not texts:
        raise Refused(422, "nothing to label: send parts 'file' (sounds), 'text', or both")
    if sounds and texts and len(sounds) != len(texts):
        raise Refused(
            422,
            f"{counted(len(sounds), 'file')} but {counted(len(texts), 'text')}; send one text per "
            "file in the same order, or none",
        )
    rows = max(len(sounds), len(texts))
    _check_count(rows, limits)
    return [
        Utterance(sounds[k] if sounds else None, texts[k] if texts else None) for k in range(rows)
    ]


def _kind(request: Request) -> str:
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


async def _form_parts(
    request: Request, limits: UploadLimits, *, files: int
) -> tuple[list[bytes], list[str]]:
    """Returns the sounds and the texts of a request's form, which is closed again."""
    form = await _form(request, limits, files=files)
    try:
        return await _parts(form)
    finally:
        await form.close()


async def _form(request: Request, limits: UploadLimits, *, files: int) -> FormData:
    kind = _kind(request)
    if kind != "multipart/form-data":
        raise Refused(
            415,
            f"the body must be multipart/form-data with the sound in its part 'file', got "
            f"{shown(kind, 60) if kind else 'no Content-Type'}; for example: curl -F file=@a.wav",
        )
    own = Request(request.scope, bounded(request.receive, limits))
    try:
        return await own.form(max_files=files, max_fields=files, max_part_size=HEADROOM)
    except ClientDisconnect:
        raise Refused(400, "the client went away before the body was whole") from None
    except MultiPartException as error:
        raise _of_form(error.message, files) from None
    except Refused:
        raise
    except ValueError as error:  # FormParserError of python-multipart, which older Starlettes leave
        raise _of_form(str(error), files) from None
    except Exception as error:  # HTTPException of Starlette, which wraps the former
        detail = getattr(error, "detail", None)
        if not isinstance(detail, str):
            raise
        raise _of_form(detail, files) from None


def _of_form(why: str, files: int) -> Refused:
    if "Too many" in why:
        return Refused(400, f"a form of this address has at most {counted(files, 'file')} and as "
                            "many texts")  # fmt: skip
    if "exceeded maximum size" in why:
        return Refused(413, f"a text is larger than {HEADROOM // 1024} kB; send only what was said")
    return Refused(400, f"the body is no whole multipart form ({shown(why, 80)}); send it again")


async def _parts(form: FormData) -> tuple[list[bytes], list[str]]:
    """Returns the sounds and the texts of a form in their order; names of files play no part."""
    sounds: list[bytes] = []
    texts: list[str] = []
    for name, value in form.multi_items():
        if name == "file" and isinstance(value, UploadFile):
            sounds.append(await value.read())
        elif name == "text" and isinstance(value, str):
            texts.append(_text(value, "the part 'text'"))
        elif name in ("file", "text"):
            what = "a file: curl -F file=@a.wav" if name == "file" else "plain text"
            raise Refused(422, f"the part '{name}' must be {what}")
        else:
            raise Refused(422, f"there is no part {shown(name, 40)}; send 'file' and 'text'")
    return sounds, texts


def _text(value: str, what: str) -> str:
    if len(value) > LONGEST_TEXT:
        raise Refused(422, f"{what} has {len(value):,} letters; at most {LONGEST_TEXT:,} are read")
    return value


async def _json(request: Request, limits: UploadLimits) -> Any:
    own = Request(request.scope, bounded(request.receive, limits))
    try:
        body = await own.body()
    except ClientDisconnect:
        raise Refused(400, "the client went away before the body was whole") from None
    try:
        return await asyncio.to_thread(json.loads, body)  # megabytes would hold up all others
    except (ValueError, RecursionError):
        raise Refused(400, "the body is no JSON") from None


def _of_json(given: Any, limits: UploadLimits, sendable: Mapping[str, int]) -> list[Utterance]:
    rows = given.get("rows") if isinstance(given, dict) else None
    if not isinstance(rows, list) or not rows:
        raise Refused(422, 'the body must read {"rows": [{"text": ..., "vectors": {...}}, ...]}')
    _check_count(len(rows), limits)
    return [_row(row, f"row {k}", sendable) for k, row in enumerate(rows, 1)]


def _row(row: Any, where: str, sendable: Mapping[str, int]) -> Utterance:
    if not isinstance(row, dict) or row.keys() - {"text", "vectors"} or not row:
        raise Refused(422, f"{where} must be an object of 'text' and 'vectors'")
    text, vectors = row.get("text"), row.get("vectors") or {}
    if text is not None and not isinstance(text, str):
        raise Refused(422, f"{where}: text must be a text")
    if not isinstance(vectors, dict):
        raise Refused(422, f"{where}: vectors must be an object: modality -> numbers")
    unknown = [name for name in vectors if name not in sendable]
    if unknown:
        known = listed([f"{name} ({width} numbers)" for name, width in sendable.items()])
        takes = f"it takes {known}" if sendable else "it takes none: send sounds or texts"
        raise Refused(422, f"{where}: this model takes no vectors {shown(unknown[0], 40)}; {takes}")
    found = {m: _vector(v, f"{where}, {m}", sendable[m]) for m, v in vectors.items()}
    if text is None and not found:
        raise Refused(422, f"{where} has neither text nor vectors")
    return Utterance(None, None if text is None else _text(text, f"{where}: its text"), found)


def _vector(value: Any, where: str, width: int) -> np.ndarray:
    numbers = isinstance(value, list) and all(
        isinstance(v, (int, float)) and not isinstance(v, bool) for v in value
    )
    if not numbers or len(value) != width:
        got = f"{len(value)} of them" if numbers else "something else"
        raise Refused(422, f"{where}: a list of {width} numbers is needed, got {got}")
    try:
        finite = all(math.isfinite(v) and abs(v) < 1e30 for v in value)
    except OverflowError:
        finite = False
    if not finite:
        raise Refused(422, f"{where}: its numbers must be finite")
    return np.array(value, dtype=np.float32)


def _check_count(rows: int, limits: UploadLimits) -> None:
    if rows > limits.files:
        raise Refused(
            413, f"{rows:,} utterances in one request; send at most {limits.files} at a time"
        )

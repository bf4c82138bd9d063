"""Where the sound of a Label Studio task lies: its address there -> a file here.

https://labelstud.io/guide/storage: local files are served as `/data/local-files/?d=PATH`,
uploads as `/data/upload/PROJECT/HASH-NAME`, buckets by their own address or through
/resolve/?fileuri=BASE64.
"""

from __future__ import annotations

import base64
import binascii
import re
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from .cells import is_sound
from .sound_cache import keep

KEYS = ("audio", "sound", "wav", "audio_url", "recording", "speech", "file", "path", "url", "video")


def audio_key(data: dict[str, Any]) -> str | None:
    """Returns the key of a task's data that names its sound, None where it has none."""
    texts = {k: v for k, v in data.items() if isinstance(v, str) and v.strip()}
    named = next((k for wanted in KEYS for k in texts if k.lower() == wanted), None)
    return named or next((k for k, v in texts.items() if is_sound(_path_of(v)[0])), None)


def sound_of(value: str, root: Path) -> tuple[str | None, str, str]:
    """Returns (file, reason, remedy): the file beneath `root`, or why there is none.

    What lies elsewhere is looked for under the end of its path and its name, as people download it.
    """
    inline = re.match(r"data:[\w/.+-]*;base64,(.*)", value, re.DOTALL)
    if inline:
        try:
            return keep(base64.b64decode(inline.group(1), validate=True), None), "", ""
        except (binascii.Error, ValueError):
            return (
                None,
                "sound within the export that is not base64",
                "export the project once more",
            )
    path, where = _path_of(value)
    parts = [part for part in path.split("/") if part not in ("", ".", "..")]
    tails = [path, *("/".join(parts[i:]) for i in range(len(parts)))]
    if where == "uploaded" and re.match(r"[0-9a-f]{8}-.", parts[-1] if parts else ""):
        tails.append(parts[-1][9:])  # the name before Label Studio put its hash in front
    for tail in tails:
        if tail and (root / tail).is_file():
            return tail, "", ""
    if where == "here":
        return path, "", ""
    name = parts[-1] if parts else "it"
    remedy = f"put {name} beneath {root}, or set data.audio_root to the folder that holds it"
    if where == "uploaded":
        return None, "a file uploaded to Label Studio, which is not here", remedy
    return None, "an address on a network, which is never opened", f"download it: {remedy}"


def _path_of(value: str) -> tuple[str, str]:
    """Returns (path, 'here' | 'uploaded' | 'elsewhere') of an address."""
    value = value.strip().replace("\\", "/")
    if not value.startswith(("/data/", "/tasks/", "/projects/", "/api/")) and "://" not in value:
        upload = value.startswith("upload/")
        return value, "uploaded" if upload else "here"
    address = urlsplit(value)
    query = parse_qs(address.query)
    if "d" in query and "local-files" in address.path:
        return query["d"][0], "here"
    if "fileuri" in query:  # a bucket behind Label Studio's own address
        given = query["fileuri"][0]
        try:
            return _path_of(base64.b64decode(given + "=" * (-len(given) % 4)).decode())[
                0
            ], "elsewhere"
        except (binascii.Error, UnicodeDecodeError):
            return given, "elsewhere"
    path = unquote(address.path)
    if path.startswith("/data/upload/"):
        return path.removeprefix("/data/"), "uploaded"
    if "://" not in value or address.scheme == "file":
        return path, "here"
    return f"{address.netloc}{path}", "elsewhere"

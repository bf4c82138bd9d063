"""Is a feature store as it was written? Every byte of it, and what does not belong there."""

from __future__ import annotations

from pathlib import Path

from ..checksums import ADDED
from ..errors import StoreError
from .keys import identity_key
from .quarantine import read_quarantine
from .snapshot import json_bytes, read_json
from .store import Shelf

PLAIN = {".lock": "is a lock and holds nothing", "pending": "holds work that is under way"}


def shelf_problems(folder: Path) -> tuple[list[str], int]:
    """Returns a sentence for all that is wrong with one encoder's folder, and its files checked.

    Args:
        folder: one encoder's folder in a feature store.
    """
    problems: list[str] = []
    try:
        about = read_json(folder / "encoder.json")
        text = (folder / "encoder.json").read_bytes()
        modality, identity = str(about.get("modality")), about.get("identity")
        key = identity_key(modality, identity) if isinstance(identity, dict) else ""
        named = key == about.get("key") and folder.name == f"{modality}-{key[:16]}"
        if not named or text != json_bytes(about):
            problems.append(f"{folder / 'encoder.json'} is not as it was written")
    except StoreError as error:
        problems.append(str(error))
    shelf = Shelf(folder.parent, "", {})
    shelf.folder = folder
    for check in (lambda: _every_item(shelf), lambda: read_quarantine(shelf)):
        try:
            check()
        except StoreError as error:
            problems.append(str(error))
    if not problems:
        problems = [f"{folder / name} {ADDED}" for name in _added(folder)]
    return problems, sum(p.is_file() and p.name not in PLAIN for p in folder.glob("*"))


def _every_item(shelf: Shelf) -> None:
    """Raises StoreError unless every byte of the shelf is as it was written."""
    snapshot = shelf.open(verify=True)
    if not len(snapshot) and any(shelf.folder.glob("data-*")):
        raise shelf.damaged("store.json is missing")


def _added(folder: Path) -> list[str]:
    """Returns the names of files that are not the shelf's own."""
    known = {"encoder.json", "store.json", "quarantine.csv", *PLAIN}
    if (folder / "store.json").exists():
        state = read_json(folder / "store.json")
        known |= {state[part]["name"] for part in ("data", "index")}
    return sorted(
        p.name for p in folder.iterdir()
        if p.name not in known and not (p.name.startswith(".") and p.name.endswith(".tmp"))
    )  # fmt: skip

"""The copy of an object store's folder as the union of what several writers put at once."""

from __future__ import annotations

from .parts import check_kind, part_of, tidy, write_union
from .remote import Remote
from .snapshot import open_state, parse_json


def bring(remote: Remote) -> None:
    """Makes the copy what the object store holds now; the caller holds the shelf's lock.

    Two states are there where two writers put theirs in the same instant. Nothing is put here: a
    reader may not be allowed to. The next writer puts the union in their place.
    """
    remote.pull()
    if len(remote.states) < 2:
        return
    path = remote.folder / "store.json"
    found = [open_state(remote.folder, parse_json(state, path)) for state in remote.states]
    parts = [part_of(snapshot) for snapshot in found if len(snapshot)]
    for part in parts[1:]:
        check_kind(remote.folder, parts[0], part)
    if parts:
        write_union(remote.folder, parts)
    tidy(remote.folder)


def is_divided(remote: Remote) -> bool:
    """Says whether several writers' states or lists were there when it was last looked at."""
    return len(remote.states) > 1 or len(remote.lists) > 1

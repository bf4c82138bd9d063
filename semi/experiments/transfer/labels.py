"""One name for one emotion: the field's synonyms, and a map of your own by corpus."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from ...data.alike import MEANING, looks
from ...data.wording import listed, nearest, shown
from ...errors import ConfigError, reading
from ...yaml_limits import plain_yaml


def read_maps(path: str, known: Mapping[str, Sequence[str]]) -> dict[str, dict[str, str | None]]:
    """Returns {corpus: {class: its name here, or None to leave it out}} of a YAML file.

    Args:
        path: of the file; '' = none.
        known: classes of each corpus.
    """
    if not path:
        return {}
    if not Path(path).is_file():
        raise ConfigError(f"labels: {path}: no such file")
    with reading(path, "a YAML file", "write corpus by corpus, such as 'etts: {angry: anger}'"):
        found = plain_yaml(Path(path).read_text(encoding="utf-8")) or {}
    shape = "it must hold corpora with their classes, such as 'etts: {angry: anger, calm: null}'"
    if not isinstance(found, dict) or not all(isinstance(v, dict) for v in found.values()):
        raise ConfigError(f"labels: {path}: {shape}")
    maps: dict[str, dict[str, str | None]] = {}
    for corpus, pairs in found.items():
        if corpus not in known:
            raise ConfigError(
                f"labels: {path} names the corpus {shown(corpus)}, which is no source or target"
                f"{nearest(str(corpus), known)}; these are {listed(list(known))}"
            )
        for name, other in pairs.items():
            if str(name) not in known[corpus]:
                raise ConfigError(
                    f"labels: {path}: {corpus} has no class {shown(name)}"
                    f"{nearest(str(name), known[corpus])}; it has {listed(list(known[corpus]))}"
                )
            if other is not None and not isinstance(other, (str, int, float)):
                raise ConfigError(f"labels: {path}: {corpus}.{shown(name)}: {shape}")
        maps[corpus] = {str(k): None if v is None else str(v) for k, v in pairs.items()}
    return maps


def harmonised(classes: Sequence[str], mine: Mapping[str, str | None]) -> dict[str, str | None]:
    """Returns class -> its common name, None where it is left out; a map of one's own wins."""
    return {
        name: mine[name] if name in mine else MEANING.get(looks(name), name) for name in classes
    }


def map_sentence(corpus: str, names: Mapping[str, str | None]) -> str:
    """Returns what became of a corpus's classes, '' where all keep their names."""
    renamed = [f"{old} is read as {new}" for old, new in names.items() if new not in (None, old)]
    left = [old for old, new in names.items() if new is None]
    parts = [listed(renamed, 20)] * bool(renamed)
    parts += [f"{listed(left, 20)} left out by the map"] * bool(left)
    return f"{corpus}: {'; '.join(parts)}" if parts else ""

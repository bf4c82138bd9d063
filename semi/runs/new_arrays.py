"""Other files of arrays for a finished model: what it was trained on from one .npz, in another."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..data.wording import nearest
from ..errors import SemiError


def read_from(encoders: Any, arrays: Mapping[str, str | Path]) -> None:
    """Lets the `encoders` section of a model's settings read these files, modality by modality."""
    sections = {"speech": encoders.speech, "text": encoders.text, **encoders.extra}
    known = [n for n, s in sections.items() if getattr(s, "model", "precomputed") == "precomputed"]
    for name, path in arrays.items():
        if name not in known:
            raise SemiError(
                f"--arrays {name}={path}: this model reads no arrays called '{name}'"
                f"{nearest(name, known)}; it reads {', '.join(known) or 'none at all'}"
            )
        file = str(path).rpartition(":")[0]  # of file.npz:array
        if not Path(path).exists() and not (file and Path(file).exists()):
            raise SemiError(f"--arrays {name}={path}: there is no such file or folder")
        sections[name].path, sections[name].column = str(Path(path).absolute()), ""


def parse_arrays(words: list[str]) -> dict[str, str]:
    """Returns {modality: file} of words such as speech=new.npz."""
    parts = [word.partition("=") for word in words]
    wrong = [
        word for word, (name, _, path) in zip(words, parts, strict=True) if not name or not path
    ]
    if wrong:
        raise SemiError(f"--arrays {wrong[0]}: it must read like speech=new.npz")
    return {name: path for name, _, path in parts}

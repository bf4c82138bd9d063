"""What MER's utterances are given as: sound or film, transcripts, and MERTools' feature folders.

audio/<name>.wav, video/<name>.mp4 (.avi in MER2023); transcription-merge.csv, subtitle_chieng.csv;
features/<model>-UTT|_UTT|-FRA/<name>.npy. github.com/zeroQiaoba/MERTools
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from ...errors import ManifestError
from ...files import replacing
from ..wording import counted
from .files import FILMS, SOUNDS, Tree, examples
from .mer_roles import NAME_COLUMNS, TEST_FOLDER, TRANSCRIPTS, column, stem

FEATURE_FOLDER = re.compile(r".+[-_](UTT|FRA)", re.IGNORECASE)
TEXTS = {"chinese": ("chinese", "sentence", "text", "subtitle"), "english": ("english",)}


def media(tree: Tree) -> dict[str, Path]:
    """Returns {name: sound}, or the film where an utterance has no sound of its own."""
    return {path.stem: path for path in tree.stems((*SOUNDS, *FILMS)).values()}


def declared_tests(files: dict[str, Path], tree: Tree) -> dict[str, list[str]]:
    """Returns {test1_corpus: names} of MER2023's folders test1, test2, test3 of films."""
    tests: dict[str, list[str]] = {}
    for name, path in files.items():
        for part in path.relative_to(tree.folder).parts[:-1]:
            if match := TEST_FOLDER.fullmatch(part):
                tests.setdefault(f"{match[1].lower()}_corpus", []).append(name)
                break
    return tests


def transcripts(tree: Tree, language: str, notes: list[str]) -> dict[str, str]:
    """Returns {name: what was said}: of the checked and merged files first, plain ones after."""
    found: dict[str, str] = {}
    for path in (path for known in TRANSCRIPTS for path, _ in tree.matching(known)):
        records = tree.records(path)
        head = records[0] if records else {}
        name, text_column = column(head, NAME_COLUMNS), column(head, TEXTS[language])
        if name is None or text_column is None:
            notes.append(f"{path.name}: no column {TEXTS[language][0]} in it, no transcripts")
            continue
        texts = {stem(r[name]): " ".join(r[text_column].split()) for r in records if r[name]}
        new = {
            name: text for name, text in texts.items()
            if name not in found and text.lower() not in ("", "nan", "none")
        }  # fmt: skip
        if new:
            notes.append(
                f"{counted(len(new), 'transcript')} from {path.name}, column {text_column}"
            )
        found |= new
    return found


def features(tree: Tree, frames: str, notes: list[str]) -> dict[str, dict[str, Path]]:
    """Returns {feature folder: {name: array file}} of utterance and frame features."""
    found: dict[str, dict[str, Path]] = {}
    scattered: dict[Path, list[Path]] = {}
    for path in tree.files:
        if path.suffix != ".npy":
            continue
        if FEATURE_FOLDER.fullmatch(path.parent.name):
            found.setdefault(path.parent.name, {})[path.stem] = path
        elif FEATURE_FOLDER.fullmatch(path.parent.parent.name):
            scattered.setdefault(path.parent, []).append(path)
    for where, files in scattered.items() if frames else ():
        done = stack_frames(files, Path(frames).expanduser() / where.parent.name / where.name)
        found.setdefault(where.parent.name, {})[where.name] = done
    if scattered:
        shown = examples(sorted(map(str, scattered)), 1)
        done = f"stacked in {frames}" if frames else (
            "not read: the option frames=DIR stacks each into one .npy (T, D) beneath DIR"
        )  # fmt: skip
        notes.append(
            f"{counted(len(scattered), 'utterance')} with features in one file a frame, {done} "
            f"({shown})"
        )
    return dict(sorted(found.items()))


def stack_frames(files: list[Path], target: Path) -> Path:
    """Writes the frames (D,) of one utterance, in the order of their numbers, as one (T, D)."""

    def place(path: Path) -> tuple[int, str]:
        number = re.search(r"\d+", path.stem)
        return int(number[0]) if number else -1, path.stem

    ordered = sorted(files, key=place)
    try:
        rows = [np.load(path, allow_pickle=False).reshape(-1) for path in ordered]
        stacked = np.stack(rows)
    except (ValueError, OSError) as error:
        raise ManifestError(
            f"{ordered[0].parent}: its frames cannot be stacked ({error})"
        ) from None
    target.parent.mkdir(parents=True, exist_ok=True)
    target = target.with_name(target.name + ".npy").resolve()
    with replacing(target) as part, open(part, "wb") as handle:
        np.save(handle, stacked)
    return target

"""Is a run, or a model, as it was written? What is damaged, missing, foreign or added."""

from __future__ import annotations

import shlex
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..checksums import (
    ADDED,
    CHECKSUMS,
    DERIVED,
    LEFT_OUT,
    NewerFormatError,
    changes,
    derived_files,
    file_sha256,
    files_below,
    read_record,
)
from ..errors import RunError
from .checksum_chain import (
    APPENDED,
    DERIVED_FILES,
    FEATURES_ENTRY,
    round_folder,
    round_numbers,
)

REMEDY = "bring it back from a copy, or train the run anew under another name"
OLD = "it was made by a version of semi that kept no checksums, and is used unchecked"


@dataclass
class IntegrityReport:
    """What a check of a folder came to."""

    wrong: dict[str, str] = field(default_factory=dict)  # file or folder -> what is wrong with it
    added: list[str] = field(default_factory=list)  # files that nothing reads
    notes: list[str] = field(default_factory=list)  # what was not checked, and why
    files: int = 0  # checked
    unknown: bool = False  # nothing here has checksums

    def say(self, path: str | Path, words: str) -> None:
        """Adds what is wrong with a path, unless something is known to be."""
        self.wrong.setdefault(str(path), words)

    @property
    def problems(self) -> list[str]:
        """A sentence for each file or folder that is not as it was written."""
        return [f"{path} {words}" for path, words in self.wrong.items()]


def check_run(path: str | Path) -> None:
    """Raises RunError unless a run is as it was written; says on stderr if nobody can tell."""
    found = inspect_run(Path(path))
    refuse(path, found.problems)
    if found.unknown:
        print(f"semi: {path}: {OLD}", file=sys.stderr)


def check_model(home: Path) -> None:
    """Raises RunError unless a model directory is as it was written, and its run's own.

    Args:
        home: the model directory, alone or in the folder of its run.
    """
    found = inspect_folder(home)
    try:
        run = read_record(home.parent / CHECKSUMS) if home.name == "model" else None
    except NewerFormatError:
        raise
    except RunError:  # the run's folder is checked by those who read it
        run = None
    recorded = (run or {}).get("files", {}).get(f"{home.name}/{CHECKSUMS}")
    if recorded and not found.wrong and recorded != _sha256_if_any(home / CHECKSUMS):
        found.say(home, f"is not the model that the run {home.parent} wrote: it is of another run")
    refuse(home, found.problems)
    if not found.files:
        print(f"semi: {home}: {OLD}", file=sys.stderr)


def inspect_folder(home: Path) -> IntegrityReport:
    """Returns what is damaged, missing or added in a folder that has a record of its own."""
    found = IntegrityReport()
    record = _record(home, found)
    if record is None:
        if not found.wrong:
            found.notes.append(f"{home}: {OLD}")
        return found
    for subject, words in changes(home, record["files"]).items():
        found.say(subject, words)
    for name in sorted(set(files_below(home)) - set(record["files"]) - {CHECKSUMS, *LEFT_OUT}):
        found.added.append(f"{home / name} {ADDED}")
    found.files = len(record["files"]) + 1
    return found


def refuse(path: str | Path, problems: list[str]) -> None:
    """Raises RunError naming the first problem, if there is any."""
    if problems:
        more = f" (and {len(problems) - 1} more: semi verify {shlex.quote(str(path))} names them)"
        raise RunError(f"{problems[0]}{more if len(problems) > 1 else ''}; {REMEDY}")


def inspect_run(path: Path) -> IntegrityReport:
    """Returns what is damaged, missing, foreign or added in a run's folder.

    RunError where a later version of semi wrote it.
    """
    found = IntegrityReport()
    whole = _record(path, found)
    records = {n: _record(round_folder(path, n), found) for n in round_numbers(path)}
    if whole is None and not found.wrong and not any(records.values()):
        if records:
            found.notes.append(f"{path}: {OLD}")
            found.unknown = True
        return found
    if whole is None:
        found.say(path / CHECKSUMS, "is missing")
    whole = whole or {"finished": False, "without": []}
    recorded = whole.get("files", {})
    expected = recorded or _agreed(path, records, found)
    intact = _inspect_rounds(path, whole["without"], expected, records, found)
    if whole["finished"]:
        _inspect_whole(path, recorded, intact, found)
    else:
        _inspect_begun(path, records, found)
    _inspect_derived(path, found)
    return found


def _record(folder: Path, found: IntegrityReport) -> dict[str, Any] | None:
    """Returns a folder's record; None where there is none or it is damaged, which is noted."""
    try:
        return read_record(folder / CHECKSUMS)
    except NewerFormatError:
        raise
    except RunError as error:
        found.say(
            folder / CHECKSUMS, str(error).removeprefix(f"{folder / CHECKSUMS} ").partition(";")[0]
        )
        return None


def _agreed(path: Path, records: dict[int, dict | None], found: IntegrityReport) -> dict[str, str]:
    """Returns name -> SHA-256 of the files that the rounds of an unfinished run rest on.

    Where all rounds tell one hash and the file has another, it is the file that changed.
    """
    hashes_of: dict[str, set[str]] = {}
    for record in records.values():
        for name, sha256 in (record or {}).get("beside", {}).items():
            hashes_of.setdefault(name, set()).add(sha256)
    hashes_of.pop(FEATURES_ENTRY, None)
    agreed = {name: next(iter(hashes)) for name, hashes in hashes_of.items() if len(hashes) == 1}
    for subject, words in changes(path, agreed).items():
        found.say(subject, words)
    return agreed | {n: _sha256_if_any(path / n) or "" for n in hashes_of if n not in agreed}


def _inspect_rounds(
    path: Path, without: list[int], expected: dict[str, str],
    records: dict[int, dict | None], found: IntegrityReport,
) -> set[str]:  # fmt: skip
    """Adds what is wrong with each round and with the chain; returns names of intact folders."""
    intact: set[str] = set()
    before: int | None = None
    features = next((r["beside"].get(FEATURES_ENTRY) for r in records.values() if r), None)
    for number, record in records.items():
        folder = round_folder(path, number)
        if record is None:
            if number not in without:
                found.say(folder / CHECKSUMS, "is missing")
            elif str(folder / CHECKSUMS) not in found.wrong:
                found.notes.append(f"{folder}: {OLD}")
        elif foreign := _foreign(folder, number, record, expected):
            found.say(folder, foreign)
        elif broken := _chain(path, before, record, found):
            found.say(folder, broken)
        elif record["beside"].get(FEATURES_ENTRY) != features:
            found.say(folder, "learned from other features than the rounds before it")
        else:
            wrong = changes(folder, record["files"])
            added = set(files_below(folder)) - set(record["files"]) - {CHECKSUMS}
            for subject, words in [*wrong.items(), *((folder / n, ADDED) for n in sorted(added))]:
                found.say(subject, words)
            found.files += len(record["files"]) + 1
            intact.add(folder.name)
        before = number
    return intact


def _foreign(folder: Path, number: int, record: dict, expected: dict[str, str]) -> str:
    """Returns why a round's folder is not the round of this run, or ''."""
    if record["round"] != number:
        return f"holds round {record['round']}: folders of rounds were swapped or renamed"
    own = f"{folder.name}/{CHECKSUMS}"
    if "result.json" in expected:  # the record of a finished run
        if own not in expected:
            return "was added after the run was finished"
        if file_sha256(folder / CHECKSUMS) != expected[own]:
            return "is not the round that this run wrote: it is of another run"
        return ""
    other = sorted(n for n, sha256 in record["beside"].items() if sha256 != expected.get(n, sha256))
    if other:
        return f"is of another run: it was written beside another {', '.join(other)}"
    return ""


def _chain(path: Path, before: int | None, record: dict, found: IntegrityReport) -> str:
    """Returns how a round fails to follow from the one before, or ''."""
    after = record["after"]
    if after is not None and not round_folder(path, after).is_dir():
        found.say(round_folder(path, after), "is missing")
        return f"was written after {round_folder(path, after).name}, which is missing"
    if after != before:
        return "does not follow the round before it: a round was added or replaced"
    if after is None or not record["previous"]:
        return ""
    earlier = round_folder(path, after) / CHECKSUMS
    if {str(earlier), str(earlier.parent)} & found.wrong.keys():
        return ""
    if record["previous"] != _sha256_if_any(earlier):
        return f"does not follow this {earlier.parent.name}: one of the two is of another run"
    return ""


def _inspect_whole(
    path: Path, files: dict[str, str], intact: set[str], found: IntegrityReport
) -> None:
    """Adds what is wrong with a finished run's files; those of the rounds were checked before."""
    rest = {
        n: sha256 for n, sha256 in files.items()
        if n.partition("/")[0] not in intact and str((path / n).parent) not in found.wrong
    }  # fmt: skip
    for home in {(path / n).parent for n in rest}:
        if home.parent == path and not home.is_dir():
            found.say(home, "is missing")
    for subject, words in changes(path, rest).items():
        if str(Path(subject).parent) not in found.wrong:
            found.say(subject, words)
    found.files += len(rest)
    known = {*files, CHECKSUMS, *LEFT_OUT, *DERIVED_FILES}
    for name in sorted(set(files_below(path)) - known):
        if name.startswith(("model/", "pretrained/")):
            found.say(path / name, ADDED)
        elif not name.startswith("round-"):
            found.added.append(f"{path / name} {ADDED}")


def _inspect_begun(path: Path, records: dict[int, dict | None], found: IntegrityReport) -> None:
    """Adds what is wrong with a run at work, beside its rounds."""
    for name in ("pretrained", "model"):
        record = _record(path / name, found)
        if record is not None:
            for subject, words in changes(path / name, record["files"]).items():
                found.say(subject, words)
            found.files += len(record["files"])
    last = next((r for r in reversed(records.values()) if r), None)
    log = path / APPENDED
    if last and (length := last["appended"]["bytes"]):
        if not log.is_file():
            found.say(log, "is missing")
        elif file_sha256(log, length) != last["appended"]["sha256"]:
            found.say(log, "is not as it was written")
    found.notes.append(
        f"{path} is unfinished: its ledger, list of unusable files, TensorBoard files and the last "
        f"lines of {APPENDED} are checked when it is finished; --resume goes on with it"
    )


def _inspect_derived(path: Path, found: IntegrityReport) -> None:
    """Adds what is wrong with the files that any command can make again."""
    try:
        entries = derived_files(path)
    except RunError as error:
        found.say(path / DERIVED, str(error).removeprefix(f"{path / DERIVED} ").partition(";")[0])
        return
    here = {n: e["sha256"] for n, e in entries.items() if (path / n).is_file()}
    for subject, words in changes(path, here).items():
        found.say(subject, f"{words}; delete it, and it is made again")
    found.files += len(here)
    bare = [n for n in DERIVED_FILES if (path / n).is_file() and n not in entries]
    found.notes += [f"{path / n} has no checksum: it is made again when asked for" for n in bare]


def _sha256_if_any(path: Path) -> str | None:
    return file_sha256(path) if path.is_file() else None

"""`semi check`: settings and manifest together, every problem at once, nothing trained."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from ..config.schema import Config, ConfigProblems, load_config
from ..config.yaml_format import to_yaml
from ..data.audio import Quarantined, check_audio
from ..data.leaks import Leaks, content_key, leak_report
from ..data.manifest import Manifest, load_manifest
from ..data.roles import Splits
from ..errors import ConfigError, ManifestError, setting
from ..features.extract import encoder_notes, explained, open_encoders
from ..training.rows import inputs_of, read_rows

if TYPE_CHECKING:
    from ..data.config import DataConfig

SHOWN = 10  # quarantined files told by name
BUILT_IN = ("acoustic", "egemaps", "char-ngram", "precomputed", "none")  # names, not weights


@dataclass
class Checked:
    """What a run with these settings would work on."""

    config: Config
    manifest: Manifest
    splits: Splits
    leaks: Leaks
    quarantine: list[Quarantined] = field(default_factory=list)  # by their headers alone
    notes: list[str] = field(default_factory=list)  # what was not looked at

    def __str__(self) -> str:
        """Returns what was understood of the table, then what a run would do with it."""
        lines = [str(self.manifest.reading)]
        role, label = self.splits.role, self.splits.label
        for name in ("labeled", "pool", "dev", "test", "unused"):
            in_role = role == name
            if not in_role.any():
                continue
            counts = Counter(self.manifest.classes[k] for k in label[in_role] if k >= 0)
            mix = ", ".join(f"{counts[c]} {c}" for c in self.manifest.classes if counts[c])
            if name == "pool":
                mix = f"{sum(counts.values())} of them with a label that stays hidden" * bool(
                    counts
                )
            groups = len(set(self.splits.group[in_role]))
            by = f" by {groups} {_plural(self.splits.group_kind, groups)}" if groups else ""
            by = "" if self.splits.group_kind == "none" else by
            count = int(in_role.sum())
            lines.append(
                f"{name}: {count} {_plural('row', count)}{by}" + (f" ({mix})" if mix else "")
            )
        if self.splits.folds:
            lines.append(f"out-of-fold parts: {self.splits.folds}")
        lines += [note for note in self.splits.notes if note not in self.manifest.reading.notes]
        if not self.leaks.found:  # an accepted one is among the notes
            lines.append(str(self.leaks))
        if self.quarantine:
            files = _plural("audio file", len(self.quarantine))
            lines.append(f"quarantine: {len(self.quarantine)} {files} cannot be used")
            lines += [f"  {q.path}: {q.reason}" for q in self.quarantine[:SHOWN]]
        lines += self.notes
        lines += self._unusable()
        lines.append(
            "nothing was trained; "
            + (
                "all is well"
                if not self._unusable()
                else "most sounds cannot be used, so a run would have little to learn from"
            )
        )
        return "\n".join(str(line) for line in lines)

    def _unusable(self) -> list[str]:
        """Returns a warning where most sounds cannot be used."""
        table = self.manifest.table
        sounds = int(table["audio"].notna().to_numpy().sum())
        if 2 * len(self.quarantine) <= sounds:
            return []
        told = f"warning: {len(self.quarantine)} of {sounds} sounds cannot be used"
        reading = self.manifest.reading
        named = {name: header for header, name in reading.named.items()}
        times = {f"{n}_ms": named[n] for n in ("start", "end") if n in named}
        if times and not reading.milliseconds:
            told += f"; if start and end are milliseconds, set {setting('data.columns', times)}"
        return [told]

    def with_settings(self) -> str:
        """Returns the same as comments, and below it the resolved settings as YAML."""
        comments = "".join(f"# {line}\n" for line in str(self).splitlines())
        return f"{comments}\n{to_yaml(self.config).rstrip()}"


def check(path: str | Path | None = None, overrides: Sequence[str] = ()) -> Checked:
    """Returns what a run would work on, or raises one error with the problems of both files."""
    try:
        config = load_config(path, overrides)
    except ConfigProblems as problems:
        raise ConfigError("\n".join([str(problems), *_manifest_too(problems.data)])) from None
    manifest, splits = read_rows(config)
    notes = _open_encoders(config)
    leaks = leak_report(manifest, splits, content_key, inputs_of(config.encoders))
    return Checked(config, manifest, splits, leaks, check_audio(manifest, config.data), notes)


def _open_encoders(config: Config) -> list[str]:
    """Opens the encoders that need no network, so that wrong ones are told; names the others."""
    from models.encoders.hub import is_hub_name
    from models.encoders.names import refuse_near_miss

    config, notes = deepcopy(config), []
    sections = {"speech": config.encoders.speech, "text": config.encoders.text}
    for name, section in sections.items():
        path = Path(section.model).expanduser()
        at_hand = section.model in BUILT_IN or path.suffix == ".pt" or path.is_dir()
        if not at_hand and is_hub_name(section.model):
            with explained(name):
                refuse_near_miss(section.model, f"encoders.{name}.model")
            notes.append(
                f"encoders.{name}.model={section.model}: not looked for; the hub model is fetched "
                "when it is first used"
            )
            section.model = "none"
    kept = [s for s in sections.values() if s.model != "none"]
    if kept or config.encoders.extra or not notes:
        notes += encoder_notes(open_encoders(config))
    return notes


def _manifest_too(data: DataConfig | None) -> list[str]:
    """Returns the manifest's own problems where its section was sound enough to read it."""
    if data is None or not data.manifest:
        return []
    try:
        load_manifest(data.manifest, data)
    except ManifestError as error:
        return [str(error)]
    return []


def _plural(word: str, count: int) -> str:
    return word if count == 1 else word + "s"

"""`semi check`: settings and manifest together, every problem at once, nothing trained."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from ..config.recipes import with_open_layers
from ..config.schema import Config, ConfigProblems, load_config
from ..config.yaml_format import to_yaml
from ..data.audio import Quarantined, check_audio, unusable_lines
from ..data.external_votes import outside_notes, outside_votes, voter_names
from ..data.leaks import Leaks, content_key, leak_report
from ..data.manifest import Manifest, load_manifest
from ..data.roles import ROLES, Splits
from ..data.wording import VOTER, WARNING, counted, listed, setting, shown, warnings_in
from ..errors import ConfigError, EncoderError, ManifestError
from ..features.extract import explained, open_encoders
from ..features.notes import encoder_notes
from ..training.rows import rows_to_train

if TYPE_CHECKING:
    from models.encoders import Encoder

    from ..data.config import DataConfig

MIX = 12  # classes told with their counts
FILES_SHOWN = 10  # quarantined files told by name
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

    @property
    def warnings(self) -> list[str]:
        """Returns what a run with these settings should not pass over."""
        warnings = warnings_in([*self.manifest.reading.notes, *self.splits.notes, *self.notes])
        return list(dict.fromkeys(warnings))

    def __str__(self) -> str:
        """Returns what was understood of the table, what is odd, and what a run would do."""
        read = self.manifest.reading.notes
        lines = [str(self.manifest.reading), *(n for n in self.warnings if n not in read)]
        lines += [
            line for name in ROLES if (line := _side(name, self.splits, self.manifest.classes))
        ]
        if self.splits.folds:
            lines.append(f"out-of-fold parts: {self.splits.folds}")
        notes = [*self.splits.notes, *self.notes]
        lines += [n for n in notes if n not in read and not n.startswith(WARNING)]
        if not self.leaks.found:  # an accepted one is among the notes
            lines.append(str(self.leaks))
        lines += [f"  {line}" for line in unusable_lines(self.quarantine, FILES_SHOWN)]
        found = counted(len(self.warnings), "warning")
        lines.append(
            f"{found}, nothing was trained" if self.warnings else "nothing was trained; all is well"
        )
        return "\n".join(str(line) for line in lines)

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
    config, manifest, splits = rows_to_train(config)
    notes = _open_encoders(config, manifest)
    inputs = config.encoders.inputs
    leaks = leak_report(manifest, splits, content_key, inputs)
    quarantine = check_audio(manifest, config.data) if "audio" in inputs else []
    notes += _unusable(config, manifest, splits, quarantine)
    notes += _voters(config, manifest, splits)
    return Checked(config, manifest, splits, leaks, quarantine, notes)


def _side(name: str, splits: Splits, classes: list[str]) -> str:
    """Returns a line that says how many rows, groups and labels a side has; '' if it has none."""
    here = splits.role == name
    if not here.any():
        return ""
    counts = Counter(classes[k] for k in splits.label[here] if k >= 0)
    mix = listed([f"{shown(c, 40)}: {counts[c]}" for c in classes if counts[c]], MIX)
    if name == "pool" and counts:
        mix = f"{counted(sum(counts.values()), 'hidden label')}, for reports"
    kind = splits.group_kind
    by = f" by {counted(len(set(splits.group[here])), kind)}" if kind != "none" else ""
    return f"{name}: {counted(int(here.sum()), 'row')}{by}" + (f" ({mix})" if mix else "")


def _unusable(
    config: Config, manifest: Manifest, splits: Splits, quarantine: list[Quarantined]
) -> list[str]:
    """Returns warnings of sounds that cannot be used; ManifestError if no gold row is left."""
    if not quarantine:
        return []
    table, encoders = manifest.table, config.encoders
    notes = [f"{WARNING}{counted(len(quarantine), 'sound')} cannot be used, see below"]
    notes[0] += _in_milliseconds(manifest, quarantine)
    if encoders.extra or "precomputed" in (encoders.speech.model, encoders.text.model):
        return notes  # whether a row has an array is seen when it is read
    usable = table["audio"].notna().to_numpy() & ~table["id"].isin([q.id for q in quarantine])
    if encoders.text.model != "none":
        usable |= table["text"].notna().to_numpy()
    gold, first = splits.role == "labeled", quarantine[0]
    if not (usable & gold).any():
        raise ManifestError(
            f"{manifest.path}: none of the {counted(int(gold.sum()), 'labelled training row')} can "
            f"be used: all of their sounds are refused, the first one, {first.path}, because: "
            f"{first.reason}"
        )
    lost = Counter(splits.role[~usable].tolist())
    counts = ", ".join(f"{lost[role]} {role}" for role in ROLES if lost[role] and role != "unused")
    return notes + ([f"{WARNING}rows without anything to go by: {counts}"] if counts else [])


def _voters(config: Config, manifest: Manifest, splits: Splits) -> list[str]:
    """Returns a sentence about each outside voter; RunError where its file cannot be used."""
    notes: list[str] = []
    ids = manifest.table["id"].to_numpy().astype(str)
    votes = outside_votes(config.data.outside, ids, manifest.classes, notes)
    if votes is None:
        return []
    notes += outside_notes(config.data.outside, votes[:, splits.role == "pool"])
    gold = ~votes[:, splits.role == "labeled"].isnan().any(-1)
    names = voter_names(config.data.outside)
    notes += [f"{WARNING}{VOTER}{name} has no vote on any gold row, so nothing tells how far it is "
              "to be trusted" for name, any_gold in zip(names, gold.any(1), strict=True)
              if not any_gold]  # fmt: skip
    return notes


def _in_milliseconds(manifest: Manifest, quarantine: list[Quarantined]) -> str:
    """Returns the remedy for times that may be no seconds, where most sounds cannot be used."""
    sounds = int(manifest.table["audio"].notna().to_numpy().sum())
    reading = manifest.reading
    named = {name: header for header, name in reading.named.items()}
    times = {f"{n}_ms": named[n] for n in ("start", "end") if n in named}
    if 2 * len(quarantine) <= sounds or not times or reading.milliseconds:
        return ""
    return f"; if start and end are milliseconds, set {setting('data.columns', times)}"


def _open_encoders(config: Config, manifest: Manifest) -> list[str]:
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
        encoders = open_encoders(with_open_layers(config))
        notes += encoder_notes(encoders) + _without_array(encoders, manifest)
    return notes


def _without_array(encoders: dict[str, Encoder], manifest: Manifest) -> list[str]:
    """Returns warnings of rows without an array; EncoderError where no row has one."""
    from models.encoders.precomputed import PrecomputedEncoder

    notes = []
    for name, encoder in encoders.items():
        if not isinstance(encoder, PrecomputedEncoder):
            continue
        items = manifest.table[encoder.column or "id"]
        wanted = items[items.notna()].tolist()
        with explained(name):
            found = sum(encoder.path_of(str(item)) is not None for item in wanted)
            if not found:
                sentence = f"encoders.{name}: {encoder.nothing_found()}"
                raise EncoderError(f"{sentence} (table: {manifest.path})")
            encoder.settle([str(item) for item in wanted])
        if found < len(items):
            rows = counted(len(items) - found, "row")
            notes.append(f"{WARNING}{rows} of {len(items):,} without an array of {name}")
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

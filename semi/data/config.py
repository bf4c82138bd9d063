"""Settings of the section `data`: which table, where the audio is, how it is split."""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass, field

from .headers import COLUMNS, MILLISECONDS

GROUP_KINDS = ("speaker", "session", "dialogue")
FOLD_METHODS = ("grouped", "contiguous")
LEAK_KINDS = ("utterance", "audio", "text", "speaker", "session")


@dataclass
class DataConfig:
    """Which utterances a run sees, and on which side of the split each one stands."""

    manifest: str = ""
    """Path of the table of utterances: CSV, TSV, Parquet, JSONL, or another format (required).

    Others: class folders, Hugging Face datasets, audformat, Label Studio, Kaldi, SpeechBrain, xlsx.
    """
    audio_root: str = ""
    """Folder that relative audio paths start from; empty means the manifest's own folder."""
    columns: dict[str, str] = field(default_factory=dict)
    """Which column is what, e.g. {label: sentiment}; an empty name says that none is.

    start_ms, end_ms and duration_ms are times in milliseconds.
    """
    classes: list[str] = field(default_factory=list)
    """Labels in order; empty means every label found, sorted."""
    label_map: dict[str, str] = field(default_factory=dict)
    """Renames labels, e.g. {disqust: disgust}; an empty name drops the label, not the row."""
    ties: str = "drop"
    """A label 'a;b': drop (the row counts as unlabelled) or votes (half a vote for each)."""
    labeled_fraction: float | None = None
    """Keeps this share of the training labels (stratified, by seed), hides the rest; null: all."""
    labeled_count: int | None = None
    """Keeps this many training labels in all, instead of a share; null: all."""
    test_fraction: float = 0.2
    """Share of rows held out as test where no split column says it: whole groups, classes even."""
    test_groups: list[str] = field(default_factory=list)
    """Groups (speakers, sessions ...) held out as test by name; replaces test_fraction."""
    test_fold: int | None = None
    """Holds out part k of `test_folds` as test (1 is the first), instead of a share; null: none."""
    test_folds: int = 5
    """Parts that `test_fold` counts in."""
    fold_method: str = "grouped"
    """Parts and folds are grouped (whole groups, classes even) or contiguous (slices of the table).

    Contiguous slices cut through sessions: for comparison with published figures only.
    """
    group: str = "auto"
    """Never on two sides: speaker, session, dialogue, none, or auto (the first of them known)."""
    allow_leaks: list[str] = field(default_factory=list)
    """Leaks between the sides that are accepted: utterance, audio, text, speaker, session.

    Any other stops the run, but for text, of which it warns. Audio and text are compared only where
    a model hears or reads them.
    """
    outside: list[str] = field(default_factory=list)
    """Outside voters: files of probabilities of any other model (a language model, a panel).

    .npz (ids, classes, probs) or .csv/.parquet (id, p_<class>), such as `semi vote` writes. Asked
    by select.rule=external and by select.agreement.over=[external], calibrated on the gold rows
    that they name; rows that a file does not name get no vote of it.
    """
    reviews: list[str] = field(default_factory=list)
    """What people said of single rows: reviews.csv of `semi review`, one file or several.

    A label is gold from now on, also where the table has another or hides its own; reviewers who
    differ are votes (see ties). A row that most call unsure or bad audio is left out. Held-out rows
    stay held out.
    """
    max_seconds: float = 120.0
    """Longer audio is quarantined."""
    min_seconds: float = 0.1
    """Shorter audio is quarantined."""
    workers: int = 2
    """Threads that read audio."""

    def __post_init__(self) -> None:
        """Raises ValueError naming the first field that cannot be used."""
        self._compose()
        for name in self.columns:
            if name not in COLUMNS and name not in MILLISECONDS:
                known = ", ".join((*COLUMNS, *MILLISECONDS))
                raise ValueError(f"columns may name {known}, got '{name}'")
        if self.ties not in ("drop", "votes"):
            raise ValueError(f"ties must be drop or votes, got '{self.ties}'")
        if self.group not in ("auto", *GROUP_KINDS, "none"):
            kinds = ", ".join(("auto", *GROUP_KINDS, "none"))
            raise ValueError(f"group must be one of {kinds}, got '{self.group}'")
        if self.fold_method not in FOLD_METHODS:
            known = " or ".join(FOLD_METHODS)
            raise ValueError(f"fold_method must be {known}, got '{self.fold_method}'")
        if self.test_folds < 2:
            raise ValueError(f"test_folds must be at least 2, got {self.test_folds}")
        if self.test_fold is not None and not 1 <= self.test_fold <= self.test_folds:
            raise ValueError(f"test_fold must be in 1..{self.test_folds}, got {self.test_fold}")
        if self.test_fold is not None and self.test_groups:
            raise ValueError("test_fold and test_groups cannot both be set; keep one")
        if not all(self.reviews):
            raise ValueError("reviews names a file without a name; write data.reviews=FILE")
        for kind in self.allow_leaks:
            if kind not in LEAK_KINDS:
                raise ValueError(f"allow_leaks may name {', '.join(LEAK_KINDS)}, got '{kind}'")
        if self.labeled_fraction is not None and not 0 < self.labeled_fraction <= 1:
            raise ValueError(f"labeled_fraction must be in (0, 1], got {self.labeled_fraction}")
        if self.labeled_count is not None and self.labeled_count < 1:
            raise ValueError(f"labeled_count must be at least 1, got {self.labeled_count}")
        if self.labeled_fraction is not None and self.labeled_count is not None:
            raise ValueError("labeled_count and labeled_fraction cannot both be set; keep one")
        if not 0 <= self.test_fraction < 1:
            raise ValueError(f"test_fraction must be in [0, 1), got {self.test_fraction}")
        if not self.min_seconds >= 0:
            raise ValueError(f"min_seconds must be 0 or more, got {self.min_seconds}")
        if not self.max_seconds > self.min_seconds:
            raise ValueError(
                f"max_seconds must be greater than min_seconds, got {self.max_seconds}"
            )
        if self.workers < 1:
            raise ValueError(f"workers must be at least 1, got {self.workers}")
        if len(set(self.classes)) < len(self.classes):
            raise ValueError(f"classes must not repeat a label, got {list(self.classes)}")

    def _compose(self) -> None:
        """Composes the letters (NFC) of all names that are compared with the table's."""
        for name in ("classes", "test_groups"):
            setattr(self, name, [_composed(value) for value in getattr(self, name)])
        for name in ("columns", "label_map"):
            pairs = getattr(self, name).items()
            setattr(self, name, {_composed(key): _composed(value) for key, value in pairs})


def _composed(value: object) -> str:
    return "" if value is None else unicodedata.normalize("NFC", str(value))

"""The settings of a transfer: corpora to learn from, corpora to be tested on, arms."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from pseudo_label.pool import unknown

from ...config import loading as settings
from ...config.learning import LearningConfig
from ...config.schema import ConfigProblems, given_keys
from ...config.training import GATE_METRICS
from ...data.wording import nearest
from ...devices import check_name, place_problems
from ...errors import ConfigError
from ...parallel import EngineConfig
from ..benchmark.config import DatasetConfig

ARMS = ("source", "inductive", "transductive", "target")
SCALINGS = ("corpus", "speaker", "global", "none")
OF_RUN = ("data.", "encoders.", "features.")  # sections of a run's settings that hold for tables
SHORT_WORDS = {"train": "source", "test": "target"}  # of the command line
PLAIN_NAMES = ("manifest", "m", "table", "data", "metadata", "features")  # say nothing of a corpus


@dataclass
class TransferConfig(LearningConfig, EngineConfig):
    """A transfer; the sections of learning are those of a run and hold for every arm."""

    source: list[str] = field(default_factory=list)
    """Corpora whose labels are learned, all together: tables, .npz files, or names of datasets."""
    target: list[str] = field(default_factory=list)
    """Corpora to be tested on, each by itself."""
    datasets: dict[str, DatasetConfig] = field(default_factory=dict)
    """Corpora by name, where a path alone does not say enough."""
    config: str = "default"
    """Recipe or YAML of a run, for tables: its sections data, encoders and features are used."""
    settings: list[str] = field(default_factory=list)
    """key=value words that win over it, for all tables, such as encoders.speech.model=..."""
    views: list[str] = field(default_factory=list)
    """Arrays of .npz files, speech.3 = its layer 3; [] = all that every corpus has."""
    labels: str = ""
    """YAML file, by corpus: 'Wut: anger', or 'disgust: null' to leave a class out."""
    foreign: str = "drop"
    """drop | keep: rows of classes that only the target has leave the pool, or stay unlabelled."""
    standardize: str = "corpus"
    """Scaling of features: corpus | speaker | global (by the rows that an arm learns from) | none.

    corpus and speaker take mean and deviation of unlabelled target rows, in all arms alike.
    """
    pca: int | None = 200
    """Principal components kept of each view; null = all columns."""
    arms: list[str] = field(default_factory=lambda: list(ARMS))
    """source | inductive | transductive | target; source is always run."""
    outer_folds: int = 5
    """Parts of whole target speakers; each is the test part once, and its rows are in no pool."""
    seeds: int = 1
    """Random starts of the models; their answers are counted together."""
    metric: str = "macro_f1"
    """What differences are measured in: macro_f1 | waf | uar | accuracy."""
    output: str = "transfer"
    """Folder of the results; a transfer that is started again goes on there."""
    device: str = "cpu"
    """cpu | cuda | cuda:<number>."""
    threads: int = 1
    """CPU threads of PyTorch; 0 = PyTorch's own choice."""

    def __post_init__(self) -> None:
        """Raises ValueError naming the first setting that is not allowed."""
        super().__post_init__()
        EngineConfig.__post_init__(self)
        check_name(self.device)
        if self.task.kind != "single":
            raise ValueError(
                f"task.kind must be single for a transfer, which compares one label a row, got "
                f"'{self.task.kind}'; several labels, valence and arousal go through semi train on "
                "one table that holds both corpora, its column split naming the target test"
            )
        choices = (("foreign", ("drop", "keep")), ("standardize", SCALINGS))
        for name, allowed in (*choices, ("metric", GATE_METRICS)):
            if getattr(self, name) not in allowed:
                raise ValueError(unknown(name, getattr(self, name), allowed))
        for arm in self.arms:
            if arm not in ARMS:
                raise ValueError(unknown("arms", arm, ARMS))
        if self.seeds < 1:
            raise ValueError(f"seeds must be at least 1, got {self.seeds}")
        if self.outer_folds < 2:
            raise ValueError(f"outer_folds must be at least 2, got {self.outer_folds}")
        if self.pca is not None and self.pca < 1:
            raise ValueError(f"pca must be >= 1 or null, got {self.pca}")


def load_transfer(path: str | Path | None, words: Sequence[str] = ()) -> TransferConfig:
    """Returns defaults <- YAML file <- words; ConfigError with every problem.

    Words may be shorter than in a YAML file: `train=a.csv test=b.csv,c.csv` are source and target,
    and words of data, encoders and features go to the settings of all tables.
    """
    mine, of_run = [], []
    for word in words:
        key, _, value = word.partition("=")
        if key.startswith(OF_RUN):
            of_run.append(word)
        elif (name := SHORT_WORDS.get(key, key)) in ("source", "target") and value[:1] != "[":
            mine.append(f"{name}={json.dumps([v for v in value.split(',') if v])}")
        else:
            mine.append(f"{name}={value}" if key in SHORT_WORDS else word)
    resolved = settings.resolve(TransferConfig, path, mine)
    problems, config = resolved.problems, resolved.value
    if not problems:
        problems += [
            f"{name}: required, but not set; name corpora, as in semi transfer train=a.csv "
            "test=b.csv,c.csv"
            for name in ("source", "target") if not getattr(config, name)
        ]  # fmt: skip
    if not problems:
        found = place_problems(config.device, config.engine)
        problems += [f"{key}: {sentence}" for key, sentence in found]
    if problems:
        raise ConfigProblems(problems)
    config.given = given_keys(resolved)
    return replace(config, settings=[*config.settings, *of_run])


@dataclass
class NamedCorpora:
    """Every corpus of a transfer under a name of its own."""

    datasets: dict[str, DatasetConfig]
    source: list[str]  # names
    target: list[str]


def named_corpora(config: TransferConfig) -> NamedCorpora:
    """Returns the corpora that are named as source or target."""
    datasets: dict[str, DatasetConfig] = {}
    paths: dict[str, str] = {}
    sides: dict[str, list[str]] = {"source": [], "target": []}
    for side, names in sides.items():
        for given in getattr(config, side):
            name = given if given in config.datasets else _name(given)
            if paths.setdefault(name, given) != given:
                raise ConfigError(
                    f"{paths[name]} and {given} are both called {name}; name them in the section "
                    "datasets of a YAML file"
                )
            if name in names:
                raise ConfigError(f"{side}: {given} is named twice")
            datasets[name] = config.datasets.get(name) or _dataset(given, config)
            names.append(name)
    if both := set(sides["source"]) & set(sides["target"]):
        raise ConfigError(
            f"{min(both)} is both source and target; a transfer is from one corpus to another (for "
            "speakers of one there are semi folds and semi benchmark)"
        )
    return NamedCorpora(datasets, **sides)


def _name(path: str) -> str:
    """Returns what a corpus is called: its file, or the folder where the file's name is plain."""
    place = Path(path).expanduser().absolute()
    return place.parent.name if place.stem.lower() in PLAIN_NAMES else place.stem


def _dataset(given: str, config: TransferConfig) -> DatasetConfig:
    if not Path(given).expanduser().exists():
        where = f" and no name under datasets{nearest(given, config.datasets)}"
        raise ConfigError(f"{given}: no such file or folder{where if config.datasets else ''}")
    if Path(given).suffix == ".npz":
        return DatasetConfig(features=given, views=config.views)
    place = str(Path(given).expanduser().absolute())
    return DatasetConfig(
        config=config.config, settings=[*config.settings, f"data.manifest={place}"]
    )

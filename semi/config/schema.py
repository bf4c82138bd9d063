"""One run's settings: the sections' dataclasses composed, loaded and checked together."""

from __future__ import annotations

import dataclasses
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from models.encoders.config import precision_problem

from ..data.config import DataConfig
from ..data.wording import counted
from ..devices import check_name, place_problems
from ..errors import ConfigError
from ..evaluation.trackers.opening import missing_library, names_problem
from ..features.config import EncodersConfig, FeaturesConfig
from ..features.remote import address_problem
from ..files import write_text
from ..parallel import EngineConfig
from . import loading as settings
from .distillation import DistillConfig
from .finetune import FinetuneConfig
from .learning import LearningConfig
from .recipes import AUTO, suited, suiting
from .task import KNOWN, TASK_KINDS, task_problems
from .yaml_format import as_dict, hints_of, to_yaml

__all__ = ["Config", "EncodersConfig", "load_config", "save", "signature", "to_yaml"]

# Settings that say where and how fast, not what: two runs that differ only here are the same run.
NOT_IN_SIGNATURE = (
    "name",
    "runs_dir",
    "tracking",
    "track",
    "ledger",
    "engine",
    "ray_address",
    "processes",
    "data.manifest",  # the manifest's own SHA-256 stands for it
    "data.audio_root",
    "data.workers",
    "features.store",
    "encoders.speech.batch_seconds",
    "finetune",  # another command's
    "distill.teacher",  # teacher.json holds the hash of its model
)


LEDGERS = ("auto", "csv", "parquet")


@dataclass
class Config(LearningConfig, EngineConfig):
    """Every setting of a run: those of learning, and where the data come from and go."""

    name: str = "run"
    """Name of the run; its results go to <runs_dir>/<name>/."""
    runs_dir: str = "runs"
    """Folder of all runs."""
    device: str = "cpu"
    """cpu | cuda | cuda:<number>."""
    precision: str = "fp32"
    """Arithmetic of the encoders: fp32 | bf16 (about 3x faster where it is built in) | fp16 | int8.

    int8 is of CPUs: the products of linear layers, with a scale for each token, 1.4x to 2.9x faster
    than fp32 also where bf16 is not built in. Its vectors are first compared with those of fp32 on
    24 rows; below a mean centred cosine of 0.99 it is refused.
    """
    threads: int = 0
    """CPU threads of PyTorch; 0 = PyTorch's own choice."""
    tracking: bool = True
    """Show the run in the trackers that `track` names; false: in none."""
    track: list[str] = field(default_factory=lambda: ["tensorboard"])
    """tensorboard (files in <runs_dir>/<name>/tb) | mlflow | wandb, or several: [mlflow, wandb].

    MLflow and Weights & Biases have settings of their own in the environment: docs/tracking.md.
    """
    ledger: str = "auto"
    """ledger.csv beside ledger.parquet: auto (below 100,000 utterances) | csv | parquet (none)."""
    data: DataConfig = field(default_factory=DataConfig)
    """The utterances: where they are, what is labelled, what is held out."""
    encoders: EncodersConfig = field(default_factory=EncodersConfig)
    """What turns an utterance into embeddings, one encoder a modality."""
    features: FeaturesConfig = field(default_factory=FeaturesConfig)
    """The store of embeddings and their standardisation."""
    finetune: FinetuneConfig = field(default_factory=FinetuneConfig)
    """Adapting the encoders beforehand (`semi finetune`); `semi train` never reads this."""
    distill: DistillConfig = field(default_factory=DistillConfig)
    """A student of a finished run (`semi distill`); of this section `semi train` reads `final`."""

    def __post_init__(self) -> None:
        """Raises ValueError naming the first top-level setting that is not allowed."""
        super().__post_init__()
        EngineConfig.__post_init__(self)
        if not re.fullmatch(r"[\w][\w.+=-]*", self.name):
            raise ValueError(
                f"name must be one word of letters, digits and . _ - + =, got '{self.name}'"
            )
        check_name(self.device)
        if problem := precision_problem(self.precision, self.device):
            raise ValueError(problem)
        if problem := names_problem(self.track):
            raise ValueError(f"track {problem}")
        if self.ledger not in LEDGERS:
            raise ValueError(f"ledger must be one of {', '.join(LEDGERS)}, got '{self.ledger}'")
        if self.threads < 0:
            raise ValueError(f"threads must be >= 0, got {self.threads}")

    @property
    def path(self) -> str:
        """The run's folder."""
        return str(Path(self.runs_dir, self.name))


def load_config(
    path: str | Path | None = None, overrides: Sequence[str] = (), *, elsewhere: bool = False
) -> Config:
    """Returns defaults <- YAML file <- `key=value` words; raises ConfigError with every problem.

    `elsewhere` says that the file is that of a run or a model: what only matters where it trains
    (is there such a GPU? which engine?) is left out, and settings removed since are named on
    stderr, not refused.
    """
    resolved = settings.resolve(Config, path, overrides, of_run=elsewhere)
    for note in resolved.notes:
        print(note, file=sys.stderr)
    problems, sections, given_here = resolved.problems, resolved.sections, given_keys(resolved)
    together = _together(sections | suiting(sections, given_here), elsewhere)
    for key, sentence in [] if resolved.unread else together:  # the file may say otherwise
        given = resolved.sources.get(key)
        problems.append(f"{key}: {sentence}" + (f" ({given})" if given else ""))
    if problems:
        of_file = elsewhere and not any("(command line)" in problem for problem in problems)
        where = str(path) if of_file else "the configuration"
        raise ConfigProblems(problems, resolved.sections.get("data"), where)
    resolved.value.given = given_here
    config = suited(resolved.value)
    return replace(config, engine="local", ray_address="", processes=0) if elsewhere else config


def given_keys(resolved: settings.Resolved) -> list[str]:
    """Returns the keys that a user set; of a file that lists every setting, as they are, none."""
    words = {k for k, source in resolved.sources.items() if source == settings.COMMAND_LINE}
    in_file = resolved.sources.keys() - words
    return sorted(words if in_file.issuperset(AUTO) else resolved.sources)


class ConfigProblems(ConfigError):
    """All problems of one configuration; `data` is its section of that name where that is sound."""

    def __init__(
        self, problems: list[str], data: DataConfig | None = None, where: str = "the configuration"
    ):
        self.problems, self.data = problems, data
        count = counted(len(problems), "problem")
        super().__init__("\n  ".join([f"{count} in {where}:", *problems]))


def without_recipe(config: Config, verb: str) -> Config:
    """Returns the settings as they are; ConfigError where a recipe was asked for by name.

    For verbs that would pass over it.
    """
    if config.recipe != "none" and "recipe" in config.given:
        sentence = (
            f"recipe: {verb} takes settings as they are; set recipe=none and name what you want"
        )
        raise ConfigProblems([f"{sentence}, such as model.kind=discriminant"], config.data)
    return replace(config, recipe="none")


def check(config: Config) -> Config:
    """Returns a config built in Python, after the checks that a loaded one has been through."""
    config = suited(config)
    sections = _sections(config)
    problems = [f"{key}: {sentence}" for key, sentence in _together(sections, False)]
    if problems:
        raise ConfigProblems(problems, config.data)
    return config


def signature(config: LearningConfig) -> dict[str, object]:
    """Returns dotted key -> value of every setting that can change a run's result."""
    return {
        key: value
        for key, value in leaves_of(config)
        if key not in NOT_IN_SIGNATURE and key.partition(".")[0] not in NOT_IN_SIGNATURE
    }


def save(config: Config, path: str | Path) -> None:
    """Writes the resolved settings as YAML, whole or not at all."""
    text = to_yaml(config)
    write_text(path, text)


def _together(sections: dict, elsewhere: bool) -> list[tuple[str, str]]:
    """Returns (key, sentence) for each rule that needs the world or more than one section."""
    found: list[tuple[str, str]] = []
    top, data = sections.get(""), sections.get("data")
    encoders = sections.get("encoders")
    if data is not None and not data.manifest:
        sentence = "required, but not set; name your table, as in data.manifest=mine.csv"
        found.append(("data.manifest", sentence))
    if top is not None and not elsewhere:
        found += place_problems(top.device, top.engine)
    if top is not None and top.tracking and not elsewhere:
        found += [("track", s) for s in [missing_library(top.track)] if s]
    if (features := sections.get("features")) is not None and not elsewhere:
        found += [("features.store", s) for s in [address_problem(features.store)] if s]
    if encoders is not None and not encoders.extra:
        models = {encoders.speech.model, encoders.text.model}
        if models == {"none"}:
            sentence = "every modality is 'none'; set encoders.speech.model or encoders.text.model"
            found.append(("encoders", sentence))
    found += _closed_form_problems(sections)
    select = sections.get("select")
    if select is not None and data is not None and select.asks_outside and not data.outside:
        key = "rule" if select.rule == "external" else "agreement.over"
        sentence = f"{key} external asks outside voters, but data.outside names no file of them"
        found.append((f"select.{key}", sentence))
    if (task := sections.get("task")) is not None:
        found += task_problems(task, sections)
    return found + _frames_problems(sections)


def _frames_problems(sections: dict) -> list[tuple[str, str]]:
    encoders, model, noise = (sections.get(k) for k in ("encoders", "model", "noise"))
    if encoders is None or not encoders.keeps_frames:
        return []
    found: list[tuple[str, str]] = []
    if model is not None and model.kind != "cross_attention":
        sentence = (
            f"{model.kind} only averages frames, so pooling=frames would be a slower pooling=mean; "
            "set model.kind=cross_attention or pooling=mean"
        )
        found.append(("model.kind", sentence))
    if noise is not None and noise.mixup_alpha > 0:
        sentence = "sequences of different lengths cannot be blended; set it to 0 or pooling=mean"
        found.append(("noise.mixup_alpha", sentence))
    return found


def _closed_form_problems(sections: dict) -> list[tuple[str, str]]:
    model, task = sections.get("model"), sections.get("task")
    if model is None or task is None or task.kind in KNOWN.get(model.kind, TASK_KINDS):
        return []
    other = "ridge" if task.kind == "affect" else "discriminant"
    return [(
        "model.kind",
        f"{model.kind} learns task.kind {' | '.join(KNOWN[model.kind])}, which is {task.kind} "
        f"here; take another kind, such as {other}",
    )]  # fmt: skip


def _sections(config: object, prefix: str = "") -> dict:
    found = {prefix: config}
    for name in hints_of(type(config)):
        value = getattr(config, name)
        if dataclasses.is_dataclass(value):
            found |= _sections(value, f"{prefix}.{name}".lstrip("."))
    return found


def leaves_of(value: object, prefix: str = "") -> list[tuple[str, object]]:
    """Returns (dotted key, value) of every setting of a section and of those in it."""
    if not dataclasses.is_dataclass(value):
        return [(prefix, value)]
    found = []
    for name in hints_of(type(value)):
        inner = getattr(value, name)
        if isinstance(inner, dict) and any(dataclasses.is_dataclass(v) for v in inner.values()):
            inner = {k: as_dict(v) for k, v in inner.items()}
        found += leaves_of(inner, f"{prefix}.{name}".lstrip("."))
    return found

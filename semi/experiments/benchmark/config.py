"""The settings of a benchmark: corpora x label budgets x draws x seeds x arms."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pseudo_label import RULES
from pseudo_label.pool import unknown

from ...config import loading as settings
from ...config.learning import LearningConfig
from ...config.schema import ConfigProblems, given_keys, signature
from ...config.training import GATE_METRICS
from ...devices import check_name, place_problems
from ...features.config import STANDARDIZE
from ...parallel import EngineConfig

CONTROLS = ("placebo", "shuffled", "oracle")
USB = ("usb_supervised", "usb_fixmatch", "usb_flexmatch", "usb_freematch", "usb_softmatch",
       "usb_adamatch")  # fmt: skip
BASELINES = ("self_training_0.7", "self_training_0.9", "label_spreading", *USB)


@dataclass
class DatasetConfig:
    """One corpus: a YAML of a run (manifest and encoders), or an .npz file of features."""

    config: str = ""
    """A run's YAML; its sections data, encoders and features are used, its splits are not."""
    settings: list[str] = field(default_factory=list)
    """key=value words that win over that YAML, such as data.manifest=..."""
    features: str = ""
    """An .npz file with `label`, `speaker` and arrays (N, D) or (N, L, D), one row an utterance."""
    views: list[str] = field(default_factory=list)
    """Arrays to use, speech.3 = its layer 3; [] = all, of layered ones the one a third way up."""
    group: str = "speaker"
    """Array of the .npz file whose values never stand on both sides of a split."""
    second_group: str = ""
    """A further array kept apart, such as script; test rows are new in both."""
    standardize: str = ""
    """Scaling of features: auto | speaker | global | none; '' = as the run's YAML has it.

    Of an .npz file '' is speaker. auto chooses for each draw of labels, as a run does.
    """
    global_views: list[str] = field(default_factory=lambda: ["text"])
    """Views scaled over all speakers together even so."""
    pca: int | None = 200
    """Principal components kept of each view; null = all columns."""

    def __post_init__(self) -> None:
        """Raises ValueError naming the first setting that is not allowed."""
        if bool(self.config) == bool(self.features):
            raise ValueError("config or features must be set, and not both")
        if self.features and not self.standardize:
            self.standardize = "speaker"
        if self.standardize and self.standardize not in STANDARDIZE:
            raise ValueError(unknown("standardize", self.standardize, STANDARDIZE))
        if self.pca is not None and self.pca < 1:
            raise ValueError(f"pca must be >= 1 or null, got {self.pca}")


@dataclass
class BenchConfig(LearningConfig, EngineConfig):
    """A benchmark; the sections of learning are those of a run and hold for every arm."""

    recipe: str = "none"
    """none | auto: of all arms; a variant may have a recipe of its own."""
    output: str = "bench"
    """Folder of the results; a benchmark that is started again goes on there."""
    device: str = "cpu"
    """cpu | cuda | cuda:<number>."""
    threads: int = 1
    """CPU threads of PyTorch; 0 = PyTorch's own choice."""
    datasets: dict[str, DatasetConfig] = field(default_factory=dict)
    """The corpora, by name."""
    budgets: list[float] = field(default_factory=lambda: [50, 100, 200, 500, 0.1, 0.3])
    """Labelled rows: a count, or below 1 a share of the training rows."""
    seeds: int = 5
    """Random starts of the models; every seed has label draws of its own."""
    draws: int = 3
    """Draws of which rows are labelled for each seed; the same for all arms."""
    outer_folds: int = 5
    """Parts of whole groups; each is the test part once, and its rows are in no pool."""
    rules: list[str] = field(default_factory=lambda: [r for r in RULES if r != "external"])
    """Selection rules, one arm each."""
    variants: dict[str, list[str]] = field(default_factory=dict)
    """Further arms: name -> key=value words of the learning sections."""
    reference: str = ""
    """An arm that all others are measured against in one more table, such as auto; '' = none."""
    controls: list[str] = field(default_factory=lambda: list(CONTROLS))
    """placebo (other seed, no rows) | shuffled (wrong labels) | oracle (all labels)."""
    baselines: list[str] = field(default_factory=lambda: list(BASELINES))
    """scikit-learn and USB (usb_...) on the same features, beside logistic regression."""
    metric: str = "macro_f1"
    """What gains are measured in: macro_f1 | waf | uar | accuracy."""
    resamples: int = 2000
    """Bootstrap resamples behind every interval."""

    def __post_init__(self) -> None:
        """Raises ValueError naming the first setting that is not allowed."""
        super().__post_init__()
        EngineConfig.__post_init__(self)
        check_name(self.device)
        for name in ("seeds", "draws", "resamples"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        if self.outer_folds < 2:
            raise ValueError(f"outer_folds must be at least 2, got {self.outer_folds}")
        for value in self.budgets:
            if value <= 0 or (value >= 1 and value != int(value)):
                raise ValueError(
                    f"budgets must be whole counts of 1 or more, or shares in (0, 1), got {value}"
                )
        lists = (("rules", RULES), ("controls", CONTROLS), ("baselines", BASELINES))
        for name, allowed in (*lists, ("metric", GATE_METRICS)):
            given = getattr(self, name)
            for value in [given] if isinstance(given, str) else given:
                if value not in allowed:
                    raise ValueError(unknown(name, value, allowed))
        for name in self.variants:
            if name in (*RULES, *CONTROLS, *BASELINES, "supervised", "logistic"):
                raise ValueError(f"variants: '{name}' is the name of another arm")
        arms = [*self.rules, *self.variants, *self.controls, "supervised"]
        if self.reference and self.reference not in arms:
            raise ValueError(unknown("reference", self.reference, arms))


def budget_name(value: float) -> str:
    """Returns 50 as "50" and 0.1 as "10%"."""
    return f"{100 * value:g}%" if value < 1 else f"{int(value)}"


def load_bench(path: str | Path | None = None, overrides: Sequence[str] = ()) -> BenchConfig:
    """Returns defaults <- YAML file <- `key=value` words; raises ConfigError with every problem."""
    resolved = settings.resolve(BenchConfig, path, overrides)
    problems = resolved.problems
    if not problems and not resolved.value.datasets:
        problems.append(
            "datasets: required, but not set; name a YAML file that has them, as in "
            "semi benchmark bench"
        )
    if not problems:
        found = place_problems(resolved.value.device, resolved.value.engine)
        problems += [f"{key}: {sentence}" for key, sentence in found]
    if not problems:
        resolved.value.given = given_keys(resolved)
        if resolved.value.recipe != "none" and resolved.value.rules:
            problems.append(
                "recipe: auto chooses the rule, so rules must be []; or set recipe=none and add "
                "the arm variants={auto: [recipe=auto]}"
            )
        for name, overrides in resolved.value.variants.items():
            found = settings.resolve(LearningConfig, None, overrides).problems
            problems += [f"variants.{name}: {problem}" for problem in found]
    if problems:
        raise ConfigProblems(problems)
    return resolved.value


def learning_of(config: LearningConfig, seed: int, overrides: Sequence[str] = ()) -> LearningConfig:
    """Returns a copy of the learning sections with another seed and `overrides` applied."""
    import dataclasses
    import json

    names = [f.name for f in dataclasses.fields(LearningConfig)]
    base: Any = LearningConfig(**{name: getattr(config, name) for name in names})
    kept = [f"{k}={json.dumps(v)}" for k, v in signature(base).items()]  # JSON is YAML
    resolved = settings.resolve(LearningConfig, None, [*kept, f"seed={seed}", *overrides])
    if resolved.problems:
        raise ConfigProblems(resolved.problems)
    resolved.value.given = config.given + [word.partition("=")[0] for word in overrides]
    return resolved.value

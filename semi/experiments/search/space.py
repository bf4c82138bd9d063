"""What a search may change: read from YAML, checked before anything is trained."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ...data.wording import counted, nearest
from ...errors import ConfigError, SemiError, how_to_install
from ...yaml_limits import plain_yaml

# What is judged must stay the same; what the warm start does not read cannot be searched.
SECTIONS = ("encoders", "features", "noise", "model", "contrast", "train", "vote", "task")
REFUSED = {"train.folds": "it changes the rows that every trial is judged on"}
RANGE = ("low", "high", "log")
STEPPED = ("train.", "noise.", "contrast.", "model.")  # what most settings of are for steps
READ_ALWAYS = {"model.kind", "model.components", "train.imbalance", "train.imbalance_power",
               "train.members"}  # fmt: skip
READ_BY = {  # solved, no steps
    "discriminant": {"model.shrinkage", "model.pull"},
    "logistic": {"model.penalty"},
    "ridge": {"model.widen"},
}  # fmt: skip


@dataclass
class Parameter:
    """One setting: some choices, or a range."""

    key: str
    choices: list[str] = field(default_factory=list)  # as they are written after key=
    low: float = 0.0
    high: float = 0.0
    log: bool = False
    whole: bool = False  # whole numbers only

    def distribution(self) -> Any:
        """Returns the distribution that Optuna draws from."""
        from optuna.distributions import (  # pyright: ignore[reportMissingImports]
            CategoricalDistribution,
            FloatDistribution,
            IntDistribution,
        )

        if self.choices:
            return CategoricalDistribution(self.choices)
        if self.whole:
            return IntDistribution(int(self.low), int(self.high), log=self.log)
        return FloatDistribution(self.low, self.high, log=self.log)


def read_space(path: str | Path, known: list[str]) -> list[Parameter]:
    """Returns the parameters of a YAML file; ConfigError with every problem in it.

    Args:
        path: lines `key: [a, b]` or `key: {low: 1e-4, high: 1e-2, log: true}`.
        known: every dotted key there is.
    """
    import yaml

    try:
        given = plain_yaml(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigError(f"{path}: no such file") from None
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
        raise ConfigError(f"{path}: is not valid YAML: {' '.join(str(error).split())}") from None
    if not isinstance(given, dict) or not given:
        raise ConfigError(
            f"{path} must hold lines such as 'train.lr: {{low: 1e-4, high: 1e-2, log: true}}' or "
            "'model.hidden: [64, 128]'"
        )
    found, problems = [], []
    for key, value in given.items():
        try:
            found.append(_parameter(str(key), value, known))
        except ValueError as error:
            problems.append(f"{key}: {error}")
    if problems:
        raise ConfigError(
            "\n  ".join([f"{counted(len(problems), 'problem')} in {path}:", *problems])
        )
    return found


def refuse_idle(parameters: list[Parameter], kind: str, path: str | Path) -> None:
    """Raises ConfigError for parameters that no kind of model in the search reads.

    Args:
        parameters: what is searched.
        kind: of the recipe; trial 0 has it, and every trial where the kind is not searched.
        path: of the space, for the message.
    """
    kinds = next((p.choices for p in parameters if p.key == "model.kind"), [kind])
    if not set(kinds) <= set(READ_BY):
        return
    read = READ_ALWAYS.union(*(READ_BY[k] for k in kinds))
    idle = [p.key for p in parameters if p.key.startswith(STEPPED) and p.key not in read]
    if idle:
        raise ConfigError(
            f"{path}: {', '.join(idle)} {'plays' if len(idle) == 1 else 'play'} no part in "
            f"model.kind={' or '.join(kinds)}, which is solved and not trained in steps: all "
            f"trials would be the same; search {', '.join(sorted(read - {'model.kind'}))}, or "
            "another model.kind"
        )


def word(key: str, value: Any) -> str:
    """Returns a setting as it is written on the command line."""
    return f"{key}={value if isinstance(value, str) else json.dumps(value)}"


def _parameter(key: str, value: Any, known: list[str]) -> Parameter:
    if key not in known:
        raise ValueError(f"no such setting{nearest(key, known)}")
    if key in REFUSED:
        raise ValueError(f"cannot be searched: {REFUSED[key]}")
    if key.partition(".")[0] not in SECTIONS:
        raise ValueError(
            "cannot be searched: trials are warm starts judged on the same gold rows; the sections "
            f"that may vary are {', '.join(SECTIONS)}"
        )
    if isinstance(value, list):
        if len(value) < 2:
            raise ValueError(f"needs at least two choices, got {value}")
        texts = [v if isinstance(v, str) else json.dumps(v) for v in value]
        return Parameter(key, choices=texts)
    if isinstance(value, dict) and {"low", "high"} <= value.keys() <= set(RANGE):
        low, high = float(value["low"]), float(value["high"])  # YAML reads 1e-4 as a text
        whole = all(isinstance(value[k], int) for k in ("low", "high"))
        if not low < high:
            raise ValueError(f"low must be less than high, got {low:g} and {high:g}")
        if value.get("log") and low <= 0:
            raise ValueError(f"low must be positive where log is true, got {low:g}")
        return Parameter(key, low=low, high=high, log=bool(value.get("log")), whole=whole)
    raise ValueError(f"give [choices] or {{low, high, log}}, got {value!r}")


def ask(
    parameters: list[Parameter], done: list[dict], seed: int, sampler: str, number: int
) -> list[str]:
    """Returns the settings of a trial; they depend on seed, number and finished batches alone."""
    try:
        import optuna  # pyright: ignore[reportMissingImports]
    except ImportError:
        raise SemiError(f"a search needs Optuna: {how_to_install('search')}") from None
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    kind = {"tpe": optuna.samplers.TPESampler, "random": optuna.samplers.RandomSampler}[sampler]
    study = optuna.create_study(
        direction="maximize", sampler=kind(seed=(seed * 100_003 + number) % 2**32)
    )
    spread = {p.key: p.distribution() for p in parameters}
    for trial in done[1:]:
        state = optuna.trial.TrialState.COMPLETE
        if trial["value"] is None:
            state = optuna.trial.TrialState.FAIL
        drawn = _drawn(parameters, trial["words"])
        study.add_trial(optuna.trial.create_trial(
            params=drawn, distributions=spread, value=trial["value"], state=state
        ))  # fmt: skip
    asked = study.ask(fixed_distributions=spread)
    return [word(p.key, asked.params[p.key]) for p in parameters]


def _drawn(parameters: list[Parameter], words: list[str]) -> dict[str, Any]:
    """Returns the values behind a trial's words."""
    texts = dict(w.split("=", 1) for w in words)
    return {
        p.key: texts[p.key] if p.choices
        else int(texts[p.key]) if p.whole else float(texts[p.key])
        for p in parameters
    }  # fmt: skip

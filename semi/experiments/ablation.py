"""`semi ablate`: a recipe, and the same recipe with one setting changed at a time, compared."""

from __future__ import annotations

import re
from collections.abc import Sequence

from ..config.schema import load_config
from ..errors import RunError
from ..runs.compare import compare
from ..runs.comparison import Comparison
from ..runs.reopen import result_of
from ..self_training.run_dir import Run
from .whole_runs import train_runs


def variants(vary: Sequence[str]) -> list[str]:
    """Returns every single change: 'a=1,2' is a=1 and a=2; commas inside brackets do not part."""
    settings = []
    for varied in vary:
        key, equals, values = varied.partition("=")
        if not equals or not key or not values:
            raise RunError(f"give what varies as key=value or key=value,value; got '{varied}'")
        settings += [f"{key}={v}" for v in re.split(r",(?![^\[{]*[\]}])", values)]
    return list(dict.fromkeys(settings))


def ablate(
    path: str | None, overrides: Sequence[str], vary: Sequence[str], *,
    output: str | None = None, progress: bool = True,
) -> Comparison:  # fmt: skip
    """Trains the recipe and each variant of it, then pairs every variant with the recipe.

    Runs that are finished already are not trained again, so an interrupted call goes on.
    """
    base = load_config(path, overrides)
    configs = [base]
    for setting in variants(vary):
        name = f"{base.name}+" + re.sub(r"[^\w.+=-]+", "-", setting).strip("-")
        configs.append(load_config(path, [*overrides, setting, f"name={name}"]))
    runs = train_runs(configs, progress=progress)
    for run in runs:
        result_of(Run.open(run))
    return compare(runs, paired=True, output=output)

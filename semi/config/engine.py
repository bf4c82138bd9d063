"""Where a command on a finished run does its work: `engine=ray` and its like among its words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields

from ..parallel import EngineConfig, missing_ray

KEYS = tuple(field.name for field in fields(EngineConfig))


def engine_of(words: Sequence[str]) -> tuple[EngineConfig, list[str]]:
    """Returns where to work, and the words that are about something else.

    Args:
        words: among them engine=ray, ray_address=auto and processes=4; ConfigError with every
            problem of these.
    """
    own = [word for word in words if "=" in word and word.partition("=")[0] in KEYS]
    if not own:
        return EngineConfig(), list(words)
    from .loading import resolve
    from .schema import ConfigProblems

    resolved = resolve(EngineConfig, None, own)
    problems = list(resolved.problems)
    if not problems and resolved.value.engine == "ray" and (missing := missing_ray()):
        problems.append(f"engine: {missing} (command line)")
    if problems:
        raise ConfigProblems(problems)
    return resolved.value, [word for word in words if word not in own]

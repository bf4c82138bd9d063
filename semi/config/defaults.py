"""configs/default.yaml: every setting with its meaning and its default."""

from __future__ import annotations

import json

from .schema import Config, leaves_of
from .yaml_format import documented_yaml, first_line_of

ORDER = (
    "name",
    "data",
    "encoders",
    "features",
    "recipe",
    "rounds",
    "select",
    "model",
    "train",
    "vote",
    "contrast",
    "noise",
    "task",
    "seed",
    "runs_dir",
    "device",
    "precision",
    "threads",
    "engine",
    "ray_address",
    "processes",
    "tracking",
    "track",
    "ledger",
    "finetune",
    "distill",
)  # of configs/default.yaml: what is set most often stands first
FIRST = (
    "data.manifest", "data.labeled_fraction", "data.test_fraction", "data.group", "data.classes",
    "data.label_map", "data.allow_leaks", "encoders.speech.model", "encoders.speech.layers",
    "encoders.text.model", "features.standardize", "features.store", "recipe", "rounds.max_rounds",
    "rounds.metric", "select.rule", "select.coverage", "select.threshold", "model.kind",
    "train.folds", "train.members", "task.kind", "seed", "device", "precision",
)  # fmt: skip


def documented_default() -> str:
    """Returns the text of configs/default.yaml: every setting, its meaning and its default.

    The settings that matter to nearly everybody are listed first, as they are written on the
    command line.
    """
    default = Config()
    leaves = dict(leaves_of(default))
    lines = [f"#   {f'{key}={json.dumps(leaves[key])}':38} {first_line_of(Config, key)}".rstrip()
             for key in FIRST]  # fmt: skip
    head = (
        "# Every setting and its default; made by `python -m semi.config > configs/default.yaml`.\n"
        "# A YAML of your own holds only what differs; `key=value` words win over it.\n#\n"
        f"# The {len(FIRST)} that matter most, as the command line takes them:\n"
    )
    return head + "\n".join(lines) + "\n\n" + documented_yaml(default, order=ORDER)

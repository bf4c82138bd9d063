"""The YAML at the top of a model card, as the Hugging Face hub reads it.

https://huggingface.co/docs/hub/model-cards#model-card-metadata. Scores stand in `model-index` as
shares of 1, each with the ends of its 95 % interval among its `args`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ..errors import ConfigError
from ..evaluation.names import METRIC_NAMES
from ..evaluation.run_json import interval_of
from ..hub_names import parsed

LIBRARY = "semi"
CALIBRATED = "calibrated"
TAGS = ("emotion-recognition", "semi-supervised", "self-training", CALIBRATED, "safetensors")
# a score of ours -> the hub's name of the metric, and what it is computed with
HUB_METRICS: dict[str, tuple[str, dict[str, str]]] = {
    "accuracy": ("accuracy", {}),
    "waf": ("f1", {"average": "weighted"}),
    "macro_f1": ("f1", {"average": "macro"}),
    "uar": ("recall", {"average": "macro"}),
    "micro_f1": ("f1", {"average": "micro"}),
    "sample_f1": ("f1", {"average": "samples"}),
    "ccc": ("ccc", {}),
}
NAMELESS = "gold labels of a table that is not published"


@dataclass(frozen=True)
class CardWords:
    """What a run cannot know of itself and its maker may say in the card."""

    license: str = ""  # of the model: an SPDX identifier in small letters, such as apache-2.0
    dataset: str = ""  # org/name on the hub that it was trained on
    languages: Sequence[str] = field(default_factory=list)  # ISO 639 codes; [] = the table's own

    def __post_init__(self) -> None:
        """Raises ConfigError for what the hub would not take."""
        if self.license and not re.fullmatch(r"[a-z0-9][a-z0-9.+-]*", self.license):
            raise ConfigError(
                f"--license must be the hub's word for a licence, such as apache-2.0, cc-by-4.0 or "
                f"other, got '{self.license[:60]}'"
            )
        if self.dataset:
            parsed(self.dataset)
        for code in self.languages:
            if not is_language(code):
                raise ConfigError(
                    f"--language must be a code of ISO 639 such as de, ko or yue, got '{code[:60]}'"
                )


def is_language(code: str) -> bool:
    """Says whether a text has the form of a code of ISO 639-1 or 639-3."""
    return re.fullmatch(r"[a-z]{2,3}", code) is not None


def metadata(
    title: str, words: CardWords, *, modalities: Sequence[str], encoders: Sequence[str],
    languages: Sequence[str], metrics: Mapping[str, Any], part: str, calibrated: bool,
) -> str:  # fmt: skip
    """Returns the YAML, without the lines of dashes around it.

    Args:
        title: the model's name.
        words: what its maker says.
        modalities: that it reads, such as speech and text.
        encoders: names on the hub of the models beneath it.
        languages: codes of ISO 639.
        metrics: of gold rows, as a round's record holds them; {} = none.
        part: which gold rows: test, dev or oof.
        calibrated: it gives probabilities.
    """
    from huggingface_hub import ModelCardData

    results = eval_results(metrics, part, words.dataset, modalities)
    data = ModelCardData(
        library_name=LIBRARY,
        license=words.license or None,
        language=list(languages) or None,
        datasets=[words.dataset] if words.dataset else None,
        base_model=list(encoders) or None,
        tags=[
            *(tag for tag in TAGS if calibrated or tag != CALIBRATED),
            *(f"{name}-emotion-recognition" for name in modalities if name == "speech"),
        ],
        metrics=sorted({result.metric_type for result in results}) or None,
        pipeline_tag=task_of(modalities) or None,
        model_name=title if results else None,
        eval_results=results or None,
    )
    return data.to_yaml()


def task_of(modalities: Sequence[str]) -> str:
    """Returns the hub's name of the task, '' where it has none for these inputs."""
    if "speech" in modalities:
        return "audio-classification"
    return "text-classification" if list(modalities) == ["text"] else ""


def eval_results(
    metrics: Mapping[str, Any], part: str, dataset: str, modalities: Sequence[str]
) -> list[Any]:
    """Returns the scores as huggingface_hub's EvalResult."""
    from huggingface_hub import EvalResult

    found = []
    for name, (kind, how) in HUB_METRICS.items():
        value = metrics.get(name)
        if value is None:
            continue
        args: dict[str, Any] = dict(how)
        interval = (metrics.get("intervals") or {}).get(name)
        if interval and None not in (interval["low"], interval["high"]):
            args["interval_95"] = [round(float(interval[end]), 4) for end in ("low", "high")]
            args["interval_over"] = interval_of(interval).over()
        found.append(EvalResult(
            task_type=task_of(modalities) or "other", task_name="Emotion recognition",
            dataset_type=dataset or "unpublished", dataset_name=dataset or NAMELESS,
            dataset_split={"oof": "train"}.get(part, part),
            metric_type=kind, metric_value=round(float(value), 4),
            metric_name=METRIC_NAMES.get(name, name) + " (out-of-fold)" * (part == "oof"),
            metric_args=args or None,
        ))  # fmt: skip
    return found

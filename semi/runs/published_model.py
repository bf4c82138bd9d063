"""A model as others may have it: its numbers and settings, nothing of people, tables or machines.

What a model directory of this machine holds beyond that: the ids of the speakers that it was
trained on with their means and deviations, where features are scaled by speaker; ids of speakers
held out by name; the places of tables, stores and encoders. A published model scales every speaker
as one it has not heard, which is what `semi predict RUN a.wav` does with anybody new.
"""

from __future__ import annotations

import os
from dataclasses import replace
from typing import Any

from ..config.schema import Config
from ..features.config import FeaturesConfig
from ..features.remote import is_url
from ..features.standardize import Standardizer
from ..self_training.model_dir import Model

NO_TABLE = "unpublished.csv"  # a table must have a name


def published(model: Model) -> Model:
    """Returns the model without ids of speakers and without places."""
    return replace(
        model,
        config=published_settings(model.config),
        standardizer=without_speakers(model.standardizer),
    )


def without_speakers(standardizer: Standardizer) -> Standardizer:
    """Returns the scaling that knows no speaker by name."""
    profiles = {
        name: replace(p, speaker_mean=p.speaker_mean[:0], speaker_std=p.speaker_std[:0])
        for name, p in standardizer.profiles.items()
    }
    return replace(standardizer, speakers=[], profiles=profiles)


def published_settings(config: Config) -> Config:
    """Returns settings in which every place is a bare name, and no person is named.

    It is what a model of somebody else is opened with, too: their places mean nothing here.
    """
    encoders = config.encoders
    speech, text = (
        replace(part, model=_bare(part.model), path=_bare(part.path))
        for part in (encoders.speech, encoders.text)
    )
    extra = {name: replace(part, path=_bare(part.path)) for name, part in encoders.extra.items()}
    data = replace(
        config.data, manifest=NO_TABLE, audio_root="", test_groups=[], reviews=[],
        outside=[_bare(path) for path in config.data.outside],
    )  # fmt: skip
    return replace(
        config, data=data, encoders=replace(encoders, speech=speech, text=text, extra=extra),
        features=replace(config.features, store=FeaturesConfig().store),
        runs_dir=Config.runs_dir, engine="local", ray_address="", processes=0,
        distill=replace(config.distill, teacher=_bare(config.distill.teacher)),
    )  # fmt: skip


def local_encoders(config: Config) -> list[str]:
    """Returns the encoders that are folders or files of this machine, as modality (name)."""
    parts: dict[str, Any] = {"speech": config.encoders.speech, "text": config.encoders.text}
    return [f"{name} ({_bare(part.model)})" for name, part in parts.items()
            if os.path.isabs(part.model)]  # fmt: skip


def _bare(path: str) -> str:
    """Returns the last part of a path of this machine or an address; a name stays as it is."""
    place = os.path.isabs(path) or is_url(path) or path.startswith((".", "~"))
    return path.rstrip("/").rpartition("/")[2] if place else path

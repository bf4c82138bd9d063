"""The shapes of answers, as OpenAPI describes them."""

from __future__ import annotations

from pydantic import BaseModel, Field


class ModalityVote(BaseModel):
    """What one modality says alone."""

    label: str
    confidence: float | None


class Reply(BaseModel):
    """What the model says of an utterance."""

    label: str | None = Field(description="a class; several are a;b; null of valence and arousal")
    confidence: float | None = Field(description="calibrated; of the least sure of several labels")
    probabilities: dict[str, float] = Field(description="calibrated, by class")
    votes: dict[str, ModalityVote] = Field(description="by modality, of those it has")
    valence: float | None = None
    arousal: float | None = None
    reason: str | None = Field(description="why an input could not be used")


class ErrorAnswer(BaseModel):
    """Why there is no answer."""

    error: str


class Answers(BaseModel):
    """The answers to several utterances, in their order."""

    answers: list[Reply | ErrorAnswer]


class Health(BaseModel):
    """Whether the service is there, and labels."""

    live: bool
    ready: bool

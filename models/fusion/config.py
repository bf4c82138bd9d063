"""Settings of the fusion model and of its contrastive terms; no torch needed to read them."""

from __future__ import annotations

import difflib
from dataclasses import dataclass, field

KINDS = (
    "contrastive",
    "concat",
    "add",
    "gated",
    "attention",
    "low_rank",
    "tensor",
    "private_shared",
    "misa",
    "mlp_mixer",
    "cross_attention",
    "topn_attention",
)
CLASSIFIERS = ("discriminant", "logistic")  # linear, of classes
CLOSED_FORM = (*CLASSIFIERS, "ridge")  # linear, solved and not stepped
ON_AXES = (*CLOSED_FORM, "contrastive_residual")  # see rows on the principal axes of each view


@dataclass
class FusionConfig:
    """Which fusion model, and how large; rebuilt from this, the dimensions and the classes."""

    kind: str = "contrastive"
    """Fusion model: contrastive, concat, gated, attention ... (models.fusion.config.KINDS)."""
    hidden: int = 128
    """Width of every modality's embedding and of the fused vector."""
    projection: int = 64
    """Width of the vectors that contrastive terms compare."""
    dropout: float = 0.3
    """Dropout after each modality's encoder and before the fused head."""
    depth: int = 1
    """Layers of each modality's encoder; those after the first are residual."""
    layers: int = 1
    """Layers of cross_attention (teacher 3, student 1), misa and mlp_mixer."""
    heads: int = 4
    """Attention heads of cross_attention and misa; must divide hidden."""
    rank: int = 4
    """Rank of low_rank fusion."""
    top: int = 3
    """Modalities that topn_attention lets through per utterance."""
    components: int = 50
    """Principal components of each view that discriminant, logistic and ridge see."""
    shrinkage: float = 0.15
    """discriminant: share of the covariance that is a multiple of the identity."""
    pull: float = 0.0
    """discriminant: rows at the middle of a view that pull each class mean; 2 in recipe auto."""
    linear: str = "discriminant"
    """contrastive_residual: the solution that training starts from, discriminant | logistic."""
    penalty: float = 3.0
    """logistic: half of this times the squared weights is added to the summed loss."""
    widen: bool = True
    """Valence and arousal of linear kinds: spread as widely as the truths, which CCC asks for.

    The factor comes from answers out-of-fold. false: least squared error, which is more modest.
    """
    quiet: list[str] = field(default_factory=list)
    """Linear kinds and contrastive_residual: modalities heard only where no other one is there."""
    auxiliary_weight: float = 0.1
    """Weight of the own losses of private_shared and misa (difference, moments, reconstruction)."""
    affect: bool = False
    """Adds a head for valence and arousal."""

    def __post_init__(self) -> None:
        known = (*KINDS, *ON_AXES)
        if self.kind not in known:
            close = difflib.get_close_matches(str(self.kind), known, n=1)
            hint = f"; did you mean '{close[0]}'?" if close else ""
            raise ValueError(f"kind must be one of {', '.join(known)}, got '{self.kind}'{hint}")
        for name in (
            "hidden",
            "projection",
            "depth",
            "layers",
            "heads",
            "rank",
            "top",
            "components",
        ):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be >= 1, got {getattr(self, name)}")
        if self.linear not in CLASSIFIERS:
            raise ValueError(f"linear must be one of {', '.join(CLASSIFIERS)}, got '{self.linear}'")
        if self.quiet and self.kind not in ON_AXES:
            raise ValueError(f"quiet is of the kinds {', '.join(ON_AXES)}, not of {self.kind}")
        if self.auxiliary_weight < 0:
            raise ValueError(f"auxiliary_weight must be >= 0, got {self.auxiliary_weight}")
        if not 0 < self.shrinkage <= 1:
            raise ValueError(f"shrinkage must be in (0, 1], got {self.shrinkage}")
        if self.pull < 0:
            raise ValueError(f"pull must be >= 0, got {self.pull}")
        if self.penalty <= 0:
            raise ValueError(f"penalty must be positive, got {self.penalty}")
        if not 0 <= self.dropout < 1:
            raise ValueError(f"dropout must be in [0, 1), got {self.dropout}")
        if self.kind in ("cross_attention", "misa") and self.hidden % self.heads:
            raise ValueError(f"heads must divide hidden={self.hidden}, got {self.heads}")


@dataclass
class ContrastConfig:
    """Which pairs are contrasted, how strongly, and for how long beforehand."""

    modality: bool = True
    """Contrast every pair of modalities of an utterance."""
    rest: bool = True
    """Contrast each modality with all the others (of two: with the noisy fused vector)."""
    noise: bool = True
    """Contrast each clean embedding with its noisy view."""
    drop_same_class: bool = True
    """Rows known to share a class are no negatives of each other."""
    weight: float = 0.2
    """Weight of the contrastive terms beside the classification loss at the start; 0 = off."""
    weight_end: float = 0.05
    """Weight at the end of training (linear in between)."""
    tau: float = 0.1
    """Temperature the contrastive terms start from."""
    learn_tau: bool = True
    """Let each group learn its own temperature, between 0.01 and 1."""
    pretrain_steps: int = 100
    """Steps of contrastive training on labelled and unlabelled rows before any label is used."""
    pretrain_batch: int = 128
    """Rows a step of contrastive pre-training compares."""
    axes: float = 0.0
    """Kinds on axes: how far these are stretched along what modalities share; 0 = principal axes.

    Without steps. Recipe auto lets gold choose between 0 and 3 where there are several modalities.
    """
    intra: float = 0.0
    """Weight of the contrast by class within each modality, on given labels only; 0 = off."""
    inter: float = 0.0
    """Weight of the contrast by class between modalities, on given labels only; 0 = off."""

    def __post_init__(self) -> None:
        for name in ("weight", "weight_end", "pretrain_steps", "axes", "intra", "inter"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} must be >= 0, got {getattr(self, name)}")
        if not 0.01 < self.tau < 1:
            raise ValueError(f"tau must be between 0.01 and 1, got {self.tau}")
        if self.pretrain_batch < 2:
            raise ValueError(f"pretrain_batch must be >= 2, got {self.pretrain_batch}")

    @property
    def any(self) -> bool:
        """True where at least one group of pairs is switched on."""
        return self.modality or self.rest or self.noise

    def pairs(self, modalities: int) -> bool:
        """Says whether so many modalities make a pair of a group that is switched on."""
        return self.noise or (modalities > 1 and self.any)

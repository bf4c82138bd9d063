"""Settings of one training run (`train`), of the rounds around it (`rounds`) and of the vote."""

from __future__ import annotations

from dataclasses import dataclass, field

IMBALANCE = ("none", "oversample", "class_weight", "logit_adjust")
GATE_METRICS = ("macro_f1", "waf", "uar", "accuracy")
TASK_METRICS = ("micro_f1", "sample_f1", "ccc")  # of several labels a row; of valence and arousal
LOSS_NAMES = ("cross_entropy", "focal", "soft_f1", "ldam")
VOTES = ("fused", "uniform", "fitted", "fixed")


def _check(ok: bool, sentence: str) -> None:
    if not ok:
        raise ValueError(sentence)


@dataclass
class TrainConfig:
    """How one round's models are trained: (folds + 1) x members at once, as one batched program."""

    folds: int = 5
    """Out-of-fold parts of the gold rows, grouped by speaker where there are enough speakers."""
    members: int = 3
    """Models per fold that differ in their random start; their mean is the fold's model."""
    steps: int = 150
    """Optimiser steps of a round."""
    batch: int = 64
    """Gold rows drawn per step (as many pseudo-labelled rows are drawn beside them)."""
    lr: float = 2e-3
    """Peak learning rate of AdamW; linear warm-up, then cosine to zero."""
    weight_decay: float = 0.05
    """AdamW weight decay on matrices; never on norms, biases and temperatures."""
    warmup: float = 0.1
    """Share of the steps spent warming up."""
    clip: float = 1.0
    """Largest gradient norm of each member by itself; 0 = no clipping."""
    label_smoothing: float = 0.05
    """Share of every target spread evenly over the classes."""
    imbalance: str = "oversample"
    """ONE correction of class imbalance: none | oversample | class_weight | logit_adjust."""
    imbalance_power: float = 0.5
    """oversample, class_weight: rows count n_class**-power; logit_adjust: the factor tau."""
    loss: str = "cross_entropy"
    """Classification loss: cross_entropy | focal | soft_f1 (macro-F1 of the batch) | ldam."""
    focal_gamma: float = field(default=2.0, metadata={"constant": True})
    """focal: how strongly rows that are already right fade; 0 = cross-entropy."""
    ldam_margin: float = field(default=0.5, metadata={"constant": True})
    """ldam: margin of the rarest class, in logits; others get margin (n_c / n_min)**-0.25."""
    head_weight: float = 0.3
    """Weight of each modality's own classification loss beside the fused one."""
    noisy_share: float = 0.5
    """Share of the classification loss taken on the noisy view (rest on the clean one)."""

    def __post_init__(self) -> None:
        """Raises ValueError naming the first field out of range."""
        _check(self.folds >= 2, f"folds must be at least 2, got {self.folds}")
        _check(self.members >= 1, f"members must be at least 1, got {self.members}")
        _check(self.steps >= 1, f"steps must be at least 1, got {self.steps}")
        _check(self.batch >= 2, f"batch must be at least 2, got {self.batch}")
        _check(self.lr > 0, f"lr must be positive, got {self.lr}")
        _check(self.weight_decay >= 0, f"weight_decay must be >= 0, got {self.weight_decay}")
        _check(0 <= self.warmup < 1, f"warmup must be in [0, 1), got {self.warmup}")
        _check(self.clip >= 0, f"clip must be >= 0, got {self.clip}")
        _check(
            0 <= self.label_smoothing < 1,
            f"label_smoothing must be in [0, 1), got {self.label_smoothing}",
        )
        _check(
            self.imbalance in IMBALANCE,
            f"imbalance must be exactly one of {', '.join(IMBALANCE)} (two corrections at once "
            f"over-correct), got {self.imbalance!r}",
        )
        _check(
            self.loss in LOSS_NAMES,
            f"loss must be one of {', '.join(LOSS_NAMES)}, got {self.loss!r}",
        )
        for name in ("focal_gamma", "ldam_margin"):
            _check(getattr(self, name) >= 0, f"{name} must be >= 0, got {getattr(self, name)}")
        _check(self.head_weight >= 0, f"head_weight must be >= 0, got {self.head_weight}")
        _check(0 <= self.noisy_share <= 1, f"noisy_share must be in [0, 1], got {self.noisy_share}")


@dataclass
class RoundsConfig:
    """The rounds of self-training and the gate that each must pass."""

    max_rounds: int = 3
    """Rounds after the warm start; 0 = supervised training only."""
    metric: str = "macro_f1"
    """Gold out-of-fold metric the gate looks at: macro_f1 | waf | uar | accuracy.

    Also micro_f1 | sample_f1 (task.kind multi_label) and ccc (affect and joint).
    """
    accept_se: float = 1.0
    """A round is accepted if the metric >= best - accept_se standard errors, else rolled back."""
    min_information: float = 0.75
    """A round must keep this share of the best round's information about gold (log-loss)."""
    min_agreement: float = 0.15
    """Kappa that the labels a round learned must reach with the warm start's answers."""
    floor: bool = False
    """Begin with logistic regression or linear discriminants where gold clearly prefers them.

    Each with its strength chosen by gold out-of-fold; nothing below it ships.
    """
    retry: bool = True
    """After the first roll-back, halve the coverage and try once more before stopping."""
    keep: str = "latest"
    """latest (last accepted round not below the warm start out-of-fold) | best (the highest)."""
    min_change: float = 0.02
    """Stop when a smaller share of the selection changed since the round before."""

    def __post_init__(self) -> None:
        """Raises ValueError naming the first field out of range."""
        _check(self.max_rounds >= 0, f"max_rounds must be >= 0, got {self.max_rounds}")
        _check(
            self.metric in GATE_METRICS + TASK_METRICS,
            f"metric must be one of {', '.join(GATE_METRICS + TASK_METRICS)}, got {self.metric!r}",
        )
        _check(self.accept_se >= 0, f"accept_se must be >= 0, got {self.accept_se}")
        _check(
            self.keep in ("latest", "best"), f"keep must be 'latest' or 'best', got {self.keep!r}"
        )
        _check(
            0 <= self.min_information <= 1,
            f"min_information must be in [0, 1], got {self.min_information}",
        )
        _check(
            -1 <= self.min_agreement <= 1,
            f"min_agreement must be in [-1, 1], got {self.min_agreement}",
        )
        _check(0 <= self.min_change < 1, f"min_change must be in [0, 1), got {self.min_change}")


@dataclass
class VoteConfig:
    """How the fused head and the modality heads are combined into one probability."""

    method: str = "fitted"
    """fused | uniform | fitted (on gold; shrunk to what each head knows) | fixed (see weights)."""
    weights: dict[str, float] = field(default_factory=dict)
    """fixed: weight per head, e.g. {speech: 0.7, text: 0.3, fused: 0.7}."""
    calibration: str = "auto"
    """Calibration per head on gold out-of-fold: auto | temperature | vector | isotonic | none."""

    def __post_init__(self) -> None:
        """Raises ValueError naming the first field out of range."""
        _check(
            self.method in VOTES, f"method must be one of {', '.join(VOTES)}, got {self.method!r}"
        )
        _check(
            self.method != "fixed" or bool(self.weights),
            "weights must name at least one head when method is fixed",
        )

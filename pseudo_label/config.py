"""The configuration of a selection: common keys here, each rule's numbers beside the rule."""

from __future__ import annotations

from dataclasses import dataclass, field

from .pool import unknown
from .rules import RULES
from .rules.adamatch import AdaMatchConfig
from .rules.agreement import AgreementConfig
from .rules.crest import CReSTConfig
from .rules.curriculum import CurriculumConfig
from .rules.dash import DashConfig
from .rules.flexmatch import FlexMatchConfig
from .rules.freematch import FreeMatchConfig
from .rules.label_propagation import PropagationConfig
from .rules.soft_allocation import AllocationConfig
from .rules.softmatch import SoftMatchConfig
from .rules.ups import UPSConfig

PRIORS = ("labelled", "uniform", "em", "bbse")
TARGETS = ("rule", "hard", "soft", "sharpened")
WEIGHTS = ("rule", "confidence", "margin", "uniform")
BOUNDS = ("search", "fixed_sequence")
SPREAD = "spread"  # of numbers, not classes: where the members differ least; see semi's task affect


@dataclass
class SelectionConfig:
    """Which pool rows a round adds, with which target and weight."""

    rule: str = "class_topk"
    """Selection rule: a key of pseudo_label.RULES; spread where task.kind is affect."""
    coverage: list[float] = field(default_factory=lambda: [0.3, 0.45, 0.6])
    """Share of the pool asked for in rounds 1, 2, ...; the last value repeats."""
    quota: bool = False
    """Cap rules that set no quota of their own at coverage x prior per class."""

    # before the rule
    temporal: float = 0.5
    """Weight of the averaged probabilities of earlier rounds (0 = forget them)."""
    prior: str = "labelled"
    """Class shares of the pool: labelled | uniform | em | bbse (estimated on the pool).

    An estimate is drawn towards the labelled shares, and makes no class more than three times as
    common or as rare as they do."""
    align_gamma: float | None = None
    """Distribution alignment to prior ** gamma (0.5 = a compromise with uniform); null = none."""
    agreement: AgreementConfig = field(default_factory=AgreementConfig)
    """Agreement of the views, before any rule."""

    # the rule threshold
    threshold: float = 0.95
    """Confidence the rule threshold asks for."""
    per_class: dict[str, float] = field(default_factory=dict)
    """Thresholds of single classes by name, e.g. {happy: 0.99, worried: 0.85}."""

    # after the rule
    precision_target: float | None = None
    """Cap each class at what out-of-fold gold certifies to be this precise; null = no cap."""
    alpha: float = 0.05
    """Risk that the certificate of any class is wrong (each class gets an equal share of it)."""
    bound: str = "search"
    """search (largest certified prefix) | fixed_sequence (stricter, half the coverage)."""
    targets: str = "rule"
    """rule (hard, unless the rule makes soft ones) | hard | soft | sharpened."""
    temperature: float = 0.5
    """sharpened: target = p ** (1 / temperature), renormalised."""
    smoothing: float = 0.0
    """Label smoothing of the targets, on top of what the training applies."""
    weights: str = "rule"
    """rule (confidence, unless the rule makes its own) | confidence | margin | uniform."""
    weight_floor: float = 0.1
    """Confidence and margin weights are clipped to [weight_floor, 1]."""
    mass_cap: float = 2.0
    """Pseudo-labels together weigh at most this many times the gold rows."""

    # numbers of single rules
    soft_allocation: AllocationConfig = field(default_factory=AllocationConfig)
    """Numbers of the rule soft_allocation."""
    curriculum: CurriculumConfig = field(default_factory=CurriculumConfig)
    """Numbers of the rule curriculum."""
    flexmatch: FlexMatchConfig = field(default_factory=FlexMatchConfig)
    """Numbers of the rule flexmatch."""
    freematch: FreeMatchConfig = field(default_factory=FreeMatchConfig)
    """Numbers of the rule freematch."""
    softmatch: SoftMatchConfig = field(default_factory=SoftMatchConfig)
    """Numbers of the rule softmatch."""
    dash: DashConfig = field(default_factory=DashConfig)
    """Numbers of the rule dash."""
    adamatch: AdaMatchConfig = field(default_factory=AdaMatchConfig)
    """Numbers of the rule adamatch."""
    ups: UPSConfig = field(default_factory=UPSConfig)
    """Numbers of the rule ups."""
    crest: CReSTConfig = field(default_factory=CReSTConfig)
    """Numbers of the rule crest."""
    label_propagation: PropagationConfig = field(default_factory=PropagationConfig)
    """Numbers of the rule label_propagation."""

    def __post_init__(self):
        one_of = (("rule", (*RULES, SPREAD)), ("prior", PRIORS), ("targets", TARGETS))
        for name, known in (*one_of, ("weights", WEIGHTS), ("bound", BOUNDS)):
            if getattr(self, name) not in known:
                raise ValueError(unknown(name, getattr(self, name), known))
        if not self.coverage:
            raise ValueError("coverage must hold at least one value, got []")
        for value in self.coverage:
            _within("coverage", value, 0, 1, "(0, 1]")
        for value in self.per_class.values():
            _within("per_class", value, 0, 1, "[0, 1]")
        _within("threshold", self.threshold, 0, 1, "[0, 1]")
        _within("temporal", self.temporal, 0, 1, "[0, 1)")
        _within("alpha", self.alpha, 0, 1, "(0, 1)")
        _within("smoothing", self.smoothing, 0, 1, "[0, 1)")
        _within("weight_floor", self.weight_floor, 0, 1, "[0, 1]")
        if self.precision_target is not None:
            _within("precision_target", self.precision_target, 0, 1, "(0, 1)")
        if self.align_gamma is not None:
            _within("align_gamma", self.align_gamma, 0, 1, "[0, 1]")
        if self.temperature <= 0:
            raise ValueError(f"temperature must be positive, got {self.temperature}")
        if self.mass_cap <= 0:
            raise ValueError(f"mass_cap must be positive, got {self.mass_cap}")

    @property
    def asks_outside(self) -> bool:
        """Says whether the rule, or the agreement before it, asks voters from anywhere else."""
        voting = self.agreement.mode != "off" or self.rule == "agreement"
        return self.rule == "external" or (voting and "external" in self.agreement.over)

    def rate(self, round: int) -> float:
        """Returns the coverage asked of a round; rounds count from 1."""
        return self.coverage[min(max(round, 1), len(self.coverage)) - 1]


def _within(name: str, value: float, low: float, high: float, shown: str) -> None:
    above = value > low if shown[0] == "(" else value >= low
    below = value < high if shown[-1] == ")" else value <= high
    if not (above and below):
        raise ValueError(f"{name} must be in {shown}, got {value}")

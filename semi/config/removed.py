"""Settings of earlier versions: what each is fixed at now, and why it is no setting any more.

A file that holds one at that value is read as before. At another value a user's file is refused
with one sentence; the settings of a run or a model that was made with it still open, with a note.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

UNUSED = "nothing shipped ever set it to anything else"
LOST = "was taken out, it lost in every study of the project's own"


@dataclass(frozen=True)
class Removed:
    """What is left of a setting."""

    value: Any  # what everything does now
    why: str

    def sentence(self, given: Any) -> str:
        """Returns what is to be known about the setting, given at another value."""
        return (
            f"is no setting any more: it is {_word(self.value)} for everybody ({self.why}); leave "
            f"it out, it says {_word(given)}"
        )


def _word(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


GMM = f"the rule gmm_split {LOST}"
REMOVED = {
    "part": Removed(
        "1/1",
        "one `semi benchmark` does all parts: processes=4 on this machine, or "
        "engine=ray on several",
    ),
    "rounds.engine": Removed("offline", f"the engine online {LOST}"),
    "train.auxiliary_head": Removed(False, f"the auxiliary head {LOST}"),
    "model.balanced_head": Removed(False, f"the auxiliary head {LOST}"),
    "task.weighting": Removed("fixed", "learned weights are for likelihoods, which 1 - CCC is not"),
    "task.mse_weight": Removed(0.1, UNUSED),
    "train.focal_gamma": Removed(2.0, UNUSED),
    "train.ldam_margin": Removed(0.5, UNUSED),
    "noise.impulse_size": Removed(3.0, UNUSED),
    "noise.abar_min": Removed(0.5, UNUSED),
    "finetune.tau": Removed(0.1, UNUSED),
    "finetune.lora_alpha": Removed(16.0, UNUSED),
    "select.gmm_split.threshold": Removed(0.5, GMM),
    "select.gmm_split.history": Removed(5, GMM),
    "select.gmm_split.iterations": Removed(100, GMM),
    "select.gmm_split.floor": Removed(5e-4, GMM),
    "select.soft_allocation.iterations": Removed(50, UNUSED),
    "select.flexmatch.warmup": Removed(True, UNUSED),
    "select.freematch.momentum": Removed(0.97, UNUSED),
    "select.freematch.unbiased": Removed(True, UNUSED),
    "select.freematch.quantile": Removed(False, UNUSED),
    "select.freematch.clip": Removed(False, UNUSED),
    "select.softmatch.n_sigma": Removed(2.0, UNUSED),
    "select.softmatch.momentum": Removed(0.97, UNUSED),
    "select.softmatch.unbiased": Removed(True, UNUSED),
    "select.softmatch.per_class": Removed(False, UNUSED),
    "select.dash.factor": Removed(1.0001, UNUSED),
    "select.dash.gamma": Removed(1.27, UNUSED),
    "select.dash.rho_min": Removed(0.05, UNUSED),
    "select.dash.temperature": Removed(0.5, UNUSED),
    "select.adamatch.momentum": Removed(0.97, UNUSED),
    "select.adamatch.unbiased": Removed(True, UNUSED),
    "select.ups.kappa_quantile": Removed(0.5, UNUSED),
    "select.ups.temperature": Removed(2.0, UNUSED),
    "select.ups.balance_rounds": Removed(1, UNUSED),
    "select.ups.balance_min": Removed(25, UNUSED),
    "select.crest.generations": Removed(6, UNUSED),
    "select.crest.t_min": Removed(0.5, UNUSED),
    "select.label_propagation.iterations": Removed(20, UNUSED),
    "select.label_propagation.center": Removed(True, UNUSED),
    "select.label_propagation.same_speaker": Removed(0.5, UNUSED),
    "select.label_propagation.chunk": Removed(2048, UNUSED),
}

# (setting, value) that is gone -> what a run made with it is read as, and why
REMOVED_VALUES = {("select.rule", "gmm_split"): Removed("class_topk", GMM)}

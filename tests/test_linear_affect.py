"""Linear members that know valence and arousal say them, beside the scores of the classes."""

import pytest
import torch

from models.fusion import FusionConfig
from semi.training.ensemble import Ensemble


@pytest.mark.parametrize("kind", ["ridge", "discriminant", "logistic"])
def test_linear_members_say_valence_and_arousal(kind):
    config = FusionConfig(kind=kind, components=4, affect=True)
    members = Ensemble.create(
        config, {"speech": 6, "text": 5}, 3, count=2, seed=0, device=torch.device("cpu")
    )
    values = {"speech": torch.randn(7, 6), "text": torch.randn(7, 5)}
    said = members.predict_logits(values, torch.ones(7, 2).bool())
    assert said.affect is not None and said.affect.shape == (2, 7, 2)

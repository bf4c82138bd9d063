"""What one fit learns from: the tensors that `fit` is given.

Letters: G chains, N rows, n gold and p pseudo-labelled among them, M modalities, C classes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

from ..features.tensors import Vectors


@dataclass
class TrainingTargets:
    """What one fit learns from; everything lies on one device."""

    values: Mapping[str, Vectors]  # modality -> (N, D_m), standardised
    present: Tensor  # (N, M) bool
    target: Tensor  # (G, N, C) rows sum to 1 where weight > 0; 0 and 1 for several labels a row
    weight: Tensor  # (G, N) 0 = not a training row of this chain
    gold: Tensor  # (n,) int64 rows with given labels
    pseudo: Tensor  # (p,) int64 rows that at least one chain pseudo-labelled; may be empty
    affect: Tensor | None = None  # (G, N, 2) valence and arousal to learn, NaN = unknown
    # (G, N, C) how much to learn that a row is not of a class; its rows are among `pseudo`
    negative: Tensor | None = None

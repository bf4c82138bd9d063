"""The fusion models by name."""

from __future__ import annotations

from .add import Add
from .attention import Attention
from .base import Concat, Fusion
from .config import CLOSED_FORM, FusionConfig
from .contrastive import Contrastive
from .contrastive_residual import ContrastiveResidual
from .cross_attention import CrossAttention
from .gated import Gated
from .linear import Linear
from .low_rank import LowRank
from .misa import Misa
from .mlp_mixer import MlpMixer
from .private_shared import PrivateShared
from .tensor_product import TensorProduct
from .topn_attention import TopN

FUSIONS: dict[str, type[Fusion]] = {
    "contrastive": Contrastive,
    "concat": Concat,
    "add": Add,
    "gated": Gated,
    "attention": Attention,
    "low_rank": LowRank,
    "tensor": TensorProduct,
    "private_shared": PrivateShared,
    "misa": Misa,
    "mlp_mixer": MlpMixer,
    "cross_attention": CrossAttention,
    "topn_attention": TopN,
}

ON_PRINCIPAL_AXES: dict[str, type[Linear]] = {
    **dict.fromkeys(CLOSED_FORM, Linear),
    "contrastive_residual": ContrastiveResidual,
}


def build_fusion(config: FusionConfig, dims: dict[str, int], classes: int) -> Fusion | Linear:
    """Returns a new model of `config.kind` for `dims` name -> D (in column order) and `classes`.

    These three rebuild the same parameters, under the same names, for a checkpoint to fill.
    """
    config.__post_init__()  # a field may have been set after the config was made
    if config.kind in ON_PRINCIPAL_AXES:
        return ON_PRINCIPAL_AXES[config.kind](config, dims, classes)
    return FUSIONS[config.kind](config, dims, classes)

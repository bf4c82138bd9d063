"""Low-rank adapters (LoRA, https://arxiv.org/abs/2106.09685) through the library peft."""

from __future__ import annotations

import warnings
from typing import Any

from .base import EncoderUnavailable

# Names of a layer's linear maps: attention of speech encoders, of BERT and of its kin.
TARGETS = (
    "q_proj", "k_proj", "v_proj", "out_proj", "linear_q", "linear_k", "linear_v", "linear_out",
    "query", "key", "value", "q_lin", "v_lin",
)  # fmt: skip


def add_lora(model: Any, *, rank: int, alpha: float, dropout: float = 0.0) -> Any:
    """Returns peft's wrapper; the transformers model inside it now has adapters and learns those.

    Everything else in the model is frozen. `merge_lora` gives the plain model back.
    """
    try:
        import peft  # pyright: ignore[reportMissingImports]
    except ImportError:
        raise EncoderUnavailable(
            "finetune with lora needs the library peft, which is not installed: "
            "pip install 'semi-emotion[peft]', or choose top or whole"
        ) from None
    here = {name.rpartition(".")[2] for name, _ in model.named_modules()}
    targets = [name for name in TARGETS if name in here]
    if not targets:
        raise EncoderUnavailable(
            f"finetune with lora knows no attention weights in {type(model).__name__} "
            f"(looked for {', '.join(TARGETS)}); choose top or whole"
        )
    settings = peft.LoraConfig(
        r=rank,
        lora_alpha=alpha,  # pyright: ignore[reportArgumentType] # called int, only divided by r
        lora_dropout=dropout,
        target_modules=targets,
        bias="none",
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # peft's own use of transformers
        return peft.get_peft_model(model, settings)


def merge_lora(wrapper: Any) -> Any:
    """Returns the transformers model with the adapters added into its weights."""
    return wrapper.merge_and_unload()

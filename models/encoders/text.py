"""Text into vectors with a pretrained encoder: the mean of its real tokens, layer by layer.

Letters: B batch, T tokens, D features, L layers.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from functools import cached_property
from typing import Any, TypeVar

import torch

from ..pooling import combine_layers, masked_moments, vector
from . import hub
from .attention_masks import masks_unasked
from .base import EncoderUnavailable
from .config import TextConfig, resolve_layers, stored_as
from .int8 import quantised
from .numerics import DTYPES, exact_float32
from .padding import token_budget
from .sentence_modules import differences, stated_length
from .to_device import sent

CODE = 1  # raised whenever this package's own arithmetic changes the numbers
SETTING = "encoders.text.model"
BATCH_TOKENS = {"cpu": 1_024}  # padded tokens a batch, elsewhere 65,536
T = TypeVar("T")


class TextEncoder:
    """A frozen text encoder (BERT, RoBERTa, ELECTRA, MiniLM, E5, XLM-R ...).

    All tokens but the padding count, the special ones ([CLS], [SEP]) included, as
    sentence-transformers' mean pooling does. Results are float32 on the CPU, each row's its own.
    """

    modality = "text"

    def __init__(
        self,
        source: hub.HubSource,
        config: TextConfig,
        *,
        device: str = "cpu",
        precision: str = "fp32",
    ) -> None:
        self.source = source
        self.config = config
        self.device = torch.device(device)
        self.precision = precision
        self.model_config = hub.load_config(source)
        self.depth, self.width = text_size(self.model_config, source)
        self.layers = resolve_layers(config.layers, self.depth)
        self.cut = min(config.max_tokens, stated_length(source) or config.max_tokens)
        self.notes = differences(source, config.pooling, config.prefix)

    @classmethod
    def from_config(
        cls, config: TextConfig, *, device: str = "cpu", precision: str = "fp32"
    ) -> TextEncoder:
        """Returns the encoder of a hub name or a local folder."""
        source = hub.find(config.model, config.revision, setting=SETTING)
        return cls(source, config, device=device, precision=precision)

    def exact(self) -> TextEncoder:
        """Returns the same encoder in float32."""
        return TextEncoder(self.source, self.config, device=str(self.device))

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one text's result: (D,), or (L, D) for views."""
        width = self.width * (2 if self.config.pooling == "mean_std" else 1)
        if stored_as(self.config.combine) == "views":
            return (len(self.layers), width)
        return (width * len(self.layers) if self.config.combine == "concat" else width,)

    def identity(self) -> dict[str, Any]:
        """Returns everything that changes the numbers; see Encoder."""
        return {
            **self.source.identity,
            "code": CODE,
            "layers": self.layers,
            "combine": stored_as(self.config.combine),
            "pooling": self.config.pooling,
            "max_tokens": self.cut,
            "prefix": self.config.prefix,
            "precision": self.precision,
        }

    @cached_property
    def tokenizer(self) -> Any:
        """The model's own tokenizer."""
        return hub.load_tokenizer(self.source)

    @cached_property
    def model(self) -> Any:
        """The network, read on first use: a full feature store never loads it."""
        model = hub.load_weights(self.source, "AutoModel")
        if self.model_config.is_encoder_decoder:
            model = model.get_encoder()
        if hasattr(model.config, "use_cache"):
            model.config.use_cache = False  # decoders keep keys and values for a next word
        model = model.to(self.device, DTYPES[self.precision])
        return quantised(model) if self.precision == "int8" else model

    def encode(self, batch: list[str]) -> torch.Tensor:
        """Returns (B, *shape) float32: tokens pooled per layer, then layers combined."""
        if self.config.pooling == "frames":
            raise ValueError("pooling is 'frames', which keeps every token: call encode_frames")
        spread = self.config.pooling == "mean_std"

        def pool(hidden: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
            if self.config.pooling == "cls":
                return hidden[:, 0].float()
            return vector(masked_moments(hidden, mask, variance=spread), self.config.pooling)

        rows = torch.zeros(len(batch), *self.shape)
        for owners, _, layers in self._run(batch, pool):
            rows[owners] = combine_layers(torch.stack(layers, 1).cpu(), self.config.combine)
        return rows

    def encode_frames(self, batch: list[str]) -> list[torch.Tensor]:
        """Returns each text's tokens, (T, D), or (T, L, D) for views."""
        rows: dict[int, torch.Tensor] = {}
        for owners, lengths, layers in self._run(batch, lambda hidden, _: hidden.float()):
            tokens = torch.stack(layers, 2).cpu()  # (B, T, L, D)
            for owner, length, row in zip(owners, lengths, tokens, strict=True):
                rows[owner] = combine_layers(row[:length], self.config.combine)
        return [rows[i] for i in range(len(batch))]

    @torch.inference_mode()
    def _run(
        self, batch: list[str], use: Callable[[torch.Tensor, torch.Tensor], T]
    ) -> Iterator[tuple[list[int], list[int], list[T]]]:
        """Yields for every padded batch its rows, their tokens and `use(hidden, mask)` by layer."""
        if not batch:
            return
        texts = [self.config.prefix + text for text in batch]
        encoded = self.tokenizer(texts, truncation=True, max_length=self.longest)
        lengths = [len(ids) for ids in encoded["input_ids"]]
        for chosen in token_budget(lengths, BATCH_TOKENS.get(self.device.type, 65_536)):
            padded = self._pad({name: [rows[i] for i in chosen] for name, rows in encoded.items()})
            with exact_float32(self.device), masks_unasked(self.device):
                out = self.model(**padded, output_hidden_states=self.layers != [self.depth])
            mask = padded["attention_mask"].bool()
            hidden = [
                out.last_hidden_state if layer == self.depth else out.hidden_states[layer]
                for layer in self.layers
            ]
            yield chosen, [lengths[i] for i in chosen], [use(states, mask) for states in hidden]

    @cached_property
    def longest(self) -> int:
        """Tokens a text may have: `max_tokens`, or what the folder says or its positions reach."""
        return min(self.cut, position_reach(self.model))

    def _pad(self, rows: dict[str, list[list[int]]]) -> dict[str, torch.Tensor]:
        """Returns the tokenizer's rows as (B, T) tensors on the device."""
        padded = {}
        for name, values in rows.items():
            fill = self.tokenizer.pad_token_id if name == "input_ids" else 0
            width = max(map(len, values))
            full = [row + [fill or 0] * (width - len(row)) for row in values]
            padded[name] = sent(torch.tensor(full), self.device)
        return padded


def position_reach(model: Any) -> int:
    """Returns how many tokens a text model's positions reach."""
    reach = getattr(model.config, "max_position_embeddings", None) or sys.maxsize
    if reach < 0:  # XLNet's way to say that it has no limit
        reach = sys.maxsize
    for name, module in model.named_modules():
        if name.endswith("position_embeddings") and getattr(module, "padding_idx", None):
            reach -= module.padding_idx + 1  # RoBERTa and its kin count from there
    return reach


def text_size(config: Any, source: hub.HubSource) -> tuple[int, int]:
    """Returns the number of layers and the width of a text model."""
    depth = getattr(config, "num_hidden_layers", None) or getattr(config, "num_layers", None)
    width = getattr(config, "hidden_size", None) or getattr(config, "d_model", None)
    if not depth or not width:
        raise EncoderUnavailable(
            f"{SETTING}={source.name} is of type '{config.model_type}', which is not a text encoder"
        )
    return depth, width

"""Encoders that learn: a batch of utterances into one vector each, with gradients.

The vectors are those that the frozen encoders (speech.py, text.py) would store: same layers, same
masked mean, own token sizes under pruning. Letters: B batch, S samples, T tokens, D features.
"""

from __future__ import annotations

from abc import abstractmethod
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..pooling import combine_layers, masked_moments
from . import hub
from .attention_masks import masks_unasked
from .config import SpeechConfig, TextConfig, resolve_layers
from .lora import add_lora, merge_lora
from .padding import normalized, pad_rows
from .pruning import TokenPruner, layer_rates, supports_pruning
from .sentence_modules import stated_length
from .speech_models import make_backbone, speech_model
from .text import position_reach, text_size
from .to_device import sent

TOGETHER = {"views": "mean", "joined": "concat"}  # what a head on one vector is given instead


class Trainable(nn.Module):
    """An encoder of which a part learns; `vectors` is what training calls."""

    model: Any  # transformers' model
    layers: Any  # its layers, a ModuleList
    used: list[int]  # layers whose states are pooled, 0 ... depth
    combine: str
    width: int  # of a vector
    folder: Path | None = None  # where its tokenizer and other small files lie
    wrapper: tuple[Any, ...] = ()  # peft's, around `model`; a tuple hides it from the parameters

    def choose(self, part: str, *, top: int = 2, rank: int = 8, alpha: float = 16.0) -> None:
        """Lets `part` learn and freezes the rest.

        Args:
            part: whole, top (the last `top` layers that are used) or lora (adapters in all).
            top: number of layers.
            rank: rank of the adapters.
            alpha: their scale is alpha / rank.
        """
        last = max(self.used)
        if part == "lora":
            self.wrapper = (add_lora(self.model, rank=rank, alpha=alpha),)
        else:
            open_ = self.layers[max(last - top, 0) : last] if part == "top" else [self.model]
            self.model.requires_grad_(False)
            for module in open_:
                module.requires_grad_(True)
        # What no used layer needs gets no gradient: it is not computed.
        for layer in self.layers[last:]:
            layer.requires_grad_(False)
        for name, parameter in self.model.named_parameters():
            if any(word in name for word in ("masked_spec_embed", "pooler", "embed_positions")):
                parameter.requires_grad_(False)
        if last < len(self.layers):
            for module in self.after_last():
                module.requires_grad_(False)

    def after_last(self) -> list[nn.Module]:
        """Returns what runs only after the last layer."""
        return []

    def train(self, mode: bool = True) -> Trainable:
        """Switches dropout on in what learns; frozen parts stay as they are when extracting."""
        super().train(mode)
        if mode:
            for module in self.model.modules():
                own = list(module.parameters())
                if own and not any(p.requires_grad for p in own):
                    module.eval()
        return self

    def merged(self) -> Any:
        """Returns the plain transformers model in float32, adapters added in. Ends the training."""
        model = merge_lora(*self.wrapper) if self.wrapper else self.model
        return model.float().eval()

    @abstractmethod
    def vectors(self, batch: list[Any], pruning: TokenPruner | None = None) -> Tensor:
        """Returns (B, width) float32."""

    forward = vectors

    def save(self, folder: Path) -> None:
        """Writes the adapted model as a Hugging Face folder."""
        model = self.merged().cpu()
        with hub.quiet():
            model.save_pretrained(folder)
        if self.folder is not None:
            for name in ("preprocessor_config.json", *hub.SMALL_FILES):
                for file in self.folder.glob(name):
                    if not (folder / file.name).exists():
                        (folder / file.name).write_bytes(file.read_bytes())


class TrainableSpeech(Trainable):
    """A speech encoder that learns."""

    def __init__(self, config: SpeechConfig, *, checkpointing: bool = False) -> None:
        super().__init__()
        about = speech_model(config.model, config.revision)
        if config.pruning.active:
            possible, reason = supports_pruning(about.model_type)
            if not possible:
                raise ValueError(f"encoders.speech.pruning: {reason}")
        if about.model_type == "emotion2vec":
            raise ValueError(
                f"encoders.speech.model={config.model} is an emotion2vec, which finetune cannot "
                "adapt (no library but its own could read the result); set finetune.speech=none"
            )
        self.about = about
        self.model: Any = about.load()
        self.backbone: Any = make_backbone(self.model)
        self.backbone.checkpointing = checkpointing
        self.layers = self.backbone.layers
        self.used = resolve_layers(config.layers, about.depth)
        layer_rates(config.pruning, max(self.used))  # says so where a layer is not among them
        self.combine = TOGETHER.get(config.combine, config.combine)
        self.width = about.width * (len(self.used) if self.combine == "concat" else 1)
        self.folder = about.folder

    def after_last(self) -> list[nn.Module]:
        """Returns the final LayerNorm of models that normalise first."""
        first = getattr(self.backbone, "norm_first", True)
        return [self.backbone.encoder.layer_norm] if first else []

    def vectors(self, batch: list[np.ndarray], pruning: TokenPruner | None = None) -> Tensor:
        """Returns (B, width) of float32 sounds (S,) at 16 kHz; see Trainable."""
        backbone, device = self.backbone, next(self.parameters()).device
        rows = []
        for wave in batch:
            wave = wave[: backbone.longest]
            wave = normalized(wave, self.about.epsilon) if self.about.normalize else wave
            wave = sent(torch.from_numpy(np.ascontiguousarray(wave, np.float32)), device)
            rows.append(backbone.prepare(F.pad(wave, (0, max(backbone.shortest - len(wave), 0)))))
        lengths = [row.shape[-1] for row in rows]
        pooled = {}
        states = backbone(pad_rows(rows), lengths, last=max(self.used), pruner=pruning)
        for layer, state in states:
            if layer in self.used:
                weights = state.tokens.weights()
                pooled[layer] = masked_moments(state.hidden, weights, variance=False).mean
        return combine_layers(torch.stack([pooled[k] for k in self.used], 1), self.combine)

    forward = vectors

    def save(self, folder: Path) -> None:
        """Writes the folder; see Trainable. A fairseq file's scaling is written down with it."""
        super().save(folder)
        if self.folder is None:
            from transformers import Wav2Vec2FeatureExtractor

            padded = self.model.config.feat_extract_norm == "layer"
            about = Wav2Vec2FeatureExtractor(
                do_normalize=self.about.normalize, return_attention_mask=padded,
                normalize_epsilon=self.about.epsilon,
            )  # fmt: skip
            about.save_pretrained(folder)


class TrainableText(Trainable):
    """A text encoder that learns."""

    def __init__(self, config: TextConfig, *, checkpointing: bool = False) -> None:
        super().__init__()
        source = hub.find(config.model, config.revision, setting="encoders.text.model")
        self.config, self.folder = config, source.folder
        depth, width = text_size(hub.load_config(source), source)
        self.tokenizer = hub.load_tokenizer(source)
        self.model: Any = hub.load_weights(source, "AutoModel")
        if self.model.config.is_encoder_decoder:
            raise ValueError(
                f"encoders.text.model={config.model} is an encoder-decoder, which finetune cannot "
                "adapt; choose a BERT-like encoder, or set finetune.text=none"
            )
        stated = stated_length(source) or config.max_tokens
        self.longest = min(config.max_tokens, stated, position_reach(self.model))
        if checkpointing:
            new = getattr(self.model, "activation_checkpointing_enable", None)  # transformers >= 5
            enable = new or self.model.gradient_checkpointing_enable
            enable({"use_reentrant": False})
        lists = [m for m in self.model.modules() if isinstance(m, nn.ModuleList)]
        self.layers = next(m for m in lists if len(m) == depth)
        self.used = resolve_layers(config.layers, depth)
        self.combine = TOGETHER.get(config.combine, config.combine)
        self.width = width * (len(self.used) if self.combine == "concat" else 1)

    def vectors(self, batch: list[str], pruning: TokenPruner | None = None) -> Tensor:
        """Returns (B, width) of texts; see Trainable. There is nothing to prune here."""
        device = next(self.parameters()).device
        inputs = self.tokenizer(
            [self.config.prefix + text for text in batch],
            truncation=True, max_length=self.longest, padding=True, return_tensors="pt",
        )  # fmt: skip
        inputs = {name: sent(values, device) for name, values in inputs.items()}
        with masks_unasked(device):
            out = self.model(**inputs, output_hidden_states=True)
        mask = inputs["attention_mask"]
        states = [out.hidden_states[k] for k in self.used]
        if self.config.pooling == "cls":
            return combine_layers(torch.stack([s[:, 0] for s in states], 1), self.combine)
        pooled = [masked_moments(s, mask, variance=False).mean for s in states]
        return combine_layers(torch.stack(pooled, 1), self.combine)

    forward = vectors

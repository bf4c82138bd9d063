"""What a model folder must hold, and what it must not, asked before transformers opens it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from .base import EncoderUnavailable
from .lfs import is_lfs_pointer, pulled_by

SMALL_FILES = ("*.json", "*.txt", "*.model", "merges.txt")
WEIGHT_FILES = (
    ("model.safetensors", "model.safetensors.index.json", "model-*-of-*.safetensors"),
    ("pytorch_model.bin", "pytorch_model.bin.index.json", "pytorch_model-*-of-*.bin"),
)
# Files in which a folder may name classes of its own; transformers would offer to run them.
NAMING_CODE = (
    "config.json",
    "tokenizer_config.json",
    "processor_config.json",
    "preprocessor_config.json",
)
# Sizes that are whole numbers of 1 or more, or lists of such, wherever they stand.
SIZES = ("conv_dim", "conv_kernel", "conv_stride", "hidden_size", "intermediate_size")
SIZES += ("num_hidden_layers", "num_attention_heads", "num_conv_pos_embeddings")
SIZES += ("num_conv_pos_embedding_groups", "d_model", "encoder_layers", "encoder_attention_heads")
SIZES += ("num_mel_bins", "max_source_positions")


def check_folder(folder: Path, model: str, setting: str) -> None:
    """Raises EncoderUnavailable, one sentence, where a folder is no whole model of plain data."""
    given = f"{setting}={model}"
    if not (folder / "config.json").is_file():
        raise EncoderUnavailable(
            f"{given} has no config.json; a model folder as save_pretrained writes it is needed"
        )
    _check_pointers(folder, given)
    _check_sizes(folder, given)
    for name in NAMING_CODE:
        _check_code(folder, name, given)
    if (folder / "adapter_config.json").is_file():
        raise EncoderUnavailable(
            f"{given} holds a PEFT adapter (adapter_config.json), which is not added here; merge "
            f"it into its base model (merge_and_unload) and give the folder of the whole model"
        )
    if not has_weights(folder):
        raise EncoderUnavailable(
            f"{given} has no weights (model.safetensors or pytorch_model.bin) in "
            f"{folder}; connect once to download them, or give a local folder: "
            f"{setting}=/path/to/folder"
        )


def has_weights(folder: Path) -> bool:
    """Returns whether the folder holds weights under a name that transformers reads."""
    return any(any(folder.glob(pattern)) for group in WEIGHT_FILES for pattern in group)


def read_json(path: Path, given: str, kind: type = dict) -> Any:
    """Returns the object (or list, as `kind` says) of a JSON file, empty without a file."""
    if not path.is_file():
        return kind()
    try:
        content = json.loads(path.read_text(encoding="utf-8-sig"))
    except (ValueError, RecursionError) as error:
        first = str(error).splitlines()[0]
        raise EncoderUnavailable(
            f"{given}: its {path.name} is not JSON ({first}); download it again"
        ) from None
    if not isinstance(content, kind):
        raise EncoderUnavailable(
            f"{given}: its {path.name} holds a {type(content).__name__}, not a {kind.__name__}; "
            f"download it again"
        )
    return content


def _check_pointers(folder: Path, given: str) -> None:
    """Refuses Git LFS pointers among the files that are read."""
    patterns = (*SMALL_FILES, *sum(WEIGHT_FILES, ()))
    for path in sorted({file for pattern in patterns for file in folder.glob(pattern)}):
        if is_lfs_pointer(path):
            raise EncoderUnavailable(
                f"{given}: its {path.name} is a Git LFS pointer, not the file itself; "
                f"{pulled_by(path)}"
            )


def _check_sizes(folder: Path, given: str) -> None:
    """Refuses sizes in config.json that no model has: they would fail within a convolution."""
    settings = read_json(folder / "config.json", given)
    for name in SIZES:
        value = settings.get(name)
        listed = value if isinstance(value, list) else [1 if value is None else value]
        if not all(isinstance(size, int) and size > 0 for size in listed):
            raise EncoderUnavailable(
                f"{given}: its config.json has {name}={str(value)[:80]}, where whole numbers of 1 "
                f"or more belong; download it again"
            )


def _check_code(folder: Path, name: str, given: str) -> None:
    """Refuses a file that names classes which the folder itself would bring along."""
    content = read_json(folder / name, given)
    parts = [content, *(part for part in content.values() if isinstance(part, dict))]
    if any(part.get("auto_map") for part in parts):
        raise EncoderUnavailable(
            f"{given} brings Python code of its own (auto_map in {name}), which is never run here; "
            f"give a model whose code is part of transformers"
        )

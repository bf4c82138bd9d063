"""Checkpoints of `semi finetune`: what learns as safetensors, the rest as JSON."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from ...config.schema import Config
from ...data.reviews import list_of
from ...errors import RunError, reading
from ...files import jsonable, write_tensors
from ...guarded_files import CHANGED
from ...shapes import NUMBER, misfit
from .data import GoldRows
from .learner import Learner

CHECKPOINT = "checkpoint.safetensors"
AGAIN = "bring it back from a copy, or delete it and adapt again from the first step"
STATE_SHAPE = {
    "step": int,
    "history": [{"step": int, "loss": float, "watch_macro_f1?": NUMBER}],
    "signature": {str: object},
}


def signature(config: Config, rows: GoldRows) -> dict[str, Any]:
    """Returns all that the numbers follow from."""
    lines = rows.reviewed.lines if rows.reviewed is not None else None
    reviews = None if lines is None else hashlib.sha256(list_of(lines).encode()).hexdigest()
    encoders = {name: asdict(getattr(config.encoders, name)) for name in ("speech", "text")}
    return jsonable({
        "seed": config.seed, "precision": config.precision, "manifest": rows.sha256,
        "rows": rows.ids, "reviews": reviews, "finetune": asdict(config.finetune),
        "encoders": encoders,
    })  # fmt: skip


def save(
    path: Path, learner: Learner, optimizer: Any, signature: dict, step: int, history: list
) -> None:
    """Writes what learns and AdamW's moments as safetensors, the rest as JSON in its header."""
    tensors = {}
    for name, parameter in learner.named_parameters():
        if parameter.requires_grad:
            tensors[f"weight/{name}"] = parameter
            for key, value in optimizer.state.get(parameter, {}).items():
                tensors[f"{key}/{name}"] = torch.as_tensor(value)
    state = json.dumps(jsonable({"step": step, "history": history, "signature": signature}))
    write_tensors(path, tensors, {"state": state, "sha256": _sha256(state, tensors)})


def _sha256(state: str, tensors: dict[str, torch.Tensor]) -> str:
    """Returns the SHA-256 of all that a checkpoint holds."""
    digest = hashlib.sha256(state.encode())
    for name, value in sorted(tensors.items()):
        value = value.detach().cpu().contiguous()
        digest.update(f"\n{name} {value.dtype} {tuple(value.shape)}\n".encode())
        digest.update(value.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def state_of(path: Path) -> tuple[dict[str, Any], dict[str, torch.Tensor]]:
    """Returns step, history and signature of a checkpoint, and its tensors.

    RunError where any bit of it changed; one of an earlier version has no checksum.
    """
    from safetensors import safe_open

    with reading(path, "a checkpoint of semi finetune", AGAIN), safe_open(path, "pt") as file:
        about = file.metadata() or {}
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        state = json.loads(about["state"])
        wrong = misfit(state, STATE_SHAPE)
        if about.get("sha256", "") != _sha256(about["state"], tensors) and "sha256" in about:
            wrong = CHANGED
    if not wrong and about.keys() - {"state", "sha256", "format"}:
        wrong = CHANGED
    if wrong:
        raise RunError(f"{path} {wrong}; {AGAIN}")
    return state, tensors


def load(path: Path, learner: Learner, optimizer: Any, signature: dict) -> tuple[int, list]:
    """Returns the step and history of a checkpoint, its tensors put in place; 0 without one."""
    if not path.exists():
        return 0, []
    state, tensors = state_of(path)
    changed = [k for k, v in signature.items() if state["signature"].get(k) != v]
    if changed:
        raise RunError(
            f"{path.parent} was begun with other settings ({', '.join(changed)} differ); "
            "resume with the same, choose another name=..., or delete the folder"
        )
    with reading(path, "a checkpoint of this encoder", AGAIN):
        for name, parameter in learner.named_parameters():
            if not parameter.requires_grad:
                continue
            with torch.no_grad():
                parameter.copy_(tensors[f"weight/{name}"])
            for key in ("step", "exp_avg", "exp_avg_sq"):
                value = tensors[f"{key}/{name}"]
                where = "cpu" if key == "step" else parameter.device
                optimizer.state[parameter][key] = value.to(where)
    return state["step"], state["history"]

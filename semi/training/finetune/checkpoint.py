"""Checkpoints of `semi finetune`: what learns as safetensors, the rest as JSON."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from ...config.schema import Config
from ...errors import RunError
from ...files import jsonable, write_tensors
from .data import GoldRows
from .learner import Learner


def signature(config: Config, rows: GoldRows) -> dict[str, Any]:
    """Returns all that the numbers follow from."""
    encoders = {name: asdict(getattr(config.encoders, name)) for name in ("speech", "text")}
    return jsonable({
        "seed": config.seed, "precision": config.precision, "manifest": rows.sha256,
        "rows": rows.ids, "finetune": asdict(config.finetune), "encoders": encoders,
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
    state = {"step": step, "history": history, "signature": signature}
    write_tensors(path, tensors, {"state": json.dumps(jsonable(state))})


def load(path: Path, learner: Learner, optimizer: Any, signature: dict) -> tuple[int, list]:
    """Returns the step and history of a checkpoint, its tensors put in place; 0 without one."""
    if not path.exists():
        return 0, []
    from safetensors import safe_open

    with safe_open(path, "pt") as file:
        state = json.loads(file.metadata()["state"])
        changed = [k for k, v in signature.items() if state["signature"].get(k) != v]
        if changed:
            raise RunError(
                f"{path.parent} was begun with other settings ({', '.join(changed)} differ); "
                "resume with the same, choose another name=..., or delete the folder"
            )
        for name, parameter in learner.named_parameters():
            if not parameter.requires_grad:
                continue
            with torch.no_grad():
                parameter.copy_(file.get_tensor(f"weight/{name}"))
            for key in ("step", "exp_avg", "exp_avg_sq"):
                value = file.get_tensor(f"{key}/{name}")
                where = "cpu" if key == "step" else parameter.device
                optimizer.state[parameter][key] = value.to(where)
    return state["step"], state["history"]

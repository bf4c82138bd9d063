"""Which GPU is meant by `device`, and whether it is there."""

from __future__ import annotations

import re

from .data.wording import counted
from .errors import ConfigError
from .parallel import missing_ray


def check_name(device: str) -> None:
    """Raises ValueError where a setting `device` is no name of one."""
    if not re.fullmatch(r"cpu|cuda(:\d+)?", device):
        raise ValueError(f"device must be cpu, cuda or cuda:<number>, got '{device}'")


def device_problem(device: str, engine: str) -> str:
    """Returns why nothing can be computed on a device, or ''.

    Args:
        device: cpu, cuda or cuda:<number>.
        engine: local, or ray, which gives each worker a GPU and says where there is none: the
            machine of the command may be one without.
    """
    if engine != "ray":
        return missing_device(device)
    if device.startswith("cuda:"):
        return (
            f"'{device}' names one GPU of one machine, but with engine=ray each worker is given a "
            "GPU by Ray: set device=cuda, and processes to how many are to be used"
        )
    return ""


def place_problems(device: str, engine: str) -> list[tuple[str, str]]:
    """Returns (setting, sentence) where device and engine ask for what is not there."""
    problems = {"engine": missing_ray() if engine == "ray" else ""}
    problems["device"] = device_problem(device, engine)
    return [(name, sentence) for name, sentence in problems.items() if sentence]


def missing_device(device: str) -> str:
    """Returns that a device is not there, or not one that this process sees, or ''."""
    if device == "cpu":
        return ""
    import torch

    if not torch.cuda.is_available():
        return f"'{device}' is not available: PyTorch {torch.__version__} sees no GPU; use cpu"
    number, there = int(device.partition(":")[2] or 0), torch.cuda.device_count()
    if number >= there:
        return f"'{device}' is not available: this machine has {counted(there, 'GPU')}"
    return ""


def need_device(device: str) -> None:
    """Raises ConfigError where this very process is to compute on a device that is not here.

    With engine=ray settings say nothing of this machine, and some work is done by the command
    itself on any engine.
    """
    if missing := missing_device(device):
        raise ConfigError(f"device: {missing}")


def gpus_of(device: object) -> float:
    """Returns how many GPUs a worker must be given for a device: 1, or 0 for a CPU."""
    return float(str(device).startswith("cuda"))

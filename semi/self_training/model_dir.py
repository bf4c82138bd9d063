"""A model directory: everything a prediction needs, as safetensors, JSON and YAML; no pickle.

model.safetensors  parameters of all members, standardisation
model.json         classes, calibration, votes, shape of the ensemble, identities of the encoders
config.yaml        the settings of the run it came from
checksums.json     SHA-256 of these files
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..checksums import seal
from ..config.schema import Config, load_config, save
from ..data.wording import counted, shown
from ..errors import RunError, reading
from ..features.standardize import STANDARDIZER_SHAPE, Standardizer
from ..files import ANEW, read_tensors, write_dir, write_json, write_tensors
from ..hub_names import refuse_hub_name
from ..shapes import misfit, read_shaped
from ..training.ensemble import Ensemble
from ..training.voter import FUSED, Voter
from .integrity import check_model

if TYPE_CHECKING:
    from torch import Tensor

MODEL_FORMAT = 1
MODEL_SHAPE = {
    "classes": [str], "chains": int, "ensemble": {str: object}, "voter": {str: object},
    "standardizer": STANDARDIZER_SHAPE, "encoders": {str: {str: object}}, "facts?": {str: object},
}  # fmt: skip
TENSORS, MODEL_JSON, SETTINGS = "model.safetensors", "model.json", "config.yaml"


@dataclass
class Model:
    """A trained model with all that stands between an utterance and its label."""

    config: Config
    classes: list[str]  # C labels in order
    ensemble: Ensemble  # E = chains x members
    voter: Voter  # calibration of each head, and their weights
    chains: int
    standardizer: Standardizer
    identities: dict[str, dict[str, Any]]  # modality -> what its encoder says it is
    facts: dict[str, Any] = field(default_factory=dict)  # round, metrics ...: for people


def save_model(folder: str | Path, model: Model) -> None:
    """Writes the model directory whole, in place of an older one."""
    tensors = {f"ensemble.{k}": v for k, v in model.ensemble.tensors().items()}
    tensors |= {f"standardizer.{k}": v for k, v in model.standardizer.state_dict().items()}
    with write_dir(folder, replace=True) as target:
        write_tensors(target / TENSORS, tensors)
        save(model.config, target / SETTINGS)
        write_json(
            target / MODEL_JSON,
            {
                "format": MODEL_FORMAT,
                "classes": model.classes,
                "chains": model.chains,
                "ensemble": model.ensemble.spec(),
                "voter": model.voter.state_dict(),
                "standardizer": model.standardizer.meta(),
                "encoders": model.identities,
                "facts": model.facts,
            },
        )
        seal(target)


def load_model(folder: str | Path, *, device: str = "cpu") -> Model:
    """Returns the model of a model directory or of a run's folder, on the given device.

    RunError where a file of it is not as it was written.
    """
    home = find_model(folder)
    check_model(home)
    saved = read_shaped(home / MODEL_JSON, {"format": object})
    if saved["format"] != MODEL_FORMAT:
        raise RunError(
            f"{home / MODEL_JSON} has format {saved.get('format')}, this version reads "
            f"{MODEL_FORMAT}; use the version of semi that wrote it"
        )
    if wrong := misfit(saved, MODEL_SHAPE):
        raise RunError(f"{home / MODEL_JSON} {wrong}; {ANEW}")
    tensors = read_tensors(home / TENSORS)
    _check_numbers(tensors, home / TENSORS)
    config = load_config(home / SETTINGS, [f"device={device}"], elsewhere=True)
    with reading(home, "a model that this version can build", ANEW):
        model = Model(
            config=config,
            classes=saved["classes"],
            ensemble=Ensemble.from_state(
                saved["ensemble"], part(tensors, "ensemble."), device=device
            ),
            voter=Voter.from_state(saved["voter"]),
            chains=saved["chains"],
            standardizer=Standardizer.load(part(tensors, "standardizer."), saved["standardizer"]),
            identities=saved["encoders"],
            facts=saved.get("facts") or {},
        )
        _check_parts(model)
    return model


def _check_parts(model: Model) -> None:
    """Raises ValueError where the parts of a model do not go together."""
    ensemble, known = model.ensemble, model.standardizer.profiles.keys()
    count = len(set(model.classes))
    if not count == len(model.classes) == ensemble.classes:
        raise ValueError(f"it names {count} classes and decides between {ensemble.classes}")
    if model.chains < 1 or ensemble.count % model.chains:
        raise ValueError(f"{model.chains} chains cannot share {ensemble.count} models")
    model.voter.check(count)
    heads = set(model.voter.heads) - {FUSED}
    encoders = model.identities.keys() or known  # one made by hand may know of no encoder
    for what, names in (("scaling", known), ("encoder", encoders)):
        if names != ensemble.dims.keys():
            raise ValueError(f"its {what} is of {', '.join(names)}, not {', '.join(ensemble.dims)}")
    if model.voter.heads[:1] != [FUSED] or (heads and heads != ensemble.dims.keys()):
        raise ValueError(f"it votes by the heads {', '.join(model.voter.heads)}")
    for name, width in ensemble.dims.items():
        if model.standardizer.profiles[name].width != width:
            raise ValueError(f"the scaling of {name} does not give its {width} numbers")


def _check_numbers(tensors: dict[str, Tensor], path: Path) -> None:
    """Refuses parameters that are not numbers: every answer of such a model would be NaN."""
    wrong = [name for name, value in tensors.items() if bool(value.isnan().any())]
    if wrong:
        raise RunError(
            f"{path} holds NaN in {len(wrong)} of its {counted(len(tensors), 'tensor')} (first: "
            f"{wrong[0]}), so the model has no answers; train it again, or restore the file"
        )


def find_model(folder: str | Path) -> Path:
    """Returns the model directory that `folder` is or, as a run, holds; RunError if neither."""
    folder = Path(folder)
    for home in (folder, folder / "model"):
        if (home / MODEL_JSON).is_file() and (home / TENSORS).is_file():
            return home
    if (folder / "config.yaml").is_file():
        raise RunError(
            f"{folder} is an unfinished run without a model; go on with semi train ... --resume"
        )
    refuse_hub_name(folder)
    there = "holds no model" if folder.is_dir() else "no such folder"
    raise RunError(f"{folder}: {there}; give a run such as runs/demo, or its folder model/")


def same_encoder(name: str, saved: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    """Raises RunError naming what differs between the encoder trained with and the one at hand."""
    from ..files import jsonable

    now = jsonable(now)
    if "content" in saved:  # of arrays; before version 0.2 their file's hash was part of this
        saved = {key: value for key, value in saved.items() if key != "content"}
        now = {key: value for key, value in now.items() if key not in ("array", "shape")}
    differences = [
        f"{key} was {shown(repr(saved.get(key)))}, now {shown(repr(now.get(key)))}"
        for key in sorted(saved.keys() | now.keys())
        if saved.get(key) != now.get(key)
    ]
    if differences:
        raise RunError(
            f"the {name} encoder is not the one the model was trained with "
            f"({'; '.join(differences[:3])})"
        )


def part(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """Returns the tensors whose names begin with `prefix`, without it."""
    return {k[len(prefix) :]: v for k, v in tensors.items() if k.startswith(prefix)}

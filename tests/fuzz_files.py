"""Settings, arrays, voter files and model folders, damaged: refused, or read as they stand."""

from __future__ import annotations

import io
import json
import random
import shutil
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml

from semi.config.schema import Config, load_config
from semi.data.external_votes import outside_votes
from semi.errors import SemiError

ROOT = Path(__file__).resolve().parents[1]
IDS = np.array([f"u{k}" for k in range(12)])
CLASSES = ["anger", "joy", "calm"]
STRANGE = [b"\x00", b"\xff\xfe", b'"', b"\n", b"\t", b";", b",", b"NaN", b"-1e999", b"\xed\xa0\x80",
           b"[" * 200, b"{", b"&a *a", b"!!python/name:os.system", b"=1+1", b"9" * 400]  # fmt: skip
VALUES: list[Any] = [None, True, -1, 0, 10**30, 1e308, float("nan"), float("inf"), "", "x", "1e3",
                     "2026-11-29", [], [1, "a"], {}, {"a": {"b": 1}}, [[]], "\u0000"]  # fmt: skip


def mutated(content: bytes, chance: random.Random) -> bytes:
    """Returns a copy with one to four bits flipped, pieces cut, doubled, swapped or put in."""
    out = bytearray(content)
    for _ in range(chance.randint(1, 4)):
        at = chance.randrange(len(out) + 1)
        to = min(len(out), at + chance.choice([1, 2, 8, 64, 1000]))
        how = chance.randrange(7)
        if how == 0 and out:
            out[at % len(out)] ^= 1 << chance.randrange(8)
        elif how == 1:
            del out[at:to]
        elif how == 2:
            out[at:at] = out[at:to]
        elif how == 3:
            out[at:at] = chance.choice(STRANGE)
        elif how == 4:
            out[at:to] = chance.choice(STRANGE)
        elif how == 5:
            out[at:to] = bytes(chance.randrange(256) for _ in range(to - at))
        else:
            del out[at:]
    return bytes(out)


def mutated_values(tree: Any, chance: random.Random) -> Any:
    """Returns a tree of JSON or YAML that can be parsed, with one value lost, odd or unknown."""
    tree = json.loads(json.dumps(tree))
    at = tree
    while isinstance(at, (dict, list)) and at:
        key = chance.choice(list(at) if isinstance(at, dict) else range(len(at)))
        inner = at[key]
        if not isinstance(inner, (dict, list)) or not inner or chance.random() < 0.25:
            how = chance.random()
            if how < 0.4:
                del at[key]
            elif how < 0.9 or isinstance(at, list):
                at[key] = chance.choice(VALUES)
            else:
                at[str(key) + "x"] = inner
            return tree
        at = inner
    return chance.choice(VALUES)


def written(write: Callable) -> bytes:
    """Returns what a function writes into a file."""
    target = io.BytesIO()
    write(target)
    return target.getvalue()


def settings_case(folder: Path, chance: random.Random) -> str:
    """Loads a recipe; each setting that it states must be what is stated, or be refused."""
    valid = (ROOT / "configs" / chance.choice(["demo.yaml", "default.yaml"])).read_bytes()
    path = folder / "case.yaml"
    if chance.random() < 0.5:
        content = mutated(valid, chance)
    else:
        tree = mutated_values(yaml.safe_load(valid), chance)
        content = yaml.safe_dump(tree, allow_unicode=True).encode("utf-8", "surrogatepass")
    path.write_bytes(content)
    config = load_config(path, ["data.manifest=m.csv"])
    stated = yaml.safe_load(content)
    return unlike(stated or {}, config)


def unlike(stated: dict, config: Any, where: str = "") -> str:
    """Returns the first stated setting that was not taken over, "" if there is none."""
    for key, value in stated.items():
        name = f"{where}{key}"
        if name in ("data.manifest", "encoders.extra"):
            continue
        if not hasattr(config, str(key)):
            return f"the unknown setting {name} is passed over"
        taken = getattr(config, str(key))
        if isinstance(value, dict) and not isinstance(taken, dict):
            if found := unlike(value, taken, f"{name}."):
                return found
        elif str(taken) != str(value) and not _equal(taken, value):
            return f"{name} is {taken!r:.60}, not {value!r:.60}"
    return ""


def _equal(taken: Any, value: Any) -> bool:
    if isinstance(taken, (list, tuple)):
        given = value if isinstance(value, list) else [value]
        return [str(x) for x in taken] == [str(x) for x in given]
    try:
        return taken == value or float(taken) == float(value)
    except (TypeError, ValueError):
        return value is None and taken == getattr(Config(), "data", None)


def votes_case(folder: Path, chance: random.Random) -> str:
    """Reads outside votes; the rows of undamaged archives are each what they were."""
    probs = np.random.default_rng(chance.randrange(99)).dirichlet(np.ones(3), len(IDS))
    order = list(range(len(IDS)))
    chance.shuffle(order)
    arrays = {"ids": IDS[order], "classes": np.array(CLASSES), "probs": probs[order]}
    table = pd.DataFrame({"id": IDS[order]} | {
        f"p_{c}": probs[order, k] for k, c in enumerate(CLASSES)})  # fmt: skip
    kind = chance.choice(["npz", "csv", "parquet"])
    if kind == "npz":
        if whole := chance.random() < 0.5:
            odd_array(arrays, "probs", chance)
        content = written(lambda t: np.savez(t, **arrays))
        content = content if whole else mutated(content, chance)
    elif kind == "csv":
        content = mutated(table.to_csv(index=False).encode(), chance)
    else:
        content = mutated(written(table.to_parquet), chance)
    path = folder / f"case.{kind}"
    path.write_bytes(content)
    read = outside_votes([str(path)], IDS, CLASSES)
    if read is not None and not (read.isfinite() | read.isnan()).all():
        return "infinite votes"
    if read is not None and kind == "npz":
        told = read.reshape(len(IDS), -1).numpy()
        if np.isfinite(told).all() and np.abs(told - probs).max() > 1e-3:
            return "votes of other rows, or other votes"
    return ""


def odd_array(arrays: dict[str, Any], name: str, chance: random.Random) -> None:
    """Makes one array odd in a way that numpy can still write."""
    array = arrays[name]
    bad = array.copy()
    bad[chance.randrange(len(bad))] = chance.choice([np.nan, np.inf, -1, 7])
    ways: list[Callable[[], Any]] = [
        lambda: array.astype(object), lambda: array.astype("U"), lambda: array[:-1],
        lambda: array.T, lambda: array.astype(complex), lambda: array[:, None], lambda: array[:0],
        lambda: np.float64(1), lambda: bad, lambda: np.asfortranarray(array),
        lambda: array.astype(">f8"), lambda: array.astype("M8[s]"), lambda: array.astype("f2"),
    ]  # fmt: skip
    changed = chance.choice([*ways, None])
    if changed is None:
        del arrays[name]
    else:
        arrays[name] = changed()


def claims(content: bytes, chance: random.Random) -> bytes:
    """Returns a .npy file whose header claims another shape or type than it has."""
    shape = chance.choice([b"(10**9, 4)", b"(99999999999, 4)", b"(-1, 4)", b"(12, )", b"()"])
    head = b"{'descr': '<f4', 'fortran_order': False, 'shape': " + shape + b", }"
    head += b" " * (117 - len(head)) + b"\n"
    return content[:8] + len(head).to_bytes(2, "little") + head + content[128:]


def arrays_case(folder: Path, chance: random.Random) -> str:
    """Opens precomputed arrays as extraction does; each id has its own vector or none."""
    from models.encoders import EncoderUnavailable, build_array_encoder
    from models.encoders.config import ArrayConfig

    array = np.arange(48, dtype=np.float32).reshape(12, 4) + 1
    arrays: dict[str, Any] = {"id": IDS, "v": array}
    place, kind = folder / "case.npz", chance.choice(["bytes", "odd", "folder"])
    if kind == "folder":
        place = folder / "arrays"
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir()
        for name, row in zip(IDS, array, strict=True):
            np.save(place / f"{name}.npy", row[None])
        victim = place / f"{chance.choice(IDS)}.npy"
        content = victim.read_bytes()
        victim.write_bytes(chance.choice([mutated, claims])(content, chance))
    else:
        if kind == "odd":
            odd_array(arrays, "v", chance)
        content = written(lambda t: np.savez(t, **arrays))
        place.write_bytes(content if kind == "odd" else mutated(content, chance))
    try:
        encoder: Any = build_array_encoder(ArrayConfig(path=str(place)), modality="bio")
        encoder.identity()
        paths = {name: encoder.path_of(str(name)) for name in IDS}
        for k, name in enumerate(IDS):
            if paths[name] is not None:
                try:
                    batch = encoder.read([str(name)])
                except (SemiError, ValueError, EncoderUnavailable):
                    continue
                held = batch.values.numpy()
                if kind == "bytes" and batch.present[0] and not np.array_equal(held[0], array[k]):
                    return f"{name} has another vector"
    except (EncoderUnavailable, ValueError):  # extraction says these as they are
        pass
    return ""


@cache
def _tiny_model() -> dict[str, bytes]:
    import tempfile

    from tiny_speech import tiny

    home = Path(tempfile.mkdtemp(prefix="fuzz-model-"))
    tiny("hubert-base").save_pretrained(home)  # pyright: ignore[reportCallIssue]
    held = {p.name: p.read_bytes() for p in home.iterdir()}
    shutil.rmtree(home)
    return held


def model_case(folder: Path, chance: random.Random) -> str:
    """Encodes a sound with a model folder of which one file is damaged."""
    from models.encoders import EncoderUnavailable, SpeechConfig, build_speech_encoder

    home = folder / "model"
    shutil.rmtree(home, ignore_errors=True)
    home.mkdir()
    held = dict(_tiny_model())
    name = chance.choice(list(held))
    if name.endswith("json") and chance.random() < 0.7:
        held[name] = json.dumps(mutated_values(json.loads(held[name]), chance)).encode()
    elif chance.random() < 0.5:  # within the header of the tensors
        held[name] = mutated(held[name][:2000], chance) + held[name][2000:]
    else:
        held[name] = mutated(held[name], chance)
    for file, content in held.items():
        (home / file).write_bytes(content)
    sound = np.sin(np.arange(8000, dtype=np.float32) / 9)
    try:
        encoder: Any = build_speech_encoder(SpeechConfig(model=str(home)), root=str(folder))
        encoder.identity()
        encoder.encode([sound])
    except (EncoderUnavailable, ValueError):  # extraction says these as they are
        pass
    return ""

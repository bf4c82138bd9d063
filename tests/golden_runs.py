"""Whole runs whose results are pinned: how each is made, and what is kept of it.

`python tests/golden_runs.py` writes tests/golden/<name>.json anew. Do so only when a number is
meant to change, and say why in the commit.
"""

import hashlib
import json
import platform
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from safetensors.numpy import load_file

import semi
from semi.data.corpora import bundled_emodb

HERE = Path(__file__).parent
CONFIGS = HERE.parent / "configs"
FOLDER = HERE / "golden"
FEELING = {"anger": (1.8, 4.4), "sadness": (2.0, 1.7), "neutral": (3.1, 2.6)}
SHORT = ["threads=1", "tracking=false", "data.workers=1", "train.folds=3", "train.members=2",
         "train.steps=20", "contrast.pretrain_steps=8"]  # fmt: skip
TINY = ["model.hidden=8", "train.steps=4", "train.members=1", "train.folds=2", "threads=1",
        "tracking=false", "data.workers=1", "data.classes=[]", "features.max_frames=6",
        "rounds.max_rounds=1"]  # fmt: skip
OFFLINE = ["encoders.speech.model=acoustic", "encoders.speech.layers=[]"]
BOTH = [*OFFLINE, "encoders.text.model=char-ngram", "encoders.text.pooling=mean"]

# name: (YAML, table, settings)
RUNS = {
    "demo": ("demo", "emodb", ["recipe=none", *SHORT, "rounds.max_rounds=2"]),
    "demo_auto": ("demo", "emodb", ["threads=1", "tracking=false", "data.workers=1", "recipe=auto",
                                    "data.labeled_fraction=0.3", "rounds.max_rounds=2"]),
    "etri": ("etri_concat_total", "small", [*TINY, *BOTH, "data.test_fold=2",
                                           "select.rule=threshold", "select.threshold=0.5",
                                           "data.labeled_fraction=0.6"]),
    "emo_ensemble": ("emo_ensemble_text30", "small", [*TINY, *BOTH[2:], "data.ties=drop",
                                              "data.labeled_fraction=0.7"]),
    "lmr_cl": ("lmr_cl", "small", [*TINY, *BOTH, "data.group=speaker", "data.test_groups=[]",
                                   "encoders.extra={}", "encoders.extra.bio.path=bio/bio.npz",
                                   "data.ties=drop"]),
    "mer2024": ("mer2024_semi", "small", [*TINY, *BOTH, "encoders.extra={}", "select.per_class={}",
                                          "select.threshold=0.3",
                                          "data.allow_leaks=[text]",
                                          "data.ties=drop", "data.labeled_fraction=0.7"]),
    "multi_still": ("multi_still_teacher", "small", [*TINY, *BOTH, "data.labeled_fraction=0.7"]),
}  # fmt: skip


def write_small(folder):
    """Writes a manifest of 36 real recordings with valence, arousal, ties, votes and biosignals."""
    table = pd.read_csv(bundled_emodb(), dtype=str)
    table = table[table["label"].isin(list(FEELING))]
    table = table[table["speaker"].isin(sorted(table["speaker"].unique())[:4])]
    table = table.groupby(["speaker", "label"]).head(3).sort_values("id").reset_index(drop=True)
    table["audio"] = [str(bundled_emodb().parent / a) for a in table["audio"]]
    table["session"] = "Sess" + table["speaker"]
    rng = np.random.default_rng(0)
    feeling = np.array([FEELING[label] for label in table["label"]])
    feeling = feeling + rng.normal(0, 0.3, feeling.shape)
    table["valence"], table["arousal"] = feeling.T
    table.loc[5, ["valence", "arousal"]] = np.nan
    table.loc[[2, 11, 20], "label"] = "anger;sadness"
    table["votes"] = [json.dumps({x: 5 for x in label.split(";")} | {"neutral": 2})
                      for label in table["label"]]  # fmt: skip
    table.to_csv(folder / "manifest.csv", index=False)
    (folder / "bio").mkdir()
    ids = table["id"].to_numpy(dtype=str)[4:]
    signals = rng.normal(size=(len(ids), 20))
    np.savez(folder / "bio" / "bio.npz", id=ids, x=signals)
    for name, x in (("eda", signals[:, :12]), ("temp", signals[:, 12:17])):
        np.savez(folder / "bio" / f"{name}.npz", id=ids, x=x)
    np.savez(folder / "bio" / "ibi.npz", id=ids[::3], x=signals[::3, 17:])  # a third has beats


def train(name, folder, store, runs):
    """Runs a golden run on what `write_small` wrote and returns what is kept of it."""
    recipe, table, words = RUNS[name]
    manifest = bundled_emodb() if table == "emodb" else folder / "manifest.csv"
    where = [f"name={name}", f"runs_dir={runs}", f"features.store={store}",
             f"data.manifest={manifest}"]  # fmt: skip
    config = semi.load_config(CONFIGS / f"{recipe}.yaml", [*where, *words])
    return kept(semi.self_train(config, progress=False))


def kept(result):
    """Returns the hash of the ledger and of the model, and numbers to compare across machines."""
    tensors = load_file(result.path / "model" / "model.safetensors")
    ledger = (result.path / "ledger.csv").read_bytes()
    rows = pd.read_csv(result.path / "ledger.csv", dtype=str)
    picked = rows[rows["chosen"] == "True"] if len(rows) else rows
    digest = hashlib.sha256()
    for key in sorted(tensors):
        digest.update(key.encode() + str(tensors[key].shape).encode() + tensors[key].tobytes())
    return {
        "stopped": result.stopped,
        "ledger": hashlib.sha256(ledger).hexdigest(),
        "model": digest.hexdigest(),
        "rows": len(rows),
        "columns": list(rows.columns),
        "picked": [f"{r['round']} {r['id']} {r['label']}" for _, r in picked.iterrows()],
        "norms": {
            k: float(np.linalg.norm(v.astype(np.float64))) for k, v in sorted(tensors.items())
        },
        "oof": round(float(json.loads((result.path / "result.json").read_text())["final"]), 6),
    }


def machine():
    """Returns what exact equality of floating point depends on: processor, PyTorch, NumPy."""
    found = Path("/proc/cpuinfo")
    lines = found.read_text().splitlines() if found.is_file() else []
    model = next((x.partition(":")[2].strip() for x in lines if x.startswith("model name")), "")
    parts = (model or platform.processor(), torch.backends.cpu.get_cpu_capability(),
             torch.__version__, np.__version__)  # fmt: skip
    return " | ".join(parts)


if __name__ == "__main__":
    import tempfile

    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as place:
        write_small(Path(place))
        for run in sys.argv[1:] or RUNS:
            found = train(run, Path(place), f"{place}/store", f"{place}/runs")
            known = {"machine": machine(), **found}
            (FOLDER / f"{run}.json").write_text(json.dumps(known, indent=1) + "\n")
            print(run, known["ledger"][:12], known["model"][:12], known["rows"], known["oof"])

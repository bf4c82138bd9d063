"""How well the acoustic encoder tells emotions apart, beside eGeMAPS, on unseen speakers.

    python benchmarks/acoustic_quality.py MANIFEST.csv [MANIFEST.csv ...] [--folds 10]

A manifest needs the columns path, label and speaker; a column `corpus` splits it into corpora with
their own label sets. Every fold holds out whole speakers: one each where there are no more speakers
than folds, otherwise grouped and stratified folds. Features are standardised over the training
speakers ("global") or within each speaker, without labels ("speaker"); the classifier is a
logistic regression at three fixed strengths, none of them picked by the result. Printed are the
macro-F1 over all held-out predictions and the speed of the features on one thread.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import soundfile
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import f1_score
from sklearn.model_selection import LeaveOneGroupOut, StratifiedGroupKFold
from sklearn.preprocessing import StandardScaler

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from models.encoders.acoustic import AcousticEncoder
from models.encoders.base import EncoderUnavailable
from models.encoders.egemaps import EgemapsEncoder

STRENGTHS = (0.01, 0.1, 1.0)


def sounds_of(table: pd.DataFrame, folder: Path) -> list[np.ndarray]:
    """Returns the sounds of all rows, read before anything is timed."""
    sounds = []
    for path in table["path"]:
        samples, rate = soundfile.read(folder / path, dtype="float32")
        if rate != 16_000 or samples.ndim != 1:
            raise SystemExit(f"{path}: this benchmark wants 16 kHz mono, got {rate} Hz")
        sounds.append(samples)
    return sounds


def features_of(encoder, sounds: list[np.ndarray]) -> tuple[np.ndarray, float]:
    """Returns features (N, D) and how many times faster than real time they came."""
    encoder.encode(sounds[:2])
    start = time.process_time()
    rows = encoder.encode(sounds).numpy()
    taken = time.process_time() - start
    return rows, sum(map(len, sounds)) / 16_000 / taken


def within_speaker(rows: np.ndarray, speaker: np.ndarray) -> np.ndarray:
    """Returns features standardised within each speaker, clamped at five deviations."""
    out = np.empty_like(rows)
    for name in np.unique(speaker):
        mine = speaker == name
        out[mine] = (rows[mine] - rows[mine].mean(0)) / (rows[mine].std(0) + 1e-6)
    return out.clip(-5, 5)


def macro_f1(rows, label, speaker, folds: int, strength: float) -> float:
    """Returns macro-F1 in per cent over the predictions for all held-out speakers."""
    few = len(np.unique(speaker)) <= folds
    splitter = LeaveOneGroupOut() if few else StratifiedGroupKFold(folds)
    guess = np.empty_like(label)
    for train, test in splitter.split(rows, label, speaker):
        scaler = StandardScaler().fit(rows[train])
        model = LogisticRegression(C=strength, max_iter=2000)
        model.fit(scaler.transform(rows[train]).clip(-5, 5), label[train])
        guess[test] = model.predict(scaler.transform(rows[test]).clip(-5, 5))
    return 100 * float(f1_score(label, guess, average="macro"))


def main() -> None:
    """Prints one line a corpus, encoder and standardisation."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("manifests", nargs="+", type=Path)
    parser.add_argument("--folds", type=int, default=10)
    parser.add_argument("--ours-only", action="store_true", help="leave eGeMAPS out")
    options = parser.parse_args()
    torch.set_num_threads(1)
    encoders: dict = {"acoustic": AcousticEncoder()}
    if not options.ours_only:
        try:
            encoders["egemaps"] = EgemapsEncoder()
        except EncoderUnavailable as error:
            print(error)
    head = "".join(f"   C={strength:<6g}" for strength in STRENGTHS)
    print(f"{'corpus':10}{'rows':>5} {'encoder':9}{'dims':>5} {'scaled':8}{head}  x real time")
    for manifest in options.manifests:
        table = pd.read_csv(manifest, dtype={"speaker": str})
        if "corpus" not in table:
            table["corpus"] = manifest.parent.name
        for corpus, part in table.groupby("corpus"):
            sounds = sounds_of(part, manifest.parent)
            label = part["label"].to_numpy(str)
            speaker = part["speaker"].to_numpy(str)
            for name, encoder in encoders.items():
                rows, speed = features_of(encoder, sounds)
                for scaled in ("global", "speaker"):
                    used = within_speaker(rows, speaker) if scaled == "speaker" else rows
                    scores = [macro_f1(used, label, speaker, options.folds, c) for c in STRENGTHS]
                    cells = "".join(f"{score:11.1f}" for score in scores)
                    line = f"{corpus:10}{len(part):5} {name:9}{rows.shape[1]:5} {scaled:8}"
                    print(f"{line}{cells}{speed:13.0f}", flush=True)


if __name__ == "__main__":
    main()

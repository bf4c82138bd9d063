"""MER2023, MER2024 and MER2025 in small, as given out or as MERTools makes them; real speech."""

import csv

import numpy as np
import soundfile
from corpus_trees import put

from semi.data.audio import load_audio
from semi.data.corpora import bundled_emodb

SIX = {"anger": "angry", "happiness": "happy", "sadness": "sad", "neutral": "neutral",
       "fear": "worried", "boredom": "surprise"}  # fmt: skip
SAID = ["你说什么", "我不知道", "太好了"]  # series repeat short sentences


def spoken(count):
    """Returns (label, file) of `count` recordings of the bundled Emo-DB, the six labels in turn."""
    with open(bundled_emodb(), encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if row["label"] in SIX]
    by_label = {name: [row for row in rows if row["label"] == name] for name in SIX}
    order = [by_label[list(SIX)[k % 6]][k // 6] for k in range(count)]
    return [(SIX[row["label"]], bundled_emodb().parent / row["audio"]) for row in order]


def sound(source, target):
    """Writes a recording as MERTools extracts it: 16 kHz, mono, 16 bits."""
    target.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(target, load_audio(source), 16_000, subtype="PCM_16")


def sheet(path, head, rows):
    put(path, "\n".join([head, *(",".join(map(str, row)) for row in rows)]) + "\n")


def split(start, train, held, pool):
    """Returns names, labels and recordings of the three parts."""
    recordings = enumerate(spoken(train + held + pool), start)
    every = [(f"sample_{k:08d}", *pair) for k, pair in recordings]
    return every[:train], every[train : train + held], every[train + held :]


def mer2025(root, train=36, held=12, pool=12):
    """mer2025-dataset as given out: candidates without labels, the sheets of the other tracks."""
    top = root / "mer2025-dataset"
    parts = split(0, train, held, pool)
    sheet(top / "track1_train_disdim.csv", "name,discrete,valence",
          [(name, label, k % 7 - 3) for k, (name, label, _) in enumerate(parts[0])])  # fmt: skip
    sheet(top / "track_all_candidates.csv", "name", [(name,) for name, *_ in parts[1]])
    sheet(top / "track2_train_ovmerd.csv", "name,openset", [(parts[0][0][0], "[sad; calm]")])
    sheet(top / "track3_train_ovmerd.csv", "name,reason", [(parts[0][0][0], "He sighs.")])
    every = [row for part in parts for row in part]
    sheet(top / "subtitle_chieng.csv", "name,chinese,english",
          [(name, SAID[k % 3], "what") for k, (name, *_) in enumerate(every)])  # fmt: skip
    for name, _, path in every:
        sound(path, top / "audio" / f"{name}.wav")
    put(top / "openface_face" / every[0][0] / f"{every[0][0]}.npy", "faces")
    sheet(root / "submission.csv", "name,discrete", [(name, "happy") for name, *_ in parts[1]])
    return parts


def mer2024(root, train=36, held=12, pool=12, answers=False):
    """mer2024-dataset beside mer2024-dataset-process, whose tests are filled in with neutral."""
    raw, made = root / "mer2024-dataset", root / "mer2024-dataset-process"
    parts = split(5000, train, held, pool)
    sheet(raw / "label-disdim.csv", "name,discrete,valence",
          [(name, label, 1.5) for name, label, _ in parts[0]])  # fmt: skip
    sheet(raw / "label-transcription.csv", "name,chinese",
          [(name, SAID[k % 3]) for k, (name, *_) in enumerate(parts[0])])  # fmt: skip
    made.mkdir(parents=True)
    np.savez_compressed(
        made / "label-6way.npz",
        train_corpus={name: {"emo": label} for name, label, _ in parts[0]},
        test1_corpus={name: {"emo": "neutral"} for name, *_ in parts[1]},
    )  # fmt: skip
    every = [row for part in parts for row in part]
    sheet(made / "transcription-merge.csv", "name,chinese",
          [(name, SAID[k % 3]) for k, (name, *_) in enumerate(every)])  # fmt: skip
    for name, _, path in every:
        sound(path, made / "audio" / f"{name}.wav")
    if answers:
        sheet(root / "reference-semi.csv", "name,discrete", [row[:2] for row in parts[1]])
    return parts


def mer2023(root, train=36, held=12):
    """mer2023-dataset as given out: a folder each for training and the tests, labels of one."""
    parts = split(100, train, held, 0)[:2]
    sheet(root / "train-label.csv", "name,discrete,valence",
          [(name, label, 0.5) for name, label, _ in parts[0]])  # fmt: skip
    for name, _, path in parts[0]:
        sound(path, root / "train" / f"{name}.wav")
    for k, (name, _, path) in enumerate(parts[1]):
        sound(path, root / f"test{k % 3 + 1}" / f"{name}.wav")
    return parts

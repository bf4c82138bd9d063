"""benchmarks/outside_voters.py runs as it is called: from texts to votes to rounds."""

import numpy as np
import pandas as pd
from test_benchmark_programs import run

EMOTIONS = ["anger", "joy", "neutral"]


def write_corpora(folder, dialogues=40, turns=6, seed=0):
    """Writes meld.npz, emodb_goemotions.npz and the texts of MELD, made up of numbers."""
    rng = np.random.default_rng(seed)
    centre = rng.normal(0, 1, (3, 16))
    ids, label = [], []
    for split, count in (("train", dialogues), ("dev", 4), ("test", 12)):
        rows = [(d, t, int(rng.integers(3))) for d in range(count) for t in range(turns)]
        table = pd.DataFrame({
            "Utterance": [f"{split} text {d} {t}, said: so" for d, t, _ in rows],
            "Emotion": [EMOTIONS[k] for *_, k in rows],
            "Dialogue_ID": [d for d, *_ in rows], "Utterance_ID": [t for _, t, _ in rows],
        })  # fmt: skip
        (folder / "meld_text").mkdir(exist_ok=True)
        table.to_csv(folder / "meld_text" / f"{split}_sent_emo.csv", index=False)
        ids += [f"{split}-{d}-{t}" for d, t, _ in rows]
        label += [k for *_, k in rows]
    text = centre[label] + rng.normal(0, 2.5, (len(label), 16))
    np.savez(folder / "meld.npz", id=np.array(ids), text=text, context=rng.normal(size=text.shape))
    known = np.arange(90) % 3
    names = np.array(["anger", "happiness", "neutral"])[known]
    other = centre[known] + rng.normal(0, 1, (90, 16))
    np.savez(folder / "emodb_goemotions.npz", label=names, text=other)


def test_the_voter_of_another_corpus_is_asked_and_compared(tmp_path):
    write_corpora(tmp_path)
    words = [str(tmp_path), str(tmp_path), str(tmp_path / "work"), "--corpora", "meld"]
    lines = run("outside_voters.py", *words, "--budgets", "30", "--seeds", "0", "1")
    how = "336 votes in 336 rows, by the probabilities of the first token"
    assert any(how in line for line in lines)
    table = [line.split(" | ") for line in lines if line.startswith("| meld | 30 |")]
    assert [row[2] for row in table] == ["class_topk", "external", "soft"]
    right = [float(row[4].split()[0]) for row in table]
    assert right[1] > right[0]  # what a good voter confirms is right more often
    cells = (tmp_path / "work" / "cells.csv").read_text()
    assert (
        run("outside_voters.py", *words, "--budgets", "30", "--seeds", "0", "1")[-5:] == lines[-5:]
    )
    assert (tmp_path / "work" / "cells.csv").read_text() == cells  # nothing was done again
    assert "the voter of meld alone: macro-F1 " in lines[-1]

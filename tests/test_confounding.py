"""Warnings of what a split cannot hide: a speaker who gives the label away, classes too thin."""

import numpy as np
import pandas as pd
import pytest

from semi.data.config import DataConfig
from semi.data.confounding import confounding, confounding_notes
from semi.data.manifest import load_manifest
from semi.data.splits import make_splits
from semi.data.wording import counted, warnings_in


def slow(label, group):
    """Returns right and chance row by row, from the sentence of the docstring."""
    right, counted_rows = [], []
    for i, (mine, where) in enumerate(zip(label, group, strict=True)):
        others = [x for j, x in enumerate(label) if group[j] == where and j != i]
        if not others:
            continue
        counted_rows.append(mine)
        most = max(others.count(x) for x in set(others))
        best = [x for x in set(others) if others.count(x) == most]
        right.append((mine in best) / len(best))
    largest = max(counted_rows.count(x) for x in set(counted_rows))
    return np.mean(right), largest / len(counted_rows)


@pytest.mark.parametrize("seed", range(5))
def test_the_figure_is_that_of_a_slow_loop(seed):
    rng = np.random.default_rng(seed)
    label, group = rng.integers(0, 3, 60), np.array([f"s{i}" for i in rng.integers(0, 25, 60)])
    found = confounding(label, group)
    assert (found.right, found.chance) == pytest.approx(slow(label.tolist(), group.tolist()))
    order = rng.permutation(60)
    for again in (confounding(label[order], group[order]), confounding((label + 1) % 3, group)):
        assert again.right == pytest.approx(found.right)
        assert (again.rows, again.groups, again.chance) == (found.rows, found.groups, found.chance)


def test_one_label_a_speaker_is_told_and_even_speakers_are_not():
    speaker = [f"s{i % 12}" for i in range(120)]
    label = np.array([i % 12 % 4 for i in range(120)])
    frame = pd.DataFrame({"speaker": speaker, "session": None}, dtype=object)
    (told,) = confounding_notes(frame, label)
    assert "the speaker gives the label away" in told
    assert "the label of 100 % of 120 labelled rows (largest class: 25 %)" in told
    assert "features.standardize=speaker would scale the label away: use global or auto" in told
    mixed = np.array([(i + i // 12) % 4 for i in range(120)])
    assert confounding(mixed, np.array(speaker)).telling < 0.1
    assert not confounding_notes(frame, mixed)
    (session,) = confounding_notes(frame.assign(session=frame["speaker"], speaker=None), label)
    assert "the session gives the label away" in session and "standardize" not in session
    assert not confounding_notes(frame[:12], label[:12])  # every row alone: nothing can be said
    assert not confounding_notes(frame[:0], label[:0])


def test_a_confounded_manifest_warns_before_anything_is_trained(tmp_path):
    frame = pd.DataFrame(
        {
            "id": [f"u{i:03d}" for i in range(120)],
            "text": [f"sentence {i}" for i in range(120)],
            "label": ["abcd"[i % 12 % 4] for i in range(120)],
            "speaker": [f"s{i % 12:02d}" for i in range(120)],
        }
    )
    frame.to_csv(tmp_path / "m.csv", index=False)
    splits = make_splits(load_manifest(tmp_path / "m.csv"), DataConfig(), folds=3, seed=0)
    assert sum("gives the label away" in note for note in warnings_in(splits.notes)) == 1


def test_thin_sides_are_told_with_counts(tmp_path):
    frame = pd.DataFrame(
        {
            "id": [f"u{i}" for i in range(40)],
            "text": [f"sentence {i}" for i in range(40)],
            "label": ["a" if i % 2 else "b" for i in range(38)] + ["c", "c"],
            "speaker": [f"s{i % 8}" for i in range(40)],
            "split": ["train"] * 10 + ["test"] * 30,
        }
    )
    frame["speaker"] = frame["split"] + frame["speaker"]
    frame.loc[0, "label"] = "c"
    frame.to_csv(tmp_path / "m.csv", index=False)
    told = warnings_in(
        make_splits(load_manifest(tmp_path / "m.csv"), DataConfig(), folds=2, seed=0).notes
    )
    assert any("only 10 labelled training rows: with fewer than 20" in note for note in told)
    assert any("test has fewer than 5 rows of 'c' (2 of 3)" in note for note in told)
    assert any("rows of 'c' come from one speaker" in note for note in told)


def test_counts_are_said_as_people_say_them():
    assert counted(1, "speaker") == "1 speaker" and counted(0, "row") == "0 rows"
    assert counted(2, "class") == "2 classes" and counted(12345, "row") == "12,345 rows"

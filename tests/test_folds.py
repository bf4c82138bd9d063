"""Held-out parts by number: the published contiguous slices, and whole groups."""

import numpy as np
import pandas as pd
import pytest

from semi.data.config import DataConfig
from semi.data.folds import contiguous_folds
from semi.data.manifest import load_manifest
from semi.data.splits import make_splits
from semi.errors import ManifestError
from semi.experiments.cross_validation import pool
from semi.runs.predictions import Predictions

ACCEPTED = ["speaker", "session"]


def load(tmp_path, **columns):
    rng = np.random.default_rng(0)
    n = 103
    frame = pd.DataFrame(
        {
            "id": [f"u{i:03d}" for i in range(n)],
            "text": [f"sentence {i}" for i in range(n)],
            "label": np.array(["a", "b", "c"])[rng.integers(0, 3, n)],
            "speaker": [f"s{i // 8}" for i in range(n)],
            "session": [f"d{i // 16}" for i in range(n)],
            **columns,
        }
    )
    frame.to_csv(tmp_path / "m.csv", index=False)
    return load_manifest(tmp_path / "m.csv")


def test_published_sizes_of_the_five_slices():
    for rows, sizes in (
        (13_462, [2692, 2692, 2693, 2692, 2693]),  # KEMDy20
        (20_554, [4110, 4111, 4111, 4111, 4111]),  # KEMDy19, both sheets
    ):
        fold = contiguous_folds(rows, 5)
        assert np.bincount(fold).tolist() == sizes and (np.diff(fold) >= 0).all()


@pytest.mark.parametrize("method", ["grouped", "contiguous"])
def test_the_parts_are_each_held_out_once(tmp_path, method):
    manifest = load(tmp_path, split=["test"] * 103)  # the column does not count
    held = np.zeros(103, dtype=int)
    for part in range(1, 6):
        config = DataConfig(
            test_fold=part, fold_method=method, group="session", allow_leaks=ACCEPTED
        )
        splits = make_splits(manifest, config, folds=3, seed=0)
        test = splits.role == "test"
        assert (splits.role[~test] == "labeled").all()
        if method == "grouped":
            assert not set(splits.group[test]) & set(splits.group[~test])
        else:
            assert np.ptp(np.flatnonzero(test)) + 1 == test.sum()
            assert (np.diff(splits.fold[~test]) >= 0).all()
        held += test
    assert (held == 1).all()


def test_defect_001_6_slices_that_cut_a_session_are_a_leak_to_be_accepted(tmp_path):
    manifest = load(tmp_path)
    config = DataConfig(test_fold=2, fold_method="contiguous")
    with pytest.raises(ManifestError, match=r"(?s)speaker: .* dev/test rows"):
        make_splits(manifest, config, folds=3, seed=0)


def test_more_parts_than_groups_are_refused_with_what_can_be_held_out(tmp_path):
    manifest = load(tmp_path, session=[f"d{i // 40}" for i in range(103)])  # 3 sessions
    config = DataConfig(test_fold=1, group="session", allow_leaks=ACCEPTED)
    with pytest.raises(ManifestError) as told:
        make_splits(manifest, config, folds=2, seed=0)
    assert "come from 3 sessions, fewer than the 5 parts of whole sessions" in str(told.value)
    assert "set data.test_folds=3, or hold out whole speakers with data.group=speaker" in str(
        told.value
    )
    config.test_folds = 3
    splits = make_splits(manifest, config, folds=2, seed=0)
    assert len(set(splits.group[splits.role == "test"])) == 1
    loose = [n for n in make_splits(manifest, config, folds=4, seed=0).notes if "folds share" in n]
    assert loose[0].startswith("warning: ") and "train.folds=2 keeps sessions whole" in loose[0]


def test_settings_that_cannot_be_used_are_named():
    for message, settings in {
        r"fold_method must be grouped or contiguous, got 'random'": {"fold_method": "random"},
        r"test_fold must be in 1\.\.5, got 6": {"test_fold": 6},
        r"test_folds must be at least 2, got 1": {"test_folds": 1},
        "test_fold and test_groups cannot both be set": {"test_fold": 1, "test_groups": ["a"]},
    }.items():
        with pytest.raises(ValueError, match=message):
            DataConfig(**settings)


def test_a_row_whose_label_one_part_hides_is_scored_by_the_part_that_holds_it_out():
    def part(name, role, label):
        return Predictions(
            name, np.array(["u1", "u2", "u3"]), ["a", "b"], np.full((3, 2), 0.5), np.array(role),
            np.array(label), np.array(["x", "y", "z"]), np.full(3, -1),
        )  # fmt: skip

    first = part("1", ["test", "pool", "labeled"], [0, -1, 1])
    second = part("2", ["pool", "test", "labeled"], [-1, 1, 1])
    whole, notes = pool([first, second], "all")
    assert whole.rows("test").tolist() == [0, 1] and whole.label[:2].tolist() == [0, 1]
    assert first.label.tolist() == [0, -1, 1]
    assert notes == ["1 gold row was in no part"]

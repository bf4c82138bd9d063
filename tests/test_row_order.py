"""The order of a table's rows changes nothing: splits, ledger and model are the same to the bit."""

import numpy as np
import pandas as pd
import pytest
from golden_runs import CONFIGS, RUNS, TINY, kept, write_small

import semi
from semi.data.config import DataConfig
from semi.data.manifest import load_manifest
from semi.data.splits import make_splits

AUTO = ["recipe=auto", "threads=1", "tracking=false", "data.workers=1", "train.folds=2",
        "encoders.text.model=char-ngram", "data.labeled_fraction=0.5",
        "rounds.max_rounds=2"]  # fmt: skip
CONTRASTIVE = [*TINY[:-2], "train.members=2", "model.projection=4", "contrast.pretrain_steps=3",
               "encoders.text.model=char-ngram", "data.labeled_fraction=0.5",
               "rounds.max_rounds=2", "rounds.accept_se=9"]  # fmt: skip
RECIPES = {
    "auto": (None, AUTO),
    "contrastive": (None, CONTRASTIVE),
    **{name: (CONFIGS / f"{yaml}.yaml", words) for name, (yaml, _, words) in RUNS.items()
       if name in ("emo_ensemble", "lmr_cl", "mer2024", "multi_still")},
    "etri": (CONFIGS / "etri_concat_total.yaml",
             [*RUNS["etri"][2], "data.fold_method=grouped", "data.group=session",
              "data.test_folds=4"]),
}  # fmt: skip


@pytest.fixture(scope="module")
def tables(tmp_path_factory):
    """Returns a folder with a table of 36 real recordings and a shuffled copy of it."""
    folder = tmp_path_factory.mktemp("orders")
    write_small(folder)
    table = pd.read_csv(folder / "manifest.csv", dtype=str)
    table.sample(frac=1, random_state=1).to_csv(folder / "shuffled.csv", index=False)
    return folder


def trained(folder, recipe, table):
    path, words = RECIPES[recipe]
    where = [f"name={recipe}-{table}", f"runs_dir={folder / 'runs'}",
             f"features.store={folder / f'store-{table}'}",
             f"data.manifest={folder / f'{table}.csv'}"]  # fmt: skip
    return semi.self_train(semi.load_config(path, [*where, *words]), progress=False)


@pytest.mark.parametrize("recipe", RECIPES)
def test_a_shuffled_copy_of_a_table_gives_the_same_run(tables, recipe):
    first, other = (trained(tables, recipe, table) for table in ("manifest", "shuffled"))
    assert kept(first)["rows"] or recipe == "lmr_cl"  # a ledger that could differ
    assert kept(other) == kept(first)
    assert (other.path / "splits.csv").read_bytes() == (first.path / "splits.csv").read_bytes()
    assert other.sentence == first.sentence and other.metrics == first.metrics


def by_id(splits, table):
    rows = zip(table["id"], splits.role, splits.fold.tolist(), strict=True)
    return {name: (role, fold) for name, role, fold in rows}


@pytest.fixture
def speakers(tmp_path):
    """Returns a table of 24 speakers with 20 rows each, and what reads a copy of it."""
    rng = np.random.default_rng(0)
    n = 480
    table = pd.DataFrame(
        {
            "id": [f"u{i}" for i in range(n)],
            "text": [f"sentence {i}" for i in range(n)],
            "label": np.array(["angry", "happy", "sad"])[rng.integers(0, 3, n)],
            "speaker": [f"s{i % 24}" for i in range(n)],
        }
    )

    def drawn(rows, **settings):
        rows.to_csv(tmp_path / "m.csv", index=False)
        config = DataConfig(**settings)
        splits = make_splits(load_manifest(tmp_path / "m.csv", config), config, folds=5, seed=0)
        return by_id(splits, rows)

    return table, drawn


@pytest.mark.parametrize("settings", [
    {}, {"group": "none", "allow_leaks": ["speaker"]}, {"labeled_fraction": 0.3},
    {"labeled_count": 40}, {"test_fold": 2}, {"test_groups": ["s1", "s7"]},
])  # fmt: skip
def test_every_draw_goes_by_id(speakers, settings):
    table, drawn = speakers
    straight = drawn(table, **settings)
    for seed in (1, 2, 3):
        assert drawn(table.sample(frac=1, random_state=seed), **settings) == straight
    assert drawn(table[::-1], **settings) == straight


def test_rows_that_are_added_change_little(speakers):
    table, drawn = speakers
    draws = {"labeled_fraction": 0.3}
    before = drawn(table, **draws)
    pool = pd.DataFrame({"id": ["p0", "p1"], "text": ["new", "newer"], "speaker": ["s3", "new"]})
    after = drawn(pd.concat([pool, table]), **draws)
    assert {name: after[name] for name in before} == before  # draws are among labelled rows
    changed = 0
    for number in range(10):  # one more labelled row, each time of another speaker
        extra = pd.DataFrame([{"id": f"x{number}", "text": f"extra {number}", "label": "sad",
                               "speaker": f"s{number * 2}"}])  # fmt: skip
        after = drawn(pd.concat([table, extra]), **draws)
        changed += sum(after[name][0] != role for name, (role, _) in before.items())
    assert changed < 0.05 * 10 * len(before)

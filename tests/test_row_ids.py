"""Tables without ids: rows are named after what they hold, so that their order changes nothing."""

# pyright: reportArgumentType=false

import json

import numpy as np
import pandas as pd
import pytest
from golden_runs import TINY, kept, write_small

import semi
from semi.cli import main
from semi.data.manifest import load_manifest
from semi.experiments.benchmark.config import DatasetConfig
from semi.experiments.benchmark.corpus import load_corpus

WORDS = [*TINY[:-1], "encoders.speech.model=none", "encoders.text.model=char-ngram",
         "data.labeled_fraction=0.5", "rounds.max_rounds=2", "rounds.accept_se=9",
         "select.rule=threshold", "select.threshold=0.3"]  # fmt: skip


@pytest.fixture(scope="module")
def spoken(tmp_path_factory):
    """Returns a folder with texts of real recordings, without ids and sounds, in two orders."""
    folder = tmp_path_factory.mktemp("texts")
    write_small(folder)
    table = pd.read_csv(folder / "manifest.csv", dtype=str)
    table["label"] = table["label"].str.split(";").str[0]
    table["text"] += " " + table["id"].str[-2:]
    table = table[["text", "label", "speaker"]]
    table = pd.concat([table, table.head(3), table.head(2)])
    table.to_csv(folder / "straight.csv", index=False)
    table.sample(frac=1, random_state=2).to_csv(folder / "shuffled.csv", index=False)
    return folder


def trained(folder, order):
    where = [f"name={order}", f"runs_dir={folder / 'runs'}", f"features.store={folder / 'store'}",
             f"data.manifest={folder / f'{order}.csv'}", "data.allow_leaks=[text]"]  # fmt: skip
    return semi.self_train(semi.load_config(None, [*where, *WORDS]), progress=False)


@pytest.fixture(scope="module")
def runs(spoken):
    return [trained(spoken, order) for order in ("straight", "shuffled")]


def test_texts_in_another_order_give_the_same_run(runs):
    first, other = runs
    assert kept(first)["rows"]  # a ledger that could differ
    assert kept(other) == kept(first)
    assert (other.path / "splits.csv").read_bytes() == (first.path / "splits.csv").read_bytes()
    assert other.sentence == first.sentence and other.metrics == first.metrics


def test_answers_say_the_row_where_the_table_has_no_ids(runs, spoken, tmp_path, capsys):
    table = pd.DataFrame({"text": ["Das will sie am Mittwoch abgeben", "Ja", "Ja"]})
    table.to_csv(tmp_path / "new.csv", index=False)
    out = tmp_path / "answers.csv"
    run = str(runs[0].path)
    assert main(["predict", run, "--manifest", str(tmp_path / "new.csv"), "-o", str(out)]) == 0
    said = capsys.readouterr().err
    assert "no column id: 3 rows without a sound named after what they hold, such as Das-" in said
    answers = pd.read_csv(out)
    assert answers["row"].tolist() == [2, 3, 4]
    assert answers["id"].str.startswith("Das-will-sie-am-Mittwoch")[0] and answers["id"].is_unique
    assert main(["predict", run, "--manifest", str(tmp_path / "new.csv")]) == 0
    assert capsys.readouterr().out.startswith("row 2 Das-will-sie-am-Mittwoch")
    table.assign(id=["a", "b", "c"]).to_csv(tmp_path / "new.csv", index=False)
    assert main(["predict", run, "--manifest", str(tmp_path / "new.csv"), "-o", str(out)]) == 0
    assert "row" not in pd.read_csv(out)


def ids_of(folder, frame, name="m.csv"):
    path = folder / name
    if name.endswith(".csv"):
        frame.to_csv(path, index=False)
    elif name.endswith(".jsonl"):
        frame.to_json(path, orient="records", lines=True)
    else:
        frame.to_parquet(path)
    table = load_manifest(path).table
    return table["id"].tolist()


@pytest.mark.parametrize("name", ["m.csv", "m.jsonl", "m.parquet"])
def test_an_id_goes_with_its_row(tmp_path, name):
    cells = [("Yes", "s1", "joy"), ("Yes", "s1", "joy"), ("Yes", "s1", "anger"), ("Yes", "s2", ""),
             ("넌 좋아?", "s1", "joy"), ("नमस्ते जी", "s2", "joy"), ("...", "s1", "anger"),
             ("=1+1", "s3", "joy")]  # fmt: skip
    frame = pd.DataFrame(cells, columns=["text", "speaker", "emotion"])
    straight = ids_of(tmp_path, frame, name)
    assert len(set(straight)) == len(cells)
    for seed in range(4):
        order = np.random.default_rng(seed).permutation(len(cells))
        found = ids_of(tmp_path, frame.iloc[order], name)
        pairs = sorted((i, *cells[k]) for i, k in zip(found, order, strict=True))
        assert pairs == sorted((i, *c) for i, c in zip(straight, cells, strict=True))
    assert straight[5].startswith("नमस्ते-जी-") and straight[6].startswith("row-")


def test_an_id_outlives_a_new_label_and_new_rows(tmp_path):
    frame = pd.DataFrame({"text": ["a b", "c d", "e f"], "label": ["x", "y", "x"]})
    before = ids_of(tmp_path, frame)
    assert ids_of(tmp_path, frame.assign(label=["y", "y", None])) == before
    assert ids_of(tmp_path, frame[["label", "text"]]) == before
    more = pd.DataFrame({"text": ["new"], "label": ["y"]})
    assert ids_of(tmp_path, pd.concat([more, frame]))[1:] == before


def test_rows_of_arrays_are_named_by_their_files(tmp_path):
    frame = pd.DataFrame({"features": ["f/u1.npy", "f/u2.npy"], "label": ["x", "y"]})
    assert ids_of(tmp_path, frame) == ["u1", "u2"]
    one = pd.DataFrame({"features": ["all.npz"] * 2, "text": ["a", "b"], "label": ["x", "y"]})
    assert [name[:2] for name in ids_of(tmp_path, one)] == ["a-", "b-"]


def test_arrays_of_a_benchmark_without_ids_are_named_by_their_numbers(tmp_path):
    rng = np.random.default_rng(0)
    arrays = {
        "x": rng.normal(size=(12, 3)).astype(np.float32),
        "label": np.array(list("abcabc" * 2)),
        "speaker": np.array(list("ssssssuuuuuu")),
    }
    arrays["x"][7] = arrays["x"][2]  # told apart by label and speaker alone
    order = rng.permutation(12)
    np.savez(tmp_path / "a.npz", **arrays)
    np.savez(tmp_path / "b.npz", **{name: array[order] for name, array in arrays.items()})
    first, other = (load_corpus("c", DatasetConfig(features=str(tmp_path / f"{n}.npz"),
                                                   group="speaker")) for n in "ab")  # fmt: skip
    assert first.ids.tolist() == other.ids.tolist() and len(set(first.ids)) == 12
    assert first.label.tolist() == other.label.tolist()
    assert (first.features.values["x"] == other.features.values["x"]).all()


def test_label_studio_without_ids(tmp_path):
    joy = [{"result": [{"from_name": "emotion", "value": {"choices": ["joy"]}}]}]
    tasks = [{"data": {"text": f"so {i}"}, "annotations": joy} for i in range(3)]
    (tmp_path / "a.json").write_text(json.dumps(tasks))
    (tmp_path / "b.json").write_text(json.dumps(tasks[::-1]))
    first, other = (load_manifest(tmp_path / f"{n}.json").table for n in "ab")
    assert first["id"].tolist() == other["id"].tolist()[::-1]
    assert first["id"].tolist()[0].startswith("so-0-")

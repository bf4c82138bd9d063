"""No verb prints more than 200 letters of a cell, a name of a column or a path, however long."""

import re

import numpy as np
import pandas as pd
import pytest
from golden_runs import TINY, write_small

from semi.cli import main

LONG = 5_000
A, B, S, COLUMN, ID, TEXT = (" ".join(letter * LONG) for letter in "ABSKIT")  # cells of a table
PATH = "P" * LONG
WORDS = [*TINY[:-1], "encoders.speech.model=none", "encoders.text.model=char-ngram",
         "data.labeled_fraction=0.7", "rounds.max_rounds=1", "select.rule=threshold",
         "select.threshold=0.3", "data.allow_leaks=[text,speaker]", "data.group=none"]  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Returns a folder with a table of real sentences, a cell of each kind very long, and a run."""
    folder = tmp_path_factory.mktemp("long")
    write_small(folder)
    table = pd.read_csv(folder / "manifest.csv", dtype=str)[["id", "text", "label", "speaker"]]
    table["label"] = table["label"].str.split(";").str[0]
    table = table.replace({"label": {"anger": A, "sadness": B}})
    table.loc[::4, "speaker"] = S
    table.loc[::5, "id"] += ID
    table.loc[::6, "text"] += " " + TEXT
    table[COLUMN] = "C" * LONG
    table.to_csv(folder / "m.csv", index=False)
    assert main(["train", *settings(folder)]) == 0
    return folder


def settings(folder, *words):
    where = [f"runs_dir={folder / 'runs'}", f"features.store={folder / 'store'}",
             f"data.manifest={folder / 'm.csv'}", "name=a"]  # fmt: skip
    return [*where, *WORDS, *words]


def assert_short(capsys):
    said = "".join(capsys.readouterr())
    assert said
    assert re.search(r"(\w)( ?\1){200,}", said) is None


@pytest.mark.parametrize("words", [
    ["check"], ["extract"], ["train", "--resume"], ["evaluate"], ["evaluate", "--split", "oof"],
    ["predict", "--manifest", "m.csv"], ["predict", "--text", TEXT], ["report"],
    ["predict", "--manifest", "m.csv", "-o", "p.csv"], ["select", "rule=margin", "--dry-run"],
    ["compare", "--no-latency", "--by", "speaker"], ["submit", "-o", "s.csv"],
    ["export", "-o", "probs.csv"], ["distill", "name=d", "model.kind=concat"], ["verify"],
], ids=lambda words: " ".join(words)[:40])  # fmt: skip
def test_a_verb_that_goes_well(folder, words, capsys, monkeypatch):
    monkeypatch.chdir(folder)
    verb, *rest = words
    if verb == "distill":
        rest = [*settings(folder), *rest]
    run = [] if verb in ("check", "extract", "train") else ["runs/a"]
    rest += settings(folder) if not run else []
    assert main([verb, *run, *rest]) == 0
    assert_short(capsys)


@pytest.mark.parametrize("words", [
    ["check", f"data.test_groups=[{S}X]", "data.group=speaker"], ["check", f"data.classes=[{A}]"],
    ["check", f"data.columns={{label: {COLUMN}X}}"], ["check", f"data.manifest={PATH}.csv"],
    ["check", f"select.rule={PATH}"], ["check", f"encoders.text.model={PATH}"],
    ["check", f"data.label_map={{{A}: {B}}}", f"data.classes=[joy, {A}]"], [f"check{PATH}"],
    ["check", f"encoders.text.column={COLUMN}X", "encoders.text.model=precomputed"],
    ["check", f"{PATH}=1"], ["check", f"{PATH}.yaml"], ["predict", "runs/a", f"{PATH}.wav"],
    ["predict", "runs/a", "--manifest", f"{PATH}.csv"], ["evaluate", f"runs/{PATH}"],
    ["compare", "runs/a", "--by", f"{COLUMN}X", "--no-latency"], ["compare", f"runs/{PATH}"],
    ["select", "runs/a", f"rule={PATH}", "--dry-run"],
    ["select", "runs/a", f"{PATH}=1", "--dry-run"],
    ["submit", "runs/a", "--manifest", f"{PATH}.csv"],
    ["manifest", "emodb", PATH], ["manifest", PATH, "."], ["benchmark", f"datasets.{PATH}.x=1"],
    ["report", PATH], ["verify", PATH], ["ensemble", "runs/a", f"{PATH}.npz"],
    ["export", "runs/a", "-o", f"{PATH}.xyz"], ["search", f"{PATH}.yaml", f"{PATH}.yaml"],
    ["distill", f"runs/{PATH}"], ["folds", f"data.manifest={PATH}.csv"],
    ["finetune", f"data.manifest={PATH}.csv"], ["train", f"name={PATH}"],
    ["convert", f"{PATH}.pt", "out"], ["predict", "runs/a", "--arrays", f"{PATH}=x", "--text", "a"],
    ["train", f"data.outside=[{PATH}.npz]"], ["ablate", "--vary", f"{PATH}=1,2"],
], ids=lambda words: re.sub(r"(\w)( ?\1){99,}", r"\1..", " ".join(words)))  # fmt: skip
def test_a_verb_that_refuses(folder, words, capsys, monkeypatch):
    monkeypatch.chdir(folder)
    verb, *rest = words
    if verb in ("check", "train", "folds", "finetune", "ablate"):
        rest = [*settings(folder), *rest]
        if verb == "ablate":
            rest = [*rest[-2:], *rest[:-2]]
    try:
        status = main([verb, *rest])
    except SystemExit as ended:
        status = ended.code
    assert status == 2
    assert_short(capsys)


def test_cells_that_are_wrong(tmp_path, capsys):
    good = {"id": ["a", "b"], "text": ["x", "y"], "label": ["j", "k"]}
    for column, cells in {
        "audio": [f"{PATH}.wav", f"wav/{PATH}.wav"], "start": [S, S], "valence": [A, B],
        "split": [A, B], "votes": [f"{{{A}", f'{{"{A}": "{B}"}}'], "id": [ID, ID],
        "end": [S, S], "votes_x": [A, B],
    }.items():  # fmt: skip
        pd.DataFrame({**good, column: cells}).to_csv(tmp_path / "m.csv", index=False)
        assert main(["check", f"data.manifest={tmp_path / 'm.csv'}"]) == 2
        assert_short(capsys)
    for name in (f"{COLUMN},{S}", f"{COLUMN}.wav,{S}"):
        (tmp_path / "n.csv").write_text(f"{name}\n{A},{B}\n")
        assert main(["check", f"data.manifest={tmp_path / 'n.csv'}"]) == 2
        assert_short(capsys)
    for text in (f'[{{"{A}": 1}}, "{B}"]', f'{{"{A}": "{B}"}}', A, f'{{"{A}": {{"{B}": 1}}}}'):
        for suffix in (".json", ".jsonl"):
            path = tmp_path / f"j{suffix}"
            path.write_text(text)
            assert main(["check", f"data.manifest={path}"]) == 2
            assert_short(capsys)


def test_voters_of_other_names(folder, capsys, monkeypatch):
    monkeypatch.chdir(folder)
    probs = np.full((2, 2), 0.5)
    np.savez("v.npz", ids=np.array([ID, PATH]), classes=np.array([A, S]), probs=probs)
    assert main(["train", *settings(folder, "data.outside=[v.npz]", "name=v")]) == 2
    assert_short(capsys)
    np.savez("v.npz", ids=np.array([ID, PATH]), classes=np.array([A, B, "neutral"]),
             probs=np.full((2, 3), 3.0))  # fmt: skip
    assert main(["ensemble", "runs/a", "v.npz"]) == 2
    assert_short(capsys)

"""The commands of the README run in their order, as they are written, on real speech."""

import re
import shlex
import shutil
from pathlib import Path

import pandas as pd
import pytest

from semi.cli import main
from semi.data.corpora import bundled_emodb

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
COMMANDS = README.partition("\n## Commands\n")[2].partition("\nwith the same words")[0]
MINE = ["name=mine", "data.manifest=mine.csv"]


def command_lines():
    """Returns the words of each command line of the README, its dots filled in."""
    lines = [re.sub(r"\s+#.*", "", line).strip() for line in COMMANDS.splitlines()]
    for line in filter(None, lines):
        words = shlex.split(line.replace('"..."', '"was sagte sie"'))
        assert words[0] == "semi"
        named = {word.partition("=")[0] for word in words}
        filled = [w for w in MINE if w.partition("=")[0] not in named]
        yield [x for w in words[1:] for x in (filled if w == "..." else [w])]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder with what the README speaks of: a table of recordings, one more, and new ones."""
    monkeypatch.chdir(tmp_path)
    table = pd.read_csv(bundled_emodb(), dtype=str)
    table["audio"] = [str(bundled_emodb().parent / path) for path in table["audio"]]
    kept = table[table["label"].isin(["anger", "sadness", "neutral"])]
    mine = pd.DataFrame(kept.groupby(["speaker", "label"], sort=False).head(5))
    labels = mine["label"].where(mine.groupby("speaker").cumcount() % 2 == 0)
    mine.assign(label=labels).drop(columns=["sex", "split"]).to_csv("mine.csv", index=False)
    new = kept.drop(mine.index).head(8)
    new.drop(columns=["label", "split"]).to_csv("new.csv", index=False)
    shutil.copy(table["audio"].iloc[0], "a.wav")  # libsndfile goes by what a file holds
    return tmp_path


def test_the_commands_run_in_their_order(folder, capsys):
    done = []
    for words in command_lines():
        if words[0] == "review":  # waits for a person: tests/test_review_process.py
            table = pd.read_csv("mine.csv", dtype=str)
            row = table["id"].tolist()[table["label"].isna().tolist().index(True)]
            Path("runs/mine/reviews.csv").write_text(f"id,verdict,label\n{row},label,anger\n")
            continue
        assert main(words) == 0, f"semi {' '.join(words)}: {capsys.readouterr().err}"
        done.append(words[0])
    assert done == ["check", "extract", "train", "train", "evaluate", "predict", "predict",
                    "report", "train"]  # fmt: skip
    assert len(pd.read_csv("labelled.csv")) == 8
    assert Path("runs/mine/report.html").is_file() and Path("runs/next/result.json").is_file()
    assert "gold_reviews.csv" in {path.name for path in Path("runs/next").iterdir()}

"""From sound to people and back: a run, a table filled in by hand, a second run that learned it."""

import pandas as pd
from spoken_table import spoken_settings, write_spoken

import semi
from semi.cli import main
from semi.runs.verify import verify


def test_a_second_run_learns_what_people_said_of_the_first(tmp_path, store, capsys):
    write_spoken(tmp_path)
    first = semi.self_train(spoken_settings(tmp_path, store, "first"), progress=False).path
    assert main(["review", str(first), "--export", "csv", str(tmp_path / "fill.csv")]) == 0
    table = pd.read_csv(tmp_path / "fill.csv", keep_default_na=False)
    truth = pd.read_csv(tmp_path / "m.csv").set_index("id")["label"].to_dict()
    names = table["id"].tolist()
    out, labelled = names[:2], names[2:17]
    answers = dict.fromkeys(out, "bad audio") | {name: truth[name] for name in labelled}
    table["label"] = [answers.get(name, "") for name in names]
    table["reviewer"] = "ann"
    table.to_csv(tmp_path / "fill.csv", index=False, sep=";")
    assert main(["review", str(first), "--import", str(tmp_path / "fill.csv")]) == 0
    assert "17 reviews read of ann, 17 new, 0 there already, 0 refused" in capsys.readouterr().out
    assert not verify(first).problems
    ledger = pd.read_csv(first / "ledger.csv")
    learned = set(ledger[ledger["accepted"]]["id"])
    drawn = {i for i, pick in zip(names, table["pick"], strict=True) if pick == "random"}
    count = len(learned & drawn & set(labelled))
    assert count, "the first round ships, and something random was learned and reviewed"
    assert main(["evaluate", str(first)]) == 0
    assert f"\n{count} of the 50 reviews of random rows from which" in capsys.readouterr().out

    word = f"data.reviews={first}/reviews.csv"
    second = semi.self_train(spoken_settings(tmp_path, store, "second", word), progress=False).path
    before, after = (
        pd.read_csv(path / "splits.csv").set_index("id")["role"].to_dict()
        for path in (first, second)
    )
    moved = {name: (before[name], role) for name, role in after.items() if before[name] != role}
    assert moved == dict.fromkeys(out, ("pool", "unused")) | dict.fromkeys(
        labelled, ("pool", "labeled")
    )
    ledger = pd.read_csv(second / "ledger.csv")
    assert not set(ledger["id"]) & {*out, *labelled}
    assert set(pd.read_csv(second / "quarantine.csv")["id"]) == set(out)
    gold = pd.read_csv(second / "gold.csv", keep_default_na=False)
    said = gold.query("source == 'review' and use == 'gold'")
    assert set(said["id"]) == set(labelled) and set(said["reviewer"]) == {"ann"}
    machine = dict(zip(names, table["machine_label"], strict=True))
    assert said["machine_label"].tolist() == [machine[name] for name in said["id"]]
    assert set(said["run"]) == {"first"} and all(said["time"])
    assert not verify(second).problems
    assert semi.evaluate(second).metrics["rows"] == semi.evaluate(first).metrics["rows"]

"""From a table to votes to rounds: `semi vote`, then `semi train data.outside=...`."""

import numpy as np
import pandas as pd
import pytest
from chat_server import by_letters, chat_server
from two_runs import settings, write_manifest

import semi
from semi.cli import main
from semi.errors import ConfigError, RunError
from semi.evaluation.text import run_words
from semi.outside.settings import VoteSettings
from semi.outside.vote import vote
from semi.runs.preview import dry_run
from semi.runs.verify import verify

WORDS = ["select.rule=external", "rounds.accept_se=9", "model.kind=discriminant"]


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A folder with m.csv, the votes on it, and a run that asked them."""
    folder = tmp_path_factory.mktemp("outside")
    write_manifest(folder)
    with chat_server(by_letters) as server:
        options = VoteSettings(server.address, "tiny", cache=str(folder / "cache.sqlite"))
        vote(folder / "m.csv", options, folder / "votes.parquet", progress=False)
    config = settings(folder, "asked", *WORDS, f"data.outside=[{folder}/votes.parquet]")
    semi.self_train(config, progress=False)
    return folder


def test_the_ledger_shows_the_voter_and_takes_only_what_it_confirms(home):
    ledger = pd.read_csv(home / "runs" / "asked" / "ledger.csv")
    taken = ledger[ledger["chosen"]]
    assert len(taken) and (taken["vote_outside_1"] == taken["label"]).all()
    assert set(ledger.loc[ledger["vote_outside_1"] != ledger["label"], "reason"]) == {
        "disagreement"
    }
    assert ledger["precision_outside_1"].between(0, 1).all()
    votes = pd.read_parquet(home / "votes.parquet").set_index("id")
    raw = votes.loc[ledger["id"], [f"p_{c}" for c in ("anger", "calm", "joy")]].max(axis=1)
    assert not np.allclose(ledger["confidence_outside_1"], raw, atol=1e-3)  # calibrated


def test_console_report_and_round_say_what_the_voter_is_worth(home):
    run = home / "runs" / "asked"
    words = run_words(run)
    assert "Outside voter " in words and "votes.parquet: 3" in words and "% right [" in words
    assert "by the label that it names: anger " in words
    report = (run / "report.html").read_text()
    assert "by the label that it names: anger " in report
    assert "of gold out-of-fold the model is right in" in report
    assert verify(run).problems == []


def test_a_dry_run_counts_gold_that_the_voter_confirms(home):
    run = home / "runs" / "asked"
    rules = ("class_topk", "external")
    alone, both = (dry_run(run, [f"rule={rule}", "coverage=[1.0]"]) for rule in rules)
    rows = [sum(c.gold_rows for c in one.preview.classes) for one in (alone, both)]
    assert 0 < rows[1] < rows[0]
    assert "model and outside voters agree on" in str(both)


def test_a_run_does_not_go_on_with_other_votes(home):
    votes = pd.read_parquet(home / "votes.parquet")
    path = home / "changed.parquet"
    votes.to_parquet(path)
    given = [*WORDS, f"data.outside=[{path}]"]
    semi.self_train(settings(home, "changed", *given), progress=False)
    votes.loc[0, ["p_anger", "p_calm", "p_joy"]] = [0.2, 0.3, 0.5]
    votes.to_parquet(path)
    with pytest.raises(RunError, match=r"the encoders or the outside votes changed since"):
        semi.self_train(settings(home, "changed", *given), resume=True, progress=False)


def test_votes_of_rows_that_are_not_there_are_told(home, capsys):
    votes = pd.read_parquet(home / "votes.parquet")
    votes.loc[3, "id"] = "u3 "  # blanks at the ends are nothing
    votes.loc[[4, 5], "id"] = ["U4", "other"]
    votes.to_csv(home / "odd.csv", index=False)
    config = settings(home, "odd", *WORDS, f"data.outside=[{home}/odd.csv]")
    semi.self_train(config)
    told = capsys.readouterr().err
    assert "odd.csv: 2 votes are of no row of the manifest, such as 'U4'" in told
    assert "outside voter " in told and "% right [" in told


def test_agreement_over_outside_voters_needs_some(home):
    over = ["select.agreement.over=[external]"]
    with pytest.raises(ConfigError, match=r"select\.agreement\.over: .* asks outside"):
        settings(home, "none", "select.agreement.mode=soft", *over)
    with pytest.raises(ConfigError, match=r"data\.outside names no file of them"):
        settings(home, "none", "select.rule=agreement", *over)
    settings(home, "none", *over)  # nobody agrees on anything


def test_the_whole_way_by_the_commands(tmp_path, capsys):
    write_manifest(tmp_path)
    with chat_server(by_letters) as server:
        words = ["vote", f"{tmp_path}/m.csv", "--endpoint", server.address, "--model", "tiny"]
        words += ["-o", f"{tmp_path}/v.parquet", "--cache", f"{tmp_path}/c.sqlite"]
        assert main([*words, "--parallel", "2", "data.label_map={calm: quiet}"]) == 0
    summary = capsys.readouterr().out
    assert " votes in 90 rows" in summary and "quiet" in summary
    train = ["train", f"data.manifest={tmp_path}/m.csv", "encoders.speech.model=none"]
    train += [f"runs_dir={tmp_path}/runs", f"features.store={tmp_path}/store", "tracking=false"]
    train += [f"data.outside={tmp_path}/v.parquet", "select.rule=external", "threads=1"]
    train += ["data.labeled_count=30", "rounds.max_rounds=1"]
    assert main(train) == 2
    told = capsys.readouterr().err
    assert "v.parquet has the classes anger, joy, quiet, the manifest has anger, calm, joy" in told
    assert main([*train, "data.label_map={calm: quiet}"]) == 0
    told = capsys.readouterr()
    assert "outside voter " in told.err and "Outside voter " in told.out
    ledger = pd.read_csv(tmp_path / "runs" / "run" / "ledger.csv")
    taken = ledger[ledger["chosen"]]
    assert len(taken) and (taken["vote_outside_1"] == taken["label"]).all()

"""The report's tables of utterances: the right rows, heard where there is sound, never fragile."""

import re
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from test_report import CLASSES, record

import semi
from semi.cli import main
from semi.data.audio_clip import CLIP_SECONDS, clip_uri
from semi.data.corpora import bundled_emodb
from semi.data.manifest import load_manifest
from semi.errors import AudioError, RunError
from semi.evaluation.html_report import render, render_fragment
from semi.evaluation.report_figures import equal_bins, merged_bins
from semi.evaluation.report_rows import mistakes, read_answers, suspects
from semi.evaluation.report_sounds import MOST_CLIPS, Utterances
from semi.files import write_json, write_text

PLAYER = r'<audio controls preload="none" aria-label="([^"]*)" src="data:audio/mpeg;base64,([^"]*)"'


@pytest.fixture(scope="module")
def table():
    """Returns the manifest of the bundled recordings."""
    return load_manifest(bundled_emodb()).table


@pytest.fixture
def run(tmp_path, table):
    """Returns a finished run's folder over real recordings: half gold, half learned from."""
    folder = tmp_path / "heard"
    write_text(folder / "config.yaml", "name: heard\n")
    write_json(folder / "round-00/round.json", record(0, 0.6))
    write_json(folder / "round-01/round.json", record(1, 0.65))
    write_json(folder / "result.json", {"best_round": 1, "gold_rows": 60, "pool_rows": 100})
    ids = table["id"].tolist()
    gold = pd.DataFrame({"id": ids[:160], "role": ["labeled"] * 60 + ["test"] * 100})
    gold["label"] = [CLASSES[k % 3] for k in range(160)]
    gold["said"] = [CLASSES[(k % 3 + (k % 5 == 0)) % 3] for k in range(160)]
    gold["confidence"] = np.linspace(0.3, 0.99, 160).round(6)
    gold.to_csv(folder / "answers.csv", index=False)
    ledger = pd.DataFrame({"id": ids[200:300], "round": 1, "chosen": [k < 80 for k in range(100)]})
    ledger["label"], ledger["confidence"] = table["label"][200:300].to_numpy(), 0.9
    ledger["flips"] = [3 if k == 50 else 0 for k in range(100)]
    ledger.loc[7, "confidence"] = 0.2
    ledger.to_parquet(folder / "ledger.parquet")
    return folder


def test_what_the_model_gets_wrong_comes_surest_first(run, table):
    found = mistakes(read_answers(run), "test", CLASSES, Utterances(table))
    wrong = [row for row in found.rows if row.cells[1].mark == "wrong"]
    assert len(wrong) == 20 and not found.more
    sure = [row.cells[2].value for row in wrong]
    assert sure == sorted(sure, reverse=True)
    right = [row for row in found.rows if row.cells[1].mark == "right"]
    assert sorted(row.cells[0].text for row in right) == sorted(CLASSES)


def test_every_cell_of_the_matrix_that_has_rows_can_be_heard(run, table):
    found = mistakes(read_answers(run), "test", CLASSES, Utterances(table))
    assert {row.place for row in found.rows} == {row.place for row in found.rows if row.clip}
    page = render(run, table)
    for place in {row.place for row in found.rows}:
        assert page.count(f'href="#at-{place}"') == page.count(f' id="at-{place}"') == 1


def test_gold_that_the_models_contradict_is_suspected_surest_first(run, table):
    found = suspects(run, read_answers(run), Utterances(table))
    own = {row["id"]: row for row in read_answers(run) if row["role"] == "labeled"}
    assert [row.id for row in found.rows] == [
        i for i in reversed(own) if own[i]["label"] != own[i]["said"]
    ]
    order = [found.rows[5].id, found.rows[2].id, "not-a-row"]
    pd.DataFrame({"id": order}).to_csv(run / "suspects.csv", index=False)
    listed = suspects(run, read_answers(run), Utterances(table))
    assert [row.id for row in listed.rows] == order[:2]


def test_the_least_sure_and_the_most_changed_picks_are_listed_without_hidden_labels(run, table):
    ledger = pd.read_parquet(run / "ledger.parquet")
    ledger.assign(label="wonder").to_parquet(run / "ledger.parquet")
    page = render(run, table)
    rows = re.findall(r"<tr>.*?</tr>", page[page.index('id="picks-table"') :], flags=re.S)
    ids = table["id"].tolist()
    assert f">{ids[207]}<" in rows[1] and ">20</td>" in rows[1]
    assert "hidden gold" not in page and all("wonder" in row for row in rows[1:])
    assert not any(name in row for row in rows for name in set(table["label"]))
    assert any(f">{ids[250]}<" in row and ">3</td>" in row for row in rows)


def test_clips_are_real_sound_and_few_and_the_page_is_small(run, table):
    page = render(run, table)
    clips = re.findall(PLAYER, page)
    assert 40 < len(clips) <= MOST_CLIPS and len({name for name, _ in clips}) == len(clips)
    assert len(page.encode()) < 5_000_000
    assert render(run, table) == page


def test_a_page_with_long_sounds_stays_below_five_megabytes(run, table, tmp_path):
    import soundfile

    noise = np.random.default_rng(0).normal(0, 0.3, 16_000 * 20)
    soundfile.write(tmp_path / "long.wav", noise, 16_000)
    long = table.assign(audio=str(tmp_path / "long.wav"), start=float("nan"), end=float("nan"))
    assert len(render(run, long).encode()) < 5_000_000


def test_a_clip_is_the_part_of_the_file_that_the_row_names(tmp_path):
    import base64
    import io

    import soundfile

    wave = np.sin(np.arange(16_000 * 30) * 0.2) * 0.5
    wave[: 16_000 * 10] = 0
    soundfile.write(tmp_path / "a.wav", wave, 16_000)

    def heard(**span):
        uri = clip_uri(tmp_path / "a.wav", **span)
        return soundfile.read(io.BytesIO(base64.b64decode(uri.partition(",")[2])))[0]

    assert abs(len(heard(start=12.0, end=14.0)) / 16_000 - 2) < 0.1
    assert abs(len(heard(start=12.0)) / 16_000 - CLIP_SECONDS) < 0.1
    assert np.abs(heard(start=9.0, end=11.0))[: 16_000 // 2].max() < 0.1
    with pytest.raises(AudioError, match="silent"):
        heard()
    with pytest.raises(AudioError, match="no such file"):
        clip_uri(tmp_path / "b.wav")


def test_a_row_whose_sound_is_gone_stands_without_a_player(run, table):
    gone = table.assign(audio=[f"/nowhere/{name}.wav" for name in table["id"]])
    page = render(run, gone)
    assert "<audio" not in page and 'id="mistakes-table"' in page
    assert re.search(r"\d+ sounds could not be read: those rows stand without a player", page)


def test_texts_stand_in_place_of_players(run, table):
    page = render(run, table.assign(audio=None))
    assert "<audio" not in page and "Der Lappen liegt auf dem Eisschrank." in page
    assert ">play<" not in page and "could not be read" not in page


def test_without_the_table_of_utterances_the_rows_stand_alone(run):
    page = render(run)
    assert 'id="mistakes-table"' in page and ">text</th>" not in page
    assert "The table of utterances was not at hand" in page


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda t: t.drop(columns="confidence"), "lacks the column confidence"),
        (lambda t: t.drop(columns=["label", "said"]), "lacks the column valence"),
        (lambda t: t.drop(columns="role"), "lacks the column role"),
    ],
)
def test_damaged_answers_are_a_sentence(run, change, words):
    answers = pd.read_csv(run / "answers.csv")
    change(answers).to_csv(run / "answers.csv", index=False)
    with pytest.raises(RunError, match=words):
        render(run)


def test_what_a_label_holds_cannot_break_out_of_a_cell(run, table):
    assert '"><img' not in render(run, table.assign(text='"><img src=x>', speaker="<i>"))


def test_bins_of_calibration_have_enough_rows():
    bins = equal_bins([(k / 100, k % 2 == 0) for k in range(41)])
    assert [rows for *_, rows in bins] == [20, 21]
    assert len(equal_bins([(0.5, True)] * 1000)) == 6 and len(equal_bins([(0.5, True)] * 3)) == 1
    ten = [{"confidence": 0.1 * k, "accuracy": 1.0, "rows": 4} for k in range(1, 11)]
    merged = merged_bins(ten)
    assert [rows for *_, rows in merged] == [16, 24]
    assert merged[0][0] == pytest.approx(0.25) and merged_bins([]) == []


def test_a_finished_run_keeps_what_it_says_of_gold_and_shows_it(runs, tmp_path):
    run = tmp_path / "a"
    shutil.copytree(runs[0], run)
    answers = pd.read_csv(run / "answers.csv")
    shares = answers[[c for c in answers if c.startswith("p_")]]
    assert np.allclose(shares.sum(axis=1), 1, atol=1e-4)
    assert np.allclose(shares.max(axis=1), answers["confidence"])
    for role, split in (("test", "test"), ("labeled", "oof")):
        own = answers[answers["role"] == role]
        scores = semi.evaluate(run, split).metrics
        assert scores["rows"] == len(own)
        assert scores["accuracy"] == pytest.approx((own["label"] == own["said"]).mean())
    page = (run / "report.html").read_text(encoding="utf-8")
    assert 'id="mistakes-table"' in page and "<audio" not in page
    texts = pd.read_csv(Path(runs[0]).parents[1] / "m.csv", index_col="id")["text"]
    wrong = answers[(answers["role"] == "test") & (answers["label"] != answers["said"])]
    assert len(wrong) and all(texts[name] in page for name in wrong["id"])


def test_a_fragment_for_a_notebook_holds_no_script_and_few_players(run, table):
    part = render_fragment(run, table)
    assert "<script" not in part and "<html" not in part
    assert 0 < len(re.findall(PLAYER, part)) <= 6


def test_a_report_made_again_is_the_same_and_says_what_it_lacks(runs, tmp_path, capsys):
    run, page = tmp_path / "runs/a", tmp_path / "runs/a/report.html"
    shutil.copytree(runs[0], run)
    before = page.read_bytes()
    assert main(["report", str(run)]) == 0
    assert page.read_bytes() == before and capsys.readouterr().err == ""
    other = tmp_path / "m.csv"
    other.write_text("id,text,label\nu0,hurra,joy\n")
    for place, words in ((other, "has changed since"), (tmp_path / "no.csv", "is not there")):
        assert main(["report", str(run), f"data.manifest={place}"]) == 0
        assert f"{words}" in (told := capsys.readouterr().err) and "no sounds and no texts" in told
        assert "was not at hand" in page.read_text(encoding="utf-8")

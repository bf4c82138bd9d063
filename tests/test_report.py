"""The report is one self-contained page, made from a run's files, true to them, never fragile."""

import base64
import hashlib
import re
import shutil
import xml.etree.ElementTree as ElementTree

import pytest

from semi.errors import RunError
from semi.evaluation.html_report import render, write_report
from semi.evaluation.run_json import round_records
from semi.evaluation.text import rounds_table, run_words
from semi.files import read_json, write_json, write_text

CLASSES = ["anger", "joy <b>", "슬픔"]


def metrics(score, rows=40):
    interval = {"value": score, "low": score - 0.1, "high": score + 0.1, "se": 0.05,
                "unit": "groups", "units": 4, "note": ""}  # fmt: skip
    names = ("accuracy", "waf", "macro_f1", "uar")
    return dict.fromkeys(names, score) | {
        "rows": rows, "ece": 0.07, "aurc": 0.2, "classes": CLASSES,
        "precision": [0.5, 0.6, 0.7], "recall": [0.4, 0.5, None], "f1": [0.45, 0.55, 0.0],
        "support": [20, 15, 5], "confusion": [[12, 8, 0], [3, 12, 0], [0, 0, 5]],
        "intervals": dict.fromkeys(names, interval),
    }  # fmt: skip


def record(number, score, accepted=True):
    learned = number > 0
    return {
        "round": number, "rule": "class_topk" if learned else None, "coverage_asked": 0.3 * number,
        "added": 120 * number, "gold_rows": 41, "accepted": accepted,
        "verdict": "accepted: out-of-fold macro_f1 0.610 >= 0.580",
        "gate": {"metric": "macro_f1", "value": score, "se": 0.02},
        "metrics_oof": metrics(score), "metrics_dev": None, "metrics_test": metrics(score + 0.02),
        "reliability": [{"confidence": 0.4, "accuracy": 0.5, "rows": 20},
                        {"confidence": 0.9, "accuracy": 0.8, "rows": 20}],
        "risk_coverage": [{"coverage": 0.1, "risk": 0.0}, {"coverage": 1.0, "risk": 0.4}],
        "class_mix": dict(zip(CLASSES, [60, 50, 10], strict=True)) if learned else None,
        "pseudo": {"precision": 0.81, "coverage": 0.3, "by_class": {"anger": {"precision": 0.9}},
                   "curve": [{"coverage": 0.1, "precision": 1.0}]} if learned else None,
        "notes": [],
    }  # fmt: skip


@pytest.fixture
def run(tmp_path):
    folder = tmp_path / "demo"
    write_text(folder / "config.yaml", "name: demo\n")
    write_json(folder / "round-00/round.json", record(0, 0.6))
    write_json(folder / "round-01/round.json", record(1, 0.65))
    write_json(folder / "round-02/round.json", record(2, 0.4, accepted=False))
    write_json(
        folder / "result.json",
        {"rounds": 3, "stopped": "gate", "best_round": 1, "notes": ["test: speakers 08, 16"],
         "sentence": "Round 1 ships: macro-F1 65.0 against 60.0 of the warm start.",
         "leaks": {"text": {"count": 9, "of": 40}}},
    )  # fmt: skip
    write_text(folder / "quarantine.csv", "id,path,reason\nu7,a/<u7>.wav,silent\n")
    write_text(folder / "splits.csv", "id,role\nu1,labeled\nu2,pool\nu3,pool\n")
    return folder


def test_the_page_needs_nothing_from_outside(run):
    page = write_report(run).read_text(encoding="utf-8")
    for forbidden in ("<script ", "@import", "url(http"):
        assert forbidden not in page
    assert not re.findall(r'src="(?!data:)', page)
    assert not re.findall(r'href="(?!#)', page.replace("xlink:href", "href"))


def test_the_one_script_of_the_page_is_the_one_that_the_page_allows(run):
    """It sorts and plays; nothing else may run, whatever a label or a text holds."""
    page = render(run)
    (script,) = re.findall(r"<script>(.*?)</script>", page, flags=re.S)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    (policy,) = re.findall(r'Content-Security-Policy" content="([^"]*)"', page)
    rules = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))
    assert rules["script-src"] == f"'sha256-{digest}'" and rules["default-src"] == "'none'"


def test_the_page_says_what_the_files_say(run):
    page = render(run)
    for told in (
        "Round 1 ships: macro-F1 65.0 against 60.0 of the warm start.",
        "67.0 [57.0, 77.0]", "change +5.0", "rolled back", "accepted: out-of-fold macro_f1 0.610",
        "81.0 % right", "text: 9 of 40 rows", "silent", "1 labeled, 2 pool",
        "test: speakers 08, 16", "Round 1 on gold held-out test rows", "슬픔",
    ):  # fmt: skip
        assert told in page, told


def test_the_table_of_rounds_has_the_scores_of_the_task(run):
    assert '<th scope="col" class="n">UAR<' in render(run)
    for folder in run.glob("round-*"):
        value = {k: v for k, v in record(int(folder.name[-1]), 0.6).items() if "metrics" not in k}
        write_json(folder / "round.json", value | {"metrics_test": {"ccc": 0.4, "rows": 40}})
    page = render(run)
    assert ">CCC</th>" in page and ">UAR<" not in page


def test_words_of_the_data_cannot_break_the_page(run):
    page = render(run)
    assert "joy <b>" not in page and "joy &lt;b&gt;" in page
    assert "<u7>" not in page and "&lt;u7&gt;" in page


def test_the_pictures_are_well_formed_svg(run):
    pictures = re.findall(r"<svg.*?</svg>", render(run), flags=re.S)
    assert len(pictures) == 4 + len(CLASSES)  # and a small one of each class
    for picture in pictures:
        ElementTree.fromstring(picture)


def test_the_page_is_the_same_when_made_again(run):
    assert render(run) == render(run)


@pytest.mark.parametrize("last", [None, {"round": 0}, {"round": 0, "metrics_oof": {}}])
def test_a_run_that_has_only_begun_has_a_page(tmp_path, last):
    write_text(tmp_path / "config.yaml", "name: x\n")
    if last is not None:
        write_json(tmp_path / "round-00/round.json", last)
    page = render(tmp_path)
    assert "This run is not finished." in page and "not recorded" in page


def test_a_folder_that_is_no_run_has_no_page(tmp_path):
    with pytest.raises(RunError, match=r"is not a run \(it has no config.yaml\)"):
        write_report(tmp_path)


def test_the_table_of_rounds(run):
    assert rounds_table(round_records(run)).splitlines() == [
        "Scores in % on 40 gold held-out test rows, 95 % intervals over 4 groups:",
        "",
        "round  verdict      added                WAF           macro-F1                UAR",
        "-----  -----------  -----  -----------------  -----------------  -----------------",
        "0      warm start       -  62.0 [52.0, 72.0]  62.0 [52.0, 72.0]  62.0 [52.0, 72.0]",
        "1      accepted       120  67.0 [57.0, 77.0]  67.0 [57.0, 77.0]  67.0 [57.0, 77.0]",
        "2      rolled back    240  42.0 [32.0, 52.0]  42.0 [32.0, 52.0]  42.0 [32.0, 52.0]",
    ]


def test_a_finished_run_tells_what_to_type_next(run):
    (run / "tb").mkdir()
    told = run_words(run)
    assert "Round 1 ships" in told
    assert f"tensorboard --logdir {run}/tb" in told
    assert f'semi predict {run} some.wav --text "what was said"' in told


@pytest.mark.parametrize(
    ("speech", "text", "extra", "words"),
    [
        ("acoustic", "none", "{}", "some.wav"),
        ("none", "char-ngram", "{}", '--text "what was said"'),
        ("acoustic", "none", "{pulse: {column: p}}", "--manifest new.csv -o labelled.csv"),
        ("precomputed", "none", "{}", "--manifest new.csv -o labelled.csv"),
    ],
)
def test_the_example_of_predict_names_only_what_the_model_reads(run, speech, text, extra, words):
    encoders = f"{{speech: {{model: {speech}}}, text: {{model: {text}}}, extra: {extra}}}"
    write_text(run / "config.yaml", f"encoders: {encoders}\n")
    assert run_words(run).endswith(f"\n  semi predict {run} {words}")


def test_a_finished_run_tells_what_it_could_not_use(run):
    result = read_json(run / "result.json")
    notes = ["warning: no speaker", "3 of 9 rows lack usable text", "test: by seed 0"]
    write_json(run / "result.json", {**result, "quarantined": 2, "notes": notes})
    told = run_words(run)
    assert f"2 inputs are not used; {run}/quarantine.csv says which and why." in told
    assert "Caution: no speaker.\nCaution: 3 of 9 rows lack usable text.\n" in told
    assert "by seed 0" not in told


def test_the_page_says_what_every_interval_is_over(run):
    page = render(run)
    assert "Scores in % on gold held-out test rows, 95 % intervals over 4 groups." in page
    # the headline, its cards, the table of rounds, its figure, and the scores of each part of gold
    assert (
        "95 % interval <b>57.0 to 77.0</b> over <b>4 groups</b>, on 40 gold held-out test rows."
        in page
    )
    assert page.count("over 4 groups; warm start 62.0, change +5.0") == 2
    assert page.count("<small>[95 %, 4 groups]</small>") == 3
    assert page.count("<span>40 rows, 95 % over 4 groups</span>") == 2
    assert "in %, 95 % intervals over 4 groups shaded" in page
    assert page.count("in %, 95 % intervals over 4 groups") >= 2


@pytest.mark.parametrize("name", ["config.yaml", "splits.csv", "quarantine.csv"])
def test_a_report_of_a_run_with_a_file_that_is_no_text_is_a_sentence(runs, tmp_path, name):
    shutil.copytree(runs[0], tmp_path / "run")
    with (tmp_path / "run" / name).open("ab") as file:
        file.write(b"\xf3\n")
    with pytest.raises(RunError, match=rf"{name}.*bring it back from a copy of the run"):
        write_report(tmp_path / "run")

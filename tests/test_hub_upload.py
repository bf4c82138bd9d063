"""Models put on the Hugging Face hub: what is uploaded, what is kept back, what is refused."""

import json
import re
import shutil
from pathlib import Path

import huggingface_hub
import pandas as pd
import pytest
import torch
import yaml
from hub_server import TOKEN, hub_server, own_places
from huggingface_hub import constants
from safetensors.torch import load_file

import semi
from semi.cli import main
from semi.data.corpora import bundled_emodb
from semi.runs.card_metadata import CardWords
from semi.runs.hub_upload import CONTENTS, card_of, push

SOUNDS = [str(bundled_emodb().parent / name)
          for name in pd.read_csv(bundled_emodb())["audio"][:3]]  # fmt: skip


@pytest.fixture(autouse=True)
def places(tmp_path, monkeypatch):
    own_places(monkeypatch, tmp_path, TOKEN)


@pytest.fixture
def hub(monkeypatch):
    with hub_server() as server:
        monkeypatch.setenv("HF_ENDPOINT", server.address)
        yield server


def held(hub, name="lab/emo"):
    """Returns the files of a repository's main branch."""
    repo = hub.repos[name]
    return repo.commits[repo.refs["main"]]


def refusal(run, name="lab/emo", **how):
    with pytest.raises(semi.SemiError) as caught:
        push(run, name, **how)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_there_and_back_is_the_same_model(hub, heard):
    pushed = push(heard, "lab/emo")
    assert set(held(hub)) == {".gitattributes", *CONTENTS}
    texts = ["was er sagt", "sie geht", "heute abend"]
    own, back = semi.load(heard), semi.load("lab/emo")
    expected = own.predict(SOUNDS, texts=texts)
    pd.testing.assert_frame_equal(back.predict(SOUNDS, texts=texts), expected)
    said = str(pushed)
    assert (
        f"lab/emo: private, {hub.address}/lab/emo, commit {hub.repos['lab/emo'].refs['main'][:8]}"
        in said
    )
    for name in CONTENTS:
        assert f"\n{name} " in said
    assert "not among them: the table, sounds, texts, ids of utterances and speakers" in said
    assert hub.repos["lab/emo"].private


def test_nothing_of_people_or_of_the_machine_is_uploaded(hub, heard):
    push(heard, "lab/emo")
    own = json.loads((Path(heard) / "model/model.json").read_text())
    assert own["standardizer"]["mode"] == "speaker" and own["standardizer"]["speakers"]
    table = pd.read_csv(Path(heard).parents[1] / "m.csv", dtype=str)
    files = held(hub)
    words = "\n".join(files[n].decode() for n in ("README.md", "config.yaml", "model.json"))
    secret = [*table["id"], *table["text"], *table["audio"], str(Path(heard).parents[1]), "m.csv"]
    assert [word for word in secret if word in words] == []
    assert json.loads(files["model.json"])["standardizer"]["speakers"] == []
    settings = yaml.safe_load(files["config.yaml"])
    assert settings["data"]["manifest"] == "unpublished.csv"
    assert settings["features"]["store"] == "feature_store" and settings["runs_dir"] == "runs"
    assert not re.search(r"(?m)[ '\"]/\w", words.partition("# heard")[0])


def test_no_speaker_stays_within_the_tensors(hub, heard, tmp_path):
    push(heard, "lab/emo")
    (tmp_path / "x.safetensors").write_bytes(held(hub)["model.safetensors"])
    theirs = load_file(tmp_path / "x.safetensors")
    own = load_file(Path(heard) / "model/model.safetensors")
    by_speaker = [name for name in own if "speaker" in name]
    assert by_speaker and all(len(theirs[n]) == 0 < len(own[n]) for n in by_speaker)
    others = own.keys() - set(by_speaker)
    assert others and all(torch.equal(theirs[n], own[n]) for n in others)


def test_speakers_held_out_by_name_are_not_named(runs, tmp_path):
    from semi.runs.published_model import published_settings

    config = semi.load(runs[0]).model.config
    config.data.test_groups, config.data.reviews = ["anna", "ben"], ["/home/anna/reviews.csv"]
    config.data.outside, config.encoders.speech.model = ["/home/x/votes.npz"], "/home/x/hubert-ours"
    told = str(published_settings(config))
    assert "anna" not in told and "/home" not in told
    assert "votes.npz" in told and "hubert-ours" in told


def test_a_dry_run_writes_the_folder_and_asks_nobody(hub, runs, tmp_path, capsys):
    assert main(["push", runs[0], "lab/emo", "--dry-run", str(tmp_path / "out")]) == 0
    out = capsys.readouterr().out
    assert f"lab/emo: nothing was uploaded; {tmp_path}/out holds what would be" in out
    assert {p.name for p in (tmp_path / "out").iterdir()} == set(CONTENTS)
    assert hub.asked == []
    assert semi.load(tmp_path / "out").classes == semi.load(runs[0]).classes
    assert "is already written" in refusal(runs[0], dry_run=tmp_path / "out")


def test_a_second_upload_is_one_more_commit_and_changes_no_visibility(hub, runs):
    push(runs[0], "lab/emo", private=False)
    assert not hub.repos["lab/emo"].private
    said = str(push(runs[1], "lab/emo", private=True))
    assert "lab/emo: there before, as visible as it was" in said
    assert not hub.repos["lab/emo"].private and len(hub.repos["lab/emo"].commits) == 3
    assert semi.load("lab/emo").model.config.model.kind == "concat"


def test_what_is_no_model_of_semi_is_not_written_over(hub, runs, tmp_path):
    repo = hub.repo("lab/bert")
    before = repo.add({"config.json": b"{}", "model.safetensors": b"theirs"})
    assert refusal(runs[0], "lab/bert") == (
        "lab/bert on the hub holds no model of semi but config.json, model.safetensors; choose "
        "another name, or add to it all the same with --overwrite"
    )
    assert repo.refs["main"] == before
    push(runs[0], "lab/bert", overwrite=True)
    assert {"config.json", *CONTENTS} <= set(held(hub, "lab/bert"))


@pytest.mark.parametrize("content", [b"{}", b"no json", b'{"format": 1, "classes": "a"}'])
def test_a_model_json_of_somebody_else_is_not_written_over(hub, runs, content):
    hub.repo("lab/other").add({"model.json": content, "model.safetensors": b"theirs"})
    assert "holds no model of semi but model.json, model.safetensors" in refusal(
        runs[0], "lab/other"
    )


def test_a_new_repository_of_the_hub_page_is_filled(hub, runs):
    hub.repo("lab/new").add({"README.md": b"---\nlicense: mit\n---\n", "LICENSE": b"MIT"})
    push(runs[0], "lab/new")
    assert b"library_name: semi" in held(hub, "lab/new")["README.md"]


def test_the_token_is_asked_for(hub, runs, tmp_path, monkeypatch):
    monkeypatch.delenv("HF_TOKEN")
    assert refusal(runs[0]).startswith(
        "there is no token to upload with; log in with hf auth login, or set HF_TOKEN"
    )
    unreadable = tmp_path / "run"
    shutil.copytree(runs[0], unreadable)
    (unreadable / "splits.csv").write_bytes(b"\xff\xfe id")
    assert "there is no token" in refusal(unreadable)  # before its card is made, which takes long
    assert "splits.csv" in refusal(unreadable, dry_run=tmp_path / "dry")
    assert str(tmp_path / "gone") in refusal(tmp_path / "gone")
    monkeypatch.setenv("HF_TOKEN", "hf_wrong")
    assert "does not know your token" in refusal(runs[0])
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    assert refusal(runs[0], "others/emo") == (
        f"{hub.address} does not allow your token to do this to others/emo; take a token that may "
        "(write access to it), or another name"
    )


def test_no_network(hub, runs, monkeypatch):
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert refusal(runs[0]).startswith("HF_HUB_OFFLINE is set, so nothing can be uploaded")


@pytest.mark.parametrize("name", ["emo", "lab/emo/x", "lab/", "lab/emo.git", "lab/a b", ""])
def test_a_name_that_is_none(hub, runs, name):
    assert "is no name of a model on the Hugging Face hub" in refusal(runs[0], name)


def test_a_branch_is_refused(hub, runs):
    assert refusal(runs[0], "lab/emo@v1").endswith("goes to the main branch; leave @ out")


def test_what_has_no_model_is_refused(hub, tmp_path):
    assert "no such folder" in refusal(str(tmp_path / "none"))
    assert hub.repos == {}


@pytest.mark.parametrize("where", ["/api/models", "create", "preupload", "/commit/"])
def test_a_passing_fault_passes(hub, runs, where):
    hub.faults = [(where, ("", 503))]
    push(runs[0], "lab/emo")
    assert hub.faults == [] and set(CONTENTS) <= set(held(hub))


def test_a_damaged_model_is_not_uploaded(hub, runs, tmp_path):
    shutil.copytree(runs[0], tmp_path / "a")
    path = tmp_path / "a/model/model.json"
    path.write_text(path.read_text().replace("joy", "jox"))
    assert "is not as it was written" in refusal(str(tmp_path / "a"))
    assert hub.repos == {}


def test_a_card_of_your_own(hub, runs, tmp_path):
    own = tmp_path / "mine.md"
    own.write_text("---\nlicense: mit\n---\n# mine\n")
    push(runs[0], "lab/emo", card=own)
    assert held(hub)["README.md"] == own.read_bytes()
    for text in ("# no metadata\n", "---\n- a\n---\n", "---\na: [\n---\n", ""):
        own.write_text(text)
        assert "is damaged or not a model card with YAML between" in refusal(runs[0], card=own)
    assert "no such file" in refusal(runs[0], card=tmp_path / "none.md")


def test_python_does_the_same(hub, runs):
    pushed = semi.load(runs[0]).push_to_hub("lab/emo", words=CardWords(license="mit"))
    assert pushed.private and b"license: mit" in held(hub)["README.md"]
    with pytest.raises(semi.RunError, match="only a model of a folder can be pushed"):
        type(semi.load(runs[0]))(semi.load(runs[0]).model).push_to_hub("lab/emo")


# --- the card ---


def parts_of(card):
    """Returns the metadata and the text of a card."""
    _, top, text = card.split("---\n", 2)
    return yaml.safe_load(top), text


def test_the_cards_scores_are_the_runs(heard):
    meta, text = parts_of(card_of(heard, CardWords("cc0-1.0", "lab/speech", ["de", "ko"])))
    metrics = semi.evaluate(heard).metrics
    (result,) = meta["model-index"][0]["results"]
    assert result["dataset"] == {"name": "lab/speech", "type": "lab/speech", "split": "test"}
    scores = {m["name"]: m for m in result["metrics"]}
    for key, name in (("macro_f1", "macro-F1"), ("waf", "WAF"), ("uar", "UAR")):
        low, high = (metrics["intervals"][key][end] for end in ("low", "high"))
        assert scores[name]["value"] == pytest.approx(metrics[key], abs=5e-5)
        assert scores[name]["args"]["interval_95"] == pytest.approx([low, high], abs=5e-5)
        assert scores[name]["args"]["interval_over"] == "3 speakers"
        shown = f"{100 * metrics[key]:.1f} [{100 * low:.1f}, {100 * high:.1f}]"
        assert re.search(rf"\| {name} \| [^|]+ \| {re.escape(shown)} \|", text)
    assert meta["license"] == "cc0-1.0" and meta["language"] == ["de", "ko"]
    assert meta["datasets"] == ["lab/speech"] and meta["library_name"] == "semi"
    assert meta["pipeline_tag"] == "audio-classification"
    assert set(meta["metrics"]) == {"accuracy", "f1", "recall"}


def test_the_hubs_own_library_reads_the_card(heard):
    card = huggingface_hub.ModelCard(card_of(heard, CardWords(license="mit")))
    assert card.data.license == "mit" and card.data.eval_results
    assert {r.metric_name for r in card.data.eval_results} >= {"macro-F1", "UAR"}


def test_the_card_says_what_a_reader_must_know(heard):
    _, text = parts_of(card_of(heard, CardWords()))
    splits = pd.read_csv(Path(heard) / "splits.csv")
    for role, words in (("labeled", "labelled, trained on"), ("test", "test, held out")):
        own = splits[splits["role"] == role]
        assert f"| {words} | {len(own)} | {own['group'].nunique()} |" in text
    record = json.loads((Path(heard) / "round-02/round.json").read_text())
    for name, row in zip(record["metrics_test"]["classes"], record["metrics_test"]["confusion"],
                         strict=True):  # fmt: skip
        assert f"| **{name}** | {' | '.join(map(str, row))} |" in text
    assert f"It learned from {record['added']} labels of its own beside the 22 of people" in text
    assert f"- Seen: {100 * record['pseudo']['precision']:.1f} % right where" in text
    assert "Promised: mean confidence" in text
    assert f"expected calibration error {100 * record['metrics_test']['ece']:.1f} %" in text
    assert "Training and held-out rows share something, which flatters its scores: text" in text
    assert "- It was scored on 3 speakers: others may be far above or below." in text
    assert "- Languages: de\n" in text and re.search(r"- Sound: \d+\.\d minutes\n", text)
    assert "| 2 | accepted |" in text and "[More information needed]" in text


def test_a_card_without_the_table_has_no_hours(heard, tmp_path):
    copy = shutil.copytree(heard, tmp_path / "elsewhere" / "heard")
    moved = copy / "config.yaml"
    moved.write_text(moved.read_text().replace("m.csv", "gone.csv"))
    from semi.runs.model_card import model_card

    _, text = parts_of(model_card(heard))
    assert "- Sound: [More information needed]" in text
    assert "- Languages: [More information needed]" in text


def test_a_card_of_a_model_alone_tells_no_scores(runs, tmp_path):
    shutil.copytree(Path(runs[0]) / "model", tmp_path / "alone")
    meta, text = parts_of(card_of(tmp_path / "alone", CardWords()))
    assert "model-index" not in meta and "No scores are known of it here" in text
    assert "## Scores" not in text


def test_the_command_writes_a_card(runs, tmp_path, capsys):
    assert main(["card", runs[0], "-o", str(tmp_path / "README.md"), "--license", "mit"]) == 0
    assert "fill in what it marks as needed" in capsys.readouterr().out
    assert main(["card", runs[0], "--license", "mit"]) == 0
    assert capsys.readouterr().out == (tmp_path / "README.md").read_text()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--license", "Apache 2"], "--license must be the hub's word for a licence"),
        (["--language", "German"], "--language must be a code of ISO 639"),
        (["--dataset", "speech"], "is no name of a model on the Hugging Face hub"),
    ],
)
def test_what_the_hub_would_not_take_is_refused(runs, words, said, capsys):
    assert main(["card", runs[0], *words]) == 2
    assert said in capsys.readouterr().err


def test_labels_cannot_break_a_table():
    from semi.runs.model_card import markdown_cell

    assert markdown_cell("a|b\nc <img>") == "a\\|b c \\<img>"

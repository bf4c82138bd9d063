"""A newcomer's way: a folder of sounds in class folders, trained, asked and reported, no table."""

import json
import shutil
from pathlib import Path

import pandas as pd
import pytest

import semi
from semi.cli import main
from semi.data.corpora import bundled_emodb
from semi.errors import ManifestError
from semi.training.rows import read_rows, rows_to_train

ROOT = Path(__file__).parents[1]
CLASSES = ("anger", "neutral", "sadness")


@pytest.fixture(scope="module")
def project(tmp_path_factory, store):
    """Returns a folder with sounds/<class>/, others without a class, and a run of them."""
    folder = tmp_path_factory.mktemp("newcomer")
    table = pd.read_csv(bundled_emodb(), dtype=str).sort_values("id")
    table = table[table["label"].isin(CLASSES)].groupby("label").head(24)
    for number, row in enumerate(table.itertuples()):
        place = folder / "sounds" / ("unlabelled" if number % 3 == 2 else str(row.label))
        place.mkdir(parents=True, exist_ok=True)
        shutil.copy(bundled_emodb().parent / row.audio, place)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        words = ["name=mine", "tracking=false", f"features.store={store}", "rounds.max_rounds=1"]
        assert main(["train", "data.manifest=sounds/", *words]) == 0
    return folder


def test_the_run_is_of_speech_alone_and_holds_rows_out(project):
    config = semi.load_config(project / "runs" / "mine" / "config.yaml", elsewhere=True)
    assert (config.encoders.speech.model, config.encoders.text.model) == ("acoustic", "none")
    roles = pd.read_csv(project / "runs" / "mine" / "splits.csv")["role"].value_counts()
    assert roles["pool"] == 24 and roles["labeled"] + roles["test"] == 48 and roles["test"] > 5


def test_the_warning_about_speakers_says_where_they_would_stand(project):
    notes = json.loads((project / "runs" / "mine" / "result.json").read_text())["notes"]
    (told,) = [note for note in notes if "no speaker, session or dialogue" in note]
    assert told.endswith(
        "folders of each speaker within the classes tell them apart, as angry/spk3/001.wav"
    )


@pytest.mark.parametrize(
    "words",
    [
        ["evaluate", "runs/mine"],
        ["evaluate", "runs/mine", "--split", "oof"],
        ["predict", "runs/mine", "new.opus"],
        ["predict", "runs/mine", "--manifest", "sounds", "-o", "said.csv"],
        ["report", "runs/mine"],
        ["next", "runs/mine", "-n", "3"],
        ["suspects", "runs/mine", "-n", "3"],
        ["select", "runs/mine", "rule=margin", "--dry-run"],
        ["export", "runs/mine", "-o", "probs.csv"],
        ["submit", "runs/mine", "-o", "submission.csv"],
        ["review", "runs/mine", "--export", "csv", "rows.csv"],
        ["verify", "runs/mine"],
    ],
    ids=" ".join,
)
def test_the_commands_that_follow_know_the_folder(project, monkeypatch, capsys, words):
    monkeypatch.chdir(project)
    shutil.copy(next((project / "sounds" / "anger").iterdir()), "new.opus")
    status = main(words)
    out, err = capsys.readouterr()
    assert status == 0 and out, err


def test_a_student_of_the_run_reads_the_folder_too(project, store, monkeypatch, capsys):
    monkeypatch.chdir(project)
    words = ["name=student", "recipe=none", "model.kind=concat", "train.steps=5",
             "data.manifest=sounds", "tracking=false", f"features.store={store}"]  # fmt: skip
    assert main(["distill", "runs/mine", *words]) == 0, capsys.readouterr().err


def test_a_run_whose_folder_is_gone_says_so(project, monkeypatch, tmp_path, capsys):
    monkeypatch.chdir(project)
    assert main(["evaluate", "runs/mine", f"data.manifest={tmp_path / 'gone'}"]) == 2
    told = f"was trained on is gone: {tmp_path / 'gone'}; bring it back, or name its new place"
    assert told in capsys.readouterr().err


def test_a_folder_in_place_of_settings_is_told_what_to_write(project, monkeypatch, capsys):
    monkeypatch.chdir(project)
    assert main(["train", "sounds"]) == 2
    told = "sounds: is a folder; if it holds your recordings, write data.manifest=sounds\n"
    assert told in capsys.readouterr().err


# --- what no row has ---


def config_of(tmp_path, columns, *words):
    """Returns the settings of a run on a table of texts, or of anything, without sounds."""
    rows = [f"u{k},text {k},{'ab'[k % 2]},s{k % 5}" for k in range(24)]
    (tmp_path / "m.csv").write_text("\n".join([columns, *rows]) + "\n")
    return semi.load_config(None, [f"data.manifest={tmp_path / 'm.csv'}", *words])


def test_a_table_of_texts_is_read_without_speech_and_says_so(tmp_path):
    config, manifest, _ = rows_to_train(config_of(tmp_path, "id,text,label,speaker"))
    assert (config.encoders.speech.model, config.encoders.text.model) == ("none", "char-ngram")
    assert "no row has audio, so encoders.speech.model=none" in manifest.reading.notes


def test_a_column_that_may_hold_it_is_named(tmp_path):
    rows = "".join(f"u{k},take {k},text {k},{'ab'[k % 2]}\n" for k in range(24))
    (tmp_path / "m.csv").write_text("id,clip,text,label\n" + rows)
    config = semi.load_config(None, [f"data.manifest={tmp_path / 'm.csv'}"])
    notes = rows_to_train(config)[1].reading.notes
    assert notes[-1] == (
        "warning: no row has audio, so encoders.speech.model=none; if another column holds it, "
        "name that, as in 'data.columns={audio: clip}' (there are 'clip')"
    )


def unnamed(tmp_path, given, header):
    """Returns the bundled speech's table with a column under a name that nobody knows."""
    text = (ROOT / "examples/emodb/manifest.csv").read_text(encoding="utf-8")
    names = text.splitlines()[0].replace(given, header)
    path = tmp_path / "unnamed.csv"
    path.write_text("\n".join([names, *text.splitlines()[1:]]) + "\n", encoding="utf-8")
    return [f"data.manifest={path}", f"data.audio_root={ROOT / 'examples/emodb'}"]


@pytest.mark.parametrize(
    ("given", "header", "what", "modality"),
    [("audio", "clip", "names of sounds", "speech"), ("text", "words", "sentences", "text")],
)
def test_an_input_under_an_unknown_name_is_asked_for_and_not_left_out(
    tmp_path, given, header, what, modality, capsys
):
    words = unnamed(tmp_path, given, header)
    taken, off = f"data.columns={{{given}: {header}}}", f"encoders.{modality}.model=none"
    for verb in ("check", "train", "extract"):
        assert main([verb, *words, f"features.store={tmp_path / 'store'}"]) == 2
        error = capsys.readouterr().err
        assert "read " in error and f"carried along: {header}" in error
        assert (
            f"unnamed.csv: no row has {given}, but '{header}', whose name says nothing, holds "
            f"{what}; take it with '{taken}', or say that {given} is left out with {off}\n"
        ) in error
    kept = rows_to_train(semi.load_config(None, [*words, taken]))
    assert kept[0].encoders.inputs == ["audio", "text"]
    assert kept[1].table[given].notna().all()
    assert given not in rows_to_train(semi.load_config(None, [*words, off]))[0].encoders.inputs


def test_of_several_columns_of_sounds_none_is_guessed(tmp_path):
    rows = "".join(f"u{k},near/{k}.wav,far/{k}.FLAC,text {k},{'ab'[k % 2]}\n" for k in range(24))
    (tmp_path / "m.csv").write_text("id,close,far,text,label\n" + rows)
    config = semi.load_config(None, [f"data.manifest={tmp_path / 'm.csv'}"])
    with pytest.raises(ManifestError) as caught:
        rows_to_train(config)
    assert (
        "'close', 'far', whose names say nothing, hold names of sounds; take one with "
        "'data.columns={audio: close}' or 'data.columns={audio: far}'"
    ) in str(caught.value)


@pytest.mark.parametrize("cells", ["我今天真的很开心啊", "I had not expected that"])
def test_sentences_are_known_in_any_script_and_classes_are_not(cells):
    import pandas as pd

    from semi.data.column_hints import holding_inputs

    table = pd.DataFrame({"said": [cells] * 3, "mood": ["mild fear", "愤怒", None], "n": [1, 2, 3]})
    table["sound"] = ["a b c.wav", "d e f.WAV", None]
    columns = ["said", "mood", "n", "sound", "gone"]
    assert holding_inputs(table, columns, "text") == ["said"]
    assert holding_inputs(table, columns, "audio") == ["sound"]
    assert holding_inputs(table, columns, "face") == []


@pytest.mark.parametrize(
    "words",
    [
        ["encoders.speech.model=acoustic"],  # named: it was meant
        ["encoders.speech.batch_seconds=10"],
        ["encoders.text.model=none"],  # nothing would be left
    ],
)
def test_an_encoder_that_was_meant_is_not_left_out(tmp_path, words):
    config = config_of(tmp_path, "id,text,label,speaker", *words)
    with pytest.raises(ManifestError, match="no row has audio, which encoders"):
        rows_to_train(config)


def test_a_finished_run_reads_what_it_read_before(tmp_path):
    with pytest.raises(ManifestError, match="no row has audio, which encoders"):
        read_rows(config_of(tmp_path, "id,text,label,speaker"))


def test_the_folders_of_speakers_are_not_taken_for_texts(tmp_path, monkeypatch, capsys):
    for row in pd.read_csv(bundled_emodb()).groupby(["speaker", "label"]).head(1).itertuples():
        name = "unlabelled" if row.label == "fear" else row.label
        place = tmp_path / "sounds" / name / f"spk{row.speaker}"
        place.mkdir(parents=True)
        shutil.copy(bundled_emodb().parent / row.audio, place)
    monkeypatch.chdir(tmp_path)
    assert main(["check", "data.manifest=sounds", "name=mine"]) == 0
    told = capsys.readouterr().out
    assert "speakers by folder: spk" in told and "by 8 speakers" in told
    assert "no row has text, so encoders.text.model=none" in told
    assert "if another column holds it" not in told

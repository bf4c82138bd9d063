"""Kaldi data folders: recordings and segments, labels by utterance, commands never run."""

import pytest
from format_trees import place, utterances

from semi.data.manifest import load_manifest
from semi.errors import ManifestError


def data(folder, each=2, prefix=""):
    """Writes wav.scp, text, utt2spk and utt2emo; sounds lie in wav/ beside the files."""
    files = {"wav.scp": [], "text": [], "utt2spk": [], "utt2emo": []}
    for row in utterances(each):
        place(row, folder / "wav" / f"{row['id']}.opus")
        files["wav.scp"].append(f"{row['id']} {prefix}wav/{row['id']}.opus")
        files["text"].append(f"{row['id']} {row['text']}")
        files["utt2spk"].append(f"{row['id']} {row['speaker']}")
        files["utt2emo"].append(f"{row['id']}\t{row['label']}")
    for name, lines in files.items():
        (folder / name).write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder


def refusal(path):
    with pytest.raises(ManifestError) as caught:
        load_manifest(path)
    return str(caught.value)


def test_each_recording_is_a_row(tmp_path):
    manifest = load_manifest(data(tmp_path))
    table, rows = manifest.table, utterances()
    for column in ("id", "text", "speaker", "label"):
        assert table[column].tolist() == [row[column] for row in rows]
    assert table["audio"].str.endswith(".opus").all()
    assert manifest.notes == ["read as a Kaldi data folder: 6 recordings"]


def test_the_scp_file_itself_may_be_given(tmp_path):
    assert len(load_manifest(data(tmp_path) / "wav.scp")) == 6


def test_segments_have_times_and_minus_one_is_the_end_of_the_recording(tmp_path):
    data(tmp_path)
    name = utterances()[0]["id"]
    (tmp_path / "segments").write_text(f"s1 {name} 0.1 0.9\ns2 {name} 0.9 -1\n")
    (tmp_path / "utt2emo").write_text("s1 anger\ns2 neutral\ngone neutral\n")
    manifest = load_manifest(tmp_path)
    table = manifest.table
    assert table["id"].tolist() == ["s1", "s2"] and table["label"].tolist() == ["anger", "neutral"]
    assert table["start"].tolist() == [0.1, 0.9]
    assert table["end"].tolist()[0] == 0.9 and table["end"].isna().tolist() == [False, True]
    assert any(
        "left out of utt2emo, naming no utterance: 1 line (gone)" in note for note in manifest.notes
    )


@pytest.mark.parametrize(
    "line",
    ["sox a.wav -t wav - |", "touch {} |", "| cat", "raw.ark:1234", "-"],
)
def test_what_is_no_plain_file_is_refused_by_its_line_and_never_run(tmp_path, line):
    data(tmp_path)
    trap = tmp_path / "ran"
    with open(tmp_path / "wav.scp", "a") as file:
        file.write(f"x {line.format(trap)}\n")
    said = refusal(tmp_path)
    assert said.startswith("1 problem ") and "row 7, wav.scp" in said and not trap.exists()


def test_a_segment_of_an_unknown_recording_is_named(tmp_path):
    data(tmp_path)
    (tmp_path / "segments").write_text("s1 nowhere 0.1 0.9\ns2\n")
    said = refusal(tmp_path)
    assert "row 1, segments 'nowhere': no line of wav.scp" in said and "row 2, segments" in said


def test_paths_may_start_at_the_recipe(tmp_path):
    data(tmp_path / "data" / "train", prefix="data/train/")
    assert len(load_manifest(tmp_path / "data" / "train")) == 6


def test_folders_of_splits_are_read_together(tmp_path):
    data(tmp_path / "train_clean", each=1)
    data(tmp_path / "dev", each=1)
    for name in ("wav.scp", "text", "utt2spk", "utt2emo"):
        path = tmp_path / "dev" / name
        lines = [f"d-{line}" for line in path.read_text(encoding="utf-8").splitlines()]
        path.write_text("\n".join(lines), encoding="utf-8")
    manifest = load_manifest(tmp_path)
    assert sorted(manifest.table["split"].tolist()) == ["dev"] * 3 + ["train"] * 3


def test_folders_that_are_named_after_no_split_are_named(tmp_path):
    data(tmp_path / "study1", each=1)
    assert "(study1) is named after a split; give one" in refusal(tmp_path)
    data(tmp_path / "train", each=1)
    manifest = load_manifest(tmp_path)
    assert len(manifest) == 3
    assert "folders left out, named after no split: study1" in manifest.notes


def test_a_folder_without_labels_says_which_files_were_looked_for(tmp_path):
    (data(tmp_path) / "utt2emo").unlink()
    manifest = load_manifest(tmp_path)
    assert manifest.table["label"].isna().all()
    assert any("holds no labels (looked for utt2emo" in note for note in manifest.notes)

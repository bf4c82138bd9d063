"""Folders as tables: class folders, an AudioFolder with metadata, and folders that are neither."""

import json

import pytest
from format_trees import place, utterances

from semi.data.columns import elsewhere
from semi.data.config import DataConfig
from semi.data.manifest import load_manifest
from semi.errors import ManifestError


def refusal(path):
    with pytest.raises(ManifestError) as caught:
        load_manifest(path)
    assert len(str(caught.value)) < 600
    return str(caught.value)


def class_tree(root, top=("",), each=2):
    for number, row in enumerate(utterances(each)):
        place(row, root / top[number % len(top)] / row["label"] / f"{number:03}.opus")
    return root


def test_the_folder_is_the_label_and_the_relative_path_the_id(tmp_path):
    manifest = load_manifest(class_tree(tmp_path / "data"))
    table = manifest.table
    assert table["id"].tolist()[:3] == ["anger/000", "anger/001", "happiness/002"]
    assert table["label"].tolist() == ["anger"] * 2 + ["happiness"] * 2 + ["neutral"] * 2
    assert table["split"].tolist() == [None] * 6
    assert manifest.notes == [
        "read as class folders: 6 sounds, labels anger, happiness, neutral",
    ]


def test_the_same_name_in_two_folders_is_two_rows(tmp_path):
    for row in utterances(1):
        place(row, tmp_path / row["label"] / "001.opus")
    ids = load_manifest(tmp_path).table["id"].tolist()
    assert ids == ["anger/001", "happiness/001", "neutral/001"]


def test_one_name_in_two_kinds_of_file_keeps_both_rows(tmp_path):
    first, second, *rest = utterances()
    place(first, tmp_path / "a" / "001.opus")
    place(second, tmp_path / "a" / "001.ogg")
    place(rest[0], tmp_path / "b" / "001.opus")
    ids = load_manifest(tmp_path).table["id"].tolist()
    assert ids == ["a/001.ogg", "a/001.opus", "b/001"]


@pytest.mark.parametrize(
    ("top", "split"),
    [(("train", "test"), ("train", "test")), (("Training", "validation"), ("train", "dev"))],
)
def test_folders_of_splits_give_the_split(tmp_path, top, split):
    manifest = load_manifest(class_tree(tmp_path, top))
    assert manifest.table["split"].value_counts().to_dict() == {split[0]: 3, split[1]: 3}
    assert manifest.classes == ["anger", "happiness", "neutral"]
    assert manifest.table["id"].str.startswith(top[0]).sum() == 3


@pytest.mark.parametrize("name", ["unlabelled", "unlabeled"])
def test_a_folder_without_labels_beside_the_classes_holds_nothing_out(tmp_path, name):
    class_tree(tmp_path)
    for number, row in enumerate(utterances(2)):
        place(row, tmp_path / name / f"new{number}.opus")
    manifest = load_manifest(tmp_path)
    assert manifest.table["split"].isna().all() and manifest.table["label"].notna().sum() == 6
    assert "without a label, outside class folders: 6 sounds" in manifest.notes


@pytest.mark.parametrize("order", ["{class}/{who}", "{who}/{class}"])
@pytest.mark.parametrize("name", ["spk{}", "Actor_{}", "{}"])
def test_speakers_of_sounds_without_labels_are_known_by_their_folders(tmp_path, order, name):
    """angry/spk03/1.wav beside unlabelled/spk03/2.wav, and the two folders the other way round."""
    rows = utterances(4)
    for number, row in enumerate(rows):
        who = name.format(row["speaker"])
        label = row["label"] if number % 2 else "unlabelled"
        place(row, tmp_path / order.format(**{"class": label, "who": who}) / f"{number}.opus")
    table = load_manifest(tmp_path).table
    by_number = table.set_index(table["id"].str.rpartition("/")[2].astype(int)).sort_index()
    expected = [row["label"] if k % 2 else None for k, row in enumerate(rows)]
    assert by_number["label"].tolist() == expected and table["split"].isna().all()
    assert by_number["speaker"].tolist() == [name.format(row["speaker"]) for row in rows]


def test_other_folders_of_sounds_without_labels_are_carried_along(tmp_path):
    for number, row in enumerate(utterances(2)):
        place(row, tmp_path / row["label"] / "monday" / f"{number}.opus")
        place(row, tmp_path / "unlabelled" / "tuesday" / f"new{number}.opus")
        place(row, tmp_path / "unlabelled" / f"top{number}.opus")
    manifest = load_manifest(tmp_path)
    assert manifest.classes == ["anger", "happiness", "neutral"]
    known = manifest.table[manifest.table["label"].notna()]
    assert len(known) == 6 and set(known["folder"]) == {"monday"}
    assert "without a label, outside class folders: 12 sounds" in manifest.notes


def test_class_folders_below_a_folder_without_labels_are_refused(tmp_path):
    for row in utterances(1):  # some of whose classes no sound outside that folder has
        place(row, tmp_path / "train" / "anger" / f"{row['id']}.opus")
        place(row, tmp_path / "unlabeled" / row["label"] / f"{row['id']}.opus")
    with pytest.raises(ManifestError, match="a label on a row whose split is unlabeled"):
        load_manifest(tmp_path)


@pytest.mark.parametrize(
    ("labelled", "others", "speakers"),
    [
        ("spk{speaker}/{label}", "spk{speaker}/unlabelled", True),
        ("{label}/spk{speaker}", "unlabelled/spk{speaker}", True),
        ("{label}/spk{speaker}", "unlabelled", False),
        ("spk{speaker}/{label}", "unlabelled/2024/may", False),
        ("{label}", "unlabelled/spk{speaker}", None),
        ("{label}", "pool/may", None),
    ],
)
def test_sounds_without_a_label_lie_in_folders_as_those_with_one_or_not(
    tmp_path, labelled, others, speakers
):
    """`speakers`: of the unlabelled, known by their folders or not; None = nobody's is known."""
    for row in utterances(4):
        pattern = labelled if row["id"] in {r["id"] for r in utterances(2)} else others
        place(row, tmp_path / pattern.format(**row) / f"{row['id']}.opus")
    manifest = load_manifest(tmp_path)
    table = manifest.table
    known = table["label"].notna()
    assert manifest.classes == ["anger", "happiness", "neutral"]
    assert "split" not in table or table["split"].isna().all()
    told = f"without a label, outside class folders: {(~known).sum()} sounds"
    assert 0 < known.sum() < len(table) and told in manifest.notes
    if speakers is None:
        assert table["speaker"].isna().all()
    else:
        assert table["speaker"][known].notna().all()
        assert table["speaker"][~known].notna().all() == speakers


def test_folders_are_not_offered_as_columns_that_may_hold_the_text(tmp_path):
    for row in utterances(2):
        place(row, tmp_path / f"spk{row['speaker']}" / row["label"] / f"{row['id']}.opus")
    manifest = load_manifest(tmp_path)
    assert manifest.reading.carried == ["folder"] and elsewhere(manifest, "text") == ""


def test_hidden_files_are_passed_over_and_others_named(tmp_path):
    class_tree(tmp_path)
    for name in ("anger/.hidden.wav", "__MACOSX/anger/._000.wav", ".DS_Store", "anger/notes.txt"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    manifest = load_manifest(tmp_path)
    assert len(manifest) == 6
    assert manifest.notes[-1] == "ignored, being no sound: 1 file (anger/notes.txt)"


def test_folders_of_emotions_within_folders_of_speakers(tmp_path):
    for row in utterances(2):
        place(row, tmp_path / f"0{row['speaker']}" / row["label"] / f"{row['id']}.opus")
    manifest = load_manifest(tmp_path)
    assert manifest.classes == ["anger", "happiness", "neutral"]
    assert set(manifest.table["folder"]) == {f"0{row['speaker']}" for row in utterances(2)}
    assert any("column folder" in note for note in manifest.notes)


def test_which_of_two_levels_is_the_class_is_not_guessed(tmp_path):
    for number, row in enumerate(utterances(2)):
        place(row, tmp_path / f"x{number % 2}" / f"y{number % 3}" / f"{number}.opus")
    assert "which of the two are the classes cannot be told" in refusal(tmp_path)


def test_sounds_at_different_depths_are_not_guessed(tmp_path):
    class_tree(tmp_path)
    place(utterances(1)[0], tmp_path / "anger" / "more" / "x.opus")
    assert "different depths" in refusal(tmp_path)


@pytest.mark.parametrize("name", ["Actor_{}", "speaker{}", "Session{}", "fold-{}"])
def test_folders_of_speakers_are_no_classes(tmp_path, name):
    for number, row in enumerate(utterances(1)):
        place(row, tmp_path / name.format(number) / f"{number}.opus")
    assert "name speakers, sessions or parts, not classes" in refusal(tmp_path)


def test_a_folder_of_sounds_has_rows_without_labels(tmp_path):
    for row in utterances(1):
        place(row, tmp_path / "wav" / f"{row['id']}.opus")
    manifest = load_manifest(tmp_path)
    assert manifest.table["label"].tolist() == [None] * 3
    assert "no row has a label" in manifest.notes[0]


def test_a_table_beside_the_sounds_is_asked_for(tmp_path):
    class_tree(tmp_path)
    (tmp_path / "labels.csv").write_text("id,label\n")
    said = refusal(tmp_path)
    assert "holds the table labels.csv" in said and f"data.manifest='{tmp_path}/labels.csv'" in said


def test_a_folder_without_sound_says_what_it_holds(tmp_path):
    (tmp_path / "readme.md").write_text("x")
    assert "without sound or table (1 x .md)" in refusal(tmp_path)
    (tmp_path / "readme.md").unlink()
    assert "it is empty" in refusal(tmp_path)


def test_a_link_back_to_the_folder_is_followed_once(tmp_path):
    class_tree(tmp_path)
    (tmp_path / "anger" / "again").symlink_to(tmp_path, target_is_directory=True)
    assert len(load_manifest(tmp_path)) == 6


def test_a_moved_folder_is_the_same_table_and_a_changed_one_is_not(tmp_path):
    class_tree(tmp_path / "one")
    before = load_manifest(tmp_path / "one").sha256
    (tmp_path / "one").rename(tmp_path / "two")
    assert load_manifest(tmp_path / "two").sha256 == before
    place(utterances(1)[0], tmp_path / "two" / "neutral" / "new.opus")
    assert load_manifest(tmp_path / "two").sha256 != before


def metadata(root, kind, splits=("",), column="file_name"):
    """Writes a folder of sounds with one metadata file for each of `splits`."""
    rows = utterances(2)
    for at, split in enumerate(splits):
        folder = root / split
        records = []
        for row in rows[at :: len(splits)]:
            place(row, folder / "clips" / f"{row['id']}.opus")
            records.append({column: f"clips/{row['id']}.opus", "emotion": row["label"]})
        if kind == "jsonl":
            lines = [json.dumps(record) for record in records]
        else:
            lines = [f"{column},emotion", *[",".join(record.values()) for record in records]]
        (folder / f"metadata.{kind}").write_text("\n".join(lines) + "\n")
    return root


@pytest.mark.parametrize("kind", ["csv", "jsonl"])
def test_metadata_names_the_sounds(tmp_path, kind):
    root = metadata(tmp_path, kind)
    place(utterances(1)[0], root / "clips" / "unnamed.opus")
    manifest = load_manifest(root)
    assert manifest.table["label"].tolist() == [row["label"] for row in utterances(2)]
    assert manifest.table["id"].tolist() == [row["id"] for row in utterances(2)]
    assert manifest.notes[0] == f"read as an AudioFolder: metadata.{kind} (6 rows)"
    assert "left out, named by no metadata: 1 sound (clips/unnamed.opus)" in manifest.notes


def test_metadata_in_folders_of_splits(tmp_path):
    manifest = load_manifest(metadata(tmp_path, "csv", ("train", "test"), "audio_file_name"))
    assert manifest.table["split"].tolist() == ["train"] * 3 + ["test"] * 3
    assert len(manifest) == 6 and manifest.table["audio"].notna().all()


def test_a_row_of_metadata_whose_sound_is_gone_is_named(tmp_path):
    root = metadata(tmp_path, "csv")
    (root / "clips" / f"{utterances(2)[1]['id']}.opus").unlink()
    said = refusal(root)
    assert said.startswith("1 problem") and "row 3, audio" in said


def test_metadata_may_name_sounds_elsewhere(tmp_path):
    rows = utterances(1)
    place(rows[0], tmp_path / "sounds" / "a.opus")
    (tmp_path / "table").mkdir()
    lines = ["file_name,label", "../sounds/a.opus,x", f"{rows[1]['audio']},y"]
    (tmp_path / "table" / "metadata.csv").write_text("\n".join(lines))
    table = load_manifest(tmp_path / "table").table
    assert table["audio"].tolist() == [str(tmp_path / "sounds" / "a.opus"), rows[1]["audio"]]


def test_prediction_reads_a_folder_without_its_labels(tmp_path):
    table = load_manifest(class_tree(tmp_path), DataConfig(), gold=False).table
    assert table["label"].isna().all() and len(table) == 6

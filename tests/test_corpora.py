"""Corpus readers, and the Emo-DB copy that comes with the project."""

from collections import Counter
from pathlib import Path

import pytest

from semi.data.audio import load_audio
from semi.data.config import DataConfig
from semi.data.corpora import CORPORA, bundled_emodb, corpus_manifest
from semi.data.corpora.emodb import EMOTIONS
from semi.data.manifest import load_manifest, write_manifest
from semi.data.splits import make_splits
from semi.data.wording import warnings_in
from semi.errors import ManifestError

SHARED = Path(__file__).resolve().parents[2] / "shared" / "data" / "emodb"
COUNTS = {  # Burkhardt et al. 2005, table of the released 535 utterances
    "anger": 127,
    "boredom": 81,
    "disgust": 46,
    "fear": 69,
    "happiness": 71,
    "neutral": 79,
    "sadness": 62,
}


def test_the_original_layout_is_read_from_the_file_names(tmp_path):
    (tmp_path / "wav").mkdir()
    for name in (
        "03a01Fa.wav",
        "08b10Wc.WAV",
        "16a05Lb.wav",
        "16a05Lb.flac",
        "readme.wav",
        "x.txt",
    ):
        (tmp_path / "wav" / name).write_bytes(b"x")
    table, notes = corpus_manifest("emodb", tmp_path)
    assert table[["id", "label", "speaker", "sex"]].values.tolist() == [
        ["03a01Fa", "happiness", "03", "m"],
        ["08b10Wc", "anger", "08", "f"],
        ["16a05Lb", "boredom", "16", "f"],
    ]
    assert table["audio"].tolist()[2] == str(tmp_path / "wav" / "16a05Lb.wav")
    assert table["text"][0] == "Der Lappen liegt auf dem Eisschrank."
    assert any("1 audio file does not follow the naming" in note for note in notes)
    write_manifest(table, tmp_path / "m.csv")
    again = load_manifest(tmp_path / "m.csv")
    assert again.table["audio"].tolist() == table["audio"].tolist()
    assert "wav/03a01Fa.wav" in (tmp_path / "m.csv").read_text()


def test_unknown_corpora_and_wrong_folders_are_refused_by_sentence(tmp_path):
    with pytest.raises(ManifestError, match=r"unknown corpus 'emobd'; did you mean 'emodb'\?"):
        corpus_manifest("emobd", tmp_path)
    with pytest.raises(ManifestError, match="no such folder"):
        corpus_manifest("emodb", tmp_path / "gone")
    with pytest.raises(ManifestError, match=r"no Emo-DB file such as 03a01Fa\.wav"):
        corpus_manifest("emodb", tmp_path)
    assert "emodb" in CORPORA


def test_the_bundled_copy_is_the_whole_corpus_and_small():
    manifest = load_manifest(bundled_emodb())
    table = manifest.table
    assert len(manifest) == 535 and table["speaker"].nunique() == 10
    assert Counter(table["label"]) == COUNTS
    assert sorted(EMOTIONS.values()) == manifest.classes
    assert table["text"].nunique() == 10 and set(table["language"]) == {"de"}
    assert table["split"].isna().all()
    assert sum(Path(p).stat().st_size for p in table["audio"]) < 6.6e6
    for path in table["audio"][::90]:
        assert len(load_audio(path)) == 32_000


def test_the_bundled_copy_splits_by_speaker_and_warns_of_its_texts():
    manifest = load_manifest(bundled_emodb())
    config = DataConfig(labeled_fraction=0.1, allow_leaks=["text"])
    splits = make_splits(manifest, config, folds=5, seed=0)
    counts = Counter(splits.role.tolist())
    assert set(counts) == {"labeled", "pool", "test"} and 35 <= counts["labeled"] <= 50
    told = warnings_in(make_splits(manifest, DataConfig(), folds=5, seed=0).notes)
    assert len(told) == 1 and "data.allow_leaks=[text]" in told[0]


@pytest.mark.skipif(not SHARED.is_dir(), reason="the originals of Emo-DB are not here")
def test_the_bundled_copy_agrees_with_the_originals():
    import numpy as np

    original = load_manifest(SHARED / "manifest.csv").table.set_index("id")
    bundled = load_manifest(bundled_emodb()).table.set_index("id")
    read, _ = corpus_manifest("emodb", SHARED)
    for other in (bundled, read.set_index("id")):
        columns = ["label", "speaker", "text", "sex"]
        there = other.loc[original.index, columns].values.tolist()
        assert there == original[columns].values.tolist()
    for name in original.index[::60]:
        a, b = load_audio(original["audio"][name]), load_audio(bundled["audio"][name])
        assert np.corrcoef(a, b)[0, 1] > 0.95, name

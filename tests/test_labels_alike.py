"""Labels that say there is none, that look alike, or that hold several: told, never passed over."""

import shlex

import pytest
import yaml

from semi.data.alike import looks, synonyms
from semi.data.config import DataConfig
from semi.data.manifest import load_manifest
from semi.errors import ManifestError


def read(tmp_path, labels, column="label", **settings):
    rows = [f'u{k},hello {k},"{label}"\n' for k, label in enumerate(labels * 4)]
    path = tmp_path / "m.csv"
    path.write_text("".join([f"id,text,{column}\n", *rows]), encoding="utf-8")
    return load_manifest(path, DataConfig(**settings))


def pasted(words):
    """The settings that a sentence names, as a shell and YAML read them."""
    found = [w for w in shlex.split(words.replace("'data", " 'data")) if w.startswith("data.")]
    return [yaml.safe_load(word.partition("=")[2]) for word in found]


CERTAIN = ["?", "-", "--", "—", "_", "''", "(not labeled)", "to do", "TBA", "#VALUE!", "#REF!"]
CERTAIN += [
    "未标注",
    "未標註",
    "라벨없음",
    "라벨 없음",
    "ラベルなし",
    "nicht annotiert",
    "Ohne Label",
]
CERTAIN += ["не размечено", "sin etiqueta", "non annoté", "بدون تصنيف", "no label yet", "-1", "999"]


@pytest.mark.parametrize("marker", CERTAIN)
def test_what_says_no_label_is_refused_in_every_language_and_the_remedy_works(tmp_path, marker):
    with pytest.raises(ManifestError, match="reads like 'no label' \\(4 rows\\)") as error:
        read(tmp_path, ["joy", "anger", marker])
    drop, keep = pasted(str(error.value).partition("(4 rows); ")[2])
    assert read(tmp_path, ["joy", "anger", marker], label_map=drop).classes == ["anger", "joy"]
    assert len(read(tmp_path, ["joy", "anger", marker], label_map=keep).classes) == 3


POSSIBLE = [
    "unknown",
    "<none>",
    "X",
    "n.d.",
    "skip",
    "not sure",
    "...",
    "*",
    "없음",
    "모름",
    "无",
    "未知",
]
POSSIBLE += ["unbekannt", "keine", "неизвестно", "نامعلوم", "غير معروف", "desconocido", "0", "7"]


@pytest.mark.parametrize("marker", POSSIBLE)
def test_what_may_say_it_is_a_class_with_a_note_and_its_setting(tmp_path, marker):
    manifest = read(tmp_path, ["joy", "anger", marker])
    note = next(n for n in manifest.notes if "if it says 'no label'" in n)
    assert f"'{marker}' (4 rows) counts as a class" in note
    (drop,) = pasted(note.partition("set ")[2])
    assert read(tmp_path, ["joy", "anger", marker], label_map=drop).classes == ["anger", "joy"]


@pytest.mark.parametrize(
    "missing", ["NA", "#N/A", "nan", "NULL", "(null)", "<null>", r"\N", "None"]
)
def test_what_programs_write_for_nothing_is_missing(tmp_path, missing):
    manifest = read(tmp_path, ["joy", "anger", missing])
    assert manifest.classes == ["anger", "joy"]
    assert int(manifest.table["label"].isna().to_numpy().sum()) == 4


def test_marks_of_direction_and_other_invisible_ones_make_no_second_class(tmp_path):
    joy = "فرح"
    spelled = [f"\u200f{joy}", f"{joy}\u200e", f"\u202b{joy}\u202c", f"\u2067{joy}\u2069", joy]
    spelled += [f"{joy}\u00a0", f"\ufeff{joy}", f"\u061c{joy}"]
    assert read(tmp_path, spelled).classes == [joy]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        *[("joy", "Joy"), ("joy", "ｊｏｙ"), ("not sure yet", "not_sure-yet"), ("joy", "'joy'")],
        *[("joy", "joy?"), ("joy", "#joy"), ("1", "1.0"), ("3", "03"), ("joy", "jоy")],
        *[("خوشی", "خوشي"), ("غصہ", "غصه"), ("خوشحال", "خوش\u200cحال"), ("😡", "😡\ufe0f!")],
        ("frustration", "fru\u00adstration"),
    ],
)
def test_labels_that_look_alike_are_a_warning_and_the_setting_makes_them_one(tmp_path, one, other):
    manifest = read(tmp_path, [one, one, other, "zzz"])
    (note,) = [n for n in manifest.notes if n.startswith("warning") and "differ only" in n]
    (mapped,) = pasted(note.partition("set ")[2])
    assert mapped == {other: one}  # the rarer one is renamed
    assert read(tmp_path, [one, one, other, "zzz"], label_map=mapped).classes == sorted(
        [one, "zzz"]
    )


def test_words_for_one_emotion_are_a_note(tmp_path):
    manifest = read(tmp_path, ["anger", "angry", "joy", "happy", "happy", "sad"])
    notes = [n for n in manifest.notes if "words for one emotion" in n]
    assert [pasted(n.partition("set ")[2]) for n in notes] == [
        [{"angry": "anger"}],
        [{"joy": "happy"}],
    ]
    assert not any(n.startswith("warning") for n in notes)
    assert synonyms(["Wut", "분노", "غصہ", "neutral"]) == [["Wut", "غصہ", "분노"]]
    assert synonyms(["anger", "joy", "calm", "excited"]) == []
    assert looks("Ｊｏｙ ") == looks("joy")


@pytest.mark.parametrize(
    "cell", ["['joy', 'calm']", '[""joy"", ""calm""]', "[joy, calm]", "joy;calm"]
)
def test_a_list_in_a_label_is_a_tie(tmp_path, cell):
    manifest = read(tmp_path, ["joy", "calm", "['joy']", "[]", cell], ties="votes")
    assert manifest.classes == ["calm", "joy"]
    assert int(manifest.table["label"].isna().to_numpy().sum()) == 8
    assert [v for v in manifest.table["votes"].tolist() if v] == [{"joy": 1.0, "calm": 1.0}] * 4


@pytest.mark.parametrize("label", ["joy, calm", "joy/calm", "joy|calm", "calm + joy"])
def test_a_label_that_names_several_others_is_a_warning_with_its_setting(tmp_path, label):
    (note,) = [n for n in read(tmp_path, ["joy", "calm", label]).notes if "several" in n]
    (mapped,) = pasted(note.partition("have them all set ")[2])
    assert read(tmp_path, ["joy", "calm", label], label_map=mapped).classes == ["calm", "joy"]


@pytest.mark.parametrize(
    "cell", ["joy;joy;calm", "joy,joy,calm", "joy|joy|calm", "joy:2;calm:1", "joy=2, calm=1",
             "{'joy': 2, 'calm': 1}", "{\"\"joy\"\": 2, \"\"calm\"\": 1}", "['joy', 'joy', 'calm']"]
)  # fmt: skip
def test_votes_are_read_however_they_are_written(tmp_path, cell):
    manifest = read(tmp_path, [cell, "calm"], column="votes")
    assert manifest.table["votes"].tolist()[:2] == [{"joy": 2.0, "calm": 1.0}, {"calm": 1.0}]
    assert manifest.classes == ["calm", "joy"]

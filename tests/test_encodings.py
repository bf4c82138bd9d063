"""Tables in old code pages: read with every letter right, or refused with how to save them anew."""

import shutil
import subprocess

import pytest

from semi.data.manifest import load_manifest
from semi.errors import ManifestError

SAID = {
    "russian": ["я очень рад тебя видеть", "почему ты опоздал", "радость"],
    "ukrainian": ["я дуже щасливий", "чому ти запізнився", "радість"],
    "japanese": ["今日はとても楽しいです", "なんで遅れたの", "喜び"],
    "chinese": ["我今天非常高兴", "你为什么迟到", "生气"],
    "traditional": ["我今天非常高興", "你為什麼遲到", "生氣"],
    "polish": ["Zażółć gęślą jaźń", "dlaczego się spóźniłeś", "radość"],
    "czech": ["Žluťoučký kůň úpěl", "proč jdeš pozdě", "štěstí"],
    "greek": ["είμαι πολύ χαρούμενος", "γιατί άργησες", "χαρά"],
    "arabic": ["أنا سعيد جدا اليوم", "لماذا تأخرت", "فرح"],
    "hebrew": ["אני שמח מאוד", "למה איחרת", "שמחה"],
    "thai": ["ฉันมีความสุขมาก", "ทำไมคุณมาสาย", "โกรธ"],
    "turkish": ["çok mutluyum bugün", "şimdi iyiyim ığdır", "öfke"],
    "german": ["Das ist schön für dich", "größere Füße, Ärger", "Überraschung"],
    "french": ["Je suis très heureux", "pourquoi êtes-vous là", "colère"],
    "spanish": ["Estoy muy feliz mañana", "está bien, corazón", "¡qué alegría!"],
    "danish": ["Jeg er så glad på øen", "æble og brød", "glæde"],
    "korean": ["오늘 정말 기뻐요", "왜 늦었어요", "분노"],
}
OLD = [
    *[("russian", codec) for codec in ("cp1251", "koi8-r", "cp866", "mac_cyrillic", "iso8859_5")],
    *[("ukrainian", "cp1251"), ("japanese", "cp932"), ("japanese", "euc_jp")],
    *[("japanese", "iso2022_jp"), ("chinese", "gb18030"), ("traditional", "big5")],
    *[("polish", codec) for codec in ("cp1250", "iso8859_2", "cp852")],
    *[("czech", "cp1250"), ("greek", "cp1253"), ("arabic", "cp1256"), ("hebrew", "cp1255")],
    *[("thai", "cp874"), ("turkish", "cp1254"), ("german", "mac_roman"), ("german", "cp850")],
    *[("french", "mac_roman"), ("french", "cp850"), ("spanish", "cp850"), ("korean", "johab")],
]
READ = [(language, "cp1252") for language in ("german", "french", "spanish", "danish")]
READ += [("korean", "cp949"), ("korean", "euc_kr"), ("german", "iso8859_15")]
READ += [(language, "utf-16-le") for language in SAID] + [("chinese", "utf-16-be")]
READ += [("chinese", "utf-32"), ("russian", "utf-32-le"), ("thai", "utf-16")]


def put(tmp_path, language, encoding):
    words = SAID[language]
    rows = [f'u{k},"{words[k % 2]} {k}",{words[2]}\n' for k in range(12)]
    path = tmp_path / "a table.csv"
    path.write_bytes("".join(["id,text,label\n", *rows]).encode(encoding))
    return path


@pytest.mark.parametrize(("language", "encoding"), READ)
def test_what_can_be_told_is_read_letter_by_letter(tmp_path, language, encoding):
    read = load_manifest(put(tmp_path, language, encoding))
    assert read.table["text"].tolist() == [f"{SAID[language][k % 2]} {k}" for k in range(12)]
    assert read.classes == [SAID[language][2]]


@pytest.mark.parametrize(("language", "encoding"), OLD)
def test_what_cannot_be_told_is_refused_and_never_read_as_another_language(
    tmp_path, language, encoding
):
    with pytest.raises(ManifestError, match=r"a table.csv row 2: .*; save the file as UTF-8") as e:
        load_manifest(put(tmp_path, language, encoding))
    assert len(str(e.value)) < 700


def test_the_remedy_works_when_pasted(tmp_path):
    if not shutil.which("iconv"):
        pytest.skip("no iconv here")
    for language, encoding in [("russian", "cp1251"), ("japanese", "euc_jp"), ("polish", "cp852"),
                               ("greek", "cp1253"), ("chinese", "gb18030")]:  # fmt: skip
        with pytest.raises(ManifestError) as error:
            load_manifest(put(tmp_path, language, encoding))
        command = str(error.value).partition("as this does: ")[2].rpartition(", if it is ")[0]
        subprocess.run(command, shell=True, check=True)
        assert load_manifest(tmp_path / "a table-utf8.csv").classes == [SAID[language][2]]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"id,text\na,hello\nb,\x00there\n", "m.csv row 3 holds a NUL byte, which no text does"),
        (b"id,text\na,hello\n" + b"\x00" * 512, "m.csv row 3 and all that follows is NUL bytes"),
        ("id,text\na,żółć\n".encode("utf-16") + b"\x00", "cannot be read as that to its end"),
    ],
)
def test_bytes_that_no_text_holds_are_named_by_their_row(tmp_path, content, said):
    (tmp_path / "m.csv").write_bytes(content)
    with pytest.raises(ManifestError) as error:
        load_manifest(tmp_path / "m.csv")
    assert said in str(error.value)

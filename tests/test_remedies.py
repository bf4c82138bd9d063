"""Settings that messages tell to set do what they say when a shell has read them."""

import re
import shlex
import subprocess

import pytest

from semi.cli import main


def pasted(told):
    """Returns the settings in `told` that are quoted for a shell, as bash hands them on."""
    words, start = [], re.compile(r"(?<![\w'\"])'(?:data|encoders|features)\.\w+=")
    for match in start.finditer(told):
        rest = told[match.start() :]
        for end in (m.end() for m in re.finditer("'", rest)):
            try:
                (word,) = shlex.split(rest[:end])
            except ValueError:  # not closed yet, or more than one word
                continue
            if word.count("{") == word.count("}") and word.count("[") == word.count("]"):
                line = f"printf %s {rest[:end]}"
                words.append(subprocess.check_output(["bash", "-c", line], text=True))
                break
    return words


def rows(label):
    cells = [f"u{i},t {i},{['joy', 'sad', label][i % 3]},s{i % 6}\n" for i in range(60)]
    return "id,text,label,speaker\n" + "".join(cells)


def twin(label):
    return rows(label).replace("joy", label.upper())


SHARED = [f"u{i},t {i},{'ab'[i // 2 % 2]},s1,{('train', 'test')[i % 2]}\n" for i in range(40)]


@pytest.mark.parametrize(
    ("text", "word", "choice"),
    [
        (rows("?"), "reads like 'no label'", 0),
        (rows("?"), "reads like 'no label'", 1),
        (rows("-1"), "reads like 'no label'", 0),
        (rows("unlabelled"), "reads like 'no label'", 1),
        (rows("to label"), "reads like 'no label'", 0),
        (rows("none"), "if it says 'no label'", 0),
        (twin("it's $HOME"), "differ only in case", 0),
        (twin("`id` a\\b"), "differ only in case", 0),
        ("id,text,label,speaker,split\n" + "".join(SHARED), "held-out rows share", 0),
        (rows("x").replace("label,speaker", "category,sentiment"), "could be the label", 0),
        (rows("x").replace("label,speaker", "category,sentiment"), "could be the label", 1),
    ],
)  # fmt: skip
def test_a_remedy_works_when_pasted(tmp_path, capsys, text, word, choice):
    path = tmp_path / "m.csv"
    path.write_text(text)
    words = ["check", f"data.manifest={path}", "encoders.speech.model=none"]
    main(words)
    told = "".join(capsys.readouterr())
    line = next(line for line in told.splitlines() if word in line)
    remedy = pasted(line if pasted(line) else told)[choice]
    main([*words, remedy])
    after = "".join(capsys.readouterr())
    assert word not in after and "problem" not in after and "unexpected" not in after


def test_a_table_without_its_key_is_told_how_it_is_named(tmp_path, capsys):
    path = tmp_path / "my table.csv"
    path.write_text(rows("x"))
    assert main(["check", str(path)]) == 2
    (word,) = pasted(capsys.readouterr().err)
    assert main(["check", word, "encoders.speech.model=none"]) == 0

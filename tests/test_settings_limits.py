"""What no settings file may hold is one sentence, at once, and nothing that it brings is run."""

import pytest

from semi.config.schema import load_config
from semi.errors import ConfigError

LAUGHS = "data:\n  manifest: &a x\n" + "".join(
    f"  k{n}: &{c} [{', '.join(['*' + b] * 9)}]\n"
    for n, (b, c) in enumerate(zip("abcdefgh", "bcdefghi", strict=True))
)
LOOP = "an alias stands for something that holds the alias itself"
TAG = "is not read: settings are plain data"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("data: &a\n  manifest: *a\n", f"line 1: {LOOP}"),
        ("data:\n  label_map: &a\n    x: *a\n", f"line 2: {LOOP}"),
        ("encoders:\n  extra: &a {x: *a}\n", f"line 2: {LOOP}"),
        ("a: &a [*a]\n", f"line 1: {LOOP}"),
        (LAUGHS, "aliases stand for more than 20,000 values"),
        ("[" * 5000, "line 1: nested more than 40 levels deep"),
        ("{a: " * 5000, "line 1: nested more than 40 levels deep"),
        ("- " * 3000 + "a\n", "nested"),
        ("seed: !!python/object/apply:os.system ['ls']\n", f"object/apply:os.system {TAG}"),
        ("!!python/object:x {}\n", TAG),
        ("data: !mine {manifest: x}\n", f"line 1: the tag !mine {TAG}"),
        ("<<: 3\n", "line 1: << takes entries to merge"),
        ("seed: 1\nseed: 2\n", "seed: given twice"),
        ("data:\n\tmanifest: x\n", "line 2: found character '\\t' that cannot start any token"),
        ('name: "\\ud800"\n', "half a letter (a lone surrogate) is no text"),
        (f"seed: 0x{'f' * 5000}\n", "seed: cannot be read: a whole number must be below 2^63"),
        (f"seed: {'a' * 5000}\n", f"got '{'a' * 100}...' of type text"),
    ],
)  # fmt: skip
def test_what_settings_may_not_hold_is_named_with_its_line(tmp_path, text, told):
    path = tmp_path / "x.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError) as error:
        load_config(path, ["data.manifest=m.csv"])
    assert told in str(error.value) and str(path) in str(error.value)
    assert len(str(error.value)) < 400


@pytest.mark.parametrize("encoding", ["utf-16", "latin-1"])
def test_another_encoding_is_named(tmp_path, encoding):
    path = tmp_path / "x.yaml"
    path.write_bytes("name: é\n".encode(encoding))
    with pytest.raises(ConfigError, match=r"x.yaml: is not UTF-8 text \(byte \d\)"):
        load_config(path)


def test_merges_and_aliases_that_mean_something_are_read(tmp_path):
    path = tmp_path / "x.yaml"
    path.write_text("data: {manifest: m.csv}\nmodel: &m {hidden: 8}\n<<: {seed: 3}\n")
    assert load_config(path).seed == 3
    words = ["data.manifest=&a [*a]", f"{'k' * 3000}=1"]
    with pytest.raises(ConfigError) as error:
        load_config(path, words)
    assert f"{'k' * 100}...: no such setting" in str(error.value) and len(str(error.value)) < 300


@pytest.mark.parametrize(
    "word", ["seed=&a [*a]", "seed=" + "[" * 9999, "data.label_map=&a {x: *a}"]
)
def test_a_word_of_the_command_line_is_held_to_the_same(word):
    with pytest.raises(ConfigError, match="command line") as error:
        load_config(None, ["data.manifest=m.csv", word])
    assert len(str(error.value)) < 300


@pytest.mark.parametrize("value", ["1000000000000000000000000000000", "2026-13-45", "[2026-99-99]"])
def test_a_section_that_is_given_a_value_out_of_range_is_named(value):
    with pytest.raises(ConfigError, match="is a section; set data"):
        load_config(None, [f"data={value}"])

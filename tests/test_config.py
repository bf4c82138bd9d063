"""Settings: precedence, every problem at once with key, source and nearest name, round trips."""

import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from semi.config.loading import resolve
from semi.config.schema import Config, ConfigProblems, check, load_config, save, signature
from semi.config.yaml_format import documented_yaml, field_docs, to_yaml
from semi.errors import ConfigError, SemiError

OK = ["data.manifest=m.csv"]


@dataclass
class Inner:
    """A section."""

    rule: str = "a"
    """Which rule."""
    rate: float | None = None
    layers: list[int] = field(default_factory=list)

    def __post_init__(self):
        if self.rule not in ("a", "b"):
            raise ValueError(f"rule must be one of a, b, got '{self.rule}'")


@dataclass
class Outer:
    """Everything."""

    seed: int = 0
    """The one seed."""
    name: str = "x"
    share: float = 0.5
    on: bool = True
    words: list[str] = field(default_factory=list)
    map: dict[str, str] = field(default_factory=dict)
    inner: Inner = field(default_factory=Inner)
    more: dict[str, Inner] = field(default_factory=dict)

    def __post_init__(self):
        if self.seed < 0:
            raise ValueError(f"seed must be >= 0, got {self.seed}")


def read(tmp_path, text="", *words):
    path = tmp_path / "x.yaml"
    path.write_text(text, encoding="utf-8")
    return resolve(Outer, path, words)


def value(tmp_path, text="", *words):
    resolved = read(tmp_path, text, *words)
    assert resolved.problems == []
    return resolved.value


def problems(tmp_path, text="", *words):
    resolved = read(tmp_path, text, *words)
    assert resolved.value is None or resolved.problems
    return [p.replace(str(tmp_path) + "/", "") for p in resolved.problems]


def test_defaults_then_file_then_words(tmp_path):
    got = value(tmp_path, "seed: 3\nname: file\ninner: {rate: 0.2}", "name=word", "inner.rule=b")
    assert got == Outer(seed=3, name="word", inner=Inner(rule="b", rate=0.2))


def test_an_empty_file_changes_nothing(tmp_path):
    assert value(tmp_path, "# nothing\n") == Outer()


def test_text_stays_as_it_was_written(tmp_path):
    got = value(tmp_path, "name: 1e5\nwords: [03, 08, no, 1.50]\nmap: {01: on, no: ''}")
    assert (got.name, got.words) == ("1e5", ["03", "08", "no", "1.50"])
    assert got.map == {"01": "on", "no": ""}


@pytest.mark.parametrize(
    ("word", "expected"),
    [("name=query: ", "query: "), ("name=", ""), ("name=007", "007"), ("name='a b'", "a b"),
     ("name=a=b", "a=b"), ("name=[x", "[x"), ("name='null'", "null"), ("name=123", "123"),
     ('name="true"', "true"), ("name='[a, b]'", "[a, b]"), ("name=2024-01-01", "2024-01-01"),
     ("name=true/x", "true/x"), ("name=[a].csv", "[a].csv")],
)  # fmt: skip
def test_a_text_setting_takes_the_word_as_the_shell_gave_it(tmp_path, word, expected):
    assert value(tmp_path, "", word).name == expected


BOOLEAN = "name: takes text, got {0}, which is true or false in YAML; if it is a name, write it in "
BOOLEAN += "quotes: {1} "


@pytest.mark.parametrize("given", ["true", "False", "yes", "no", "on", "OFF"])
def test_a_boolean_is_no_name(tmp_path, given):
    assert problems(tmp_path, f"seed: 1\nname: {given}") == [
        BOOLEAN.format(given, f'name: "{given}"') + "(x.yaml, line 2)"
    ]
    pasted = f'name="{given}"'
    assert problems(tmp_path, "", f"name={given}") == [
        BOOLEAN.format(given, f"'{pasted}'") + "(command line)"
    ]
    assert value(tmp_path, "", pasted).name == given  # as the shell gives what was pasted
    assert value(tmp_path, f'name: "{given}"').name == given
    assert problems(tmp_path, f"more: {{video: {{rule: {given}}}}}") == [
        "more.video.rule" + BOOLEAN.format(given, f'rule: "{given}"')[4:] + "(x.yaml, line 1)"
    ]


def test_off_and_no_stay_words_where_they_are_meant(tmp_path):
    (tmp_path / "a.yaml").write_text("select: {agreement: {mode: off}}\ndata: {label_map: {a: no}}")
    for words in ([], ["select.agreement.mode=off", "data.label_map.b=yes"]):
        config = load_config(tmp_path / "a.yaml", [*OK, "select.rule=agreement", *words])
        assert config.select.agreement.mode == "off" and config.data.label_map["a"] == "no"
    assert config.data.label_map["b"] == "yes"


@pytest.mark.parametrize(("given", "sentence"), [
    ("null", "is empty; it takes text"), ("~", "is empty; it takes text"),
    ("[a, b]", "takes text, got '['a', 'b']' of type list"),
    ("{a: b}", "takes text, got '{'a': 'b'}' of type entries"),
])  # fmt: skip
def test_nothing_and_several_are_no_name(tmp_path, given, sentence):
    assert problems(tmp_path, f"name: {given}") == [f"name: {sentence} (x.yaml, line 1)"]
    assert problems(tmp_path, "", f"name={given}") == [f"name: {sentence} (command line)"]


def test_numbers_null_and_new_entries(tmp_path):
    got = value(
        tmp_path, "share: 1e-3\non: no\ninner: {rate: 1}",
        "inner.rate=null", "map.happy=joy", "more.video.rate=0.5", "inner.layers=[1, -2]",
    )  # fmt: skip
    assert (got.share, got.on, got.inner.rate, got.map) == (0.001, False, None, {"happy": "joy"})
    assert got.more == {"video": Inner(rate=0.5)} and got.inner.layers == [1, -2]


def test_every_problem_is_told_at_once(tmp_path):
    text = """
sede: 1
share: many
inner:
  rulle: a
  rule: zzz
  seed: 1
"""
    words = ("inner=3", "on=3", "seed", "seed=", "seed=2.5", "inner.layers=[1, x]", "rate=1")
    assert problems(tmp_path, text, *words) == [
        "sede: no such setting; did you mean 'seed'? (x.yaml, line 2)",
        "share: takes a number, got 'many' of type text (x.yaml, line 3)",
        "inner.rulle: no such setting; did you mean 'rule'? (x.yaml, line 5)",
        "inner.seed: no such setting; did you mean 'seed'? (x.yaml, line 7)",
        "inner: is a section; set inner.<key>=... with a key of rule, rate, layers; got '3' "
        "(command line)",
        "on: takes true or false, got '3' of type whole number (command line)",
        "seed: must be written key=value (command line)",
        "seed: is empty; it takes a whole number (command line)",
        "seed: takes a whole number, got '2.5' of type number (command line)",
        "inner.layers: takes a list of whole numbers, got '[1, 'x']' of type list (command line)",
        "rate: no such setting; did you mean 'inner.rate'? (command line)",
        "inner.rule must be one of a, b, got 'zzz' (x.yaml, line 6)",
    ]


def test_the_rules_of_a_section_hold_beside_a_broken_one(tmp_path):
    assert problems(tmp_path, "", "seed=-1", "inner.rule=c", "more.video.rule=d") == [
        "inner.rule must be one of a, b, got 'c' (command line)",
        "more.video.rule must be one of a, b, got 'd' (command line)",
        "seed must be >= 0, got -1 (command line)",
    ]


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("seed: 1\nseed: 2", "seed: given twice; first in x.yaml, line 1 (x.yaml, line 2)"),
        ("- a", "x.yaml: must hold 'key: value' lines, got a list"),
        ("seed: [1", "x.yaml: is not valid YAML at line 1: expected ',' or ']', but got "
                     "'<stream end>'"),
        ("name: ${oc.env:HOME}",
         "name: '${oc.env:HOME}' is not filled in here; write the value itself (x.yaml, line 1)"),
        ("share: .nan", "share: takes a number, got 'nan' of type number (x.yaml, line 1)"),
        ("share: true", "share: takes a number, got 'True' of type true/false (x.yaml, line 1)"),
        ("map: 3", "map: takes entries such as {key: value}, got '3' of type whole number "
                   "(x.yaml, line 1)"),
        ("words: a", "words: takes a list such as [a, b], got 'a' of type text (x.yaml, line 1)"),
        ("name: [a]", "name: takes text, got '['a']' of type list (x.yaml, line 1)"),
        ("? [a]\n: 1", "the file: a key must be one word (x.yaml, line 1)"),
        ("share: 2020-01-01", "share: takes a number, got '2020-01-01' of type text (x.yaml, "
                              "line 1)"),
    ],
)  # fmt: skip
def test_sentences_about_a_file(tmp_path, text, sentence):
    assert problems(tmp_path, text) == [sentence]


def test_files_that_cannot_be_read(tmp_path):
    (tmp_path / "latin.yaml").write_bytes(b"name: \xe9")
    assert resolve(Outer, tmp_path / "no.yaml", ()).problems == [
        f"{tmp_path}/no.yaml: no such file"
    ]
    told = resolve(Outer, tmp_path / "latin.yaml", ()).problems[0]
    assert told.endswith("is not UTF-8 text (byte 6)")
    (tmp_path / "bom.yaml").write_bytes(b"\xef\xbb\xbfname: b")
    assert resolve(Outer, tmp_path / "bom.yaml", ()).value.name == "b"


def test_comments_come_from_the_docstrings_under_the_fields(tmp_path):
    assert field_docs(Outer) == {"seed": "The one seed."}
    text = documented_yaml(Outer())
    assert text.startswith("# The one seed.\nseed: 0\nname: x\n")
    assert "# A section.\ninner:\n  # Which rule.\n  rule: a\n" in text
    assert value(tmp_path, text) == Outer()


# --- the real configuration ---


def test_a_config_needs_a_manifest():
    with pytest.raises(ConfigError, match=r"data\.manifest: required, but not set") as caught:
        load_config()
    assert isinstance(caught.value, SemiError)


def test_problems_of_all_sections_with_their_sources(tmp_path):
    bad = tmp_path / "bad.yaml"
    bad.write_text("outt: 1\ntrain:\n  batch_size: 8\n  batch: many\nselect: {rule: treshold}\n")
    words = ["select.treshold=0.9", "data=3", "seed=x", "device=cuda:99"]
    with pytest.raises(ConfigProblems) as caught:
        load_config(bad, words)
    lines = str(caught.value).replace(str(tmp_path) + "/", "").split("\n  ")
    assert lines[0] == "9 problems in the configuration:"
    assert lines[1] == "outt: no such setting (bad.yaml, line 1)"
    assert lines[2].startswith("train.batch_size: no such setting; did you mean 'batch'?")
    assert (
        lines[3] == "train.batch: takes a whole number, got 'many' of type text (bad.yaml, line 4)"
    )
    assert lines[4] == "select.treshold: no such setting; did you mean 'threshold'? (command line)"
    assert lines[5].startswith("data: is a section; set data.<key>=... with a key of manifest,")
    assert lines[6] == "seed: takes a whole number, got 'x' of type text (command line)"
    assert lines[7].startswith("select.rule must be one of") and "threshold" in lines[7]
    assert lines[7].endswith("(bad.yaml, line 5)")
    asked = "required, but not set; name your table, as in data.manifest=mine.csv"
    assert lines[8] == f"data.manifest: {asked}"
    assert lines[9].startswith("device: 'cuda:99' is not available")
    assert lines[9].endswith("(command line)")


def test_per_class_thresholds_can_be_written():
    words = [f"select.per_class.{c}=0.99" for c in ("happy", "neutral", "angry", "sad")]
    words += [f"select.per_class.{c}=0.85" for c in ("worried", "surprise")]
    got = load_config(None, [*OK, "select.rule=threshold", *words])
    assert got.select.per_class["sad"] == 0.99 and got.select.per_class["worried"] == 0.85


def test_a_second_imbalance_correction_is_refused():
    with pytest.raises(ConfigError, match="imbalance must be exactly one of none, oversample"):
        load_config(None, [*OK, "train.imbalance=oversample+class_weight"])
    with pytest.raises(ConfigError, match=r"train\.imbalance: takes text, got"):
        load_config(None, [*OK, "train={imbalance: [oversample, class_weight]}"])


def test_fewer_than_two_folds_and_no_modality_are_refused():
    with pytest.raises(ConfigError, match=r"train\.folds must be at least 2, got 1"):
        load_config(None, [*OK, "train.folds=1"])
    with pytest.raises(ConfigError, match="encoders: every modality is 'none'"):
        load_config(None, [*OK, "encoders.speech.model=none", "encoders.text.model=none"])
    with pytest.raises(ConfigError, match="'speech' cannot name a further modality"):
        load_config(None, [*OK, "encoders.extra.speech.column=a"])


@pytest.mark.parametrize("name", ["", "a/b", "..", "a b"])
def test_a_run_name_is_one_word(name):
    with pytest.raises(ConfigError, match="name must be one word"):
        load_config(None, [*OK, f"name={name}"])


def test_the_resolved_config_reloads_equal(tmp_path):
    words = [*OK, "select.per_class.happy=0.99", "encoders.extra.video.column=video", "seed=7",
             "data.label_map.disqust=disgust", "encoders.text.prefix=query: "]  # fmt: skip
    config = load_config(None, words)
    save(config, tmp_path / "resolved.yaml")
    assert load_config(tmp_path / "resolved.yaml") == config
    assert "\n  manifest: m.csv\n" in to_yaml(config)


def test_a_config_built_in_python_is_checked_alike():
    with pytest.raises(ConfigError, match=r"data\.manifest: required"):
        check(Config())
    config = load_config(None, OK)
    assert check(config) is config


def test_the_signature_leaves_out_what_changes_no_result():
    video = "encoders.extra.video.column=v"
    first = load_config(None, [*OK, "name=a", "features.store=x", video])
    moved = ["data.manifest=n.csv", "name=b", "tracking=false", "features.store=y", video]
    second = load_config(None, moved)
    assert signature(first) == signature(second)
    assert signature(first) != signature(load_config(None, [*OK, "train.lr=0.1"]))
    assert signature(first)["encoders.extra"]["video"]["column"] == "v"


def test_the_device_is_checked_only_where_the_run_trains():
    config = load_config(None, [*OK, "device=cuda:99"], elsewhere=True)
    assert config.device == "cuda:99"


def test_asking_for_the_defaults_prints_them():
    done = subprocess.run(
        [sys.executable, "-m", "semi.config"],
        capture_output=True, text=True, check=True, cwd=Path(__file__).parents[1],
    )  # fmt: skip
    assert done.stdout.startswith("# Every setting and its default")
    assert done.stderr == ""

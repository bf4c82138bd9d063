"""Reads YAML files and `key=value` words into dataclasses, reporting every problem at once."""

from __future__ import annotations

import dataclasses
import re
import typing
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from ..data.wording import nearest, setting
from . import yaml_format as yt
from .named_recipes import named_recipe, place_beside
from .removed import REMOVED, REMOVED_VALUES
from .settings_file import settings_node

COMMAND_LINE = "command line"


@dataclass
class Resolved:
    """What came out of reading the sources."""

    value: Any  # instance of the schema, or None when a section could not be built
    sections: dict[str, Any]  # dotted key -> built section, also when `value` is None
    problems: list[str]  # one sentence each: "dotted.key: what is wrong (source)"
    sources: dict[str, str]  # dotted key -> where its value came from
    notes: list[str]  # what was passed over in the file of a run; see `resolve`
    unread: bool = False  # the file could not be read: what it sets is not known


def resolve(
    schema: type, path: str | Path | None, overrides: Sequence[str], *, of_run: bool = False
) -> Resolved:
    """Returns `schema` filled from its defaults, then the YAML file, then the `key=value` words.

    `of_run` says that the file is that of a run or a model: what has been removed since is noted
    and passed over, not refused. `path` may be the name of a recipe that comes with semi.
    """
    reader = _Reader(OmegaConf.structured(schema), yt.all_keys(schema), of_run)
    recipe = None if path is None else named_recipe(path)
    if path is not None:
        reader.read_file(schema, recipe or Path(path))
    if recipe is not None and "data.manifest" in reader.sources:
        reader.config.data.manifest = place_beside(reader.config, recipe)
    for word in overrides:
        reader.read_word(schema, word)
    built = _Builder(reader)
    value = built.section(schema, reader.config, "")
    return Resolved(
        None if value is _BROKEN else value,
        built.sections,
        reader.problems,
        reader.sources,
        reader.notes,
        reader.unread,
    )


class _Reader:
    """Applies one leaf after the other to the structured config and remembers what went wrong."""

    def __init__(self, config: Any, known: list[str], of_run: bool = False):
        self.config = config
        self.known = known
        self.of_run = of_run
        self.notes: list[str] = []
        self.unread = False
        self.problems: list[str] = []
        self.sources: dict[str, str] = {}

    def problem(self, key: str, sentence: str, source: str) -> None:
        self.problems.append(f"{yt.shown(key)}: {sentence} ({source})")

    def read_file(self, schema: type, path: Path) -> None:
        try:
            node = settings_node(path)
        except ValueError as error:
            self.problems.append(f"{path}: {error}")
            self.unread = True
            return
        if node is not None:  # an empty file changes nothing
            self.mapping(schema, self.config, node, "", str(path))

    def read_word(self, schema: type, word: str) -> None:
        """Reads one `a.b.c=value`; a text setting takes the value as the shell gave it.

        One name for a list of texts is a list of it.
        """
        key, equals, text = word.partition("=")
        if not equals or not key:
            self.problem(yt.shown(word), "must be written key=value", COMMAND_LINE)
            return
        hint, parts = yt.hint_at(schema, key), key.split(".")
        try:
            node = yt.compose(text) or yt.null_node()
        except yaml.YAMLError:
            node = yt.text_node(text)
        if yt.base_type(hint) is str and (yt.is_plain_text(node) or not text.strip()):
            node = yt.text_node(text)
        elif _is_one_name(node, hint):
            node = yaml.SequenceNode("tag:yaml.org,2002:seq", [yt.text_node(text)])
        for part in reversed(parts[1:]):
            node = yt.map_node(part, node)
        self.mapping(schema, self.config, yt.map_node(parts[0], node), "", COMMAND_LINE)

    def mapping(self, cls: type, target: Any, node: yaml.MappingNode, prefix: str, source: str):
        """Applies the keys of one section."""
        hints = yt.hints_of(cls)
        for name, value, where in self.pairs(node, prefix, source):
            key = prefix + name
            if self.removed(key, value, where):
                continue
            if name not in hints:
                self.problem(key, f"no such setting{self.hint(name, hints)}", where)
            else:
                self.apply(hints[name], target, name, value, key, where, source)

    def removed(self, key: str, node: yaml.Node, where: str) -> bool:
        """Says whether a key is a setting of an earlier version, and deals with it."""
        if key in REMOVED:
            value = yt.value_or_text(node)
            if value != REMOVED[key].value:
                self.refuse_or_note(key, REMOVED[key].sentence(value), where)
            return True
        inside = [k for k in REMOVED if k.startswith(f"{key}.")]
        if key in self.known or not inside or not isinstance(node, yaml.MappingNode):
            return False
        for entry, value, line in self.pairs(node, key + ".", where):
            if not self.removed(f"{key}.{entry}", value, line):
                self.problem(f"{key}.{entry}", "no such setting", line)
        return True

    def refuse_or_note(self, key: str, sentence: str, where: str) -> None:
        """Adds a problem, or a note where the file is a run's own."""
        if self.of_run and not where.startswith(COMMAND_LINE):
            self.notes.append(f"{key} {sentence} ({where})")
        else:
            self.problem(key, sentence, where)

    def hint(self, name: str, here: Mapping[str, Any]) -> str:
        """Returns the nearest name of the same section, else the same name in another section."""
        elsewhere = [k for k in self.known if k.rpartition(".")[2] == name]
        same = f"; did you mean '{elsewhere[0]}'?" if elsewhere else ""
        return nearest(name, here) or same

    def apply(self, hint, target, name, node, key, where, source) -> None:
        """Applies one value: descends into sections, sets leaves."""
        kind, inner = yt.base_type(hint), typing.get_args(yt.base_type(hint))
        if dataclasses.is_dataclass(kind):
            if not isinstance(node, yaml.MappingNode):
                known = ", ".join(yt.hints_of(kind))
                sentence = f"is a section; set {key}.<key>=... with a key of {known}"
                self.problem(key, f"{sentence}; got '{yt.shown(yt.value_or_text(node))}'", where)
                return
            if target._get_node(name) is None:  # a new entry of a dict of sections
                target[name] = OmegaConf.structured(kind)
            self.mapping(typing.cast(type, kind), target[name], node, key + ".", source)
        elif typing.get_origin(kind) is dict and isinstance(node, yaml.MappingNode):
            if not node.value:  # {} takes out what stood there
                target[name] = {}
                self.sources[key] = where
            for entry, value, line in self.pairs(node, key + ".", source):
                self.apply(inner[1], target[name], entry, value, f"{key}.{entry}", line, source)
        else:
            self.leaf(hint, target, name, node, key, where)

    def leaf(self, hint, target, name, node, key, where) -> None:
        section = OmegaConf.get_type(target)
        # a label may well be 'no', and a mode that is off by default may be set to off
        word = section is dict or getattr(section, name, "") == "off"
        if yt.base_type(hint) is str and yt.is_bool(node) and not word:
            quoted = f'{name}: "{node.value}"'
            if where.startswith(COMMAND_LINE):
                quoted = setting(key, f'"{node.value}"')
            sentence = f"takes text, got {node.value}, which is true or false in YAML; if it is a"
            self.problem(key, f"{sentence} name, write it in quotes: {quoted}", where)
            return
        try:
            value = yt.plain(node, hint)
        except (ValueError, yaml.YAMLError) as error:
            self.problem(key, f"cannot be read: {yt.error_cause(error)}", where)
            return
        for text in yt.texts_in(value):
            if "${" in text or text == "???":
                sentence = f"'{yt.shown(text)}' is not filled in here; write the value itself"
                self.problem(key, sentence, where)
                return
        if value is None and not yt.is_optional(hint):
            self.problem(key, f"is empty; it takes {yt.type_words(hint)}", where)
            return
        if value is not None and not yt.fits(value, yt.base_type(hint)):
            given = f"'{yt.shown(value)}' of type {yt.value_words(value)}"
            self.problem(key, f"takes {yt.type_words(hint)}, got {given}", where)
            return
        if isinstance(value, str) and (key, value) in REMOVED_VALUES:
            gone = REMOVED_VALUES[key, value]
            self.refuse_or_note(key, gone.sentence(value), where)
            value = gone.value
        try:
            target[name] = value
            self.sources[key] = where
        except OmegaConfBaseException as error:
            self.problem(key, str(error).splitlines()[0], where)

    def pairs(self, node: yaml.MappingNode, prefix: str, source: str) -> Iterator[tuple]:
        """Yields (name, value node, source with line); a key given twice is a problem."""
        yt.Loader("").flatten_mapping(node)
        seen: dict[str, str] = {}
        for key, value in node.value:
            where = source
            if key.start_mark is not None:
                where = f"{source}, line {key.start_mark.line + 1}"
            if not isinstance(key, yaml.ScalarNode):
                self.problem(prefix or "the file", "a key must be one word", where)
            elif key.value in seen:
                sentence = f"given twice; first in {seen[key.value]}"
                self.problem(prefix + key.value, sentence, where)
            else:
                seen[key.value] = where
                yield key.value, value, where


class _Builder:
    """Builds the dataclasses from the inside out, so each `__post_init__` names its own key."""

    def __init__(self, reader: _Reader):
        self.reader = reader
        self.sections: dict[str, Any] = {}

    def section(self, cls: type, node: Any, prefix: str) -> Any:
        """Returns an instance of `cls`, or None when it or a section inside it is not allowed."""
        values, broken = {}, False
        for name, hint in yt.hints_of(cls).items():
            value = self.value(hint, node[name], prefix + name)
            if value is _BROKEN:  # its default stands in, so that this section is still checked
                broken = True
            else:
                values[name] = value
        try:
            built = cls(**values)
        except ValueError as error:
            self.reader.problems.append(self.explain(str(error), prefix, values))
            return _BROKEN
        self.sections[prefix.rstrip(".")] = built
        return _BROKEN if broken else built

    def value(self, hint: Any, node: Any, key: str) -> Any:
        kind = yt.base_type(hint)
        if dataclasses.is_dataclass(kind):
            return self.section(typing.cast(type, kind), node, key + ".")
        if typing.get_origin(kind) is dict:
            inner = typing.get_args(kind)[1]
            found = {k: self.value(inner, node[k], f"{key}.{k}") for k in node}
            return _BROKEN if any(v is _BROKEN for v in found.values()) else found
        return OmegaConf.to_container(node) if OmegaConf.is_config(node) else node

    def explain(self, sentence: str, prefix: str, values: Mapping[str, Any]) -> str:
        """Puts the dotted key before a section's own sentence and the source behind it."""
        for given in (text for value in values.values() for text in yt.texts_in(value)):
            sentence = sentence.replace(given, yt.shown(given)) if len(given) > 100 else sentence
        named = re.match(r"[A-Za-z_]\w*", sentence)
        field = named.group() if named and named.group() in values else ""
        if not field:
            section = prefix.rstrip(".")
            return f"{section}: {sentence}" if section else sentence
        key = prefix + field
        given = [s for k, s in self.reader.sources.items() if k == key or k.startswith(key + ".")]
        return prefix + sentence + (f" ({given[-1]})" if given else "")


def _is_one_name(node: yaml.Node, hint: Any) -> bool:
    """Says whether a word of the command line is one text where a list of them is asked for.

    Not one with a comma, which may be meant as several; nor auto, which is a choice of its own.
    """
    if yt.base_type(hint) != list[str] or not isinstance(node, yaml.ScalarNode):
        return False
    return yt.is_plain_text(node) and "," not in node.value and node.value not in ("", "auto")


_BROKEN = object()

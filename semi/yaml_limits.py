"""What YAML that is read may not hold: loops, floods of aliases, endless depth, foreign tags."""

from __future__ import annotations

from typing import Any

import yaml

DEPTH = 40  # levels of nesting; ours have five
NODES = 20_000  # values of settings, each alias counted as what it stands for
STANDARD = "tag:yaml.org,2002:"
PLAIN = {"null", "bool", "int", "float", "str", "seq", "map", "merge", "binary", "timestamp"}


def plain_yaml(text: str, most: int = NODES) -> Any:
    """Returns what a YAML text that somebody else wrote holds, None where it is empty.

    Args:
        text: the YAML.
        most: values that it may stand for, aliases written out.

    Raises:
        yaml.YAMLError: it is none, or holds what is above; RecursionError: it has no end of levels.
    """
    refuse_depth(text)
    root = yaml.compose(text, Loader=yaml.SafeLoader)
    if root is None:
        return None
    refuse_strange(root, most)
    return yaml.safe_load(text)


def refuse_depth(text: str) -> None:
    """Raises YAMLError where brackets are nested deeper than any settings are."""
    if text.count("[") + text.count("{") <= DEPTH:
        return
    depth = 0
    for event in yaml.parse(text, Loader=yaml.SafeLoader):
        depth += isinstance(event, yaml.CollectionStartEvent)
        depth -= isinstance(event, yaml.CollectionEndEvent)
        if depth > DEPTH:
            raise _error(f"nested more than {DEPTH} levels deep", event)


def refuse_strange(node: yaml.Node, most: int = NODES) -> None:
    """Raises YAMLError where a node holds itself, too much, or a tag that asks for more than data.

    Args:
        node: the root of a file or of one setting.
        most: values that it may stand for, aliases written out.
    """
    _size(node, {}, [], most)


def _size(node: yaml.Node, known: dict[int, int], way: list[int], most: int) -> int:
    """Returns how many values a node stands for, aliases written out."""
    if id(node) in way:
        raise _error("an alias stands for something that holds the alias itself", node)
    if id(node) in known:
        return known[id(node)]
    if len(way) > DEPTH:
        raise _error(f"nested more than {DEPTH} levels deep", node)
    _check_tag(node)
    inside = []
    if isinstance(node, yaml.MappingNode):
        inside = [part for pair in node.value for part in pair]
    elif isinstance(node, yaml.SequenceNode):
        inside = node.value
    elif any("\ud800" <= letter <= "\udfff" for letter in node.value):
        raise _error("half a letter (a lone surrogate) is no text", node)
    total = 1
    for part in inside:
        total += _size(part, known, [*way, id(node)], most)
        if total > most:
            raise _error(f"aliases stand for more than {most:,} values", node)
    known[id(node)] = total
    return total


def _check_tag(node: yaml.Node) -> None:
    kind = node.tag.removeprefix(STANDARD)
    if kind == node.tag or kind not in PLAIN:
        short = node.tag.replace(STANDARD, "!!")[:60]
        raise _error(f"the tag {short} is not read: settings are plain data", node)
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            parts = value.value if isinstance(value, yaml.SequenceNode) else [value]
            merge = key.tag == f"{STANDARD}merge"
            if merge and not all(isinstance(p, yaml.MappingNode) for p in parts):
                raise _error("<< takes entries to merge, such as <<: *name", key)


def _error(problem: str, place: yaml.Node | yaml.Event) -> yaml.MarkedYAMLError:
    return yaml.MarkedYAMLError(problem=problem, problem_mark=place.start_mark)

"""The types of settings, YAML nodes as Python values, and dataclasses as documented YAML."""

from __future__ import annotations

import ast
import dataclasses
import inspect
import itertools
import re
import textwrap
import types
import typing
from functools import cache
from typing import Any

import yaml
from omegaconf import OmegaConf


class Loader(yaml.SafeLoader):
    """YAML as people write it: 1e-3 is a number, 2024-01-01 is text."""


Loader.yaml_implicit_resolvers = {
    first: [(tag, rule) for tag, rule in rules if not tag.endswith((":timestamp", ":float"))]
    for first, rules in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(
        r"^[-+]?(?:[0-9]+\.[0-9]*(?:[eE][-+]?[0-9]+)?|\.[0-9]+(?:[eE][-+]?[0-9]+)?"
        r"|[0-9]+[eE][-+]?[0-9]+|\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))$"
    ),
    list("-+0123456789."),
)


@cache
def hints_of(cls: type) -> dict[str, Any]:
    """Returns field name -> type of the settings of a dataclass.

    A field marked as a constant (the published number of a rule, say) is for Python alone; neither
    is a section that holds nothing else a setting.
    """
    hints = typing.get_type_hints(cls)
    return {f.name: hints[f.name] for f in dataclasses.fields(cls) if _is_setting(f, hints[f.name])}


def _is_setting(field: dataclasses.Field, hint: Any) -> bool:
    if field.metadata.get("constant") or not field.init:
        return False
    section = base_type(hint)
    return not dataclasses.is_dataclass(section) or bool(hints_of(typing.cast(type, section)))


def hint_at(schema: Any, key: str) -> Any:
    """Returns the type of a dotted key, or None when there is no such key."""
    hint = schema
    for part in key.split("."):
        kind = base_type(hint)
        if dataclasses.is_dataclass(kind):
            hint = hints_of(typing.cast(type, kind)).get(part)
        else:
            hint = typing.get_args(kind)[1] if typing.get_origin(kind) is dict else None
    return hint


def base_type(hint: Any) -> Any:
    """Returns the type without its `| None`."""
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        return next(a for a in typing.get_args(hint) if a is not type(None))
    return hint


def is_optional(hint: Any) -> bool:
    """Says whether a type allows null."""
    return type(None) in typing.get_args(hint)


def plain(node: yaml.Node, hint: Any) -> Any:
    """Returns a node as a Python value; a text setting keeps its text as written (03 is '03')."""
    kind = base_type(hint)
    if isinstance(node, yaml.SequenceNode):
        item = typing.get_args(kind)[0] if typing.get_origin(kind) is list else Any
        return [plain(child, item) for child in node.value]
    if isinstance(node, yaml.MappingNode):
        return {str(plain(k, str)): plain(v, Any) for k, v in node.value}
    if kind is str and not is_null(node):
        return node.value
    if node.value == "auto" and typing.get_origin(kind) is list:  # refused where null is
        return None
    value = Loader("").construct_object(node, deep=True)
    if (whole := isinstance(value, int) and not isinstance(value, bool)) and abs(value) >= 2**63:
        raise ValueError("a whole number must be below 2^63")
    return float(value) if kind is float and whole else value


def value_or_text(node: yaml.Node) -> Any:
    """Returns a node for a message: its value, or what is no value as it is written."""
    try:
        return plain(node, Any)
    except ValueError:
        return node.value if isinstance(node, yaml.ScalarNode) else yaml.serialize(node).strip()


def fits(value: Any, kind: Any) -> bool:
    """Says whether a value is of a type, with no silent loss (3.7 is no int, true is no number)."""
    if typing.get_origin(kind) is list:
        item = typing.get_args(kind)[0]
        return isinstance(value, list) and all(fits(v, item) for v in value)
    if typing.get_origin(kind) is dict:
        return isinstance(value, dict)
    if kind is float:
        number = isinstance(value, (int, float)) and not isinstance(value, bool)
        return number and value == value  # NaN is not a setting
    if kind is int:
        return isinstance(value, int) and not isinstance(value, bool)
    return isinstance(value, kind) if isinstance(kind, type) else True


def texts_in(value: Any) -> list[str]:
    """Returns every text in a value."""
    if isinstance(value, list):
        return [text for item in value for text in texts_in(item)]
    return [value] if isinstance(value, str) else []


def type_words(hint: Any) -> str:
    """Returns a type in words a user knows."""
    kind, inner = base_type(hint), typing.get_args(base_type(hint))
    names = {str: "text", int: "a whole number", float: "a number", bool: "true or false"}
    if typing.get_origin(kind) is list:
        words = {int: "a list of whole numbers", float: "a list of numbers"}.get(inner[0])
        words = words or "a list such as [a, b]"
    elif typing.get_origin(kind) is dict:
        words = "entries such as {key: value}"
    else:
        words = names.get(kind, str(kind))
    return f"{words} or null" if is_optional(hint) else words


def all_keys(cls: Any, prefix: str = "") -> list[str]:
    """Returns every dotted key of a schema."""
    found = []
    for name, hint in hints_of(cls).items():
        found.append(prefix + name)
        if dataclasses.is_dataclass(base_type(hint)):
            found += all_keys(base_type(hint), f"{prefix}{name}.")
    return found


def value_words(value: Any) -> str:
    """Returns the type of a value in words."""
    names = {str: "text", int: "whole number", float: "number", bool: "true/false", list: "list"}
    names[dict] = "entries"
    return names.get(type(value), type(value).__name__)


def node_words(node: yaml.Node) -> str:
    """Returns the kind of a node in words."""
    return "list" if isinstance(node, yaml.SequenceNode) else "single value"


def compose(text: str) -> yaml.Node | None:
    """Returns the root node of YAML text, or None when it is empty; YAMLError otherwise."""
    from ..yaml_limits import refuse_depth, refuse_strange

    refuse_depth(text)
    loader = Loader(text)
    try:
        node = loader.get_single_node()
    except RecursionError:
        raise yaml.MarkedYAMLError(problem="nested too deep for settings") from None
    finally:
        loader.dispose()
    if node is not None:
        refuse_strange(node)
    return node


def shown(value: Any) -> str:
    """Returns a value as it stands in a sentence: not more than its beginning."""
    text = str(value)
    return text if len(text) <= 100 else f"{text[:100]}..."


def text_node(text: str) -> yaml.ScalarNode:
    """Returns a node that holds text literally."""
    return yaml.ScalarNode("tag:yaml.org,2002:str", text, style="'")


def map_node(key: str, value: yaml.Node) -> yaml.MappingNode:
    """Returns the node of `key: value`."""
    return yaml.MappingNode("tag:yaml.org,2002:map", [(text_node(key), value)])


def null_node() -> yaml.ScalarNode:
    """Returns a node that holds null."""
    return yaml.ScalarNode("tag:yaml.org,2002:null", "null")


def is_null(node: yaml.Node) -> bool:
    """Says whether a node is null."""
    return node.tag == "tag:yaml.org,2002:null"


def is_bool(node: yaml.Node) -> bool:
    """Says whether a node is true or false, which YAML also takes yes, no, on and off for."""
    return node.tag == "tag:yaml.org,2002:bool"


def is_plain_text(node: yaml.Node) -> bool:
    """Says whether a word of the command line is text as it stands, such as 123 or query: x.

    Not text are true and false, null, and what is in brackets or braces; in quotes they are.
    """
    if isinstance(node, yaml.CollectionNode):
        return not node.flow_style
    return not is_bool(node) and not is_null(node) and not is_quoted(node)


def is_quoted(node: yaml.Node) -> bool:
    """Says whether a node was written in quotes."""
    return isinstance(node, yaml.ScalarNode) and node.style in ("'", '"')


def error_place(error: yaml.YAMLError) -> str:
    """Returns ' at line n' of a YAML error, where known."""
    mark = getattr(error, "problem_mark", None)
    return f" at line {mark.line + 1}" if mark is not None else ""


def error_cause(error: Exception) -> str:
    """Returns the first line of what an error says."""
    return getattr(error, "problem", None) or str(error).splitlines()[0]


def to_yaml(config: Any) -> str:
    """Returns every setting as YAML that reads back equal."""
    return OmegaConf.to_yaml(OmegaConf.create(as_dict(config)))


def as_dict(config: Any) -> dict[str, Any]:
    """Returns the settings of a section, and of the sections in it, as plain values."""
    return {name: _plain_value(getattr(config, name)) for name in hints_of(type(config))}


def _plain_value(value: Any) -> Any:
    if dataclasses.is_dataclass(value):
        return as_dict(value)
    if isinstance(value, dict):
        return {key: _plain_value(inner) for key, inner in value.items()}
    return value


def field_docs(cls: type) -> dict[str, str]:
    """Returns the docstring written under each field of a dataclass."""
    docs: dict[str, str] = {}
    for owner in reversed(cls.__mro__[:-1]):
        tree = ast.parse(textwrap.dedent(inspect.getsource(owner))).body[0]
        body = typing.cast(ast.ClassDef, tree).body
        for before, after in itertools.pairwise(body):
            if not isinstance(before, ast.AnnAssign) or not isinstance(before.target, ast.Name):
                continue
            if isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant):
                docs[before.target.id] = inspect.cleandoc(str(after.value.value))
    return docs


def first_line_of(cls: Any, key: str) -> str:
    """Returns the first line of the docstring of a dotted key."""
    *sections, name = key.split(".")
    for section in sections:
        cls = base_type(hints_of(cls)[section])
    return (field_docs(cls).get(name) or "").partition("\n")[0]


def documented_yaml(config: Any, indent: int = 0, order: tuple[str, ...] = ()) -> str:
    """Returns the YAML of a config with each field's docstring as the comment above it.

    `order` names all top-level keys in the order wanted; none: that of the dataclass.
    """
    lines, pad, docs = [], "  " * indent, field_docs(type(config))
    for name in order or hints_of(type(config)):
        value = getattr(config, name)
        is_section = dataclasses.is_dataclass(value)
        comment = docs.get(name, "")
        if is_section and not comment:
            comment = inspect.cleandoc(type(value).__doc__ or "").splitlines()[0]
        if is_section:
            lines.append("") if indent == 0 else None
        lines += textwrap.wrap(comment, 98, initial_indent=f"{pad}# ",
                               subsequent_indent=f"{pad}# ", break_long_words=False,
                               break_on_hyphens=False)  # fmt: skip
        if is_section:
            lines += [f"{pad}{name}:", documented_yaml(value, indent + 1).rstrip("\n")]
        else:
            shown = yaml.safe_dump(value, default_flow_style=True, allow_unicode=True, width=10**6)
            lines.append(f"{pad}{name}: {shown.removesuffix(chr(10)).removesuffix('...').strip()}")
    return "\n".join(lines).lstrip("\n") + "\n"

"""Opens one YAML file of settings, and says in one sentence why it cannot be read."""

from __future__ import annotations

from pathlib import Path

import yaml

from ..data.wording import setting
from . import yaml_format as yt
from .named_recipes import missing_file

TABLES = (".csv", ".tsv", ".parquet", ".jsonl", ".xlsx")


def settings_node(path: Path) -> yaml.MappingNode | None:
    """Returns the root of a settings file, None of an empty one; ValueError says what is wrong."""
    if path.suffix.lower() in TABLES:
        word = setting("data.manifest", path)
        raise ValueError(f"is a table, not a YAML file of settings; write {word}")
    try:
        node = yt.compose(path.read_bytes().decode("utf-8-sig"))
    except FileNotFoundError:
        raise ValueError(missing_file(path)) from None
    except IsADirectoryError:
        word = setting("data.manifest", path)
        raise ValueError(f"is a folder; if it holds your recordings, write {word}") from None
    except OSError as error:
        raise ValueError(error.strerror) from None
    except UnicodeDecodeError as error:
        raise ValueError(f"is not UTF-8 text (byte {error.start})") from None
    except yaml.YAMLError as error:
        sentence = f"is not valid YAML{yt.error_place(error)}: {yt.error_cause(error)}"
        raise ValueError(sentence) from None
    if node is not None and not isinstance(node, yaml.MappingNode):
        raise ValueError(f"must hold 'key: value' lines, got a {yt.node_words(node)}")
    return node

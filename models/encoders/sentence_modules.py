"""What a sentence-transformers folder says beside its model: length, pooling, prompt, more steps.

A text is cut where the folder's authors cut it. How they pool and what they put before a text are
settings here; where these differ from the folder's own, that is said.
"""

from __future__ import annotations

from typing import Any

from . import hub

UNLIMITED = 10**6  # tokenizers without a limit state numbers such as 10**30


def stated_length(source: hub.HubSource) -> int | None:
    """Returns the tokens at which the folder's own settings cut a text, None where none does."""
    sentence = hub.load_json(source, "sentence_bert_config.json").get("max_seq_length")
    tokenizer = hub.load_json(source, "tokenizer_config.json").get("model_max_length")
    said = [n for n in (sentence, tokenizer) if type(n) is int and 2 < n < UNLIMITED]
    return min(said, default=None)


def differences(source: hub.HubSource, pooling: str, prefix: str) -> list[str]:
    """Returns a sentence for each thing that the folder's authors do and the settings do not."""
    given = f"{source.setting}={source.name}"
    section = source.setting.rpartition(".")[0]
    notes = []
    for name, module in _modules(source):
        kind = str(module.get("type", "")).rpartition(".")[2]
        if kind == "Pooling":
            theirs = _pooling(hub.load_json(source, f"{name}/config.json"))
            if theirs not in ("mean", pooling):
                remedy = f"; {section}.pooling=cls does as they do" if theirs == "cls" else ""
                notes.append(
                    f"{given} pools its tokens by '{theirs}' in sentence-transformers; here "
                    f"{section}.pooling={pooling} is used{remedy}"
                )
        elif kind == "Normalize":
            continue  # only a length, of vectors that are standardised before anything is learned
        elif kind != "Transformer":
            notes.append(
                f"{given} has a further step in sentence-transformers, '{kind:.40}', which is "
                f"not applied here: vectors are its tokens' mean"
            )
    about = hub.load_json(source, "config_sentence_transformers.json")
    prompts = about.get("prompts") or {}
    default = prompts.get(about.get("default_prompt_name")) if isinstance(prompts, dict) else None
    if isinstance(default, str) and default and default != prefix:
        notes.append(
            f"{given} has {default[:60]!r} put before each text in sentence-transformers; here "
            f"{section}.prefix is {prefix[:60]!r}"
        )
    return notes


def _modules(source: hub.HubSource) -> list[tuple[str, dict[str, Any]]]:
    """Returns folder and entry of each step that modules.json lists."""
    steps = hub.load_list(source, "modules.json")
    return [(str(step.get("path", "")), step) for step in steps if isinstance(step, dict)]


def _pooling(config: dict[str, Any]) -> str:
    """Returns the name of the pooling that a Pooling step states, in either spelling."""
    if isinstance(config.get("pooling_mode"), str):
        return config["pooling_mode"]
    prefix, suffix = "pooling_mode_", "_tokens"
    on = [key for key, value in config.items() if key.startswith(prefix) and value is True]
    names = [key.removeprefix(prefix).removesuffix(suffix).removesuffix("_token") for key in on]
    return "+".join(names) or "mean"

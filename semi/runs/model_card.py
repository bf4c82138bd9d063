"""The model card of a run: what it learned from, how it was judged, how far it may be trusted.

It names no utterance, speaker, text or path: sides and groups are counted, never listed. What the
run cannot know is marked [More information needed], as cards on the Hugging Face hub do.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..data.wording import listed
from ..errors import RunError
from ..evaluation import report_scores
from ..evaluation.multitask import YES
from ..evaluation.report_rows import read_answers
from ..evaluation.reviewed_precision import precision_sentence
from ..evaluation.run_json import RESULT, read_result, round_records
from ..evaluation.text import SPLIT_TITLES, columns, floor_sentence, over, percent, scored, verdict
from ..self_training.model_dir import Model, find_model, load_model
from .card_answers import several_answers, value_ranges
from .card_data import data_facts, leak_words, table_facts
from .card_metadata import CardWords, is_language, metadata
from .published_model import local_encoders

if TYPE_CHECKING:
    import pandas as pd

TEMPLATE = "model_card.md.j2"
ROLE_OF = {"metrics_test": "test", "metrics_dev": "dev", "metrics_oof": "labeled"}
FEW = 20  # gold held-out rows of a class below which its scores say little
FEW_GROUPS = 10  # speakers below which an interval over them is rough


def model_card(
    run: str | Path, words: CardWords | None = None, *, name: str = "",
    table: pd.DataFrame | None = None,
) -> str:  # fmt: skip
    """Returns a README.md in Markdown, with the hub's metadata at its top.

    Args:
        run: folder of a finished run, or a model directory alone, of which less is known.
        words: what its maker says.
        name: org/name that it will have on the hub; "" = not yet known.
        table: the run's utterances, for hours and languages; None = not at hand.
    """
    words = words or CardWords()
    home = find_model(run)
    model = load_model(home)
    folder = run_of(home)
    facts = table_facts(table)
    languages = list(words.languages) or [c for c in facts.languages if is_language(c)]
    records = round_records(folder) if folder else []
    answers = read_answers(folder) if folder else []
    result = (read_result(folder) if folder else None) or {}
    best, key = report_scores.best_of(records, result), report_scores.key_of(records)
    modalities = list(model.ensemble.dims)
    title = name.partition("/")[2] or (folder.name if folder else model.config.name)
    yaml = metadata(
        title, words, modalities=modalities, encoders=hub_encoders(model), languages=languages,
        metrics=best.get(key) or {}, part=key.removeprefix("metrics_"),
        calibrated=model.config.task.kind != "affect",
    )  # fmt: skip
    return _template().render(
        yaml=yaml.rstrip(), title=title, name=name or "org/name", words=words, languages=languages,
        model=model_facts(model), data=data_facts(folder, facts),
        several=several_answers(answers, ROLE_OF[key], model.classes)
        if model.config.task.multi else None,
        ranges=value_ranges(answers), example=_example(modalities, model),
        result=result, sentence=result.get("sentence") or model.facts.get("sentence") or "",
        **_judged(records, best, key, result), reviewed=_reviewed(folder),
        pseudo=_pseudo(best, model),
        limits=limits(best.get(key) or {}, model, leak_words(result.get("leaks"))),
    )  # fmt: skip


def run_of(home: Path) -> Path | None:
    """Returns the finished run that a model directory lies in, None where it lies alone."""
    run = home.parent
    return run if home.name == "model" and (run / RESULT).is_file() else None


def hub_encoders(model: Model) -> list[str]:
    """Returns the names on the hub of the encoders that the model stands on."""
    names = [str(what.get("model") or "") for what in model.identities.values()]
    return list(dict.fromkeys(name for name in names if name.count("/") == 1 and name[0] != "/"))


def model_facts(model: Model) -> dict[str, Any]:
    """Returns what the model is: classes, inputs, size, encoders."""
    config = model.config
    sections = _sections(model)
    local = {word.partition(" ")[0] for word in local_encoders(config)}
    inputs = []
    for modality, width in model.ensemble.dims.items():
        of = modality.partition(".")[0]
        encoder = getattr(sections.get(of), "model", "precomputed")
        encoder = Path(encoder).name if of in local else encoder
        revision = str(model.identities.get(modality, {}).get("revision") or "")
        inputs.append(
            {"name": modality, "width": width, "local": of in local,
             "encoder": encoder, "revision": revision}
        )  # fmt: skip
    return {
        "classes": model.classes, "kind": config.model.kind, "task": config.task.kind,
        "multi": config.task.multi, "affect": config.task.kind != "single"
        and model.ensemble.config.affect,
        "count": model.ensemble.count, "inputs": inputs,
        "parameters": sum(t.numel() for t in model.ensemble.tensors().values()),
    }  # fmt: skip


def _judged(
    records: Sequence[dict], best: dict, key: str, result: dict[str, Any]
) -> dict[str, Any]:  # fmt: skip
    """Returns the scores, floor, rounds, confusion and calibration of the card."""
    if not records:
        return {"scores": [], "rounds": [], "part": None, "floor": "", "confusion": "", "ships": ""}
    now, start, names = best.get(key) or {}, records[0].get(key) or {}, columns(best.get(key) or {})
    part = report_scores.part(best, key)
    head = report_scores.headline(records, result)
    return {
        "ships": head["ships"], "gain": head["gain"], "metric": head["metric"],
        "floor": floor_sentence(records),
        "scores": [(title, scored(start, n), scored(now, n)) for n, title in names.items()],
        "other": [(title, text) for title, text in part["scores"] if title not in names.values()],
        "part": part, "where": SPLIT_TITLES[key], "over": over(now), "kind": key,
        "confusion": now.get("confusion") or [],
        "calibration": [percent(now.get(k)) if k == "ece" else f"{now[k]:.3f}"
                        for k in ("ece", "brier", "nll") if now.get(k) is not None],
        "metric_names": list(names.values()),
        "rounds": [(r.get("round", 0), verdict(r), r.get("added") or "-",
                    [scored(r.get(key), n) for n in names]) for r in records],
    }  # fmt: skip


def _pseudo(best: dict, model: Model) -> dict[str, Any]:
    """Returns what the machine labelled itself, by which rule, and how right that should be."""
    row, select = report_scores.round_row(best, best) if best else {}, model.config.select
    asked = select.precision_target
    return {
        "added": best.get("added") or 0, "rule": best.get("rule"),
        "precision": row.get("precision"), "hidden": best.get("pseudo") or {},
        "sure": row.get("sure"), "mix": row.get("mix"),
        "target": percent(asked) if isinstance(asked, float) else "", "alpha": select.alpha,
    }  # fmt: skip


def _reviewed(run: Path | None) -> str:
    """Returns how right the pseudo-labels are by people's reviews, '' where nobody reviewed."""
    try:
        return precision_sentence(run) if run else ""
    except RunError:  # somebody's own file, which is damaged
        return ""


def limits(metrics: dict[str, Any], model: Model, leaks: Sequence[str]) -> list[str]:
    """Returns what speaks against trusting the scores, in sentences."""
    found = []
    units = [i["units"] for i in (metrics.get("intervals") or {}).values() if i.get("kind")]
    if not metrics:
        found.append("No scores are known of it here: it came without its run.")
    elif units and max(units) < FEW_GROUPS:
        found.append(
            f"It was scored on {report_scores.groups(metrics)}: others may be far above or below."
        )
    if leaks:
        found.append(
            f"Training and held-out rows share something, which flatters its scores: "
            f"{listed(leaks)}."
        )
    support = zip(metrics.get("classes") or [], metrics.get("support") or [], strict=False)
    few = [f"{name} ({int(n)})" for name, n in support if n < FEW]
    if few:
        found.append(
            f"Classes with fewer than {FEW} gold rows there, whose scores say little: "
            f"{listed(few, 12)}."
        )
    if model.standardizer.mode == "speaker":
        found.append(
            "Features are scaled by speaker. The speakers it was trained on are not part of it: "
            "everybody is new, and is scaled by all of their rows that are given at once."
        )
    if local := local_encoders(model.config):
        found.append(
            f"Its encoder of {listed(local)} is a folder of the machine it was trained on and is "
            "not part of it: only who has the same one can use it."
        )
    if model.config.task.multi:
        found.append(
            "It knows these classes and no other. `predict` names the likeliest one where none "
            f"reaches {YES}, so look at `p_<class>`."
        )
    elif model.config.task.kind != "affect":
        found.append(
            "It knows these classes and no other: what is none of them gets their probabilities "
            "too, so look at `confidence`."
        )
    else:
        found.append("It gives values alone, and with none of them how far off it may be.")
    found.append(
        "It was trained on what people heard or read in others, which is not what those felt. Do "
        "not decide about anybody by it alone."
    )
    return found


def _example(modalities: Sequence[str], model: Model) -> str:
    """Returns what predict is called with, as Python."""
    sections = _sections(model)
    if any(getattr(sections.get(m), "model", "precomputed") == "precomputed" for m in modalities):
        return "table, arrays={" + ", ".join(f'"{m}": "{m}.npz"' for m in modalities) + "}"
    parts = ['["a.wav"]'] * ("speech" in modalities)
    return ", ".join([*parts, *(['texts=["what was said"]'] * ("text" in modalities))])


def _sections(model: Model) -> dict[str, Any]:
    """Returns modality -> settings of its encoder, of those that read sounds and texts."""
    return {"speech": model.config.encoders.speech, "text": model.config.encoders.text}


def _template() -> Any:
    from jinja2 import Environment, PackageLoader

    # Markdown, no HTML: what stands in angle brackets is shown by the hub as text or dropped
    environment = Environment(loader=PackageLoader("semi.runs", "."), autoescape=False,
                              trim_blocks=True, lstrip_blocks=True,
                              keep_trailing_newline=True)  # fmt: skip
    environment.filters["cell"] = markdown_cell
    return environment.get_template(TEMPLATE)


def markdown_cell(value: object) -> str:
    """Returns a text as it stands in a table of Markdown: no bar, line end or tag begins in it."""
    text = " ".join(str(value).split())
    for char in "\\|`*_<[":
        text = text.replace(char, f"\\{char}")
    return text

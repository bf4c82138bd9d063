"""Tells when another package has taken the name of one of ours, before an import goes astray.

Our three parts have names that are common elsewhere: `models`, `noise`, `pseudo_label`.
"""

from __future__ import annotations

import importlib.util
import os
import sys
from pathlib import Path

from .errors import how_to_reinstall

HOME = Path(__file__).resolve().parent.parent
# How the __init__.py of each begins: another's file in its place is known by that.
BEGINNINGS = {
    "models": '"""Torch modules and pure loss functions',
    "noise": '"""Noise schedules and corruptions of embeddings',
    "pseudo_label": '"""Selection of pseudo-labels as pure functions',
}


def refuse_foreign_packages() -> None:
    """Raises ImportError where a package of another project stands in the place of one of ours.

    Where the command `semi` is being started, it is one sentence on stderr and exit status 2.
    """
    sentence = next((s for s in map(_foreign, BEGINNINGS) if s), "")
    if sentence and _is_the_command():
        print(f"semi: error: {sentence}", file=sys.stderr)
        sys.exit(2)
    if sentence:
        raise ImportError(sentence)


def _foreign(name: str) -> str:
    """Returns what is wrong with the package that Python would import by this name, or ''."""
    ours = (HOME / name).resolve()
    begun = f"semi needs its own package '{name}' in {ours}, but"
    if not (ours / "__init__.py").is_file():
        return f"{begun} it is not there; {how_to_reinstall()}"
    found = _place(name)
    if found is None:
        return f"{begun} Python does not look there; put {HOME} into PYTHONPATH"
    if found.resolve() != ours and name in sys.modules:
        return (
            f"{begun} the one in {found} was imported before; one program cannot use both, so "
            "rename that one, or run semi in a program of its own"
        )
    if found.resolve() != ours:
        return f"{begun} Python finds {found} first; {_remedy(name, found)}"
    with open(ours / "__init__.py", "rb") as file:
        beginning = BEGINNINGS[name].encode()
        if file.read(len(beginning)) == beginning:
            return ""
    project = _project(name) or "the project it belongs to"
    return (
        f"{begun} another one was installed over it; pip uninstall {project}, then "
        f"{how_to_reinstall()}"
    )


def _place(name: str) -> Path | None:
    """Returns the folder or file that Python imports by this name; None where it finds none."""
    module = sys.modules.get(name)
    if module is not None:
        places = [*getattr(module, "__path__", []), getattr(module, "__file__", None)]
    else:
        spec = importlib.util.find_spec(name)
        places = [] if spec is None else [*(spec.submodule_search_locations or []), spec.origin]
    return next((Path(place) for place in places if place), None)


def _remedy(name: str, found: Path) -> str:
    """Returns how to have ours found before the package of another project at `found`."""
    folder = found.parent
    on_path = [Path(p).resolve() for p in os.environ.get("PYTHONPATH", "").split(os.pathsep) if p]
    if folder.resolve() in on_path:
        return f"take {folder} out of PYTHONPATH, or rename that '{name}'"
    if project := _project(name, folder):
        return f"pip uninstall {project}, or install semi into an environment of its own"
    return f"start from another folder than {folder}, or rename that '{name}'"


def _project(name: str, folder: Path | None = None) -> str:
    """Returns the installed project, other than semi, that brings a package of this name, or ''.

    Args:
        name: of the package.
        folder: where the project is installed; None: anywhere.
    """
    from importlib.metadata import distributions

    for project in distributions(path=sys.path if folder is None else [str(folder)]):
        called = project.metadata["Name"] or ""
        files = project.files or []
        if called != "semi-emotion" and any(f.parts[0] in (name, f"{name}.py") for f in files):
            return called
    return ""


def _is_the_command() -> bool:
    """Says whether this process was started as `semi ...` or as `python -m semi ...`."""
    started = sys.argv[0] if sys.argv else ""
    if started == "-m":  # as long as Python looks for the module
        words = sys.orig_argv
        return words[words.index("-m") + 1 :][:1] == ["semi"]
    return Path(started).stem == "semi"

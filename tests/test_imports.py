"""The direction of imports, read from the source: parts know nothing of us, floors look down."""

import ast
import subprocess
import sys
from fnmatch import fnmatch
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PARTS = ("models", "noise", "pseudo_label")

# A module may import modules of lower floors, and of its own floor if they import nothing back.
# A package stands for all its modules: data/, features/.
FLOORS = [
    {"errors", "threads"},
    {"files", "evaluation", "intervals", "yaml_text", "figures", "verbs"},
    {
        "settings",
        "training_config",
        "task_config",
        "task_metrics",
        "finetune_config",
        "distill_config",
        "search_space",
        "search_gain",
        "words",
        "tracking",
        "answers",
        "probabilities",
    },
    {
        "data",
        "features",
        "config",
        "learning",
        "recipes",
        "ensemble",
        "problem",
        "objective",
        "stepping",
        "batches",
        "online",
        "learning_losses",
        "affect_scale",
    },
    {
        "run",
        "training",
        "teaching",
        "checking",
        "report",
        "tasks",
        "task_report",
        "estimator_input",
        "outside",
    },
    {
        "probes",
        "pools",
        "round_state",
        "gate",
        "adapted",
        "axes",
        "closed_form",
        "starts",
        "estimator_table",
    },
    {
        "task_rounds",
        "rounds",
        "ledger",
        "round_report",
        "recorder",
        "model_dir",
        "progress",
        "show",
    },
    {"soft_labels", "distill_lessons"},
    {"student"},
    {"audition"},
    {"prepared"},
    {"predict", "evaluate_run", "self_training", "demo", "estimator", "fidelity"},
    # families of rooms, one command each
    {"finetune", "finetune_*", "prune_*", "dry_run", "bench_*", "benchmark"},
    {"finished", "latency", "answer_scores"},
    {"comparison", "mixing", "by_value", "search_batch", "search_trials"},
    {"ensembling", "all_folds", "compare", "submit", "search", "export", "teacher"},
    {"distill"},
    {"ablate", "run_verbs"},
    {"cli", "__main__", "__init__"},
]


def modules(package):
    return sorted((ROOT / package).rglob("*.py"))


def imported(path):
    """Returns (dotted absolute name, is it at the top of the module?) of everything imported."""
    package = path.relative_to(ROOT).parts[:-1]
    tree = ast.parse(path.read_text(encoding="utf-8"))
    lazy = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) or _type_checking(node)
        for inner in ast.walk(node)
    }
    for node in ast.walk(tree):
        top = id(node) not in lazy
        if isinstance(node, ast.Import):
            yield from ((alias.name, top) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = ".".join(package[: len(package) - node.level + 1]) if node.level else ""
            stem = ".".join(p for p in (base, node.module or "") if p)
            if node.module and not (ROOT / stem.replace(".", "/")).is_dir():
                yield stem, top
            else:
                yield from ((f"{stem}.{alias.name}", top) for alias in node.names)


def _type_checking(node):
    return isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test)


@pytest.mark.parametrize("part", PARTS)
def test_a_part_imports_nothing_else_of_ours(part):
    for path in modules(part):
        for name, _ in imported(path):
            root = name.partition(".")[0]
            assert root not in {"semi", "omegaconf", "tests", *PARTS} - {part}, f"{path}: {name}"


@pytest.mark.parametrize("part", PARTS)
def test_a_part_uses_relative_imports_inside_itself(part):
    for path in modules(part):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and not node.level:
                assert (node.module or "").partition(".")[0] != part, f"{path}: {node.module}"


def floor_of(name):
    """Returns the floor of a room: by its own name, else by its family's pattern."""
    exact = (k for k, rooms in enumerate(FLOORS) if name in rooms)
    family = (k for k, rooms in enumerate(FLOORS) if any(fnmatch(name, r) for r in rooms))
    return next(exact, next(family, None))


def test_every_room_of_semi_has_a_floor():
    rooms = {p.relative_to(ROOT / "semi").parts[0].removesuffix(".py") for p in modules("semi")}
    assert {room for room in rooms if floor_of(room) is None} == set()


def test_nothing_in_semi_runs_back_up():
    wrong = []
    for path in modules("semi"):
        room = path.relative_to(ROOT / "semi").parts[0].removesuffix(".py")
        if room == "__init__":
            continue
        for name, top in imported(path):
            parts = name.split(".")
            if parts[0] != "semi" or len(parts) < 2 or parts[1] == room or not top:
                continue
            other = floor_of(parts[1])
            if other is not None and other > (floor_of(room) or 0):
                wrong.append(f"{path.relative_to(ROOT)} imports {name}")
    assert wrong == []


def test_what_is_imported_lazily_makes_no_circle_either():
    arrows = {}
    for path in modules("semi"):
        room = path.relative_to(ROOT / "semi").parts[0].removesuffix(".py")
        if room in ("__init__", "__main__"):
            continue
        for name, _ in imported(path):
            parts = name.split(".")
            if parts[0] == "semi" and len(parts) > 1 and parts[1] not in (room, "__version__"):
                arrows.setdefault(room, set()).add(parts[1])
    seen: set[str] = set()

    def walk(room, way):
        assert room not in way, " -> ".join([*way, room])
        if room not in seen:
            for other in sorted(arrows.get(room, ())):
                walk(other, [*way, room])
            seen.add(room)

    for room in sorted(arrows):
        walk(room, [])


def run_python(program):
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program], capture_output=True, text=True, cwd=ROOT
    )
    assert done.returncode == 0, "\n".join(done.stderr.splitlines()[-4:])
    return done.stdout


def test_the_command_line_imports_nothing_heavy():
    heavy = ("torch", "pandas", "numpy", "omegaconf", "transformers", "sklearn", "yaml", "rich")
    program = (
        "import sys, semi.cli\n"
        "try: semi.cli.main(['--help'])\n"
        "except SystemExit: pass\n"
        f"print('HEAVY', [m for m in {heavy!r} if m in sys.modules])"
    )
    assert run_python(program).splitlines()[-1] == "HEAVY []"


def test_reading_a_configuration_imports_no_transformers():
    program = "import sys, semi.config; print('transformers' in sys.modules)"
    assert run_python(program) == "False\n"


def test_importing_any_module_prints_nothing():
    names = [
        ".".join(p.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        for package in ("semi", *PARTS)
        for p in modules(package)
        if p.name != "__main__.py"
    ]
    program = "import importlib\nfor n in " + repr(names) + ": importlib.import_module(n)"
    assert run_python(program) == ""


def test_the_top_of_the_library_is_small():
    import semi

    errors = {n for n in semi.__all__ if n.endswith("Error")}
    assert "SemiError" in errors and len(errors) == 7
    assert set(semi.__all__) - errors == {
        "Config",
        "evaluate",
        "extract",
        "load",
        "load_config",
        "self_train",
    }
    with pytest.raises(AttributeError, match="module 'semi' has no attribute 'trian'"):
        semi.trian  # noqa: B018


def test_a_foreign_package_of_a_common_name_is_named(tmp_path):
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "__init__.py").write_text("")
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            f"import sys; sys.path[:0] = [{str(tmp_path)!r}, {str(ROOT)!r}]\nimport semi",
        ],
        capture_output=True,
        text=True,
        cwd=tmp_path,
    )
    assert done.returncode == 1
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("ImportError: semi needs its own package 'models' in ")
    assert f"but Python finds {tmp_path / 'models'} first" in last


def test_no_file_is_long():
    long = [
        f"{p.relative_to(ROOT)}: {n} lines"
        for package in ("semi", *PARTS)
        for p in modules(package)
        if (n := len(p.read_text(encoding="utf-8").splitlines())) > 400
    ]
    assert long == []

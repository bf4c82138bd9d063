"""The direction of imports, read from the source: parts know nothing of us, floors look down."""

import ast
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PARTS = ("models", "noise", "pseudo_label")

# The rooms of semi/, from the bottom up: a module may import what stands on a lower floor. A folder
# is one room with all its modules.
FLOORS = (
    ("errors", "flight", "formulas", "host_names", "shipped", "threads", "yaml_limits"),
    ("files", "foreign", "hub_names", "locks", "ray_cells"),
    ("parallel", "shapes"),
    ("guarded_files",),
    ("checksums",),
    ("data",),
    ("devices",),
    ("evaluation",),
    ("features",),
    ("config",),
    ("training",),
    ("self_training",),
    ("runs",),
    ("outside", "review"),
    ("serving",),
    ("experiments",),
    ("estimator_columns", "estimator_labels"),
    ("completion", "estimator"),
    ("verbs",),
    (
        "data_verbs",
        "experiment_verbs",
        "hub_verbs",
        "review_verbs",
        "run_verbs",
        "serve_verbs",
        "vote_verbs",
    ),
    ("cli",),
    ("__main__", "__init__"),
)
FOLDERS = {"config", "data", "evaluation", "experiments", "features", "outside", "review", "runs",
           "self_training", "serving", "training"}  # fmt: skip


def modules(package):
    return sorted((ROOT / package).rglob("*.py"))


def imported(path):
    """Yields (line, dotted absolute name, does it run or serve type checkers alone?)."""
    package = path.relative_to(ROOT).parts[:-1]
    tree = ast.parse(path.read_text(encoding="utf-8"))
    types = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test)
        for inner in ast.walk(node)
    }
    for node in ast.walk(tree):
        runs = id(node) not in types
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name, runs) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = ".".join(package[: len(package) - node.level + 1]) if node.level else ""
            stem = ".".join(p for p in (base, node.module or "") if p)
            if node.module and not (ROOT / stem.replace(".", "/")).is_dir():
                yield node.lineno, stem, runs
            else:
                yield from ((node.lineno, f"{stem}.{alias.name}", runs) for alias in node.names)


@pytest.mark.parametrize("part", PARTS)
def test_a_part_imports_nothing_else_of_ours(part):
    for path in modules(part):
        for line, name, _ in imported(path):
            root = name.partition(".")[0]
            allowed = root not in {"semi", "omegaconf", "tests", *PARTS} - {part}
            assert allowed, f"{path.relative_to(ROOT)}:{line} imports {name}"


@pytest.mark.parametrize("part", PARTS)
def test_a_part_uses_relative_imports_inside_itself(part):
    for path in modules(part):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and not node.level:
                assert (node.module or "").partition(".")[0] != part, f"{path}: {node.module}"


def room_of(path):
    """Returns the room that a module of semi/ belongs to."""
    return path.relative_to(ROOT / "semi").parts[0].removesuffix(".py")


def arrows():
    """Yields (place, room, imported room, imported module) of every arrow between rooms."""
    for path in modules("semi"):
        for line, name, _ in imported(path):
            parts = name.split(".")
            if parts[0] == "semi" and len(parts) > 1 and parts[1] not in (
                room_of(path), "__version__"
            ):  # fmt: skip
                yield f"{path.relative_to(ROOT)}:{line}", room_of(path), parts[1], name


def test_semi_is_eleven_folders_and_a_door():
    rooms = {room_of(p) for p in modules("semi")}
    assert rooms == {room for floor in FLOORS for room in floor}
    assert {room for room in rooms if (ROOT / "semi" / room).is_dir()} == FOLDERS


def test_every_folder_says_in_one_sentence_what_it_is_for():
    for folder in (p.parent for p in modules("semi") if p.name == "__init__.py"):
        said = ast.get_docstring(ast.parse((folder / "__init__.py").read_text(encoding="utf-8")))
        assert said and said.partition("\n")[0].endswith("."), folder


def test_nothing_in_semi_runs_back_up():
    floor = {room: number for number, rooms in enumerate(FLOORS) for room in rooms}
    wrong = [
        f"{place} imports {name}"
        for place, room, other, name in arrows()
        if floor[other] >= floor[room]
    ]
    assert wrong == []


@pytest.mark.parametrize("package", ["semi", *PARTS])
def test_modules_import_each_other_in_one_direction(package):
    """Also inside a room, and also where an import waits in a function: no circle."""
    known = {
        ".".join(p.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        for p in modules(package)
    }
    after: dict[str, set[str]] = {}
    for path in modules(package):
        me = ".".join(path.relative_to(ROOT).with_suffix("").parts)
        if me.endswith("__init__"):
            continue
        names = {name for _, name, runs in imported(path) if runs}
        after[me] = {n for n in names if n in known and n != me}
    seen: set[str] = set()

    def walk(name, way):
        assert name not in way, " -> ".join([*way, name])
        if name not in seen:
            for other in sorted(after.get(name, ())):
                walk(other, [*way, name])
            seen.add(name)

    for name in sorted(after):
        walk(name, [])


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
    program = "import sys, semi.config.schema; print('transformers' in sys.modules)"
    assert run_python(program) == "False\n"


def test_importing_any_module_prints_nothing():
    # what imports an extra's library at its top is imported by one function, which tells its lack
    extra = ("fastapi", "prometheus_client", "pydantic")
    missing = {name for name in extra if find_spec(name) is None}
    names = [
        ".".join(p.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        for package in ("semi", *PARTS)
        for p in modules(package)
        if p.name != "__main__.py"
        and not missing & {name.partition(".")[0] for _, name, _ in imported(p)}
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


def test_no_file_is_long():
    long = [
        f"{p.relative_to(ROOT)}: {n} lines"
        for package in ("semi", *PARTS)
        for p in modules(package)
        if (n := len(p.read_text(encoding="utf-8").splitlines())) > 300
    ]
    assert long == []


def test_a_public_class_has_its_name_alone():
    """A traceback, a search and an import then mean one class."""
    places: dict[str, list[str]] = {}
    for path in (p for package in ("semi", *PARTS) for p in modules(package)):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                places.setdefault(node.name, []).append(str(path.relative_to(ROOT)))
    assert {name: at for name, at in places.items() if len(at) > 1} == {}


def constants(path):
    """Yields (name, source of its value) of the constants at the top of a module."""
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        targets = node.targets if isinstance(node, ast.Assign) else []
        for target in targets:
            names = target.elts if isinstance(target, ast.Tuple) else [target]
            value = node.value
            single = isinstance(target, ast.Tuple) and isinstance(value, ast.Tuple)
            values = value.elts if single else [value] * len(names)
            for name, one in zip(names, values, strict=True):
                if isinstance(name, ast.Name) and name.id.isupper() and name.id[0] != "_":
                    yield name.id, ast.unparse(one)


def test_a_constant_says_what_it_is():
    """A name with three values says too little. Readers of corpora are pages of one form: each has
    the pattern of its files' NAME and its own codes of EMOTIONS."""
    values: dict[str, set[str]] = {}
    for path in (p for package in ("semi", *PARTS) for p in modules(package)):
        for name, value in constants(path):
            if path.parent.name != "corpora" or name not in ("NAME", "EMOTIONS"):
                values.setdefault(name, set()).add(value)
    assert {name: found for name, found in values.items() if len(found) > 2} == {}


def test_no_name_is_a_verb_of_saying():
    """`told` and `said` name what the writer did with a value, and not the value."""
    found = [
        f"{path.relative_to(ROOT)}:{node.lineno} {name}"
        for package in ("semi", *PARTS)
        for path in modules(package)
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        for field in ("id", "name", "arg", "attr")
        if (name := getattr(node, field, None)) in ("told", "said")
    ]
    assert found == []


def test_no_function_is_long():
    long = [
        f"{path.relative_to(ROOT)}:{node.lineno} {node.name}: {lines} lines"
        for package in ("semi", *PARTS)
        for path in modules(package)
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))
        and (lines := (node.end_lineno or node.lineno) - node.lineno + 1) > 50
    ]
    assert long == []

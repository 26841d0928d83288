"""Holds the order of imports, and that every module can be imported on its own."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import fedtailor

ROOT = Path(fedtailor.__file__).parent
FILES = sorted(ROOT.rglob("*.py"))

# A line may import from the lines below it. On one line, a comma parts neighbours, which must not import each other; names
# that stand together are one idea and may.
ORDER = """
cli
report, studies
network
running
export
assembly
job
protocols
federation
personalization
aggregation, protection, learning, retrieval
prompting
tasks, tuning, models, data
ledger
interfaces, run_files
messages
metrics
records
yaml_text
text_files, storage
tensors, chance, clock, causes, diverged
errors, limits, printable
"""
LINES = [[idea.split() for idea in line.split(",")] for line in ORDER.strip().splitlines()]
PLACE = {name: (floor, idea) for floor, line in enumerate(LINES) for idea, names in enumerate(line) for name in names}

# An outside world is known to few; everybody else sees our own records.
EDGES = {
    "typer": {"cli"},
    "rich": {"cli", "report"},
    "pydantic": {"job"},
    "peft": {"tuning", "export"},
    "datasets": {"data"},
    "transformers": {"models", "tuning", "clock"},
    "nvflare": {"federation"},
    "matplotlib": {"report"},
    "pypdf": {"retrieval"},
}


def module_of(file: Path) -> list[str]:
    """Return the dotted name of a file of ours, as parts; a package is named as its folder."""
    parts = ["fedtailor", *file.relative_to(ROOT).with_suffix("").parts]
    return parts[:-1] if parts[-1] == "__init__" else parts


def imported(tree: ast.AST, module: list[str], is_package: bool) -> Iterator[tuple[int, str]]:
    """Yield line and dotted name of every import, wherever it stands: also in functions and under TYPE_CHECKING."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, name.name) for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            package = module if is_package else module[:-1]
            start = package[: len(package) - node.level + 1] if node.level else []
            base = [*start, *((node.module or "").split(".") if node.module else [])]
            whole_package = base == ["fedtailor"]  # `from .. import x`: x is the module
            yield from ((node.lineno, ".".join([*base, name.name] if whole_package else base)) for name in node.names)


def imports_of(file: Path) -> list[tuple[int, str]]:
    tree = ast.parse(file.read_text(encoding="utf-8"))
    return list(imported(tree, module_of(file), file.name == "__init__.py"))


def fault(importer: str, target: str) -> str | None:
    """Return why `importer` may not import `target`, both names of the top level, or None if it may."""
    if importer == target:
        return None
    if target not in PLACE:
        return f"{target} has no place in the order"
    (floor, idea), (below, other) = PLACE[importer], PLACE[target]
    if below > floor or (below == floor and idea == other):
        return None
    return "they are neighbours" if below == floor else f"{target} stands above {importer}"


def name_of(file: Path) -> str | None:
    """Return the top-level name that a file belongs to; None for the package itself, which stands above all."""
    parts = module_of(file)
    return parts[1] if len(parts) > 1 else None


def test_every_module_has_a_place():
    found = {name for file in FILES if (name := name_of(file))}
    assert sorted(found - set(PLACE)) == []


def test_imports_point_down():
    wrong = []
    for file in FILES:
        importer = name_of(file)
        for line, target in imports_of(file):
            parts = target.split(".")
            if parts[0] != "fedtailor" or importer is None:
                continue
            reason = fault(importer, parts[1]) if len(parts) > 1 else "the package itself stands above all its parts"
            wrong += [f"{file.relative_to(ROOT)}:{line} imports {target}: {reason}"] if reason else []
    assert wrong == []


def test_outside_worlds_stay_at_the_edge():
    wrong = [
        f"{file.relative_to(ROOT)}:{line} imports {target}"
        for file in FILES
        for line, target in imports_of(file)
        if (edge := EDGES.get(target.split(".")[0])) and name_of(file) not in edge
    ]
    assert wrong == []


@pytest.mark.parametrize(
    ("importer", "target", "allowed"),
    [
        ("cli", "errors", True),
        ("running", "export", True),  # one idea
        ("learning", "tasks", True),
        ("tasks", "learning", False),
        ("tasks", "models", False),  # neighbours
        ("learning", "protection", False),
        ("errors", "tensors", False),
        ("running", "nowhere", False),
    ],
)
def test_the_rule_itself(importer, target, allowed):
    assert (fault(importer, target) is None) is allowed


def test_hidden_imports_are_found():
    text = (
        "if TYPE_CHECKING:\n    from ..job import Job\n"
        "def f():\n    from .. import running\n    from .parts import x\n    import fedtailor.cli\n"
    )
    found = [target for _, target in imported(ast.parse(text), ["fedtailor", "data", "load"], False)]
    assert sorted(found) == ["fedtailor.cli", "fedtailor.data.parts", "fedtailor.job", "fedtailor.running"]


NAMES = {".".join(module_of(file)): file for file in FILES}


def executed(body: list[ast.stmt]) -> Iterator[ast.Import | ast.ImportFrom]:
    """Yield the imports that are carried out when a module is loaded: none inside functions or under TYPE_CHECKING."""
    for node in body:
        if isinstance(node, ast.Import | ast.ImportFrom):
            yield node
        elif isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            yield from executed(node.orelse)
        elif not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            for part in ("body", "orelse", "finalbody", "handlers"):
                yield from executed(getattr(node, part, []))


def parents(module: str) -> list[str]:
    """Return the packages around a module, outermost first."""
    parts = module.split(".")
    return [".".join(parts[:end]) for end in range(1, len(parts))]


def loaded_by(name: str, file: Path) -> set[str]:
    """Return the modules of ours that must be complete before the module `name` is."""
    found: set[str] = set()
    for node in executed(ast.parse(file.read_text(encoding="utf-8")).body):
        for _, base in imported(node, name.split("."), file.name == "__init__.py"):
            names = [f"{base}.{part.name}" for part in node.names] if isinstance(node, ast.ImportFrom) else [base]
            modules = {part for part in names if part in NAMES}
            wanted = modules | ({base} if len(modules) < len(names) and base in NAMES else set())
            around = {package for part in wanted for package in parents(part)} - set(parents(name)) - {name}
            found |= wanted | around
    return found - {name}


def test_any_module_can_be_the_first_to_be_imported():
    """It can if no module waits, by way of others, for itself."""
    waits = {name: loaded_by(name, file) for name, file in NAMES.items()}
    assert waits["fedtailor.job.job"] >= {"fedtailor.tasks", "fedtailor.errors"}  # the graph is not empty
    while free := [name for name, needed in waits.items() if not needed & waits.keys()]:
        for name in free:
            del waits[name]
    assert waits == {}


IMPORT_ALL = """
import importlib, sys
for name in sys.argv[1:]:
    try:
        importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name.split(".")[0] not in {"nvflare"}:  # an extra, known to the modules of a network alone
            print(f"{name}: {error}")
    except Exception as error:
        print(f"{name}: {type(error).__name__}: {error}")
"""


def python(*arguments: str) -> str:
    """Return what a fresh Python prints."""
    done = subprocess.run([sys.executable, "-c", *arguments], capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_every_module_imports():
    assert python(IMPORT_ALL, *(name for name in NAMES if not name.endswith("__main__"))) == ""  # that one runs the command


HELP = """
import sys
from fedtailor.cli import main
try:
    main(sys.argv[1:])
except SystemExit as end:
    assert not end.code, end.code
heavy = {"torch", "transformers", "peft", "datasets", "pandas", "scipy", "sklearn", "sacrebleu", "matplotlib"}
sys.stderr.write(" ".join(sorted(heavy & set(sys.modules))))
sys.exit(0)
"""


@pytest.mark.parametrize("arguments", [["--help"], ["run", "--help"], ["--version"]], ids=" ".join)
def test_help_answers_at_once(arguments):
    done = subprocess.run([sys.executable, "-c", HELP, *arguments], capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
    assert "fedtailor" in done.stdout

"""Holds the order of imports, and that every module can be imported on its own."""

import ast
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import fields
from functools import cache
from pathlib import Path

import pytest

import fedtailor
from fedtailor.job.registries import AGGREGATION, PARTITION, PERSONALIZATION, PROTECTION, PROTOCOL, TASK, TUNING
from fedtailor.messages.rows import Worked
from fedtailor.protocols import MAKERS

ROOT = Path(fedtailor.__file__).parent
FILES = sorted(ROOT.rglob("*.py"))

# A line may import from the lines below it. On one line, a comma parts neighbours, which must not import each other; names
# that stand together are one idea and may.
ORDER = """
cli
report diagnoses, studies, audit
network
running
export
planning
assembly
job
phases
protocols
federation
personalization
aggregation, protection, learning, retrieval
prompting
tasks, tuning, models, data
ledger, privacy
interfaces, run_files
messages
metrics
records, pictures, tracking
yaml_text
text_files, storage, user_cache
tensors, chance, clock, causes known_causes, diverged
pairs
errors, limits, old_names, on_demand, orphans, printable, units
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
    "diffusers": {"models"},
    "PIL": {"pictures"},
    "h5py": {"metrics"},
    "starlette": {"report"},
    "tensorboardX": {"tracking"},
    "mlflow": {"tracking"},
    "wandb": {"tracking"},
    "trackio": {"tracking"},
    "uvicorn": {"report"},
    "sse_starlette": {"report"},
}


@cache
def tree_of(file: Path) -> ast.Module:
    return ast.parse(file.read_text(encoding="utf-8"))


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
    return list(imported(tree_of(file), module_of(file), file.name == "__init__.py"))


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


def hidden_names(package: Path) -> set[str]:
    """Return the names that a package offers from one of its modules, and that another one, of that name, hides once it is imported."""
    tree = ast.parse((package / "__init__.py").read_text(encoding="utf-8"))
    taken = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.level == 1 and node.module]
    offered = {alias.asname or alias.name for node in taken for alias in node.names if alias.name != node.module}
    return offered & {path.stem for path in package.iterdir() if path.suffix == ".py" or (path / "__init__.py").exists()}


def test_no_module_hides_what_its_package_offers():
    assert {
        str(file.parent): hidden for file in FILES if file.name == "__init__.py" and (hidden := hidden_names(file.parent))
    } == {}


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
    for node in executed(tree_of(file).body):
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


def named_by(name: str, file: Path) -> set[str]:
    """Return the modules of ours that a file names in any import: also in functions and under TYPE_CHECKING."""
    found: set[str] = set()
    for node in ast.walk(tree_of(file)):
        if isinstance(node, ast.Import | ast.ImportFrom):
            for _, base in imported(node, name.split("."), file.name == "__init__.py"):
                names = [f"{base}.{part.name}" for part in node.names] if isinstance(node, ast.ImportFrom) else []
                found |= {part if part in NAMES else base for part in names or [base]} & NAMES.keys()
    return found - {name}


def circles(graph: Mapping[str, set[str]]) -> list[list[str]]:
    """Return the sets of modules that wait for each other, by way of others too."""

    def reached(start: str) -> set[str]:
        seen: set[str] = set()
        open_ = [start]
        while open_:
            new = graph[open_.pop()] - seen
            seen |= new
            open_ += new
        return seen

    far = {name: reached(name) for name in graph}
    found = {frozenset({other for other in far[name] if name in far[other]}) for name in graph if name in far[name]}
    return sorted(map(sorted, found))


def test_circles_are_found():
    assert circles({"a": {"b"}, "b": {"c"}, "c": {"b"}, "d": {"a"}}) == [["b", "c"]]
    assert "fedtailor.chance" in named_by("fedtailor.data.divide", NAMES["fedtailor.data.divide"])


def test_no_modules_import_each_other():
    """Nor do they under TYPE_CHECKING: what two files tell each other belongs in a third, below both."""
    assert circles({name: named_by(name, file) for name, file in NAMES.items()}) == []


RECORDS = ROOT / "messages" / "record.py"  # the one file that reads facts by their names


def is_key(node: ast.expr) -> bool:
    """Return whether an expression names one fact: a text, or a constant."""
    return (isinstance(node, ast.Constant) and isinstance(node.value, str)) or (isinstance(node, ast.Name) and node.id.isupper())


def keyed_reads(tree: ast.AST, holds: Callable[[ast.expr], bool]) -> Iterator[tuple[int, ast.expr]]:
    """Yield line and key of every read of one key of what `holds`: `x["loss"]`, `x.get("loss")`, `"loss" in x`."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Subscript) and isinstance(node.ctx, ast.Load) and holds(node.value) and is_key(node.slice):
            yield node.lineno, node.slice
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in {"get", "pop"}:
            if holds(node.func.value) and node.args and is_key(node.args[0]):
                yield node.lineno, node.args[0]
        elif isinstance(node, ast.Compare) and is_key(node.left) and any(map(holds, node.comparators)):
            yield node.lineno, node.left


def fact_reads(tree: ast.AST) -> Iterator[int]:
    """Yield the lines on which a fact of a message is read by its name.

    A name that `x.facts` was given to, and a parameter that is annotated as `Facts`, count as `x.facts` do.
    """
    others = {
        each.arg
        for each in ast.walk(tree)
        if isinstance(each, ast.arg) and each.annotation and "Facts" in ast.unparse(each.annotation)
    }

    def holds_facts(node: ast.expr) -> bool:
        return (isinstance(node, ast.Attribute) and node.attr == "facts") or (isinstance(node, ast.Name) and node.id in others)

    for node in ast.walk(tree):
        if isinstance(node, ast.Assign) and holds_facts(node.value):
            others |= {target.id for target in node.targets if isinstance(target, ast.Name)}
    yield from (line for line, _ in keyed_reads(tree, holds_facts))


RUNS = {
    "running",
    "planning",
    "protocols",
    "federation",
    "privacy",
    "phases",
    "protection",
}  # what makes rows; others read tables
OF_WORK = {each.name for each in fields(Worked)} | {"up_bytes", "down_bytes", "exchange_seconds"}
OF_WORK -= {"client"}  # which rows of all tables have


def row_reads(tree: ast.AST) -> Iterator[int]:
    """Yield the lines on which a column of a client's work is read by its name: of `row`, or of what stands for each of some rows."""
    loops = [node for node in ast.walk(tree) if isinstance(node, ast.For | ast.comprehension)]
    names = {"row"} | {ast.unparse(node.target) for node in loops if ast.unparse(node.iter).endswith("rows")}
    for line, key in keyed_reads(tree, lambda node: isinstance(node, ast.Name) and node.id in names):
        if isinstance(key, ast.Constant) and key.value in OF_WORK:
            yield line


def test_reads_of_facts_are_found():
    text = (
        'a = m.facts["x"]\nb = m.facts.get(FREE)\nc = "x" in m.facts\nfacts = m.facts\nd = facts["x"]\n'
        "def f(told: Facts):\n    return told['x']\n"
        'm.specs.facts[name]\nrow["x"]\nrow.facts.items()\n'
    )
    assert sorted(fact_reads(ast.parse(text))) == [1, 2, 3, 5, 7]


def test_facts_are_read_from_records():
    found = [f"{file.relative_to(ROOT)}:{line}" for file in FILES if file != RECORDS for line in fact_reads(tree_of(file))]
    assert found == []


def test_reads_of_rows_are_found():
    text = 'row["tokens"]\n"seconds" in row\nrow.get("rank")\nrow["round"]\nx["tokens"]\n[y["attempt"] for y in self.rows]\n'
    assert sorted(row_reads(ast.parse(text))) == [1, 2, 3, 6]


def test_what_rows_say_of_work_is_read_in_one_place():
    """It is `messages.rows`."""
    made = [file for file in FILES if name_of(file) in RUNS]
    assert [f"{file.relative_to(ROOT)}:{line}" for file in made for line in row_reads(tree_of(file))] == []


def test_no_type_is_ignored_where_facts_are_read():
    found = [
        f"{file.relative_to(ROOT)}:{number}"
        for file in FILES
        for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), start=1)
        if "type: ignore" in line and "facts" in line
    ]
    assert found == []


IMPORT_ALL = """
import importlib, sys
for name in sys.argv[1:]:
    try:
        importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name.split(".")[0] not in {"nvflare", "cryptography"}:  # extras, known to the modules of a network, and to those of secure sums
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


FAMILY = (  # registries of techniques, and the packages that may ask which one something is; what others must know, it says in `gives`, `needs` or a method
    (TASK, "tasks protocols.prompting"),
    (TUNING, "tuning"),
    (AGGREGATION, "aggregation"),
    (PERSONALIZATION, "personalization"),
    (PROTECTION, "protection"),
    (PARTITION, "data"),
)
HOME = {each.__name__: homes.split() for registry, homes in FAMILY for each in registry.classes.values()}
HOME |= {each.__name__: [f"protocols.{kind}"] for kind, each in PROTOCOL.classes.items()}
HOME |= {f"{each.__name__}Run": [f"protocols.{kind}"] for kind, each in PROTOCOL.classes.items()}
HOME |= {"LoraAmong": ["tuning"], "FineTune": ["personalization"]}
CALLED = {  # what a technique is called where it is used, and the packages that may ask what it has
    "task": "tasks prompting protocols.prompting",
    "tuning": "tuning",
    "protocol": "protocols",
    "rule": "aggregation interfaces protocols",
    "aggregation": "aggregation",
    "personalization": "personalization",
    "protection": "protection",
    "partition": "data",
}
KINDS = {**CALLED, "part": "protection"}
STAY = {  # questions that stay until the technique says it itself, and how many a file has; the numbers may only fall
    "assembly/own_tasks.py": 1, "assembly/private.py": 1, "assembly/robust.py": 1, "audit/own_noise.py": 1, "cli/tryout.py": 3, "job/together.py": 2,
}  # fmt: skip


def last_name(node: ast.AST | None) -> str:
    return node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""


def classes_in(node: ast.AST) -> list[str]:
    return [name for part in ast.walk(node) if (name := last_name(part)) in HOME]


def of_a_technique(node: ast.AST) -> str:
    """Return what is asked for its kind, if it is called as techniques are: `job.tuning.kind`, `getattr(part, "kind", "")`; else nothing."""
    match node:
        case (
            ast.Attribute(attr="kind", value=of)
            | ast.Call(func=ast.Name(id="getattr"), args=[of, ast.Constant(value="kind"), *_])
        ):
            return last_name(of) if last_name(of) in KINDS else ""
    return ""


def questions(tree: ast.AST) -> Iterator[tuple[int, str, list[str]]]:
    """Yield line, text and permitted packages of every question which technique something is, or whether it has something."""
    for node in ast.walk(tree):
        match node:
            case ast.Call(func=ast.Name(id="isinstance" | "issubclass"), args=[_, of]):
                yield from ((node.lineno, f"isinstance of {name}", HOME[name]) for name in classes_in(of))
            case ast.Call(func=ast.Name(id="getattr"), args=[_, ast.Constant(value="kind"), *_]):
                continue  # its name, which errors say
            case ast.Call(func=ast.Name(id="getattr" | "hasattr" as asks), args=[of, *_]) if last_name(of) in CALLED:
                yield node.lineno, f"{asks} of a {last_name(of)}", CALLED[last_name(of)].split()
            case ast.Compare(
                left=left, ops=[ast.Is() | ast.IsNot() | ast.Eq() | ast.NotEq() | ast.In() | ast.NotIn()], comparators=[right]
            ):
                yield from (
                    (node.lineno, f"kind of a {name}", KINDS[name].split())
                    for side in (left, right)
                    if (name := of_a_technique(side))
                )
                if isinstance(left, ast.Call) and last_name(left.func) == "type":
                    yield from ((node.lineno, f"type is {name}", HOME[name]) for name in classes_in(right))
            case ast.MatchClass(cls=of):
                yield from ((of.lineno, f"case {name}", HOME[name]) for name in classes_in(of))


SEEN = """
hasattr(task, "prompts"); getattr(job.tuning, "ranks", ()); job.protocol.kind == "split"; type(t) is Lora; isinstance(t, tuning.Lora)
match t:
    case Lora(): pass
"""


def test_every_form_of_a_question_is_seen():
    assert len(list(questions(ast.parse(SEEN)))) == 6


def test_nobody_asks_which_technique_something_is_outside_its_family():
    found: dict[str, list[str]] = {}
    for file in FILES:
        for line, text, homes in questions(tree_of(file)):
            if not any(".".join(module_of(file)).startswith(f"fedtailor.{home}") for home in homes):
                found.setdefault(str(file.relative_to(ROOT)), []).append(f"line {line}: {text}")
    assert {name: len(lines) for name, lines in found.items()} == STAY, found


OF_A_PROTOCOL = {"settings", "messages", "server", "client", "cost", "ready"}
LACKS = {"prompting": {"server"}}  # each of its methods has a server's part of its own


def test_every_protocol_has_the_same_six_files():
    homes = {maker.__module__.split(".")[2] for maker in MAKERS.values()}
    assert homes >= {"averaging", "distillation", "split", "prompting", "retrieval"}
    folders = {home: ROOT / "protocols" / home for home in homes} | {"relay": Path(__file__).parent / "joining/protocols/relay"}
    files = {home: {file.stem for file in folder.glob("*.py")} for home, folder in folders.items()}
    assert {home: OF_A_PROTOCOL - found for home, found in files.items() if not found >= OF_A_PROTOCOL} == LACKS


MOST_LINES, MOST_OF_A_FUNCTION = 250, 50  # of a file; of a function, its docstring apart
LONGER = {  # that may be as long as they are, and no longer
    "assembly/pipeline.py:assemble": 58,
    "cli/site.py:join": 60,  # options of the command line
}


def lines_of(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    first = function.body[0]
    documented = ast.get_docstring(function) is not None
    return (function.end_lineno or 0) - function.lineno + 1 - ((first.end_lineno or 0) - first.lineno + 1 if documented else 0)


def test_no_file_and_no_function_is_too_long():
    wrong = []
    for file in FILES:
        name = file.relative_to(ROOT).as_posix()
        count = len(file.read_text(encoding="utf-8").splitlines())
        wrong += [f"{name} has {count} lines: split it along a seam"] if count > LONGER.get(name, MOST_LINES) else []
        for node in ast.walk(tree_of(file)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                most = LONGER.get(f"{name}:{node.name}", MOST_OF_A_FUNCTION)
                wrong += [f"{name}:{node.lineno} {node.name} has {lines_of(node)} lines"] if lines_of(node) > most else []
    assert wrong == []

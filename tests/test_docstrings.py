"""What a public function raises itself stands in its docstring."""

import ast
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[1] / "src" / "fedtailor"
INNER = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Lambda)


def raises(function):
    """Return whether a function raises an error in its own body; those that only say that a subclass is missing something do not count."""
    todo = list(ast.iter_child_nodes(function))
    while todo:
        node = todo.pop()
        if isinstance(node, INNER):
            continue
        if (
            isinstance(node, ast.Raise)
            and node.exc is not None
            and ast.unparse(node.exc) not in ("AssertionError", "NotImplementedError")
        ):
            return True
        todo += ast.iter_child_nodes(node)
    return False


def silent(body, within=""):
    """Yield the public functions of a module or class that raise and do not say so."""
    for node in body:
        name = f"{within}{getattr(node, 'name', '')}"
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
            yield from silent(node.body, f"{name}.")
        public = isinstance(node, ast.FunctionDef) and not node.name.startswith("_")
        if public and raises(node) and "raise" not in (ast.get_docstring(node) or "").lower():
            yield name


def test_what_is_raised_is_said():
    commands = SOURCE / "cli"  # their docstrings are what --help prints
    found = [
        f"{path.relative_to(SOURCE)}: {name}"
        for path in sorted(SOURCE.rglob("*.py"))
        if commands not in path.parents
        for name in silent(ast.parse(path.read_text()).body)
    ]
    assert found == []


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ('def f():\n    """Do."""\n    raise ValueError("x")', ["f"]),
        ('def f():\n    """Do.\n\n    Raises:\n        ValueError: always.\n    """\n    raise ValueError("x")', []),
        ('class C:\n    def f(self):\n        if self:\n            raise ValueError("x")', ["C.f"]),
        ('def f():\n    """Do."""\n    try:\n        g()\n    except KeyError:\n        raise', []),
        ('def _f():\n    raise ValueError("x")', []),
    ],
)
def test_the_check_finds_what_is_silent(code, expected):
    assert list(silent(ast.parse(code).body)) == expected

import sys

import pytest

from fedtailor.data.docstrings import first_sentence, load_docstrings
from fedtailor.errors import DataError


@pytest.mark.parametrize(
    ("docstring", "sentence"),
    [
        ("Compute the arithmetic mean\n    along an axis.\n\n    Returns", "Compute the arithmetic mean along an axis."),
        ("relu(input, inplace=False) -> Tensor\n\nApplies the rectified unit. More.", "Applies the rectified unit."),
        ("Sorts by key, e.g. by name, or by\nsize. Stable.", "Sorts by key, e.g. by name, or by size."),
        ("Wraps :class:`~torch.nn.Linear` for ``x``", "Wraps torch.nn.Linear for x."),
        ("Load the `Trainer` state [1]_ from a [folder](http://x.y).", "Load the Trainer state from a folder."),
        ("Return the value of *axis* as given.", "Return the value of axis as given."),
        ("Args:\n    x: the input of it all.", ""),
        ("Parameters\n----------\nx : int", ""),
        ("Too short.", ""),
        (".. deprecated:: 1.0 use another function", ""),
        ("Same as sum of all the parts.", ""),
        ("lower case sentences are rarely sentences.", ""),
        ("This opens a bracket (and never closes it.", ""),
        ("Long " + "words and " * 30 + "more.", ""),
        ("", ""),
    ],
)
def test_first_sentence(docstring, sentence):
    assert first_sentence(docstring) == sentence


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A library `toolbox` on the path, that must not be imported."""
    root = tmp_path / "toolbox"
    files = {
        "__init__.py": "raise RuntimeError('imported')",
        "shapes.py": '''
def area(width: float, height: float = 1.0) -> float:
    """Compute the area of a rectangle. In square units."""

def same(a):
    """Compute the area of a rectangle."""

def _hidden(a):
    """Do something that nobody needs."""

class Box:
    def volume(self):
        """Return the volume of the box."""
        def inner():
            """Return what is inside of it."""

class _Secret:
    def reveal(self):
        """Reveal what is hidden here."""
''',
        "_core/_math.py": 'def norm(x):\n    """Compute the norm of a vector."""\n',
        "broken.py": 'def norm(x:\n    """Compute it in vain, always."""\n',
        "tests/test_shapes.py": 'def helper():\n    """Help with testing of shapes."""\n',
    }
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield "toolbox"
    assert "toolbox" not in sys.modules


def test_public_documented_functions_become_examples_once(package):
    examples = load_docstrings([package], None)
    assert {(e.fields["input"], e.fields["target"]) for e in examples} == {
        ("# toolbox.shapes\ndef area(width: float, height: float=1.0) -> float:", "Compute the area of a rectangle."),
        ("# toolbox.shapes.Box\ndef volume(self):", "Return the volume of the box."),
        ("# toolbox\ndef norm(x):", "Compute the norm of a vector."),
    }
    assert {e.fields["library"] for e in examples} == {"toolbox"}
    assert len({e.id for e in examples}) == 3


def test_a_limit_keeps_the_first_in_a_fixed_order(package):
    assert load_docstrings([package], 2) == load_docstrings([package], None)[:2]


def test_a_missing_library_is_named_with_the_remedy():
    with pytest.raises(DataError, match=r"'nosuchlib' is not installed here.*pip install nosuchlib"):
        load_docstrings(["nosuchlib"], 5)
    with pytest.raises(DataError, match="not installed here"):
        load_docstrings(["no such lib!"], 5)


def test_real_libraries_give_clean_sentences():
    examples = load_docstrings(["numpy", "scikit-learn"], 200)
    assert len(examples) == 400
    assert {e.fields["library"] for e in examples} == {"numpy", "sklearn"}
    for example in examples:
        target = example.fields["target"]
        assert target.endswith(".")
        assert target[0].isupper()
        assert len(target) <= 160
        assert "\n" not in target
        assert "`" not in target

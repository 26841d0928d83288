"""A class of the user's that fails, at every moment: named in one paragraph, with the line where it happened."""

import sys

import pytest

from fedtailor.assembly import assemble
from fedtailor.cli import waiting
from fedtailor.errors import SettingError
from fedtailor.job import Job
from fedtailor.job.own_classes import blame

MODULES = {
    "raises on import": ("raise ValueError('no licence')", "cannot be used: ValueError: no licence"),
    "leaves on import": ("import sys; sys.exit(3)", "cannot be used: SystemExit: 3"),
    "has no such class": ("x = 1", "has no attribute 'Own'"),
    "is no Python": ("def (", "SyntaxError"),
    "recurses on import": ("def f(): f()\nf()", "RecursionError"),
    "asserts on import": ("assert False, 'no GPU'", "AssertionError: no GPU"),
    "raises in its constructor": (
        "@dataclass(frozen=True)\nclass Own:\n    width: int = 1\n    def __post_init__(self):\n        1 / 0",
        "ZeroDivisionError: division by zero",
    ),
    "has a type that is not there": ("@dataclass\nclass Own:\n    width: 'Nowhere' = 1", "its fields cannot be read: NameError"),
    "is no dataclass": ("class Own: pass", "it is not a dataclass"),
    "is a function": ("def Own(): pass", "it is not a dataclass"),
}
HEAD = "from dataclasses import dataclass\n"


@pytest.fixture
def write_module(tmp_path, monkeypatch):
    """Return a writer of a module under a new name."""
    monkeypatch.syspath_prepend(tmp_path)

    def write(name, text):
        name = f"own_{abs(hash(name))}"
        (tmp_path / f"{name}.py").write_text(HEAD + text)
        sys.modules.pop(name, None)
        return f"{name}:Own"

    return write


@pytest.mark.parametrize("fault", MODULES)
@pytest.mark.parametrize("section", ["tuning", "personalization", "task"])
def test_a_class_that_cannot_be_used(write_module, fault, section):
    text, words = MODULES[fault]
    kind = write_module(fault, text)
    settings = {"backbone": "b", "task": "generation", "data": {"train": "t.csv"}} | {section: {"kind": kind}}
    with pytest.raises(SettingError) as caught:
        Job.from_dict(settings)
    said = str(caught.value)
    assert words in said
    assert section in said
    assert kind in said
    assert len(said) < 700


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("    def attach(self, model, seed):\n        raise KeyError('q_proj')", "raised KeyError: 'q_proj'"),
        ("    def attach(self):\n        pass", "called in another way than it expects"),
        ("    width: int = 2", "has no 'attach'"),
    ],
)
def test_a_class_that_fails_at_work_is_named(write_module, make_job, rows, body, words):
    kind = write_module(body, f"@dataclass(frozen=True)\nclass Own:\n    kind = 'own'\n{body}")
    job = make_job().replace("tuning", {"kind": kind})
    with pytest.raises(Exception) as caught:  # noqa: PT011 - whatever the class raises
        assemble(job, given=rows)
    said = blame(caught.value)
    assert said is not None
    assert words in said
    assert kind in said


def test_nobody_else_is_blamed():
    with pytest.raises(KeyError) as caught:
        {}["x"]
    assert blame(caught.value) is None


def test_the_command_line_blames_the_class_too(write_module, make_job, rows):
    from fedtailor.cli.main import _foreseen

    kind = write_module(
        "blamed",
        "@dataclass(frozen=True)\nclass Own:\n    kind = 'own'\n    def attach(self, model, seed):\n        raise KeyError('q')",
    )
    with pytest.raises(KeyError) as caught:
        assemble(make_job().replace("tuning", {"kind": kind}), given=rows)
    assert f"the class {kind!r} that the job names raised KeyError: 'q'" in (_foreseen(caught.value) or "")


WAITS = """
import threading
opened = threading.Event()
@dataclass(frozen=True)
class Own:
    kind = 'own'
    def __post_init__(self):
        opened.wait(20)
"""


def test_a_constructor_that_does_not_return_is_named(write_module, make_job, monkeypatch):
    monkeypatch.setattr(waiting, "SILENCE_S", 0.1)
    kind, said = write_module("waits", WAITS), []

    def say(text):
        said.append(text)
        if kind in text:
            sys.modules[kind.partition(":")[0]].opened.set()

    silence = waiting.Silence(say)
    silence.begin("reading the job")
    make_job().replace("tuning", {"kind": kind})
    silence.end()
    assert said[-1] == f"reading the job: building the class {kind} that the job names"

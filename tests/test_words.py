"""Words that the field does not use for what we mean stay out of names and texts: see the table of old and new names for settings."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import fedtailor

ROOT = Path(fedtailor.__file__).parent
FILES = sorted(ROOT.rglob("*.py"))

# what is not said -> what is
SAY = {
    r"hubs?": "server; hub is where models are downloaded from",
    r"foretell(s|ing)?|foretold": "estimate, estimated; a model predicts",
    r"tells?|telling|told": "report, show, raise",
    r"mend(s|ed|ing)?": "fix",
    r"hand(s|ed|ing)?[ _]in": "submit",
    r"cuts?[ _]off": "interrupted, incomplete, truncated",
    r"go(es|ing)?[ _]on|went[ _]on": "resume, continue",
    r"anew": "again",
    r"strateg(y|ies)": "aggregation rule",
}
# files that may say one of them, and why
MAY = {
    "hub": {
        "data": "data sets of the Hugging Face hub",
        "models": "models of it",
        "tuning": "models of it",
        "job": "hub ids",
        "protocols/distillation/settings.py": "hub ids",
        "export/card.py": "hubs of models",
        "network/kit/environment.py": "the cache of the Hugging Face hub",
        "network/kit/engine_settings.py": "the organisation in certificates that exist",
        "network/kit/site_file.py": "a hub of models",
        "network/meeting/meeting.py": "names on the wire",
        "known_causes.py": "errors of huggingface_hub",
        "cli/kept_plan.py": "backbones of it",
    },
    "told": {
        "federation/nvflare/flare.py": "a name on the wire",
        "protocols/distillation": "names in checkpoints and summaries",
        "report/run/distillation.py": "a name in summaries",
        "studies/sweep_figures.py": "a name in summaries",
        "diagnoses/public_set.py": "a name in summaries",
    },
    "tell": {"prompting/cma.py": "ask and tell, CMA-ES's own words", "protocols/prompting/evolving.py": "the same"},
    "mend": {"network/meeting/meeting.py": "a name on the wire"},
    "foretold": {"running/summary.py": "a name in summaries", "studies/sweep_figures.py": "the same"},
    "strategy": {
        "prompting/cma.py": "evolution strategies",
        "protocols/prompting": "the same",
        "job/other_names.py": "what others call the rule",
    },
}
ANYWHERE = {"old_names.py", "job/other_names.py"}


def said(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Yield line and text of every name that a file makes, and of every text, docstrings too."""
    for node in ast.walk(tree):
        match node:
            case ast.FunctionDef() | ast.ClassDef() | ast.AsyncFunctionDef():
                yield node.lineno, node.name
            case ast.arg():
                yield node.lineno, node.arg
            case ast.keyword() if node.arg:
                yield node.value.lineno, node.arg
            case ast.Name(ctx=ast.Store()):
                yield node.lineno, node.id
            case ast.Attribute(ctx=ast.Store()):
                yield node.lineno, node.attr
            case ast.Constant(value=str(text)):
                yield node.lineno, text


def may(word: str, file: str) -> bool:
    places = {place for name, places in MAY.items() if name == word or name == word.rstrip("s") for place in places}
    return file in ANYWHERE or any(file == place or file.startswith(f"{place}/") for place in places)


def faults(file: str, text: str, line: int) -> list[str]:
    parts = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", text).replace("_", " ").lower()
    return [
        f"{file}:{line} says {found[0]!r}; say {instead}"
        for words, instead in SAY.items()
        for found in re.finditer(rf"\b(?:{words.replace('[ _]', ' ')})\b", parts)
        if not may(found[0], file)
    ]


def test_names_and_texts_have_the_words_of_the_field():
    wrong = []
    for path in FILES:
        file = path.relative_to(ROOT).as_posix()
        wrong += [one for line, text in said(ast.parse(path.read_text(encoding="utf-8"))) for one in faults(file, text, line)]
    makefile = Path(__file__).parents[1] / "Makefile"  # whose comments `make help` shows
    wrong += [one for line, text in enumerate(makefile.read_text().splitlines(), 1) for one in faults("Makefile", text, line)]
    assert wrong == []


def test_names_of_tests_have_them_too():
    wrong = []
    for path in Path(__file__).parent.rglob("test_*.py"):
        nodes = ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        names = [
            (node.lineno, node.name) for node in nodes if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")
        ]
        wrong += [one for line, name in names if "hub" not in name for one in faults(path.name, name, line)]
    assert wrong == []


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("HubLine", "hub"),
        ("tell_at", "tell"),
        ("it is handed in again", "handed in"),
        ("the run goes on", "goes on"),
        ("MEND", "mend"),
    ],
)
def test_the_words_are_found(text, word):
    assert [repr(word) in one for one in faults("running/drive.py", text, 1)] == [True]


def test_what_looks_like_them_is_not():
    assert faults("running/drive.py", "a recommended cut, and an untold one", 1) == []

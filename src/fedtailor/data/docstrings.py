"""Examples made of the libraries installed here: a function's signature, and the first sentence of its docstring.

Sources are parsed, never imported or run. Tests, vendored code, private functions and functions without a usable sentence
are left out, and a sentence comes once per library.
"""

import ast
import gc
import hashlib
import importlib.util
import inspect
import re
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from ..errors import DataError
from ..records import Example

DISTRIBUTIONS = {"scikit-learn": "sklearn", "scikit_learn": "sklearn", "pyyaml": "yaml", "pillow": "PIL"}  # -> import name
SKIPPED = re.compile(
    r"^(tests?|testing|conftest|_?vendor.*|_?externals?|third_party|benchmarks?|examples?|.*_test|test_.*|.*_tests?|.*test.*utils|estimator_checks)$"
)
MOST_INPUT, MOST_SENTENCE = 200, 160  # characters; longer signatures lose their annotations, longer sentences are left out
FEWEST_WORDS = 4

ABBREVIATION = re.compile(
    r"(?:\b(?i:e\.g|i\.e|etc|vs|cf|eq|fig|refs?|approx|resp|no|al|a\.k\.a|w\.r\.t|dr|incl|dim)\.|\b[A-Z]\.)$"
)
UNUSABLE = re.compile(
    r"::|>>>|https?:|:math:|\\|\$|TODO|FIXME|docstring|deprecated|see also|same as|alias (?:of|for)|is an? alias"
    r"|^optional\[|^see |^refer |^this (?:test|is the)\b|[{}<>|#`]|__|--|==|\b(?:noqa|copied from)\b|^\W|\s[-*]\s|^\w+\s*:|\s:\s|\b(?:args|parameters|arguments|returns):",
    re.I,
)


def load_docstrings(packages: Sequence[str], limit: int | None) -> list[Example]:
    """Return examples with the fields input, target, library and module, at most `limit` of each package.

    Which ones a limit keeps depends on the names of the package's files alone, so it is the same on every machine with the
    same versions.

    Raises:
        DataError: if a package is not installed, or holds no usable docstring.
    """
    examples: list[Example] = []
    for name in packages:
        package = DISTRIBUTIONS.get(name, name)
        with _no_collection():
            found = _package_examples(package, _package_folder(package), limit)
        if not found:
            raise DataError(
                f"data.packages: the library {package!r} has no public function with a docstring of a usable sentence; "
                "name a library written in Python, such as numpy or pandas"
            )
        examples += found
    return examples


@contextmanager
def _no_collection() -> Iterator[None]:
    """Hold Python's garbage collector while syntax trees come and go: it would take half of the time."""
    running = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if running:
            gc.enable()


def _package_folder(package: str) -> Path:
    try:
        spec = importlib.util.find_spec(package) if package.isidentifier() else None
    except (ImportError, ValueError):
        spec = None
    if spec is None or not spec.submodule_search_locations:
        raise DataError(
            f"data.packages: the library {package!r} is not installed here (or is a single file); "
            f"install it with `pip install {package}`, or name the libraries to use: data.packages=[numpy, scipy]"
        )
    return Path(next(iter(spec.submodule_search_locations)))


def _package_examples(package: str, folder: Path, limit: int | None) -> list[Example]:
    seen: set[str] = set()
    examples: list[Example] = []
    for path in _source_files(folder):
        relative = path.relative_to(folder).as_posix()
        for number, (module, signature, sentence) in enumerate(_documented(package, relative, path)):
            # one sentence teaches once: model families of one library repeat theirs many times over
            if sentence in seen:
                continue
            seen.add(sentence)
            fields = {"input": f"# {module}\n{signature}", "target": sentence, "library": package, "module": module}
            examples.append(Example(id=f"{package}/{relative}-{number}", fields=fields))
            if len(examples) == limit:
                return examples
    return examples


def _source_files(folder: Path) -> list[Path]:
    """Return the Python files, those in public folders first, in an order that mixes them and is the same everywhere."""
    paths = [
        path
        for path in folder.rglob("*.py")
        if not any(SKIPPED.match(part) for part in (*path.relative_to(folder).parts[:-1], path.stem))
    ]

    def place(path: Path) -> tuple[bool, bytes]:
        relative = path.relative_to(folder)
        return any(part.startswith("_") for part in relative.parts[:-1]), hashlib.sha256(relative.as_posix().encode()).digest()

    return sorted(paths, key=place)


def _documented(package: str, relative: str, path: Path) -> Iterator[tuple[str, str, str]]:
    """Yield the module, signature and sentence of each documented public function of a file."""
    try:
        text = path.read_text(encoding="utf-8")
        if '"""' not in text:
            return
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # invalid escapes in other people's strings
            tree = ast.parse(text)
    except (OSError, SyntaxError, UnicodeDecodeError, ValueError):
        return  # templates and files for other versions of Python
    parts = [package, *relative.removesuffix(".py").split("/")]
    # private parts are where a library keeps its things, not what its users call it
    module = ".".join(part for part in parts if not part.startswith("_"))
    for owner, function in _public_functions(tree):
        sentence = first_sentence(ast.get_docstring(function, clean=False) or "")
        signature = sentence and _signature(function)
        if sentence and signature and not _says_nothing(function.name, sentence):
            yield module if owner is None else f"{module}.{owner}", signature, sentence


def _public_functions(tree: ast.Module) -> Iterator[tuple[str | None, ast.FunctionDef | ast.AsyncFunctionDef]]:
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and not node.name.startswith("_"):
            yield None, node
        elif isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
            for inner in node.body:
                if isinstance(inner, ast.FunctionDef | ast.AsyncFunctionDef) and not inner.name.startswith("_"):
                    yield node.name, inner


def _signature(function: ast.FunctionDef | ast.AsyncFunctionDef) -> str:
    """Return the definition on one line; without annotations if it would be long, empty if it still is."""
    result = f" -> {ast.unparse(function.returns)}" if function.returns else ""
    whole = f"def {function.name}({ast.unparse(function.args)}){result}:"
    if len(whole) <= MOST_INPUT:
        return whole
    arguments = function.args
    for argument in [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs, arguments.vararg, arguments.kwarg]:
        if argument is not None:
            argument.annotation = None
    bare = f"def {function.name}({ast.unparse(arguments)}):"
    return bare if len(bare) <= MOST_INPUT else ""


def first_sentence(docstring: str) -> str:
    """Return the first sentence of a docstring as plain text that ends in a full stop; empty if there is no usable one.

    >>> first_sentence("Compute the mean of :class:`~torch.Tensor` x.  More.")
    'Compute the mean of torch.Tensor x.'
    >>> first_sentence("add(a, b) -> Tensor\\n\\nAdds two of them, e.g. by hand, to\\nthe sum")
    'Adds two of them, e.g. by hand, to the sum.'
    """
    paragraphs = [" ".join(part.split()) for part in re.split(r"\n\s*\n", inspect.cleandoc(docstring)) if part.strip()]
    if paragraphs and re.match(r"[\w.]+\(.*\)( *->.*)?$", paragraphs[0]):  # a signature, as torch writes it
        paragraphs = paragraphs[1:]
    if not paragraphs:
        return ""
    text = _plain(paragraphs[0])
    sentence = text
    for end in re.finditer(r"[.!?](?=\s)", text):
        if not ABBREVIATION.search(text[: end.end()]):
            sentence = text[: end.end()]
            break
    sentence = sentence.rstrip(" .;,") + "."
    usable = (
        len(sentence.split()) >= FEWEST_WORDS
        and len(sentence) <= MOST_SENTENCE
        and sentence.isascii()
        and sentence[0].isupper()
        and not re.search(r":\.$|[:!?]\.$", sentence)
        and sentence.count("(") == sentence.count(")")
        and not UNUSABLE.search(sentence)
    )
    return sentence if usable else ""


def _plain(text: str) -> str:
    """Return text without the marks of reStructuredText and Markdown."""
    text = re.sub(r":[\w:+-]+:`[!~]?([^`<]*?)(?:\s*<[^`]*>)?`", r"\1", text)  # :func:`~a.b` and :ref:`text <target>`
    text = re.sub(r"\[`?([^\]`]*)`?\]\([^)]*\)", r"\1", text)  # [text](link)
    text = re.sub(r"\s*\[[\d\w]{1,8}\]_", "", text)  # citations
    text = re.sub(r"`{1,2}[~.]?([^`]*)`{1,2}_*", r"\1", text)
    text = re.sub(r"(?<![\w*])\*{1,2}(\w[^*]*?)\*{1,2}(?![\w*])", r"\1", text)
    text = text.replace("\u2019", "'").replace("\u201c", '"').replace("\u201d", '"')
    return re.sub(r"\s+", " ", text).strip()


def _says_nothing(name: str, sentence: str) -> bool:
    """Return whether the sentence is the function's name again and nothing else."""
    words = re.findall(r"[a-z]+", sentence.lower())
    return set(words) <= {*name.lower().split("_"), "the", "a", "an", "of", "to", "get", "set", "return", "returns", "function"}

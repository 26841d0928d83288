"""No model or tokenizer is ever loaded with leave to run code of its folder."""

import ast
from pathlib import Path

import fedtailor

NO_CODE_TO_RUN = {
    "PeftModel",
    "GenerationConfig",
    "getattr(diffusers, kind)",
    "Dcgan",
}  # read data alone; the last two are a class of the library itself, and one of our own


def test_every_load_forbids_code_of_the_folder():
    loads, without = 0, []
    for path in sorted(Path(fedtailor.__file__).parent.rglob("*.py")):
        text = path.read_text(encoding="utf-8")
        for node in ast.walk(ast.parse(text)):
            if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)):
                continue
            if node.func.attr not in ("from_pretrained", "from_config") or ast.unparse(node.func.value) in NO_CODE_TO_RUN:
                continue
            loads += 1
            named = {word.arg: ast.unparse(word.value) for word in node.keywords}
            through = named.get(None)  # **name: a mapping that says it
            if named.get("trust_remote_code") != "False" and '"trust_remote_code": False' not in text.partition(f"{through}:")[2]:
                without.append(f"{path.name}:{node.lineno}")
    assert loads >= 9
    assert not without

"""The pages of claims and papers are those of the data."""

import xml.etree.ElementTree as ET
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

ROOT = Path(__file__).parents[3]


def test_pages_agree_with_the_data():
    spec = spec_from_file_location("claims_pages", ROOT / "tools" / "claims_pages.py")
    tool = module_from_spec(spec)
    spec.loader.exec_module(tool)
    made = tool.pages()
    for name, text in made.items():
        file = ROOT / "docs" / name
        assert file.is_file(), f"docs/{name} is missing; run make tables"
        assert file.read_text(encoding="utf-8") == text, f"docs/{name} is not that of the data; run make tables"
        if name.endswith(".svg"):
            ET.fromstring(text)
    assert {f"papers/{path.name}" for path in (ROOT / "docs" / "papers").iterdir()} == made.keys() - {"claims.md"}

"""Files as documents: what each kind gives, and how a file that cannot be read is named."""

import json
import sys

import pandas as pd
import pytest
from pdfs import pdf

from fedtailor.errors import DataError, SettingError
from fedtailor.retrieval.documents import Columns, Skipped, folder_files, lines_about, read_file
from fedtailor.retrieval.html_text import html_text


def reading(folder, name, content, columns=None):
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return read_file(path, name, columns)


def only(found):
    assert list(found.notes) == []
    (document,) = found.documents
    return document


def test_text_and_markdown(tmp_path):
    plain = only(reading(tmp_path, "a.txt", "One.\r\nTwo.\n"))
    assert (plain.id, plain.title, plain.text, plain.page_at(0)) == ("a.txt", "a", "One.\nTwo.\n", 0)
    assert only(reading(tmp_path, "b.md", "intro\n# The river\ntext")).title == "The river"
    assert only(reading(tmp_path, "u.txt", "Käse".encode("utf-16"))).text == "Käse"


def test_html_shows_what_a_reader_sees():
    page = (
        "<html><head><title>Tea &amp; milk</title><style>p {color: red}</style></head><body><p>Hot  <b>tea</b></p>"
        "<script>alert(1)</script><ul><li>one<li>two</ul>&lt;3</body>"
    )
    assert html_text(page) == ("Hot tea\none\ntwo\n<3", "Tea & milk")
    assert html_text("<p>open <b>never closed")[0] == "open never closed"
    assert html_text("<head><title>x</title><body>seen")[0] == "seen"  # the head was never closed


def test_pdf_keeps_pages(tmp_path):
    pytest.importorskip("pypdf")
    found = only(reading(tmp_path, "r.pdf", pdf(["First page (a).", "Second page."], title="A report")))
    assert (found.title, found.text) == ("A report", "First page (a).\nSecond page.")
    assert [found.page_at(found.text.index(word)) for word in ("First", "Second")] == [1, 2]


def locked():
    import io

    pypdf = pytest.importorskip("pypdf")
    writer = pypdf.PdfWriter(clone_from=io.BytesIO(pdf(["secret"])))
    writer.encrypt("word", algorithm="RC4-128")
    out = io.BytesIO()
    writer.write(out)
    return out.getvalue()


BAD = {
    "empty.pdf": (lambda: b"", "empty.pdf has 0 bytes"),
    "cut.pdf": (lambda: pdf(["x" * 500])[:200], "cut.pdf cannot be read as a PDF"),
    "locked.pdf": (locked, "locked.pdf is locked by a password"),
    "scan.pdf": (lambda: pdf(["", ""]), "scan.pdf has 2 pages and no text on any: it may be a scan"),
    "page.pdf": (lambda: b"<html>no pdf</html>", "looks like HTML: rename it to .html"),
    "other.pdf": (lambda: b"\x89PNG", "other.pdf is no PDF; is it another file?"),
    "nul.txt": (lambda: b"a\0b", "nul.txt holds NUL characters"),
    "latin.txt": (lambda: "Käse".encode("latin-1"), "latin.txt is not UTF-8 text: byte 2"),
    "blank.txt": (lambda: b" \n", "blank.txt holds no text"),
    "zero.txt": (lambda: b"", "zero.txt holds no text"),
    "cut.jsonl": (lambda: b'{"text": "a"}\n{"text"', "cut.jsonl, line 2 is not valid JSON"),
    "cut.parquet": (lambda: b"PAR1 no", "cut.parquet is not a readable Parquet file"),
    "columns.jsonl": (lambda: b'{"wort": "a"}', "columns.jsonl has no column for the text (looked for 'text'"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_file_is_named(tmp_path, name):
    make, said = BAD[name]
    pytest.importorskip("pypdf")
    found = reading(tmp_path, name, make())
    assert found.documents == []
    (note,) = found.notes
    assert said in note
    assert str(tmp_path) not in note


def test_a_missing_package_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pypdf", None)
    with pytest.raises(SettingError, match=r"run: pip install 'fedtailor\[rag\]'"):
        reading(tmp_path, "a.pdf", pdf(["text"]))


def test_rows_are_documents(tmp_path):
    rows = [
        {"id": "p1", "title": "Tea", "text": "Tea is hot."},
        {"id": "p1", "title": "Milk", "text": "Milk is white."},
        {"id": "p2", "title": "None", "text": ""},
    ]
    found = reading(tmp_path, "d.jsonl", "\n".join(map(json.dumps, rows)))
    assert [(one.id, one.title, one.text) for one in found.documents] == [
        ("p1", "Tea", "Tea is hot."),
        ("p1~2", "Milk", "Milk is white."),
    ]
    assert [note.split(" ", 3)[:3] for note in found.notes] == [["d.jsonl,", "line", "2"], ["d.jsonl,", "line", "3"]]
    pd.DataFrame({"body": ["x y"], "key": ["k"]}).to_parquet(tmp_path / "d.parquet")
    one = only(read_file(tmp_path / "d.parquet", "d.parquet", Columns(text="body", id="key")))
    assert (one.id, one.title, one.text) == ("k", "d", "x y")
    wrong = read_file(tmp_path / "d.parquet", "d.parquet", Columns(text="words"))
    assert list(wrong.notes) == ["d.parquet has no column 'words'; it has 'body', 'key'"]


def test_a_folder(tmp_path):
    inside, outside = tmp_path / "in", tmp_path / "out"
    for path in (inside / "sub" / "b.txt", inside / "a.txt", inside / ".hidden.txt", inside / "x.docx", outside / "s.txt"):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("text")
    (inside / "link.txt").symlink_to(outside / "s.txt")
    (inside / "folder").symlink_to(outside)
    skipped = Skipped()
    found = list(folder_files(inside, skipped))
    assert [one.name for one in found] == ["a.txt", "sub/b.txt"]
    assert found[0].sha256 == found[1].sha256  # of the content
    assert skipped.files == {
        "hidden": [".hidden.txt"],
        "a link that leads out of the folder": ["folder", "link.txt"],
        "of a kind that is not read (.docx)": ["x.docx"],
    }
    assert lines_about({"hidden": ["a", "b", "c", "d"]}) == ["4 not read, hidden: a, b, c and 1 more"]
    with pytest.raises(DataError, match="is not there; give the folder"):
        list(folder_files(tmp_path / "none", Skipped()))


def test_numbers_of_a_typed_table_are_texts_as_in_every_other_reader(tmp_path):
    frame = pd.DataFrame({"text": [7.0, 2.5, None], "title": [1, 2, 3]})
    frame.to_parquet(tmp_path / "n.parquet")
    (tmp_path / "n.jsonl").write_text('{"text": 7.0, "title": 1}\n{"text": 2.5, "title": 2}\n{"text": null, "title": 3}\n')
    for name in ("n.parquet", "n.jsonl"):
        found = read_file(tmp_path / name, name)
        assert [(one.title, one.text) for one in found.documents] == [("1", "7"), ("2", "2.5")]
        assert len(found.notes) == 1


def test_a_cell_that_is_no_text_is_no_document(tmp_path):
    found = reading(tmp_path, "d.jsonl", '{"text": ["a", "b"]}\n{"text": {"a": 1}}\n{"text": "plain"}\n')
    assert [one.text for one in found.documents] == ["plain"]
    assert [note.partition(" holds ")[2] for note in found.notes] == ["no text, but a list", "no text, but a mapping"]
    pd.DataFrame({"text": [b"\xff\xfe", b"fine"]}).to_parquet(tmp_path / "b.parquet")
    found = read_file(tmp_path / "b.parquet", "b.parquet")
    assert ([one.text for one in found.documents], len(found.notes)) == (["fine"], 1)

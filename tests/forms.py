"""One table written in every form that can hold it."""

import csv
import gzip
import io
import json
import re

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from openpyxl import Workbook
from openpyxl.cell.cell import ILLEGAL_CHARACTERS_RE

from fedtailor.data.settings import PARTS
from fedtailor.records import Example

SITE = "site"  # the column of clients


def separated(delimiter):
    def write(rows, folder):
        text = io.StringIO()
        writer = csv.DictWriter(text, list(rows[0]), delimiter=delimiter)
        writer.writeheader()
        writer.writerows(rows)
        return put(folder / f"t{ord(delimiter)}.csv", text.getvalue().encode())

    return write


def tsv(rows, folder):
    if any(re.search("[\t\n\r]", cell) for row in rows for cell in row.values()):
        return None
    lines = ["\t".join(rows[0]), *("\t".join(row[name] for name in rows[0]) for row in rows)]
    return put(folder / "t.tsv", "\n".join(lines).encode())


def json_lines(rows, folder):
    return put(folder / "t.jsonl", b"\n".join(json.dumps(row).encode() for row in rows))


def json_nulls(rows, folder):
    """Empty cells as null, or left out in every second row."""
    kept = [
        {name: cell or None for name, cell in row.items() if cell or number % 2 or not number} for number, row in enumerate(rows)
    ]
    return put(folder / "t.json", json.dumps(kept, ensure_ascii=False, indent=1).encode())


def parquet(rows, folder):
    pq.write_table(pa.Table.from_pylist(rows), folder / "t.parquet")
    return folder / "t.parquet"


def parquet_categories(rows, folder):
    columns = {name: pa.array([row[name] or None for row in rows], pa.string()).dictionary_encode() for name in rows[0]}
    pq.write_table(pa.table(columns), folder / "c.parquet")
    return folder / "c.parquet"


def excel(rows, folder):
    cells = [cell for row in rows for cell in row.values()]
    if any(ILLEGAL_CHARACTERS_RE.search(cell) or re.search("[\r\ufffe\uffff]|_x[0-9A-Fa-f]{4}_", cell) for cell in cells):
        return None
    book = Workbook()
    sheet = book.active
    for number, row in enumerate([dict.fromkeys(rows[0]), *rows], start=1):
        for place, name in enumerate(rows[0], start=1):
            one = sheet.cell(number, place)
            one.value, one.data_type = (name if row[name] is None else row[name]), "s"  # "=1" is no formula
    book.save(folder / "t.xlsx")
    return folder / "t.xlsx"


def packed(write, ending):
    def pack(rows, folder):
        path = write(rows, folder)
        if ending == ".gz":
            return put(path.with_name(path.name + ending), gzip.compress(path.read_bytes()))
        with pa.CompressedOutputStream(str(path) + ending, "zstd") as out:
            out.write(path.read_bytes())
        return path.with_name(path.name + ending)

    return pack


def by_client(rows, folder):
    """A mapping from clients to rows, which then have no column of clients."""
    if not all(row[SITE] for row in rows):
        return None
    found = {}
    for row in rows:
        found.setdefault(row[SITE], []).append({name: cell for name, cell in row.items() if name != SITE})
    return {"train": found} if set(found) & set(PARTS) else found  # a client may be called as a part is


def put(path, content):
    path.write_bytes(content)
    return path


FILES = {
    "csv": separated(","),
    "csv with semicolons": separated(";"),
    "csv with tabs": separated("\t"),
    "csv with bars": separated("|"),
    "tsv": tsv,
    "json lines": json_lines,
    "json": json_nulls,
    "parquet": parquet,
    "parquet, categories": parquet_categories,
    "excel": excel,
    "csv.gz": packed(separated(","), ".gz"),
    "jsonl.zst": packed(json_lines, ".zst"),
    "parquet.gz": packed(parquet, ".gz"),
}
MEMORY = {
    "mappings": lambda rows, folder: rows,
    "examples": lambda rows, folder: [Example(id=f"2024-{number}", fields=row) for number, row in enumerate(rows)],
    "pandas": lambda rows, folder: pd.DataFrame(rows),
    "pandas, categories": lambda rows, folder: pd.DataFrame(rows).astype("category"),
    "arrow": lambda rows, folder: pa.Table.from_pylist(rows),
    "by client": by_client,
}

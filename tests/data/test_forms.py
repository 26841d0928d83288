"""One table means the same in every form."""

import datetime
import json
from decimal import Decimal

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from forms import FILES, MEMORY, SITE
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from openpyxl import Workbook

from fedtailor.data import Clients, Data, divide, load_examples
from fedtailor.data.partition import Files, Natural
from fedtailor.errors import DataError

CLASSES = {"required": ("text", "label"), "optional": (), "context": (), "key": "text"}
ODD = ["007", "1e5", "1.0", "-0", "NA", "None", "nan", "null", "TRUE", "'", '"', '""', 'a "b" c', ",", ";", "|", "#", "=1", "@x", "[1]", "{}", "²", "\ufeff", "a\u2028b", " x ", "ß", "字", "𝒳", "e\u0301", "\x1b[0m", "\x7f", "2024-01-31", "1,5", "\\n", "\\"]  # fmt: skip
TEXT = st.one_of(st.sampled_from(ODD), st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1))
BAD = ["", " ", "\t", "a\0b"]


@st.composite
def tables(draw, *, bad):
    """Rows of a table; if `bad`, one has a cell that cannot be used."""
    cell = TEXT.filter(lambda text: text.strip())
    note = draw(st.sampled_from(["note", "a;b|c,d", 'say "hi"', "日本", "1", " n ", "é;"]))
    row = st.fixed_dictionaries({"text": cell, "label": cell, SITE: cell, note: TEXT | st.just("")})
    rows = draw(st.lists(row, min_size=1, max_size=6))
    if bad:
        draw(st.sampled_from(rows))[draw(st.sampled_from(["text", "label", SITE]))] = draw(st.sampled_from(BAD))
    return rows


def meaning(form, rows, folder):
    """Return the examples of each client, in order, or that the table is refused; None if the form cannot hold it."""
    stored = {**FILES, **MEMORY}[form](rows, folder)
    if stored is None:
        return None
    partition = Files() if form == "by client" else Natural(by=SITE)
    clients = Clients(partition=partition, min_examples=1, validation_share=0.0, test_share=0.0)
    source = {"given": stored, "data": Data()} if form in MEMORY else {"data": Data(train=str(stored))}
    try:
        found = divide(**source, clients=clients, base=folder, seed=0, **CLASSES)
    except DataError:
        return "refused"
    return {client: [(e.fields["text"], e.fields["label"]) for e in own] for client, own in found.train.items()}


def check_forms(folder, most, *, bad=False):
    """Hold all forms against one another; nine of ten tables are to be accepted, of bad ones none."""
    accepted = []

    @settings(max_examples=most, deadline=None, suppress_health_check=list(HealthCheck))
    @given(rows=tables(bad=bad))
    def same(rows):
        found = {form: meaning(form, rows, folder) for form in (*FILES, *MEMORY)}
        held = {form: result for form, result in found.items() if result is not None}
        assert len(held) >= 12
        assert all(result == held["mappings"] for result in held.values()), held
        accepted.append(held["mappings"] != "refused")

    same()
    assert not any(accepted) if bad else sum(accepted) >= 0.9 * len(accepted), f"{sum(accepted)} of {len(accepted)} are accepted"


def test_every_form_gives_the_same_examples_labels_and_clients(tmp_path):
    check_forms(tmp_path, most=20)


def test_every_form_refuses_a_cell_that_cannot_be_used(tmp_path):
    check_forms(tmp_path, most=5, bad=True)


@pytest.mark.attack
def test_every_form_gives_the_same_examples_labels_and_clients_at_length(tmp_path):
    check_forms(tmp_path, most=1000)
    check_forms(tmp_path, most=100, bad=True)


@pytest.mark.parametrize("form", [*FILES, *MEMORY])
def test_a_client_may_be_called_as_a_part_of_the_data(tmp_path, form):
    rows = [{"text": f"{name} {n}", "label": "x", SITE: name, "note": ""} for name in ("test", "train") for n in range(2)]
    found = meaning(form, rows, tmp_path)
    assert found == {name: [(f"{name} {n}", "x") for n in range(2)] for name in ("test", "train")}


@pytest.mark.parametrize("form", [*FILES, *MEMORY])
def test_each_form_by_hand(tmp_path, form):
    rows = [
        {"text": "a; b", "label": "01", SITE: "11", "note": "x"},
        {"text": "c", "label": "1", SITE: "NA", "note": ""},
        {"text": "c", "label": "1", SITE: "11", "note": "z"},
        {"text": "c", "label": "1", SITE: "11", "note": ""},
    ]
    assert meaning(form, rows, tmp_path) == {"11": [("a; b", "01"), ("c", "1")], "NA": [("c", "1")]}


@pytest.mark.parametrize("cell", BAD, ids=ascii)
@pytest.mark.parametrize("column", ["text", "label", SITE])
def test_a_cell_that_cannot_be_used_is_refused_in_every_form(tmp_path, column, cell):
    rows = [{"text": f"t{n}", "label": "x", SITE: "a", "note": "n"} for n in range(3)]
    rows[1][column] = cell
    found = {form: meaning(form, rows, tmp_path) for form in (*FILES, *MEMORY)}
    assert {result for result in found.values() if result is not None} == {"refused"}, found


TYPED = {  # a column -> the texts of its cells
    "whole": ([3, None, 12], ["3", "", "12"]),
    "large": ([2**53 + 1, 2**62, 0], ["9007199254740993", "4611686018427387904", "0"]),
    "float": ([1.0, None, 0.1], ["1", "", "0.1"]),
    "truth": ([True, False, None], ["True", "False", ""]),
    "text": (["007", "", "NA"], ["007", "", "NA"]),
}


def in_types(folder, values):
    """Yield a name and what holds the values, in each form with types."""
    table = pa.table({"text": ["a", "b", "c"], "v": pa.array(values)})
    frame = table.to_pandas()
    pq.write_table(table, folder / "t.parquet")
    (folder / "t.jsonl").write_text("".join(json.dumps(row) + "\n" for row in table.to_pylist()))
    book = Workbook()
    for row in (["text", "v"], *map(list, zip("abc", values, strict=True))):
        book.active.append(row)
    book.save(folder / "t.xlsx")
    yield from ((name, None, str(folder / name)) for name in ("t.parquet", "t.jsonl", "t.xlsx"))
    yield from (
        (name, made, None)
        for name, made in (
            ("mappings", table.to_pylist()),
            ("pandas", frame),
            ("arrow", table),
            ("nullable", frame.convert_dtypes()),
        )
    )


@pytest.mark.parametrize("kind", TYPED)
def test_a_value_with_a_type_has_one_text(tmp_path, kind):
    values, texts = TYPED[kind]
    for name, given_table, source in in_types(tmp_path, values):
        if kind == "large" and name == "t.xlsx":
            continue  # a spreadsheet has floats, which end at 2 ** 53
        found = load_examples(source, given=given_table, columns={}, base=tmp_path, part="train", required=("text",), optional=())
        assert [example.fields["v"] for example in found] == texts, name


@pytest.mark.parametrize(
    ("values", "texts"),
    [
        (pa.array([0, 2932897], pa.date32()), ["1970-01-01", "10000-01-01"]),  # a day behind Python's calendar
        (pa.array([0, 1_700_000_000], pa.timestamp("s")), ["1970-01-01", "2023-11-14 22:13:20"]),
        (
            pa.array([0, 1_500], pa.timestamp("ms", tz="Europe/Nowhere")),
            ["1970-01-01 00:00:00+00:00", "1970-01-01 00:00:01.5+00:00"],
        ),
        (pa.array([10**15, 90_061], pa.duration("s")), ["11574074074 days 01:46:40", "1 days 01:01:01"]),
        (pa.array([3_661_000_000], pa.time64("us")), ["01:01:01"]),
        (pa.array([Decimal("1.50"), Decimal("2.00"), Decimal("1E+2")], pa.decimal128(20, 2)), ["1.5", "2", "100"]),
        (pa.array([0.1, 3.0], pa.float32()), ["0.1", "3"]),
        (pa.array([b"a", "ö".encode()]), ["a", "ö"]),
        (pa.array(["x", None, "y"]).dictionary_encode(), ["x", "", "y"]),
        (pa.array([float("nan"), float("inf")]), ["", "inf"]),
    ],
    ids=str,
)
def test_columns_of_parquet_as_text(tmp_path, values, texts):
    pq.write_table(pa.table({"text": ["a"] * len(values), "v": values}), tmp_path / "t.parquet")
    found = load_examples("t.parquet", columns={}, base=tmp_path, part="train", required=("text",), optional=())
    assert [example.fields["v"] for example in found] == texts


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (datetime.date(2024, 1, 31), "2024-01-31"),
        (datetime.datetime(2024, 1, 31), "2024-01-31"),
        (pd.Timestamp("2024-01-31 12:00:00.5"), "2024-01-31 12:00:00.5"),
        (np.datetime64("2024-01-31"), "2024-01-31"),
        (np.datetime64("2024-01-31T12:00"), "2024-01-31 12:00:00"),
        (pd.Timestamp("2024-01-31 12:00", tz="Europe/Berlin"), "2024-01-31 11:00:00+00:00"),
        (datetime.time(8, 30), "08:30:00"),
        (pd.Timedelta("1 days 00:00:01.5"), "1 days 00:00:01.5"),
        (np.float32(0.1), "0.1"),
        (np.int64(7), "7"),
        (1e20, "100000000000000000000"),
        (1e22, "1e+22"),
        (-0.0, "0"),
        (pd.NA, ""),
        (pd.NaT, ""),
        (Decimal("NaN"), ""),
    ],
    ids=repr,
)
def test_values_in_memory_as_text(tmp_path, value, text):
    rows = [{"text": "a", "v": value}, {"text": "b", "v": "x"}]
    for given_table in (rows, pd.DataFrame(rows)):
        found = load_examples(None, given=given_table, columns={}, base=tmp_path, part="train", required=("text",), optional=())
        assert found[0].fields["v"] == text


def test_a_spreadsheet_that_fills_up_with_zeros_shows_the_label(tmp_path):
    book = Workbook()
    for row in (["text", "label"], ["a", 7], ["b", 12]):
        book.active.append(row)
    book.active["B2"].number_format = book.active["B3"].number_format = "000"
    book.create_sheet("more")
    book.save(tmp_path / "t.xlsx")
    task = {"required": ("text", "label"), "optional": ()}
    assert [e.fields["label"] for e in load_examples("t.xlsx", columns={}, base=tmp_path, part="train", **task)] == ["007", "012"]


def test_a_formula_that_failed_is_no_text(tmp_path):
    book = Workbook()
    for row in (["text", "label", "#REF!"], ["a", "#N/A", "x"], ["#DIV/0!", "B", "x"]):
        book.active.append(row)  # openpyxl stores these as errors, as spreadsheets do
    book.active.append(["c", "C", "#NAME?"])  # of no use to the task
    book.save(tmp_path / "t.xlsx")
    task = {"required": ("text", "label"), "optional": ()}
    with pytest.raises(DataError, match=r"2 of 3 rows.*row 3 holds the error #DIV/0!.*row 2 holds the error #N/A"):
        load_examples("t.xlsx", columns={}, base=tmp_path, part="train", **task)

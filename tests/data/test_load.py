import gzip
import io
import json
import zipfile

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from fedtailor.data import Data, load_examples
from fedtailor.data.columns import Reads, Wanted, wanted_columns
from fedtailor.data.load import load as load_wanted
from fedtailor.data.structured import references
from fedtailor.errors import DataError, SettingError
from fedtailor.records import Example
from fedtailor.tasks.generation import Generation
from fedtailor.tasks.task import reads_of
from fedtailor.tasks.text.template import fill

GENERATION = {"required": ("input", "target"), "optional": ("references",)}
CLASSES = {"required": ("text", "label"), "optional": ()}
ROWS = [{"input": "a", "target": "A"}, {"input": "b", "target": "B"}]


def load(source, base, *, columns=None, part="train", given=None, **kind):
    return load_examples(source, columns=columns or {}, base=base, part=part, given=given, **(kind or GENERATION))


def fields(examples):
    return [dict(e.fields) for e in examples]


def bomb():
    """Return an Excel file of a few bytes that would fill the memory."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as parts:
        parts.writestr("xl/workbook.xml", bytes(70_000_000))
    return content.getvalue()


def write(folder, name, rows):
    path = folder / name
    table = pd.DataFrame(rows)
    if name.endswith(".parquet"):
        table.to_parquet(path)
    elif name.endswith((".csv", ".tsv")):
        table.to_csv(path, index=False, sep="\t" if name.endswith(".tsv") else ",")
    elif name.endswith(".json"):
        path.write_text(json.dumps(rows))
    else:
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.mark.parametrize("name", ["train.parquet", "train.csv", "train.tsv", "train.jsonl", "train.json", "train.ndjson"])
def test_every_kind_of_file_gives_the_same_examples(tmp_path, name):
    write(tmp_path, name, ROWS)
    examples = load(name, tmp_path)
    assert fields(examples) == ROWS
    assert [e.id for e in examples] == ["train-0", "train-1"]


def test_text_files_are_lines_and_may_be_blank(tmp_path):
    (tmp_path / "a.txt").write_text("one\n\nthree\n")
    examples = load("a.txt", tmp_path, required=("text",), optional=())
    assert fields(examples) == [{"text": "one"}, {"text": ""}, {"text": "three"}]


def test_columns_are_renamed_and_others_kept(tmp_path):
    write(tmp_path, "x.jsonl", [{"question": "q", "answer": "a", "source": "wiki"}])
    examples = load("x.jsonl", tmp_path, columns={"input": "question", "target": "answer"})
    assert examples[0].fields["input"] == "q"
    assert examples[0].fields["target"] == "a"
    assert examples[0].fields["source"] == "wiki"


def test_csv_text_stays_as_it_was_written(tmp_path):
    (tmp_path / "x.csv").write_text('input,target\n007,None\n"a, ""b""",null\n')
    assert fields(load("x.csv", tmp_path)) == [{"input": "007", "target": "None"}, {"input": 'a, "b"', "target": "null"}]


def test_references_are_lists(tmp_path):
    (tmp_path / "x.csv").write_text('input,target,references\na,A,"[""A"", ""AA""]"\nb,B,BB\n')
    assert [e.fields["references"] for e in load("x.csv", tmp_path)] == [["A", "AA"], ["BB"]]


def test_labels_are_the_text_that_stands_there_whatever_the_others_are(tmp_path):
    (tmp_path / "x.csv").write_text("text,label\na,03\nb,0\nc,1.0\n")
    assert [e.fields["label"] for e in load("x.csv", tmp_path, **CLASSES)] == ["03", "0", "1.0"]
    (tmp_path / "y.csv").write_text("text,label\na,03\nb,yes\n")
    assert [e.fields["label"] for e in load("y.csv", tmp_path, **CLASSES)] == ["03", "yes"]


def test_conversations_give_the_last_answer(tmp_path):
    short = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}]
    long = [
        {"role": "system", "content": "Be brief"},
        *short,
        {"role": "user", "content": "Bye"},
        {"role": "assistant", "content": "Ciao"},
    ]
    write(tmp_path, "x.jsonl", [{"messages": short}, {"messages": long}])
    first, second = load("x.jsonl", tmp_path)
    assert (first.fields["input"], first.fields["target"]) == ("Hi", "Hello")
    assert second.fields["input"] == "system: Be brief\nuser: Hi\nassistant: Hello\nuser: Bye"
    assert second.fields["target"] == "Ciao"
    assert second.fields["messages"] == long


def test_a_folder_of_parts_gives_the_part_asked_for(tmp_path):
    write(tmp_path, "train-1.jsonl", ROWS[:1])
    write(tmp_path, "train-2.jsonl", ROWS[1:])
    write(tmp_path, "dev.jsonl", [{"input": "v", "target": "V"}])
    (tmp_path / "labels.json").write_text("[1]")
    assert [e.id for e in load(".", tmp_path)] == ["train-1-0", "train-2-0"]
    assert [e.id for e in load(".", tmp_path, part="validation")] == ["dev-0"]
    with pytest.raises(DataError, match="no data file for test"):
        load(".", tmp_path, part="test")


def test_files_of_one_name_are_distinguished_by_folder(tmp_path):
    for site in ("north", "south"):
        (tmp_path / site).mkdir()
        write(tmp_path / site, "data.jsonl", ROWS[:1])
    examples = load(["north/data.jsonl", "south/data.jsonl"], tmp_path)
    assert [e.id for e in examples] == ["north/data-0", "south/data-0"]


def test_a_link_that_leads_nowhere_is_called_one(tmp_path):
    (tmp_path / "x.csv").symlink_to("gone.csv")
    with pytest.raises(DataError, match=r"x.csv is a link to gone.csv, where there is no file"):
        load("x.csv", tmp_path)


class Dataset:
    def to_list(self):
        return ROWS


@pytest.mark.parametrize(
    "given", [ROWS, tuple(ROWS), pd.DataFrame(ROWS), Dataset(), [Example(id="e", fields=row) for row in ROWS]]
)
def test_data_in_memory(tmp_path, given):
    assert fields(load(None, tmp_path, given=given)) == ROWS


def test_data_in_memory_by_client(tmp_path):
    examples = load(None, tmp_path, given={"north": ROWS, "south": pd.DataFrame(ROWS)})
    assert [e.id for e in examples] == ["north-0", "north-1", "south-0", "south-1"]


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("x.parquet", b"PAR1 this is none", ["x.parquet", "not a readable Parquet file"]),
        ("x.parquet", b"", ["x.parquet", "not a readable Parquet file"]),
        ("x.csv", b"", ["x.csv", "is empty"]),
        ("x.csv", b"input,target\n", ["x.csv", "no rows"]),
        ("x.csv", b"input,target\na,A\nb,B,surplus\n", ["x.csv", "the header has 2 cells", "1 of 2 rows", "line 3 has 3"]),
        (
            "x.csv",
            b"input,target\na,b,c\na,b,c\n",
            ["x.csv", "line 2 has 3, line 3 has 3", "every row has 3: correct the header"],
        ),
        ("x.csv", b"input,target\na\xff,A\n", ["x.csv", "not UTF-8", "0xff in line 2"]),
        ("x.csv", "input,target\na,A\n".encode("utf-16"), ["x.csv", "saved as UTF-16"]),
        ("x.csv", "input,target\na,A\n".encode("utf-16-le"), ["x.csv, line 1,", "NUL"]),
        ("x.csv", b"input,target\na,A\nb\0,B\n", ["1 of 2 rows", "'input' holds the character NUL", "row 3"]),
        ("x.csv", b"input,target\na,\n", ["row 2", "'target' is empty"]),
        ("x.csv", b'input,target\na,A\n"b\nc",\n\nd,\n', ["2 of 3 rows", "row 3, row 5 (line 6)"]),
        ("x.csv", b'input,target\na,A\n"b,B\nc,C\n', ["quotation mark opens", "line 3", "'\"b,B'", "never closed"]),
        ("x.csv", b'input,target\na,A\n"b,B\nc,"C"\n', ["line 3", "behind a closing quotation mark"]),
        ("x.csv", b"input,target,input\na,A,b\n", ["x.csv, line 1,", "several columns of the name 'input'"]),
        ("x.csv", b"input, input ,target\na,b,A\n", ["several columns of the name 'input'"]),
        ("x.tsv", b"input\ttarget\na\tA\tB\n", ["separated by tabs", "line 2 has 3"]),
        ("x.tsv", b"input,target\na,A\n", ["separated by commas: name it .csv"]),
        ("x.jsonl", b'{"input": "a", "target": "A", "input": "b"}\n', ["line 1", "the key 'input' twice"]),
        ("x.csv.gz", b"input,target\na,A\n", ["cannot be unpacked"]),
        ("x.csv.gz", gzip.compress(b"input,target\n" + b"a,A\n" * 9, mtime=0)[:-9], ["cannot be unpacked"]),
        ("x.jsonl.zst", b"none", ["cannot be unpacked"]),
        ("x.csv.gz", gzip.compress(bytes(70 * 2**20), mtime=0), ["unpacks to more than"]),
        ("x.xlsx", b"PK\3\4 none", ["not a readable Excel file"]),
        ("x.xlsx", bomb(), ["unpacks to 70,000,"]),
        ("x.xls", b"", ["'.xls'", "save it as .xlsx"]),
        ("x.csv", b"input,tagret\na,A\n", ["no column 'target'", "did you mean 'tagret'"]),
        (
            "x.csv",
            b"alpha,beta\na,A\n",
            ["no column 'input' and no column 'target'", "alpha, beta", "data.columns: {input: COLUMN, target: "],
        ),
        ("x.jsonl", b'{"input": "a", "target": "A"}\n{"input": "b", "tar', ["line 2", "not valid JSON"]),
        ("x.jsonl", b'["a", "b"]\n', ["line 1", "holds a list"]),
        ("x.jsonl", b'{"input": "a", "target": "A"}\n{"input": "b"}\n', ["line 2", "'target' is empty"]),
        ("x.jsonl", b'{"input": "a", "target": ["7"]}\n', ["line 1 holds ['7']", "'target' holds no text"]),
        ("x.jsonl", b'{"input": "a", "target": "  "}\n', ["line 1", "'target' is empty"]),
        (
            "x.jsonl",
            b'{"input": "a", "target": "A", "references": ["A", ""]}\n',
            ["line 1", "holds no list of texts that are not empty"],
        ),
        ("x.jsonl", b'{"messages": [{"role": "user", "content": "x"}]}\n', ["line 1", "fewer than two messages"]),
        (
            "x.jsonl",
            b'{"messages": [{"role": "user", "content": ["x"]}, {"role": "assistant", "content": "y"}]}\n',
            ["content is a list of parts"],
        ),
        (
            "x.jsonl",
            b'{"messages": [{"from": "human", "value": "x"}, {"from": "gpt", "value": "y"}]}\n',
            ["as ShareGPT writes them"],
        ),
        (
            "x.jsonl",
            b'{"messages": [{"role": "user", "content": "x"}, {"role": "model", "content": "y"}]}\n',
            ["another role than assistant"],
        ),
        (
            "x.jsonl",
            b'{"messages": [{"role": "user", "content": "x"}, {"role": "assistant", "content": " "}]}\n',
            ["say nothing"],
        ),
        (
            "x.jsonl",
            b'{"messages": [{"role": "user", "content": 5}, {"role": "assistant", "content": "y"}]}\n',
            ["content is no text", "put it in quotes"],
        ),
        (
            "x.jsonl",
            b'{"messages": [{"role": " ", "content": "x"}, {"role": "assistant", "content": "y"}]}\n',
            ["without a role"],
        ),
        ("x.jsonl", b'{"messages": "hello"}\n', ["a text that is no JSON"]),
        ("x.jsonl", b'{"messages": ["hello", "you"]}\n', ["no list of messages {role, content}"]),
        ("x.jsonl", b'{"conversations": []}\n', ["did you mean the conversations", "data.columns: {messages: conversations}"]),
        ("x.jsonl", b'{"prompt": "a", "completion": "b"}\n', ["data.columns: {input: prompt, target: completion}"]),
        ("x.jsonl", b'{"prompt": "a", "rejected": "b"}\n', ["data.columns: {input: prompt, target: COLUMN}"]),
        ("x.json", b'{"data": []}', ["holds one object", "list of objects"]),
        ("x.json", b'[{"input": "a", "target": "A"}, 3]', ["row 2", "holds a number"]),
        ("x.json", b"[" * 100_000, ["nested too deep"]),
        ("x.csv", gzip.compress(b"input,target\na,A\n", mtime=0), ["no text", "packed with gzip: add .gz"]),
        ("x.csv", b"PAR1\x15\x04", ["no text", "a Parquet file: name it .parquet"]),
        ("x.tsv", b"PK\x03\x04", ["no text", "name it .xlsx"]),
        ("x.jsonl", b"\x80\x04\x95", ["a pickle, which is never opened"]),
        ("x.csv", b"| input | target |\n|---|:---:|\n| a | A |\n", ["a table of Markdown"]),
        ("x.csv", b'sep=;\ninput;target\na;A\n"b;B\n', ["line 4", "never closed"]),
        ("x.csv", b"sep=;\ninput;target\na;A\nb;\n", ["row 3 (line 4)", "'target' is empty"]),
        ("x.jsonl", b'{"input": "a", "target": "A"},\n', ["line 1", "take off the comma"]),
        ("x.docx", b"hello", ["ends in '.docx'", ".parquet"]),
    ],
)
def test_a_bad_file_is_reported_in_one_paragraph(tmp_path, name, content, words):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError) as caught:
        load(name, tmp_path)
    text = str(caught.value)
    assert "\n" not in text
    assert all(word in text for word in words), text


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("x.csv", "sep=;\r\ninput;target\r\na, b;A\r\n"),
        ("x.csv", '\ufeff\ufeffinput,target\n"a, b",A\n'),
        ("x.jsonl", '[{"input": "a, b", "target": "A"}]'),
        ("x.jsonl", '\n [\n {"input": "a, b",\n "target": "A"}]\n'),
    ],
)
def test_what_tools_write_around_a_table_is_read(tmp_path, name, content):
    (tmp_path / name).write_text(content)
    (found,) = load(name, tmp_path)
    assert (found.fields["input"], found.fields["target"]) == ("a, b", "A")


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ([{"text": "a", "label": np.nan}], "'label' is empty in 1 row .row 0"),
        ([{"text": "a", "label": [1]}], r"'label' holds no label in 1 row .row 0 holds \[1\]"),
        ([{"text": "a", "label": object()}], "'label' holds no label in 1 row .row 0 holds a object"),
        ([{"text": "a", "label": ""}], "'label' is empty in 1 row .row 0"),
        ([{"text": "a", "label": "9" * 4400}], "'label' is too long for a label in 1 row .row 0 holds 4,400 characters"),
        ([{"text": None, "label": 1}], "'text' is empty in 1 row .row 0"),
        ([{"text": b"\xff", "label": 1}], "'text' holds no text in 1 row .row 0 holds bytes that are no UTF-8"),
        ([], "empty; expected at least one example"),
        ("a,b", "is a str; expected"),
        ([1, 2], "is a list; expected"),
    ],
)
def test_bad_data_in_memory(tmp_path, rows, words):
    with pytest.raises(DataError, match=words):
        load(None, tmp_path, given=rows, **CLASSES)


def test_a_label_column_with_a_gap_is_still_whole(tmp_path):
    assert load(None, tmp_path, given=[{"text": "a", "label": 2.0}], **CLASSES)[0].fields["label"] == "2"


def test_missing_files_name_the_nearest(tmp_path):
    write(tmp_path, "train.csv", ROWS)
    with pytest.raises(DataError, match=r"no file .*trian\.csv; did you mean 'train\.csv'"):
        load("trian.csv", tmp_path)
    with pytest.raises(DataError, match="has no 'nowhere'"):
        load("nowhere/deep/train.csv", tmp_path)
    with pytest.raises(DataError, match="twice"):
        load(["train.csv", "train.csv"], tmp_path)
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=r"no data file for train \(it has nothing\)"):
        load("empty", tmp_path)


def test_a_column_key_that_the_task_does_not_know(tmp_path):
    with pytest.raises(SettingError, match=r"key 'inptu'.*did you mean 'input'"):
        load("x.csv", tmp_path, columns={"inptu": "x"})


def test_a_hub_id_without_a_network_fails_at_once(tmp_path, monkeypatch):
    pytest.importorskip("datasets")
    monkeypatch.setattr("fedtailor.data.hub._hub_answers", lambda: False)
    monkeypatch.setattr("datasets.config.HF_HUB_OFFLINE", True)
    with pytest.raises(DataError, match=r"nobody/nothing.*cannot be reached from here"):
        load("nobody/nothing", tmp_path)


def test_a_data_frame_may_hold_arrays(tmp_path):
    talk = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}]
    write(tmp_path, "x.parquet", [{**ROWS[0], "references": ["A", "AA"]}, {**ROWS[1], "references": []}])
    write(tmp_path, "y.parquet", [{"messages": talk}])
    table = pd.read_parquet(tmp_path / "x.parquet")
    assert isinstance(table["references"][0], np.ndarray)
    examples = load(None, tmp_path, given=table)
    assert fields(examples) == fields(load("x.parquet", tmp_path)) == [{**ROWS[0], "references": ["A", "AA"]}, ROWS[1]]
    told = load(None, tmp_path, given=pd.read_parquet(tmp_path / "y.parquet"))[0].fields
    assert told == {"input": "Hi", "target": "Hello", "messages": talk}
    assert load(None, tmp_path, given=[{"text": "a", "label": np.int64(2)}], **CLASSES)[0].fields["label"] == "2"


def test_references_as_pandas_writes_lists(tmp_path):
    rows = [{**ROWS[0], "references": ["t 1", "it's"]}, {**ROWS[1], "references": ["x"]}, {"input": "c", "target": "C"}]
    write(tmp_path, "x.csv", rows)
    assert [e.fields.get("references") for e in load("x.csv", tmp_path)] == [["t 1", "it's"], ["x"], None]


@pytest.mark.parametrize("cell", ["['t 1' 't one']", "['t 1',\n 't one']", "['t 1', nope, 't']"])
def test_references_in_a_form_that_cannot_be_read_back(tmp_path, cell):
    write(tmp_path, "x.csv", [{**ROWS[0], "references": cell}])
    with pytest.raises(
        DataError, match=r"x\.csv: .*'references' holds a list that cannot be read back in 1 row \(row 2 .*JSON list"
    ):
        load("x.csv", tmp_path)


@pytest.mark.parametrize("text", ["[laughs] yes", "['so'] he said", "[a]"])
def test_a_reference_may_begin_with_a_bracket(tmp_path, text):
    write(tmp_path, "x.csv", [{**ROWS[0], "references": text}])
    assert load("x.csv", tmp_path)[0].fields["references"] == [text]


@pytest.mark.parametrize("references", [[], None, float("nan"), ""])
def test_no_references_are_as_if_left_out(tmp_path, references):
    assert fields(load(None, tmp_path, given=[{**ROWS[0], "references": references}])) == ROWS[:1]


@pytest.mark.parametrize(
    ("row", "column"),
    [
        ({"input": "a", "target": "b \ud83d"}, "target"),
        ({"input": "a", "target": "b", "references": ["c\udc00"]}, "references"),
        ({"messages": [{"role": "user", "content": "\ud800"}, {"role": "assistant", "content": "b"}]}, "messages"),
    ],
)
def test_half_a_character_is_reported_by_its_place(tmp_path, row, column):
    (tmp_path / "x.jsonl").write_text(json.dumps(row))  # pandas would refuse it
    with pytest.raises(
        DataError, match=rf"x\.jsonl: .*column '{column}' holds half of a character.*\(line 1 holds '\\ud"
    ) as caught:
        load("x.jsonl", tmp_path)
    str(caught.value).encode()


def test_all_faults_of_all_files_come_in_one_message(tmp_path):
    (tmp_path / "a.csv").write_text("text,label\n,x\nb,\n" + "c,\n" * 9)
    (tmp_path / "b.jsonl").write_text('{"text": ["a"], "label": "x"}\n')
    with pytest.raises(DataError) as caught:
        load(["a.csv", "b.jsonl"], tmp_path, **CLASSES)
    first, second = str(caught.value).split("; " + str(tmp_path))
    assert "11 of 11 rows cannot be used: column 'text' is empty in 1 row (row 2), " in first
    assert "column 'label' is empty in 10 rows (row 3, row 4, row 5, row 6, row 7, ...)" in first
    assert "data.missing: drop" in first
    assert "b.jsonl: 1 of 1 row cannot be used: column 'text' holds no text in 1 row (line 1 holds ['a'])" in second


@pytest.mark.parametrize("ending", [".csv", ".csv.gz", ".CSV"])
def test_a_file_is_called_the_same_whatever_it_is_packed_in(tmp_path, ending):
    content = b"\xef\xbb\xbfinput ; target\r\n1,5;A\r\n\r\n;;\r\n".replace(
        b";;", b";"
    )  # with the mark of UTF-8, as spreadsheets write it
    (tmp_path / f"x{ending}").write_bytes(gzip.compress(content) if ending == ".csv.gz" else content)
    examples = load(f"x{ending}", tmp_path)
    assert [(e.id, dict(e.fields), e.place) for e in examples] == [("x-0", {"input": "1,5", "target": "A"}, "row 2")]


def test_quotation_marks_are_letters_in_tsv(tmp_path):
    (tmp_path / "x.tsv").write_text('input\ttarget\n"a, he said\tA\nb "c"\tB"\n')
    assert fields(load("x.tsv", tmp_path)) == [{"input": '"a, he said', "target": "A"}, {"input": 'b "c"', "target": 'B"'}]


def test_columns_without_a_name_are_not_read(tmp_path):
    (tmp_path / "x.csv").write_text(",input,target,\n0,a,A,\n1,b,B,\n")  # an index of pandas, and a comma too many
    assert fields(load("x.csv", tmp_path)) == ROWS


def test_a_comma_separates_even_where_a_name_has_another_sign(tmp_path):
    (tmp_path / "x.csv").write_text('input,target,"a;b|c"\na,A,1\n')
    assert fields(load("x.csv", tmp_path)) == [{"input": "a", "target": "A", "a;b|c": "1"}]


def test_a_comma_in_a_name_and_in_numbers_does_not_separate_where_semicolons_do(tmp_path):
    (tmp_path / "x.csv").write_text('input;target;"a, b"\n1,5;A;x\n2,5;B;y\n')
    assert fields(load("x.csv", tmp_path)) == [
        {"input": "1,5", "target": "A", "a, b": "x"},
        {"input": "2,5", "target": "B", "a, b": "y"},
    ]


def test_long_cells_and_numbers_are_read(tmp_path):
    text = "word " * 40_000  # the csv module's own bound is 131,072
    (tmp_path / "x.csv").write_text(f"input,target\n{text},A\n")
    assert load("x.csv", tmp_path)[0].fields["input"] == text
    (tmp_path / "x.jsonl").write_text('{"input": "a", "target": "A", "code": %s}\n' % ("9" * 4400))
    assert load("x.jsonl", tmp_path)[0].fields["code"] == "9" * 4400


def test_conversations_may_stand_in_csv(tmp_path):
    talk = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}]
    write(tmp_path, "x.csv", [{"messages": json.dumps(talk)}])
    assert fields(load("x.csv", tmp_path)) == [{"input": "Hi", "target": "Hello", "messages": talk}]


def test_a_key_that_stands_twice_in_a_cell_is_refused_as_in_a_file_of_json(tmp_path):
    talk = '[{"role": "user", "role": "system", "content": "Hi"}, {"role": "assistant", "content": "Hello"}]'
    write(tmp_path, "x.csv", [{"messages": talk}])
    with pytest.raises(DataError, match=r"'messages' holds an object that has a key twice in 1 row \(row 2 holds 'role' twice\)"):
        load("x.csv", tmp_path)
    (tmp_path / "x.jsonl").write_text(f'{{"messages": {talk}}}\n')
    with pytest.raises(DataError, match=r"line 1 has an object with the key 'role' twice"):
        load("x.jsonl", tmp_path)


class Chunks:
    """What pyarrow, polars and duckdb have in common."""

    def __arrow_c_stream__(self, requested_schema=None):
        return pa.Table.from_pylist(ROWS).__arrow_c_stream__(requested_schema)


def test_anything_that_pyarrow_reads_is_a_table(tmp_path):
    assert fields(load(None, tmp_path, given=Chunks())) == ROWS


def test_a_data_set_decodes_no_column_that_nobody_reads(tmp_path):
    datasets = pytest.importorskip("datasets")
    made = datasets.Dataset.from_list([{**row, "code": number} for number, row in enumerate(ROWS)])
    assert fields(load(None, tmp_path, given=made)) == [{**row, "code": str(number)} for number, row in enumerate(ROWS)]


def test_only_the_columns_that_are_wanted_are_converted(tmp_path):
    table = pa.table({"text": ["a"], "label": ["x"], "mine": [1], "photo": pa.array([b"\xff"])})
    pq.write_table(table, tmp_path / "x.parquet")
    wanted = Wanted(required=("text", "label"), named={"mine": "clients.partition.by"}, others=())
    assert fields(load_wanted("x.parquet", wanted, base=tmp_path, part="train").examples) == [
        {"text": "a", "label": "x", "mine": "1"}
    ]
    with pytest.raises(SettingError, match=r"clients\.partition\.by names column 'mien'.*did you mean 'mine'"):
        load_wanted("x.parquet", Wanted(required=("text",), named={"mien": "clients.partition.by"}), base=tmp_path, part="train")


ALPACA = [{"instruction": "Say it.", "input": "no", "output": "No."}, {"instruction": "Sing.", "input": "", "output": "La."}]


def test_a_template_reaches_all_columns_and_one_of_a_prompts_may_be_empty(tmp_path):
    task = Generation(template="{instruction}\n{input}\n{target}")
    write(tmp_path, "x.json", ALPACA)

    def found(columns, rows=None):
        wanted = wanted_columns(Data(columns=columns), Reads(**reads_of(task)))
        return load_wanted("x.json", wanted, base=tmp_path, part="train", given=rows).examples

    assert [fill(task.template, example).text for example in found({"target": "output"})] == ["Say it.\nno\n", "Sing.\n\n"]
    with pytest.raises(DataError, match=r"task\.template names 'instruction' and 'input'.*leave input out of data\.columns"):
        found({"input": "instruction", "target": "output"})
    with pytest.raises(DataError, match=r"column 'input' and 'instruction' is empty in 1 row \(row 1\)"):
        found({"target": "output"}, [ALPACA[0], {"instruction": " ", "input": None, "output": "x"}])


def test_a_column_that_another_takes_the_place_of_is_noted(tmp_path):
    wanted = Wanted(required=("input", "target"), columns={"input": "instruction", "target": "output"}, others=())
    loaded = load_wanted(None, wanted, base=tmp_path, part="train", given=ALPACA)
    assert loaded.notes == ["data['train']: its column 'input' is not read, as data.columns takes 'instruction' in its place"]
    assert [e.fields["input"] for e in loaded.examples] == ["Say it.", "Sing."]


def test_rows_that_lack_a_value_may_be_left_out_and_are_counted(tmp_path):
    rows = [
        *ROWS,
        {"input": "c", "target": None},
        {"input": None, "target": ""},
        {"input": "d", "target": " "},
        {"input": "e", "target": "E"},
    ]
    loaded = load_wanted(None, Wanted(required=("input", "target"), missing="drop"), base=tmp_path, part="train", given=rows)
    assert [e.id for e in loaded.examples] == ["train-0", "train-1", "train-5"]
    assert loaded.dropped == {"rows without a value in column 'target'": 2, "rows without a value in column 'input'": 1}


def test_rows_at_the_end_without_any_value_are_none(tmp_path):
    assert (
        fields(load(None, tmp_path, given=[*ROWS, {"input": "", "target": None}, {"input": None, "target": float("nan")}]))
        == ROWS
    )
    with pytest.raises(DataError, match="1 of 3 rows"):
        load(None, tmp_path, given=[*ROWS, {"input": "", "target": None, "other": "x"}])


def test_files_that_were_joined_are_refused_at_the_second_header(tmp_path):
    (tmp_path / "x.csv").write_text("input,target\na,A\n\ufeffinput,target\nb,B\n")
    with pytest.raises(DataError, match=r"'input' and 'target' repeats the header.* in 1 row \(row 3\)"):
        load("x.csv", tmp_path)


@pytest.mark.parametrize("address", ["https://example.org/x.csv", "s3://bucket/x.csv", "file:///x.csv"])
def test_an_address_is_no_file(tmp_path, address):
    with pytest.raises(DataError, match=r"x\.csv is named by an address, and nothing is fetched"):
        load(address, tmp_path)


@pytest.mark.parametrize(
    ("columns", "kind"),
    [({"input": "target"}, {}), ({"input": "a", "target": "a"}, {}), ({"label": "text"}, CLASSES)],
)
def test_an_answer_is_no_question(tmp_path, columns, kind):
    (tmp_path / "x.jsonl").write_text('{"input": "a", "target": "b", "a": "c", "text": "d", "label": "e"}\n')
    with pytest.raises(SettingError, match="from one column"):
        load("x.jsonl", tmp_path, columns=columns, **kind)


def test_a_written_list_of_references_is_one_behind_a_space_too_and_holds_nothing_empty():
    assert references(' ["a", "b"]') == references("\n['a', 'b']") == ["a", "b"]
    assert [references(text) for text in ("['a', None]", "[None, 'a']", '["a", null]')] == [None] * 3
    assert references("[None of these]") == ["[None of these]"]

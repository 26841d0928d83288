import json

import numpy as np
import pandas as pd
import pytest

from fedtailor.data import load_examples
from fedtailor.errors import DataError, SettingError
from fedtailor.records import Example

GENERATION = {"required": ("input", "target"), "optional": ("references",)}
CLASSES = {"required": ("text", "label"), "optional": ()}
ROWS = [{"input": "a", "target": "A"}, {"input": "b", "target": "B"}]


def load(source, base, *, columns=None, part="train", given=None, **kind):
    return load_examples(source, columns=columns or {}, base=base, part=part, given=given, **(kind or GENERATION))


def fields(examples):
    return [dict(e.fields) for e in examples]


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


def test_whole_labels_become_numbers(tmp_path):
    (tmp_path / "x.csv").write_text("text,label\na,3\nb,0\n")
    assert [e.fields["label"] for e in load("x.csv", tmp_path, **CLASSES)] == [3, 0]
    (tmp_path / "y.csv").write_text("text,label\na,3\nb,yes\n")
    assert [e.fields["label"] for e in load("y.csv", tmp_path, **CLASSES)] == ["3", "yes"]


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


def test_files_of_one_name_are_told_apart_by_folder(tmp_path):
    for site in ("north", "south"):
        (tmp_path / site).mkdir()
        write(tmp_path / site, "data.jsonl", ROWS[:1])
    examples = load(["north/data.jsonl", "south/data.jsonl"], tmp_path)
    assert [e.id for e in examples] == ["north/data-0", "south/data-0"]


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
        ("x.csv", b"input,target\na,A\nb,B,surplus\n", ["x.csv", "not a well-formed table", "line 3"]),
        ("x.csv", b"input,target\na,b,c\na,b,c\n", ["x.csv", "more values than the 2 columns"]),
        ("x.csv", b"input,target\na\xff,A\n", ["x.csv", "not UTF-8"]),
        ("x.csv", b"input,target\na,\n", ["row 0", "'target' is empty"]),
        ("x.csv", b"input,target\na,A\nb,NaN\n", ["row 1", "'target' holds no value (NaN)"]),
        ("x.csv", b"input,tagret\na,A\n", ["no column 'target'", "did you mean 'tagret'"]),
        ("x.csv", b"alpha,beta\na,A\n", ["no column 'input'", "alpha, beta", "data.columns: {input: COLUMN}"]),
        ("x.jsonl", b'{"input": "a", "target": "A"}\n{"input": "b", "tar', ["line 2", "not valid JSON"]),
        ("x.jsonl", b'["a", "b"]\n', ["line 1", "holds a list"]),
        ("x.jsonl", b'{"input": "a", "target": "A"}\n{"input": "b"}\n', ["row 1", "'target' holds no value (null)"]),
        ("x.jsonl", b'{"input": "a", "target": 7}\n', ["row 0", "holds 7 of type int", "must be text"]),
        ("x.jsonl", b'{"input": "a", "target": "  "}\n', ["row 0", "'target' is empty"]),
        ("x.jsonl", b'{"input": "a", "target": "A", "references": ["A", ""]}\n', ["row 0", "references is a list of texts"]),
        ("x.jsonl", b'{"messages": [{"role": "user", "content": "x"}]}\n', ["row 0", "the last one of role assistant"]),
        ("x.json", b'{"data": []}', ["holds one object", "list of objects"]),
        ("x.json", b'[{"input": "a", "target": "A"}, 3]', ["row 1", "holds a number"]),
        ("x.json", b"[" * 100_000, ["nested too deep"]),
        ("x.csv", b"input;target\na;A\n", ["separated by another sign than ','"]),
        ("x.docx", b"hello", ["ends in '.docx'", ".parquet"]),
    ],
)
def test_a_bad_file_is_told_in_one_paragraph(tmp_path, name, content, words):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError) as caught:
        load(name, tmp_path)
    text = str(caught.value)
    assert "\n" not in text
    assert all(word in text for word in words), text


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ([{"text": "a", "label": np.nan}], "row 0.*'label' holds no value"),
        ([{"text": "a", "label": 1.5}], "row 0.*holds 1.5; a label is"),
        ([{"text": "a", "label": ""}], "row 0.*a label is"),
        ([{"text": None, "label": 1}], "row 0.*'text' holds no value"),
        ([], "empty; expected at least one example"),
        ("a,b", "is a str; expected"),
        ([1, 2], "is a list; expected"),
    ],
)
def test_bad_data_in_memory(tmp_path, rows, words):
    with pytest.raises(DataError, match=words):
        load(None, tmp_path, given=rows, **CLASSES)


def test_a_label_column_with_a_gap_is_still_whole(tmp_path):
    assert load(None, tmp_path, given=[{"text": "a", "label": 2.0}], **CLASSES)[0].fields["label"] == 2


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
    assert load(None, tmp_path, given=[{"text": "a", "label": np.int64(2)}], **CLASSES)[0].fields["label"] == 2


def test_references_as_pandas_writes_lists(tmp_path):
    rows = [{**ROWS[0], "references": ["t 1", "it's"]}, {**ROWS[1], "references": ["x"]}, {"input": "c", "target": "C"}]
    write(tmp_path, "x.csv", rows)
    assert [e.fields.get("references") for e in load("x.csv", tmp_path)] == [["t 1", "it's"], ["x"], None]


@pytest.mark.parametrize("cell", ["['t 1' 't one']", "['t 1',\n 't one']", "['t 1', nope, 't']"])
def test_references_in_a_form_that_cannot_be_read_back(tmp_path, cell):
    write(tmp_path, "x.csv", [{**ROWS[0], "references": cell}])
    with pytest.raises(DataError, match=r"x\.csv, row 0 .*'references' holds .*JSON list"):
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
def test_half_a_character_is_told_by_its_place(tmp_path, row, column):
    (tmp_path / "x.jsonl").write_text(json.dumps(row))  # pandas would refuse it
    with pytest.raises(DataError, match=rf"x\.jsonl, row 0 .*column '{column}' holds '\\ud") as caught:
        load("x.jsonl", tmp_path)
    str(caught.value).encode()

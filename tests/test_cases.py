"""Situations of public bug reports and of first use, each with the tests that hold what should come out; those without another home are here."""

import ast
import gzip
import re
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from jobs import tiny_job

from fedtailor.assembly import assemble
from fedtailor.assembly.data import divide_data
from fedtailor.cli.tryout import _prompts
from fedtailor.data import load_examples
from fedtailor.errors import DataError
from fedtailor.models.tokenizer import load_tokenizer
from fedtailor.records import Example
from fedtailor.tasks import Generation, LanguageModeling

TESTS = Path(__file__).parent
HERE = "test_cases.py"
CASES = {  # what the case is of -> file: tests
    "labels with leading zeros": {
        "data/test_load.py": ["test_labels_are_the_text_that_stands_there_whatever_the_others_are"],
        "tasks/test_classification.py": ["test_a_text_that_is_no_listed_name_is_never_a_place_in_the_list"],
        "data/test_forms.py": ["test_every_form_gives_the_same_examples_labels_and_clients"],
    },
    "quotation marks in TSV": {"data/test_load.py": ["test_quotation_marks_are_letters_in_tsv"]},
    "ROUGE of other scripts": {
        "metrics/test_rouge.py": ["test_a_text_that_equals_its_reference_scores_one", "test_words_of_every_script"]
    },
    "rows without an owner": {"data/test_divide.py": ["test_rows_without_an_owner_are_named_or_left_out"]},
    "the order of a head's labels": {
        "models/test_labels.py": [
            "test_rows_follow_names_and_not_their_places",
            "test_a_head_for_other_classes_is_drawn_again_with_a_note",
        ],
        "tuning/test_start.py": ["test_rows_of_an_adapters_head_follow_the_names_of_its_classes"],
    },
    "an adapter that PiSSA or OLoRA began": {
        "tuning/test_start.py": ["test_what_peft_itself_wrote_is_what_peft_loads_or_refused"],
        "running/test_before.py": ["test_before_is_the_backbone", "test_try_shows_what_the_plain_backbone_writes"],
        "tuning/test_peft_and_full.py": ["test_a_start_that_wants_a_pass_over_the_data_is_refused"],
    },
    "texts longer than the context": {
        "assembly/test_parts.py": ["test_texts_longer_than_the_context_are_refused_before_anything_is_trained"],
        "tasks/text/test_positions.py": ["test_a_table_of_positions_ends_where_the_forward_pass_fails"],
    },
    "an export with the backbone's tokenizer": {
        "export/test_everything.py": ["test_what_is_exported_answers_as_the_run_does_and_its_card_runs"],
        "export/test_result.py": ["test_settings_of_generation_that_contradict_each_other_are_copied"],
    },
    "Alpaca's three columns": {
        "data/test_load.py": [
            "test_a_template_reaches_all_columns_and_one_of_a_prompts_may_be_empty",
            "test_a_column_that_another_takes_the_place_of_is_noted",
        ]
    },
    "columns that nobody reads": {
        "data/test_load.py": ["test_only_the_columns_that_are_wanted_are_converted", "test_long_cells_and_numbers_are_read"]
    },
    "columns of equal names": {
        HERE: ["test_columns_of_equal_names_are_refused_in_every_form"],
        "data/test_load.py": ["test_a_key_that_stands_twice_in_a_cell_is_refused_as_in_a_file_of_json"],
    },
    "the token that ends a turn of the template": {
        "tasks/text/test_chat.py": [
            "test_answer_ends_in_the_token_that_ends_a_turn_of_the_template",
            "test_template_that_ends_its_text_once_more_ends_the_turn_first",
        ]
    },
    "tools and their calls": {
        "tasks/text/test_chat.py": [
            "test_tools_and_calls_reach_the_template",
            "test_what_a_template_leaves_out_or_cannot_read_is_refused_with_the_example",
            "test_arguments_with_a_name_twice_stay_as_they_are_written_and_tools_are_refused",
            "test_calls_of_older_data_are_written_or_refused",
        ]
    },
    "a template that writes the date": {
        "test_clock.py": [
            "test_two_runs_of_one_seed_and_a_resumed_one_have_the_same_bits",
            "test_the_moment_is_a_setting_sent_to_sites_and_reported_where_it_is_not_set",
        ],
        "tasks/text/test_chat.py": ["test_what_a_template_draws_is_the_same_each_time_and_draws_from_nobody"],
    },
    "repeated lines of running text": {"data/test_divide.py": ["test_running_text_is_kept_whole_and_divided_into_stretches"]},
    "owners of data in memory": {
        "data/test_divide.py": ["test_clients_in_memory"],
        "data/test_load.py": ["test_data_in_memory_by_client"],
    },
    "macro-F1 over clients": {
        "running/test_once.py": ["test_macro_f1_of_all_clients_is_that_of_all_their_examples"],
        "learning/test_over_clients.py": ["test_macro_f1_of_all_is_not_the_mean_of_the_clients"],
    },
    "an adapter on tied embeddings": {
        "export/test_everything.py": ["test_what_is_exported_answers_as_the_run_does_and_its_card_runs"]
    },
    "try with a tokenizer that ends texts": {
        HERE: ["test_try_continues_a_text_that_the_tokenizer_would_end"],
        "tasks/test_language_modeling.py": ["test_a_text_to_continue_begins_as_in_training_and_has_no_end"],
    },
    "what was right": {
        HERE: [
            "test_an_end_token_that_is_also_that_of_padding_is_trained",
            "test_natural_owners_do_not_hang_on_the_order_of_rows",
        ],
        "protocols/rounds/test_sampling.py": ["test_how_many_are_asked", "test_a_share_is_what_is_written"],
        "data/test_load.py": ["test_a_file_is_called_the_same_whatever_it_is_packed_in"],  # with a mark of UTF-8
    },
    "special tokens in texts": {"tasks/text/test_markers.py": ["test_marker_in_data_is_made_of_its_characters_in_every_task"]},
    "a spreadsheet of four hospitals": {
        HERE: ["test_hospital_files_are_read_or_say_all_that_is_wrong", "test_long_notes_are_counted"],
        "data/test_load.py": ["test_all_faults_of_all_files_come_in_one_message"],
    },
    "a sweep over sections": {
        "studies/test_grid.py": [
            "test_cells_of_sections_are_named_by_what_differs",
            "test_settings_of_one_value_are_in_no_name_where_others_have_several",
            "test_a_baseline_that_a_setting_does_not_change_runs_once",
        ],
        "report/several/test_sweep.py": ["test_nothing_is_drawn_between_categories_and_what_does_not_depend_on_them_goes_across"],
    },
    "rows by client": {"data/test_divide.py": ["test_a_mapping_of_clients_makes_these_clients"]},
    "divergence": {
        "running/test_gone_wrong.py": [
            "test_divergence_names_client_step_and_what_to_change_and_a_smaller_rate_continues",
            "test_a_run_without_a_round_left_says_so_before_training",
        ]
    },
    "resuming after a cosine": {
        "running/test_gone_wrong.py": [
            "test_a_schedule_that_has_ended_is_refused_before_training",
            "test_the_runs_own_job_needs_no_override_and_other_settings_are_refused",
        ]
    },
    "a backbone that sees later tokens": {
        "models/test_probe.py": ["test_who_looks_ahead_is_no_language_model", "test_the_same_as_a_decoder_is_one"]
    },
    "a tuning that does not begin as the backbone": {"running/test_before.py": ["test_before_is_the_backbone"]},
    "generation settings of a backbone": {"tasks/text/test_ways.py": ["test_settings_of_the_backbone_take_no_part"]},
    "padding of XLNet": {
        "models/test_probe.py": ["test_a_text_has_one_class_whatever_its_batch", "test_left_padding_is_right_padding_shifted"]
    },
    "rows that two owners share": {"data/test_divide.py": ["test_what_an_owner_keeps_does_not_depend_on_others"]},
    "texts that hang on their batch": {"tasks/text/test_ways.py": ["test_a_text_does_not_hang_on_its_batch"]},
    "an adapter of aLoRA": {"tuning/test_start.py": ["test_a_field_that_changes_the_result_is_refused_by_name"]},
    "full tuning of weights in float32": {
        "running/test_before.py": ["test_full_starts_from_the_weights_of_the_file_in_every_precision"],
        "models/test_unrounded.py": ["test_what_is_trained_starts_from_the_file_and_nothing_else_changes"],
    },
}


def test_every_case_has_its_tests():
    for case, homes in CASES.items():
        for file, names in homes.items():
            there = {node.name for node in ast.walk(ast.parse((TESTS / file).read_text())) if isinstance(node, ast.FunctionDef)}
            assert set(names) <= there, (case, file, set(names) - there)


TWICE = pa.Table.from_arrays([pa.array(["a"]), pa.array(["x"]), pa.array(["y"])], names=["text", "label", "label"])
TEXTS = {
    "a.csv": "text,label,label\na,x,y\n",
    "a.tsv": "text\tlabel\tlabel\na\tx\ty\n",
    "a.jsonl": '{"text": "a", "label": "x", "label": "y"}\n',
    "a.json": '[{"text": "a", "label": "x", " label": "y"}]',
}


@pytest.mark.parametrize("form", [*TEXTS, "a.csv.gz", "a.xlsx", "a.parquet", "pandas", "pyarrow", "rows", "by client"])
def test_columns_of_equal_names_are_refused_in_every_form(form, tmp_path):
    frame = pd.DataFrame([["a", "x", "y"]], columns=["text", "label", "label"])
    given = {
        "pandas": frame,
        "pyarrow": TWICE,
        "rows": [{"text": "a", "label": "x", "label ": "y"}],
        "by client": {"north": frame},
    }.get(form)
    if form in TEXTS:
        (tmp_path / form).write_text(TEXTS[form])
    if form == "a.csv.gz":
        (tmp_path / form).write_bytes(gzip.compress(TEXTS["a.csv"].encode()))
    if form == "a.xlsx":
        frame.to_excel(tmp_path / form, index=False)
    if form == "a.parquet":
        pq.write_table(TWICE, tmp_path / form)
    source = None if given is not None else form
    with pytest.raises(DataError, match=r"several columns of the name 'label'|the key 'label' twice"):
        load_examples(source, columns={}, base=tmp_path, part="train", given=given, required=("text", "label"), optional=())


@pytest.fixture
def ending(tiny_backbone_folder, tmp_path):
    """Return the tokenizer of a backbone that puts a mark before each text and one behind it."""
    import json
    import shutil

    folder = shutil.copytree(tiny_backbone_folder, tmp_path / "ending")
    told = json.loads((folder / "tokenizer.json").read_text())
    ids = {token["content"]: token["id"] for token in told["added_tokens"]}
    marks = {name: {"id": name, "ids": [ids[name]], "tokens": [name]} for name in ("<|im_start|>", "<|im_end|>")}
    before, behind = ({"SpecialToken": {"id": name, "type_id": 0}} for name in marks)
    single = [before, {"Sequence": {"id": "A", "type_id": 0}}, behind]
    told["post_processor"] = {"type": "TemplateProcessing", "single": single, "pair": single, "special_tokens": marks}
    (folder / "tokenizer.json").write_text(json.dumps(told))
    return load_tokenizer(folder)


@pytest.mark.parametrize(
    "task", [LanguageModeling(join=""), Generation(template="{input}{target}"), object()], ids=["lines", "prompts", "own"]
)
def test_try_continues_a_text_that_the_tokenizer_would_end(ending, task):
    task = task if hasattr(task, "required") else type("Own", (), {"backbone": "causal"})()  # a class of the user's own
    (prompt,) = _prompts(task, ending, ["the card"], {})
    assert ending.decode(ending("the card")["input_ids"]) == "<|im_start|>the card<|im_end|>"
    assert ending.decode(prompt) == "<|im_start|>the card"


def test_an_end_token_that_is_also_that_of_padding_is_trained(tiny_backbone_folder):
    tokenizer = load_tokenizer(tiny_backbone_folder)
    tokenizer.pad_token = tokenizer.eos_token
    shard = Generation().prepare([Example(id="a", fields={"input": "x", "target": "yes"})], tokenizer, keep_examples=False)
    assert tokenizer.decode(shard.tokens_T[shard.target_T].tolist()) == f"yes{tokenizer.eos_token}"


def test_natural_owners_do_not_hang_on_the_order_of_rows(make_job, tmp_path):
    rows = [{"input": f"note {n}", "target": f"sum {n}", "who": f"w{n % 4}"} for n in range(40)]
    job = make_job(
        clients={"partition": {"kind": "natural", "by": "who"}, "min_examples": 4, "validation_share": 0, "test_share": 0}
    )
    one, other = (divide_data(job, given=given).train for given in (rows, rows[::-1]))
    assert list(one) == list(other) == ["w0", "w1", "w2", "w3"]
    texts = [{client: sorted(e.fields["input"] for e in part) for client, part in found.items()} for found in (one, other)]
    assert texts[0] == texts[1]


NOTE = '"Patient {n}, stable; no fever.\nDay {n}."'  # a cell of two lines, with a comma and a semicolon


def hospital(rows, *, sign=",", header="hospital,notes,summary"):
    return header.replace(",", sign) + "\n" + "".join(sign.join(row) + "\n" for row in rows)


def hospital_rows(count=80, hospitals=4):
    return [(f"H{n % hospitals}", NOTE.format(n=n), f"Patient {n} stable.") for n in range(count)]


def with_gaps(rows, column):
    return [tuple("" if at == column and n in (5, 40, 70) else cell for at, cell in enumerate(row)) for n, row in enumerate(rows)]


HOSPITALS = {  # name -> text, what is said
    "semicolon": (hospital(hospital_rows(), sign=";"), "its cells are separated by semicolons"),
    "space_header": (hospital(hospital_rows(), header="hospital, notes ,summary"), ""),
    "small": (
        hospital([*hospital_rows(), *(("Tiny Clinic", f"note {n}", "x") for n in range(9))]),
        r"1 client has fewer than clients\.min_examples = 16 \('Tiny Clinic' 9\)",
    ),
    "duplicates": (hospital(hospital_rows(20) * 6), r"100 of 120 rows repeat an earlier one, and count once; .*'H0' 5, 'H1' 5"),
    "empty_cells": (
        hospital(with_gaps(hospital_rows(), 2)),
        r"3 of 80 rows cannot be used: column 'summary' .* is empty in 3 rows \(row 7 \(line 12\), row 42 \(line 82\), row 72 \(line 142\)\)",
    ),
    "no_hospital": (
        hospital(with_gaps(hospital_rows(), 0)),
        r"3 of 80 rows cannot be used: column 'hospital' is empty in 3 rows \(row 7\b.*data\.missing: drop",
    ),
}
READ = ("semicolon", "space_header", "small")


@pytest.mark.parametrize("packed", ["", ".gz", ".xlsx"])
@pytest.mark.parametrize("name", HOSPITALS)
def test_hospital_files_are_read_or_say_all_that_is_wrong(name, packed, tmp_path, tiny_backbone_folder):
    text, said = HOSPITALS[name]
    (tmp_path / "h.csv").write_text(text)
    if packed == ".gz":
        (tmp_path / "h.csv.gz").write_bytes(gzip.compress(text.encode()))
    if packed == ".xlsx":
        sign = ";" if name == "semicolon" else ","
        pd.read_csv(tmp_path / "h.csv", sep=sign, keep_default_na=False).to_excel(tmp_path / "h.xlsx", index=False)
        said = (
            ""
            if name == "semicolon"
            else said.replace(r" \(line 12\)", "").replace(r" \(line 82\)", "").replace(r" \(line 142\)", "")
        )
    file = {"": "h.csv", ".gz": "h.csv.gz", ".xlsx": "h.xlsx"}[packed]
    job = tiny_job(
        tiny_backbone_folder,
        data={"train": str(tmp_path / file), "columns": {"input": "notes", "target": "summary"}},
        clients={"partition": {"kind": "natural", "by": "hospital"}},
    )
    if name not in READ:
        with pytest.raises(DataError, match=said) as fault:
            divide_data(job)
        assert "\n" not in str(fault.value)
        return
    found = divide_data(job)
    assert sorted(found.train) == ["H0", "H1", "H2", "H3"]
    every = [e for part in (found.train, found.validation, found.test) for own in part.values() for e in own]
    assert len(every) == 80
    assert {e.fields["input"] for e in every} == {f"Patient {n}, stable; no fever.\nDay {n}." for n in range(80)}
    assert re.search(said, " ".join([*found.notes, *found.dropped]))


def test_long_notes_are_counted(make_job):
    rows = [{"input": f"{n} " + "stable, no fever; " * 40, "target": "stable"} for n in range(40)]
    said: list[str] = []
    assemble(make_job(task={"kind": "generation", "max_tokens": 100}), given=rows, warn=said.append)
    (note,) = [text for text in said if "longer than task.max_tokens" in text]
    assert note.startswith("40 examples are longer than task.max_tokens = 100")
    assert "cut at the beginning of the input" in note

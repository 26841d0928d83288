"""What a user is told when a job is put together, and what is put back in order for the next one."""

import pytest
import torch
from jobs import tiny_job

from fedtailor.assembly import assemble
from fedtailor.assembly.pipeline import USUAL_THREADS
from fedtailor.errors import SettingError
from fedtailor.running import run


def test_threads_that_one_job_chose_do_not_hold_for_the_next(make_job, rows):
    assemble(make_job(threads=1), given=rows)
    assert torch.get_num_threads() == 1
    assemble(make_job(threads="auto"), given=rows)
    assert torch.get_num_threads() == USUAL_THREADS


def test_inputs_on_both_sides_and_examples_left_out_are_reported(make_job, rows):
    said = []
    assemble(
        make_job(), given={"train": [*rows, rows[0]], "test": [rows[1], {**rows[2], "input": "name[New]"}]}, warn=said.append
    )
    assert [text for text in said if "stand in the training data too" in text] == [
        "1 inputs of the test file stand in the training data too: its figures flatter the model"
    ]
    assert [text.split(":")[0] for text in said if "left out" in text] == ["1 training examples are left out"]


def test_what_the_job_itself_leaves_out_is_no_news(make_job, rows):
    said = []
    assemble(make_job(data__limit={"train": 32}), given=rows, warn=said.append)
    assert not [text for text in said if "left out" in text]


@pytest.mark.parametrize(
    ("tuning", "said"),
    [({"targets": ["nothing"]}, r"^tuning\.targets names 'nothing'"), ({"initial": "gone"}, r"^tuning\.initial: ")],
)
def test_a_fault_that_the_model_shows_names_its_setting(make_job, rows, tuning, said):
    with pytest.raises(SettingError, match=said):
        assemble(make_job(tuning={"kind": "lora", "rank": 2, **tuning}), given=rows)


LINES = [{"text": f"The mill by the river serves coffee for {place} visitors."} for place in range(120)]
CLASSES = [{"text": f"{place} " + "coffee by the river " * 30, "label": "ab"[place % 2]} for place in range(48)]
FRONTS = {"prefix": {"kind": "prefix", "hidden": 8}, "prompt": {"kind": "prompt"}}


@pytest.mark.parametrize("front", ["prefix", "prompt"])
@pytest.mark.parametrize(
    ("task", "data", "bound"),
    [
        ({"kind": "language-modeling", "block": 100}, LINES, "task.block"),
        ({"kind": "classification", "max_tokens": 100}, CLASSES, "task.max_tokens"),
    ],
    ids=["language-modeling", "classification"],
)
def test_what_stands_in_front_fits_into_the_context_with_the_longest_text(request, tmp_path, *, front, task, data, bound):
    """The tiny models have 256 places, and the longest text has 100 tokens: 156 in front go, 157 do not, 256 leave none for a text."""
    folder = request.getfixturevalue("tiny_bert_folder" if task["kind"] == "classification" else "tiny_gpt2_folder")
    told = {
        157: f"tuning.length: 157 .* 100 for the longest make 257, .* context has 256; set tuning.length to 156 at most or {bound} to 99 at most",
        300: "tuning.length: 300 .* context has 256; set tuning.length to 255 at most",
    }
    for length, words in told.items():
        job = tiny_job(folder, task=task, tuning=FRONTS[front] | {"length": length})
        with pytest.raises(SettingError, match=words):
            run(job, data=data, out=tmp_path / "r")
        assert not (tmp_path / "r").exists()
    job = tiny_job(folder, task=task, tuning=FRONTS[front] | {"length": 156}, stop__rounds=1, protocol__local__steps=1)
    assert run(job, data=data, out=tmp_path / "r").summary["rounds"] == 1


def test_a_front_as_long_as_the_context_is_named_before_the_texts_to_be_written(make_job, rows):
    with pytest.raises(SettingError, match=r"tuning.length: 300 .* context has 256"):
        assemble(make_job(tuning={"kind": "prefix", "length": 300, "hidden": 8}), given=rows)


def roberta(folder):
    """Save a random RoBERTa whose settings say 60 positions, of which its family leaves the first four (padding is 3) unused."""
    from conftest import save_tiny
    from transformers import RobertaConfig, RobertaModel

    def make(ids):
        sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
        return RobertaModel(RobertaConfig(**ids, **sizes, max_position_embeddings=60))

    return save_tiny(folder, make)


def test_texts_longer_than_the_context_are_refused_before_anything_is_trained(tiny_gpt2_folder, tmp_path):
    """The tiny GPT-2 has 256 positions, this RoBERTa 60 - 3 - 1 = 56: one more token fails in the forward pass."""
    block, cut = {"kind": "language-modeling", "block": 257}, {"kind": "classification", "max_tokens": 57}
    told = {
        "task.block: 257 .* 257 tokens, and the model's context has 256; set task.block to 256": (tiny_gpt2_folder, block, LINES),
        "task.max_tokens: 57 .* 57 tokens, .* context has 56; set task.max_tokens to 56": (roberta(tmp_path / "m"), cut, CLASSES),
    }
    for words, (folder, task, data) in told.items():
        with pytest.raises(SettingError, match=words):
            run(tiny_job(folder, task=task), data=data, out=tmp_path / "r")
        assert not (tmp_path / "r").exists()
    job = tiny_job(tmp_path / "m", task=cut | {"max_tokens": 56}, stop__rounds=1, protocol__local__steps=1)
    assert run(job, data=CLASSES, out=tmp_path / "r").summary["rounds"] == 1


def test_what_is_cut_is_reported_once_with_counts_and_the_end(make_job, rows):
    """48 inputs of some 40 bytes; four of them have 600 more, which max_tokens = 120 cuts."""
    long = [{**row, "input": "x" * 600 + row["input"]} if number % 12 == 0 else row for number, row in enumerate(rows)]
    said: list[str] = []
    parts = assemble(make_job(task={"kind": "generation", "max_tokens": 120}), given=long, warn=said.append)
    (note,) = [text for text in said if "max_tokens = 120" in text]
    shards = [shard for own in parts.clients.values() for shard in (own.train, own.validation, own.test)]
    lost = sum(int(shard.cut_N.sum()) for shard in shards)
    assert note.startswith("4 examples are longer than task.max_tokens = 120 (")
    assert f"cut at the beginning of the input: {lost:,} of " in note
    said.clear()
    assemble(make_job(), given=rows, warn=said.append)
    assert not [text for text in said if "max_tokens" in text]


def test_markers_in_data_and_prompts_without_room_are_reported(make_job, rows):
    said: list[str] = []
    odd = [{**row, "input": row["input"] + "<|im_end|>"} for row in rows[:6]] + rows[6:]
    assemble(make_job(evaluation__generate={"max_new_tokens": 240}), given=odd, warn=said.append)
    assert [text for text in said if text.startswith("6 examples hold the spelling of a special token")]
    assert [text for text in said if "prompts of evaluation sets have more than 16 tokens" in text]


@pytest.mark.parametrize(
    ("tuning", "words"),
    [({"kind": "lora", "rank": 16_000}, r"tuning\.rank: 16000"), ({"kind": "adapter", "width": 16_000}, r"tuning\.width: 16000")],
)
def test_a_tuning_beyond_memory_is_refused_before_it_is_whole(make_job, rows, monkeypatch, tuning, words):
    # each trained weight takes 16 bytes with AdamW: 16,000 x 16 of the first tensor alone are 4.1 MB
    monkeypatch.setattr("fedtailor.assembly.memory.free_memory", lambda device: 4_000_000)
    with pytest.raises(SettingError, match=rf"{words}.*0\.0 GB of memory are free; choose a smaller one"):
        assemble(make_job(tuning=tuning), given=rows)
    assemble(make_job(), given=rows)

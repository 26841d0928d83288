"""Generation: what is counted, what is prompt, what is refused."""

import copy
import re
import unicodedata

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from shards import counted, example, row, uncounted

from fedtailor.errors import DataError, SettingError
from fedtailor.tasks import Generation

END = "</s>"
NAMES = (
    "bytes",
    "bytes-across-words",
    "bytes-trimmed",
    "bytes-with-marks",
    "metaspace-first",
    "metaspace-always",
    "metaspace-never",
    "characters",
)
TEMPLATES = (
    "{input}\n{target}",
    "{input}\n\n{target}",
    "{input} {target}",
    "{input}{target}",
    "Ask: {input} => {target}",
    "{input}: {target}",
)
words = st.text(alphabet=st.sampled_from("aeThe  \n:.,=>-12é漢🙂"), max_size=24)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(name=st.sampled_from(NAMES), template=st.sampled_from(TEMPLATES), source=words, target=words.filter(str.strip))
def test_counted_tokens_are_the_target_and_its_end_and_the_rest_is_the_prompt_of_generation(
    tokenizers, name, template, source, target
):
    tokenizer, task = tokenizers[name], Generation(template=template)
    given_example = example(source, target)
    shard = task.prepare([given_example], tokenizer, keep_examples=True)
    ids = counted(shard)
    assert ids[-1] == tokenizer.eos_token_id
    written = tokenizer.decode(ids[:-1], clean_up_tokenization_spaces=False)
    want = unicodedata.normalize("NFC", target)
    if name.startswith("metaspace"):  # by design its decoder takes a space off the front of a text, or adds one
        written, want = written.lstrip(" "), want.lstrip(" ")
    assert written == want
    assert uncounted(shard) == task.prompts([given_example], tokenizer)[0]


@pytest.mark.parametrize("name", ["bytes", "bytes-trimmed", "bytes-with-marks", "characters"])  # none merges across the border
def test_target_is_encoded_as_it_stands_behind_its_prompt(name, tokenizers):
    tokenizer = tokenizers[name]
    tokens, _ = row(Generation().prepare([example()], tokenizer, keep_examples=False))
    whole = tokenizer("name[The Eagle]\nThe Eagle is cheap.")["input_ids"]
    if whole[-1] != tokenizer.eos_token_id:
        whole.append(tokenizer.eos_token_id)
    assert tokens == whole


def test_two_line_breaks_are_the_same_tokens_in_training_and_in_generation(tokenizers):
    # this tokenizer, like GPT-2's, splits "\n\nThe" into two line breaks, but "\n\n" at the end of a text is one token
    tokenizer, task = tokenizers["bytes"], Generation(template="{input}\n\n{target}")
    assert len(tokenizer("a\n\n")["input_ids"]) == 2
    tokens, _ = row(task.prepare([example("a", "The")], tokenizer, keep_examples=False))
    assert tokens[:-1] == tokenizer("a\n\nThe")["input_ids"]
    assert task.prompts([example("a", "The")], tokenizer) == [tokens[:3]]


def test_marks_of_the_tokenizer_come_once_before_the_prompt_and_never_before_the_target(tokenizers):
    tokenizer = tokenizers["bytes-with-marks"]
    tokens, _ = row(Generation().prepare([example()], tokenizer, keep_examples=False))
    assert tokenizer.decode(tokens) == f"<s>name[The Eagle]\nThe Eagle is cheap.{END}"


def test_long_prompt_loses_the_beginning_of_its_input_alone(tokenizers):
    # characters: "In: " 4, input 10, " => " 4, target 2, end 1 = 21 tokens; 18 are allowed, so 3 of the input go
    task = Generation(template="In: {input} => {target}", max_tokens=18)
    tokenizer = tokenizers["characters"]
    shard = task.prepare([example("0123456789", "ok")], tokenizer, keep_examples=False)
    assert tokenizer.decode(row(shard)[0]) == f"In: 3456789 => ok{END}"
    assert tokenizer.decode(counted(shard)) == f"ok{END}"


def test_what_cannot_be_used_is_named_and_never_trained_on(tokenizers):
    # max_tokens 8 holds "in\n" 3, target 4, end 1
    task, tokenizer = Generation(max_tokens=8), tokenizers["characters"]
    given_examples = [
        example("in", "four", "a"),
        example("in", "  ", "b"),
        example("in", "longer", "c"),
        example("in", None, "d"),
    ]
    shard = task.prepare(given_examples, tokenizer, keep_examples=True)
    assert [e.id for e in shard.examples] == ["a"]
    assert len(shard) == 1
    assert [name for name, _ in shard.dropped] == ["b", "c", "d"]
    assert "empty" in shard.dropped[0][1]
    assert "max_tokens = 8" in shard.dropped[1][1]


def test_no_examples_make_an_empty_shard(tokenizers):
    shard = Generation().prepare([], tokenizers["bytes"], keep_examples=True)
    assert len(shard) == 0


def test_words_are_those_of_the_target_and_its_end(tokenizers):
    shard = Generation().prepare([example(target="The Eagle is cheap.")], tokenizers["bytes"], keep_examples=False)
    assert shard.words_N.tolist() == [5]


def test_examples_are_left_out_unless_kept(tokenizers):
    assert Generation().prepare([example()], tokenizers["bytes"], keep_examples=False).examples == ()


def test_empty_prompt_starts_with_the_end_token_so_that_the_first_target_is_predicted(tokenizers):
    task, tokenizer = Generation(template="{input}{target}"), tokenizers["bytes"]
    shard = task.prepare([example("", "The")], tokenizer, keep_examples=False)
    assert uncounted(shard) == [tokenizer.eos_token_id] == task.prompts([example("", "The")], tokenizer)[0]


def test_template_may_name_any_column(tokenizers):
    task, tokenizer = Generation(template="# {library} {{x}}\n{input}\n{target}"), tokenizers["bytes"]
    shard = task.prepare([example("def f()", "Return it.", library="numpy")], tokenizer, keep_examples=False)
    assert tokenizer.decode(uncounted(shard)) == "# numpy {x}\ndef f()\n"


def test_column_that_is_not_there_is_named(tokenizers):
    with pytest.raises(DataError, match=r"e-1 has no column 'library'.* it has input, target"):
        Generation(template="{library} {input}\n{target}").prepare([example()], tokenizers["bytes"], keep_examples=False)


@pytest.mark.parametrize(
    "template",
    [
        "{input}",
        "{target}",
        "{input}\n{target}.",
        "{target} {input}",
        "{input} {input} {target}",
        "{} {input}{target}",
        "{input {target}",
        3,
    ],
)
def test_template_without_its_parts_is_refused(template):
    with pytest.raises(SettingError, match=r"^template is"):
        Generation(template=template)


@pytest.mark.parametrize(("name", "value"), [("max_tokens", 1), ("max_tokens", 2.5), ("max_tokens", True), ("chat", "yes")])
def test_bad_settings_are_refused_by_name(name, value):
    with pytest.raises(SettingError, match=f"^{name} is"):
        Generation(**{name: value})


def test_what_is_cut_is_counted(tokenizers):
    # characters: input 10, line break 1, target 2, end 1 = 14 tokens; 11 are allowed
    tokenizer = tokenizers["characters"]
    for truncate, left in (("start", "3456789"), ("end", "0123456")):
        task = Generation(max_tokens=11, truncate=truncate)
        shard = task.prepare([example("0123456789", "ok"), example("0", "ok")], tokenizer, keep_examples=False)
        assert tokenizer.decode(uncounted(shard)) == f"{left}\n"
        assert shard.cut_N.tolist() == [3, 0]
    shard = Generation(max_tokens=11, truncate="drop").prepare([example("0123456789", "ok")], tokenizer, keep_examples=False)
    assert [reason.split(" ")[0] for _, reason in shard.dropped] == ["with"]


def test_target_without_any_token_is_left_out(tokenizers):
    from tokenizers import normalizers

    tokenizer = copy.deepcopy(tokenizers["characters"])
    tokenizer.backend_tokenizer.normalizer = normalizers.Replace("\u200b", "")
    shard = Generation().prepare([example(target="\u200b")], tokenizer, keep_examples=False)
    assert shard.dropped == (("e-1", "its target has no token"),)


@pytest.mark.parametrize(
    ("template", "words"),
    [
        ("{input:>9}{target}", "has a format behind it"),
        ("{input!r}{target}", "has a format behind it"),
        ("{note:{input}}{input}{target}", "has a format behind it"),
        ("{input}\0{target}", "no text may hold that"),
        ("{input}\ud83d{target}", "no text may hold that"),
        ("x" * 20_000 + "{input}{target}", "20,015 characters, more than 32 for each of max_tokens: 512"),
    ],
)
def test_a_template_that_cannot_be_written_is_refused(template, words):
    with pytest.raises(SettingError, match=re.escape(words)):
        Generation(template=template)

import numpy as np
import pytest

from fedtailor.errors import SettingError
from fedtailor.prompting import Layout, Prompt, builtin_pool, prompt_from_json, read_pool
from fedtailor.prompting.edits import EDITS, children, drop, sentences

PROMPT = Prompt(
    instruction="Sort it. Be quick.",
    layout=Layout(text="In: ", answer="\nOut:", gap="\n"),
    shots=(("a bill", "money"),),
    labels=("money", "größe"),
)


@pytest.fixture
def rng():
    return np.random.Generator(np.random.PCG64(3))


def test_parts_become_text():
    assert PROMPT.head() == "Sort it. Be quick.\nIn: a bill\nOut: money\n"
    assert PROMPT.tail("a coin") + PROMPT.answer("money") == "In: a coin\nOut: money"


def test_labels_are_listed_and_the_instruction_moves():
    prompt = Prompt(
        instruction="Sort it.",
        layout=Layout(text="", gap="|", list_labels=True, instruction_last=True),
        shots=(("x", "a"),),
        labels=("a", "b"),
    )
    assert prompt.head() == "x\nCategory: a|Sort it. Categories: a, b.|"


def test_a_file_is_replayed_byte_for_byte():
    text = PROMPT.to_json()
    assert prompt_from_json(text) == PROMPT
    assert prompt_from_json(text).to_json() == text


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[]", "not a prompt of version 1"),
        ('{"version": 2}', "not a prompt of version 1"),
        ('{"version": 1, "instruction": "x", "model": "y"}', "nothing reads the key 'model'"),
        ('{"version": 1, "instruction": 3}', "expected a text as instruction"),
        ('{"version": 1, "instruction": "x", "shots": [["a"]]}', "expected a text as instruction"),
        ('{"version": 1, "instruction": "x", "layout": {"gap": 3}}', "layout.gap is 3"),
    ],
)
def test_a_file_at_fault_is_named(text, message):
    with pytest.raises(SettingError, match=message):
        prompt_from_json(text)


def test_long_prompts_and_open_ends_are_refused():
    with pytest.raises(SettingError, match="at most 4,000 travel"):
        Prompt(instruction="x", shots=(("y" * 4_000, "z"),))
    with pytest.raises(SettingError, match="no blank at its end"):
        Prompt(instruction="x", layout=Layout(answer="Out: "))


def test_the_builtin_pool_has_twelve_instructions_a_layout():
    assert len(set(builtin_pool(["a", "b"], layouts=3))) == 36
    assert len(set(builtin_pool())) == 12


def test_a_pool_is_read(tmp_path):
    file = tmp_path / "pool.yaml"
    file.write_text("- Sort it.\n- {instruction: Name it., layout: {answer: 'Kind:'}}\n- Sort it.\n", encoding="utf-8")
    first, second = read_pool(file, ["a", "b"])
    assert (first.instruction, second.instruction, second.layout.answer) == ("Sort it.", "Name it.", "Kind:")


@pytest.mark.parametrize(("text", "message"), [("[]", "list of instructions"), ("- a\n- a\n", "the same"), ("- 3\n", "prompt 1")])
def test_a_pool_at_fault_is_named(tmp_path, text, message):
    file = tmp_path / "pool.yaml"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(SettingError, match=message):
        read_pool(file)


def test_a_sentence_is_dropped(rng):
    assert drop(PROMPT, PROMPT, rng).instruction in ("Sort it.", "Be quick.")
    assert sentences("One. Two? Three") == ["One.", "Two?", "Three"]


def test_children_are_new_and_repeatable(rng):
    pool = builtin_pool(["a", "b"])
    young = children(pool[:3], 12, rng, seen=pool)
    assert len(young) == len(set(young)) == 12
    assert not set(young) & set(pool)
    assert young == children(pool[:3], 12, np.random.Generator(np.random.PCG64(3)), seen=pool)


def test_there_are_fewer_children_where_nothing_can_change(rng):
    assert children([Prompt(instruction="One.")], 5, rng, names=["drop", "swap"]) == ()
    with pytest.raises(SettingError, match="no edit 'paraphrase'"):
        children([PROMPT], 1, rng, names=["paraphrase"])
    assert set(EDITS) == {"drop", "swap", "insert", "recombine", "layout"}

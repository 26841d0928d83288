"""Records are written to messages and read back by their fields, and say their own form."""

from dataclasses import dataclass, fields, replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from fedtailor.errors import OffManifest
from fedtailor.learning.training import one_by_one
from fedtailor.messages import (
    Call,
    FactSpec,
    Manifest,
    Record,
    TensorSpec,
    answer,
    decode,
    encode,
    manifest_of,
    read,
    specs_of,
    write,
)
from fedtailor.messages.facts import PEAK, asked, examples, loss
from fedtailor.messages.record import fact, facts_of, figures, layout_of, spec_of, tensor, tensors
from fedtailor.messages.work import GAIN, MEMORY
from fedtailor.protocols.averaging.messages import Train, Trained
from fedtailor.records import Message
from fedtailor.tensors import Lazy, Tensors

NAMES = FactSpec(type="list[str]", purpose="what is wanted", optional=True, most_characters=20)


@dataclass(frozen=True, kw_only=True)
class Question(Record, kind="question"):
    """Weights to work with."""

    version: int = fact(asked("rounds behind them"))
    factor: float = fact(FactSpec(type="float", purpose="share of the learning rate"))
    clients: int | None = fact(asked("clients in all"), sometimes=True)
    wanted: list[str] | None = fact(NAMES)
    weights: Tensors = tensors()
    control: Tensors = tensors(prefix="extra/")
    mark: torch.Tensor | None = tensor("rows/now")


@dataclass(frozen=True, kw_only=True)
class Answer(Record, kind="answer"):
    """What came of them."""

    examples: int = fact(examples("training examples"))
    last_loss: float | None = fact(loss("of the last step", over="step"))
    peak_bytes: int | None = fact(PEAK)
    measured: dict[str, dict[str, float]] = figures()
    delta: Tensors = tensors(reveals="update")


FORM = {"a": TensorSpec(dtype="float32", shape=(2,))}
CALL = Call(question=Question, answers=(Answer,), forms={"weights": FORM, "control": FORM, "delta": FORM}, trains="round")
values = st.lists(st.floats(-1e3, 1e3, width=32), min_size=1, max_size=4).map(torch.tensor)
sets = st.dictionaries(st.sampled_from(["a", "b.lora_A.weight", "extra", "rows/then"]), values, max_size=3)
questions = st.builds(
    Question,
    version=st.integers(0, 2**53),
    factor=st.floats(0, 1),
    clients=st.none() | st.integers(1, 99),
    wanted=st.none() | st.lists(st.sampled_from(["before", "after"])),
    weights=sets,
    control=sets,
    mark=st.none() | values,
)


def same(left: object, right: object) -> bool:
    if isinstance(left, torch.Tensor) and isinstance(right, torch.Tensor):
        return torch.equal(left, right)
    if isinstance(left, dict) and isinstance(right, dict):
        return left.keys() == right.keys() and all(same(left[name], right[name]) for name in left)
    return left == right


@given(questions)
def test_what_is_written_is_read_back(question):
    back = read(decode(encode(write(question))), Question)
    assert all(same(getattr(back, each.name), getattr(question, each.name)) for each in fields(question))


def test_names_in_a_message_are_those_of_the_fields_with_their_prefix():
    question = Question(version=3, factor=1.0, weights={"a": torch.ones(2)}, control={"a": torch.zeros(2)}, mark=torch.ones(1))
    message = write(question)
    assert (message.kind, message.facts) == ("question", {"version": 3, "factor": 1.0})
    assert sorted(message.tensors) == ["a", "extra/a", "rows/now"]


def test_figures_go_by_part_and_name():
    found = write(Answer(examples=4, measured={"test": {"loss": 2.5, "examples": 3.0}}))
    assert found.facts == {"examples": 4, "test.loss": 2.5, "test.examples": 3.0}
    assert read(found, Answer).measured == {"test": {"loss": 2.5, "examples": 3.0}}
    assert facts_of(read(found, Answer), but=["last_loss"]) == {"examples": 4}


def test_lazy_tensors_stay_lazy():
    lazy = Lazy(torch.neg, {"a": torch.ones(2)})
    message = write(Question(version=0, factor=1.0, weights=lazy))
    assert message.tensors is lazy
    assert read(message, Question).weights is lazy
    kept = read(replace(message, tensors=Lazy(torch.neg, {"a": torch.ones(2), "extra/a": torch.ones(2)})), Question)
    assert isinstance(kept.weights, Lazy)
    assert list(kept.weights) == list(kept.control) == ["a"]


def test_a_fact_that_is_unknown_or_missing_or_of_another_kind_is_named():
    message = Message(kind="question", facts={"version": 1, "factor": 1.0})
    with pytest.raises(OffManifest, match="lacks the fact 'factor'"):
        read(replace(message, facts={"version": 1}), Question)
    with pytest.raises(OffManifest, match="has a fact 'colour'"):
        read(replace(message, facts={**message.facts, "colour": 1}), Question)
    with pytest.raises(OffManifest, match="'question' came where 'answer' was due"):
        read(message, Answer)


def test_a_tensor_without_a_field_is_named():
    @dataclass(frozen=True, kw_only=True)
    class Bare(Record, kind="bare"):
        """Nothing but one tensor."""

        mark: torch.Tensor | None = tensor("mark")

    assert read(Message(kind="bare", tensors={"mark": torch.ones(1)}), Bare).mark is not None
    with pytest.raises(OffManifest, match="has a tensor 'other'"):
        read(Message(kind="bare", tensors={"other": torch.ones(1)}), Bare)


def test_a_message_goes_to_the_handler_of_its_record():
    reply = one_by_one(
        answer(
            Message(kind="question", facts={"version": 1, "factor": 0.5}),
            {Answer: lambda record: record, Question: lambda asked: Answer(examples=asked.version + 6)},
        )
    )
    assert reply == Message(kind="answer", facts={"examples": 7})
    with pytest.raises(OffManifest, match="'strange' came; expected 'question'"):
        one_by_one(answer(Message(kind="strange"), {Question: lambda record: record}))


def test_the_manifest_is_made_of_calls():
    manifest = manifest_of([CALL.lacking({"clients", "wanted"})])
    question = manifest.down["question"]
    assert list(question.facts) == ["version", "factor"]
    assert sorted(question.tensors) == ["a", "extra/a"]
    assert (question.trains, question.answers) == ("round", ("answer",))
    assert {name: spec.reveals for name, spec in manifest.up["answer"].tensors.items()} == {"a": "update"}
    plain = manifest.to_dict()  # manifest.json
    assert plain["up"]["answer"]["tensors"]["a"]["reveals"] == "update"
    assert ["reveals" in tensor for tensor in plain["down"]["question"]["tensors"].values()] == [False, False]
    assert isinstance(manifest, Manifest)


def test_figures_of_the_task_are_listed_and_a_fact_may_be_declared_otherwise():
    specs = {"test.loss": loss("on the test part", over="test"), "examples": examples("in all")}
    found = spec_of(Answer, {}, specs).facts
    assert list(found) == ["examples", "last_loss", "peak_bytes", "test.loss"]
    assert found["examples"].purpose == "in all"


def test_the_length_of_a_call_is_that_of_its_message():
    weights = {"a": torch.ones(2)}
    question = Question(version=1000, factor=0.12345678901234567, clients=10, weights=weights)
    call = replace(CALL, forms={"weights": specs_of(weights)})
    assert call.length(Question, clients=10) == call.length_of(question) == len(encode(write(question)))
    with pytest.raises(TypeError, match="Question has no fact 'client'; it has version"):
        call.length(Question, client=10)


def test_what_rounds_may_lack_are_fields_of_them():
    assert {*GAIN, *MEMORY} <= layout_of(Train).facts.keys() | layout_of(Trained).facts.keys()


def test_shapes_can_be_named():
    call = CALL.shaped(lambda name, spec: replace(spec, shape=("rank",)), {"rank": 3})
    manifest = manifest_of([call])
    assert manifest.sizes == {"rank": 3}
    manifest.check(
        write(Question(version=0, factor=1.0, clients=1, weights={"a": torch.ones(3)}, control={"a": torch.ones(1)})), "down"
    )

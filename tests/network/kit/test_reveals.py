"""What a job reveals follows from its protocol's settings and its manifest: no less is refused than by the rules that named each protocol."""

import ast
import json
from collections.abc import Iterator, Mapping
from dataclasses import fields, replace
from itertools import product
from pathlib import Path
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

import pytest
from jobs import tiny_job

from fedtailor.errors import SettingError
from fedtailor.job.registries import PROTOCOL, READERS, read_protocol
from fedtailor.messages import FactSpec, Manifest, MessageSpec, Own, TensorSpec
from fedtailor.messages.specs import Coded
from fedtailor.network.kit import policy as module
from fedtailor.network.kit.policy import Policy
from fedtailor.network.kit.reportable import reportable
from fedtailor.network.meeting.meeting import job_to_send
from fedtailor.protocols import PROTOCOLS, Prompting

MIN_EXAMPLES, ROUNDS = 16, 2
OTHERS: Mapping[str, Mapping[str, tuple[Any, ...]]] = {  # values of settings whose types do not list them
    "distillation": {"public": ("public.jsonl",), "slice": (1.0, 0.5), "label_epsilon": (None, 1.0)},
    "split": {"cut": (1, "auto")},
    "prompting": {
        "few": (1, 4, 15, 16, 17),
        "method": ("search", {"kind": "search", "start": 16}, {"kind": "black-box", "examples": 64}, "textual-gradient"),
    },
    "retrieval": {"router": (None, {}), "score": ({"kind": "dense"}, {"kind": "bm25"}, {"kind": "hybrid"})},
}
WORDS = {  # what a job needed reports of by the rules that were written for each protocol, in the policy itself
    "distillation": {
        "public-fit": lambda p: p["public_fit"] or p["refine"],
        "label-counts": lambda p: p["label_counts"],
    },
    "split": {"labels": lambda p: p["labels"] == "with-server"},
    "prompting": {"prompt-scores": lambda p: True},
    "retrieval": {
        "scores": lambda p: p["share"] != "embeddings",
        "answers": lambda p: p["share"] == "answers",
        "passages": lambda p: p["share"] in ("passages", "snippets"),
        "embeddings": lambda p: p["share"] == "embeddings",
        "centroids": lambda p: p["router"] is not None,
        "term-counts": lambda p: p["shared_statistics"],
    },
}


def listed(hint: Any) -> tuple[Any, ...]:
    """Return the values of a setting whose type lists them all; none if it does not."""
    if hint is bool:
        return (False, True)
    if get_origin(hint) is Literal:
        return get_args(hint)
    if get_origin(hint) in (Union, UnionType):
        inside = [(None,) if member is type(None) else listed(member) for member in get_args(hint)]
        return tuple(value for values in inside for value in values) if all(inside) else ()
    return ()


def every_setting(kind: str) -> Iterator[Any]:
    """Yield a protocol with each combination of the values that its settings may have."""
    hints, others = get_type_hints(PROTOCOLS[kind]), OTHERS.get(kind, {})
    values = {item.name: others.get(item.name) or listed(hints[item.name]) for item in fields(PROTOCOLS[kind])}
    names = [name for name, found in values.items() if found]
    for chosen in product(*(values[name] for name in names)):
        try:
            yield read_protocol({**dict(zip(names, chosen, strict=True)), "kind": kind})
        except SettingError:  # they do not go together
            continue


def before(protocol: Mapping[str, Any]) -> set[str]:
    """Return how each refusal began by the rules of before, for a policy that reports nothing."""
    kind = protocol["kind"]
    words = ["examples", *(word for word, needed in WORDS.get(kind, {}).items() if needed(protocol))]
    found = {f"the job needs reports of {word} ({reportable()[word]}), which this site does not give" for word in words}
    if kind != "retrieval":
        found.add(f"the job asks for {ROUNDS + 1} rounds, permitted are {ROUNDS}")
    if kind == "prompting" and protocol["few"] < MIN_EXAMPLES:
        found.add(
            f"the job sums scores of prompts over as few as {protocol['few']} examples (protocol.few), and this site reports nothing over fewer than "
            f"{MIN_EXAMPLES}"
        )
    return found


@pytest.fixture
def sent(tiny_backbone_folder):
    return json.loads(json.dumps(job_to_send(tiny_job(tiny_backbone_folder, stop__rounds=ROUNDS + 1))))


@pytest.mark.parametrize("kind", sorted(PROTOCOLS))
def test_each_setting_that_was_refused_is_refused_for_the_same_reason(sent, kind):
    strict = Policy(protocols=tuple(PROTOCOLS), reports=(), min_examples=MIN_EXAMPLES, rounds=ROUNDS)
    jobs = 0
    for settings in every_setting(kind):
        plain = json.loads(json.dumps(READERS.plain(settings, PROTOCOL)))
        found = {text.partition("; it gives ")[0] for text in strict.refusals({**sent, "protocol": plain})}
        assert found == before(plain), plain
        jobs += 1
    assert jobs > 1


@pytest.mark.parametrize("kind", sorted(PROTOCOLS))
def test_each_job_needs_one_of_the_words_that_its_protocol_is_said_to_need(kind):
    one_of = set(PROTOCOLS[kind].reveals_one_of)
    for settings in every_setting(kind):
        assert not one_of or one_of & set(settings.reveals)
        assert set(settings.reveals) <= set(reportable())


def test_a_refusal_says_what_the_site_gives_and_what_its_owner_would_have_to_permit(sent):
    split = {"kind": "split", "cut": 1, "labels": "with-server"}
    (found,) = Policy(protocols=("split",)).refusals({**sent, "protocol": split})
    assert found.endswith(
        "which this site does not give; it gives examples, figures, public-fit, and its owner permits more by adding labels to policy.reports"
    )


@pytest.mark.parametrize("kind", [None, ["averaging"]])
def test_a_protocol_whose_name_is_no_text_is_refused(sent, kind):
    (found,) = Policy().refusals({**sent, "protocol": {"kind": kind}})
    assert "not in the form" in found


def test_a_protocol_that_cannot_be_read_is_refused_with_the_setting(sent):
    (found,) = Policy(protocols=("retrieval",)).refusals({**sent, "protocol": {"kind": "retrieval", "share": "all"}})
    assert found.startswith("the job's protocol cannot be read here: share must be 'passages'")


def test_the_policy_names_no_protocol_but_those_that_it_permits_unless_its_owner_says_otherwise():
    tree = ast.parse(Path(module.__file__).read_text(encoding="utf-8"))
    settings = {item.name for each in PROTOCOLS.values() for item in fields(each)} - {
        "kind",
        "aggregation",
        "labels",
    }  # labels: of a task
    named = [node.value for node in ast.walk(tree) if isinstance(node, ast.Constant) and isinstance(node.value, str)]
    assert [text for text in named if text in PROTOCOLS] == list(Policy().protocols)
    assert set(named) & settings == set()


def test_what_messages_need_is_refused_whatever_the_settings_say():
    label, update = (
        TensorSpec(dtype="int32", shape=(4,), reveals="labels"),
        TensorSpec(dtype="float32", shape=(4,), reveals="update"),
    )
    payload = TensorSpec(dtype="uint8", shape=(9,), reveals="embeddings", coded={"vectors": Coded(spec=update, size_bytes=8)})
    counts = FactSpec(type="list[int]", purpose="labels", reveals="label-counts")
    optional = {"scores": TensorSpec(dtype="float64", shape=(4,), reveals="scores", optional=True)}
    said = {
        "train": MessageSpec(tensors={"delta": update, "classes": label, **optional}, facts={"counts": counts}),
        "catalogue": MessageSpec(tensors={"payload": payload}),
    }
    manifest = Manifest(up=said, down={})
    assert [text.partition(" (")[0] for text in Policy().manifest_refusals(manifest)] == [
        "the job needs reports of label-counts for the fact 'counts' of its messages 'train'",
        "the job needs reports of labels for the tensor 'classes' of its messages 'train'",
        "the job needs reports of embeddings for the tensor 'vectors' of its messages 'catalogue'",
    ]
    assert Policy(reports=("label-counts", "labels", "embeddings")).manifest_refusals(manifest) == []
    strange = MessageSpec(tensors={"own": replace(label, reveals=Own("own-word"))})
    (found,) = Policy(reports=tuple(reportable())).manifest_refusals(Manifest(up={"own": strange}, down={}))
    assert "needs reports of own-word for the tensor 'own' of its messages 'own' (a word that no policy knows)" in found


def test_the_setting_that_bounds_what_is_summed_is_the_protocols_own():
    for settings in PROTOCOLS.values():
        assert set(settings.sums) <= {item.name for item in fields(settings)}
    assert Prompting.sums

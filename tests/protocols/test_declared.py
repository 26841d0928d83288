"""What messages declare of themselves, beside their form: what they reveal, and whether they make a client train."""

from dataclasses import replace
from types import SimpleNamespace
from typing import get_args

import pytest
import torch
from split_shapes import save_family, split_parts

from fedtailor.messages import Reveals, manifest_of
from fedtailor.messages.specs import OfProtocol, TensorsReveal
from fedtailor.messages.wires.logits import LogitsWire
from fedtailor.network.kit.reportable import reportable
from fedtailor.protocols import AveragingRun, Distillation, SplitRun
from fedtailor.protocols.alone import alone_call
from fedtailor.protocols.distillation.messages import calls_of
from fedtailor.protocols.distillation.terms import Terms
from fedtailor.protocols.evaluation import evaluation_call
from fedtailor.protocols.personal import personal_call
from fedtailor.protocols.prompting.messages import any_prompt, points_call, scoring_call

SHARED = {"m.lora_A.weight": torch.zeros(2, 4), "m.lora_B.weight": torch.zeros(4, 2)}
FIGURES = ("loss", "perplexity", "bleu", "accuracy", "examples", "tokens", "prompt_score")


@pytest.fixture(scope="module")
def manifests(tmp_path_factory):
    parts = split_parts(save_family("gpt2", tmp_path_factory.mktemp("families")), "gpt2")
    weights = SHARED | dict(parts.worker.tensors())
    auto = replace(parts.protocol.terms, settings=replace(parts.protocol.settings, cut="auto"))
    measured = evaluation_call(SHARED, FIGURES, home=True)
    personal = personal_call(SHARED, FIGURES)
    settings = Distillation(public="rest", label_counts=True)
    public = SimpleNamespace(most_places=10)  # all that the form of messages asks of it
    terms = Terms(settings=settings, public=public, wire=LogitsWire(dtype="float16", classes=3))
    return {
        "averaging": manifest_of([*AveragingRun().calls(SHARED), measured, personal, alone_call(SHARED, FIGURES)]),
        "distillation": manifest_of([*calls_of(terms, SHARED, FIGURES), measured]),
        "split": manifest_of([*parts.protocol.calls(weights), measured, personal]),
        "prompting": manifest_of(
            [
                scoring_call(),
                points_call(4, 6),
                any_prompt(evaluation_call({"prompt": torch.zeros(0, dtype=torch.uint8)}, FIGURES)),
            ]
        ),
        "split, auto": manifest_of(SplitRun(terms=auto).calls(parts.worker.tensors())),
    }


def test_each_kind_of_request_says_whether_it_trains(manifests):
    trains = {(name, kind): spec.trains for name, manifest in manifests.items() for kind, spec in manifest.down.items()}
    trains = {pair: how for pair, how in trains.items() if how != "nothing"}
    assert trains == {
        ("averaging", "train"): "round",
        ("averaging", "alone"): "rounds",
        ("averaging", "personalize"): "once",
        ("distillation", "train"): "round",
        ("distillation", "align"): "once",
        ("split", "split-begin"): "round",
        ("split", "personalize"): "once",
        ("split, auto", "split-begin"): "round",
        ("prompting", "score"): "round",
        ("prompting", "score-points"): "round",
    }


def test_each_fact_of_a_client_says_what_it_reveals(manifests):
    undeclared = [
        (name, kind, fact)
        for name, manifest in manifests.items()
        for kind, message in manifest.up.items()
        for fact, spec in message.facts.items()
        if spec.reveals is None
    ]
    assert undeclared == []


def test_each_tensor_of_a_client_says_what_it_reveals(manifests):
    undeclared = [
        (name, kind, tensor)
        for name, manifest in manifests.items()
        for kind, message in manifest.up.items()
        for tensor, spec in message.tensors.items()
        if spec.reveals == "nothing"
    ]
    assert undeclared == []


def test_a_policy_knows_all_that_facts_and_tensors_reveal():
    assert set(get_args(Reveals)) - {"nothing", "work"} <= set(reportable())
    assert set(get_args(TensorsReveal)) - {"nothing", *get_args(OfProtocol)} <= set(reportable())
    assert not set(get_args(OfProtocol)) & set(reportable())


def test_all_that_an_evaluation_finds_counts_as_figures(manifests):
    for name, kind in (
        ("averaging", "evaluate"),
        ("averaging", "alone"),
        ("averaging", "personalize"),
        ("distillation", "align"),
    ):
        facts = manifests[name].up[kind].facts
        assert {spec.revealed for fact, spec in facts.items() if "." in fact} == {"figures"}
        assert any(fact.endswith(".prompt_score") for fact in facts)

"""What messages declare of themselves, beside their form: what they reveal, and whether they make a client train."""

from dataclasses import replace
from typing import get_args

import pytest
import torch
from split_shapes import save_family, split_parts

from fedtailor.messages import Reveals
from fedtailor.messages.wires.logits import LogitsWire
from fedtailor.network.kit.policy import TELLABLE
from fedtailor.protocols import Averaging
from fedtailor.protocols.distillation.messages import manifest_of

SHARED = {"m.lora_A.weight": torch.zeros(2, 4), "m.lora_B.weight": torch.zeros(4, 2)}
FIGURES = ("loss", "perplexity", "bleu", "accuracy", "examples", "tokens", "prompt_score")


@pytest.fixture(scope="module")
def manifests(tmp_path_factory):
    parts = split_parts(save_family("gpt2", tmp_path_factory.mktemp("families")), "gpt2")
    split = parts.protocol.manifest(SHARED | dict(parts.worker.tensors()), FIGURES, personal=True, home=True)
    auto = replace(parts.protocol, settings=replace(parts.protocol.settings, cut="auto"))
    return {
        "averaging": Averaging().manifest(SHARED, FIGURES, personal=True, home=True, local_only=True),
        "distillation": manifest_of(LogitsWire(dtype="float16", classes=3), 10, FIGURES, fit=True, counts=True),
        "split": split,
        "split, auto": auto.manifest(parts.worker.tensors(), FIGURES),
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


def test_a_policy_knows_all_that_facts_reveal():
    assert set(get_args(Reveals)) - {"nothing", "work"} <= set(TELLABLE)


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

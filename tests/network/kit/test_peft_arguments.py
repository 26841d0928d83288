"""What a job over the network may set of PEFT's methods: nothing that would be imported or opened."""

import json
import sys
from dataclasses import fields

import pytest
from jobs import tiny_job
from peft.mapping import PEFT_TYPE_TO_CONFIG_MAPPING

from fedtailor.network.kit.peft_arguments import BY_MODULE, NAMES, argument_refusals
from fedtailor.network.kit.policy import Policy
from fedtailor.network.meeting.meeting import job_to_send
from fedtailor.tuning.peft import INSTEAD

FIELDS = sorted((kind.value, field.name) for kind, config in PEFT_TYPE_TO_CONFIG_MAPPING.items() for field in fields(config))
MODULE = "megatron.planted_by_the_server"


@pytest.fixture
def told(tiny_backbone_folder):
    """Return a maker of jobs as sites get them, with arguments of PEFT's."""

    job = json.loads(json.dumps(job_to_send(tiny_job(tiny_backbone_folder, task={"kind": "generation"}))))

    def make(method, arguments):
        return {**job, "tuning": {"kind": "peft", "type": method, "arguments": arguments}}

    return make


def test_no_argument_of_any_method_takes_a_module_a_file_or_a_hub_id(told, tmp_path, monkeypatch):
    (tmp_path / "megatron").mkdir()
    (tmp_path / "megatron" / "__init__.py").touch()
    (tmp_path / "megatron" / "planted_by_the_server.py").write_text("raise SystemExit('imported')\n")
    monkeypatch.syspath_prepend(tmp_path)
    before = set(sys.modules)
    passed, policy = set(), Policy()
    for method, name in FIELDS:
        for text in (MODULE, "/etc/passwd", "owner/model"):
            for value in (text, [text], {"name": text}, {text: 1}, [{"file": [text]}], {"cache_file": {"deep": text}}):
                if not any(
                    f"sets {name} of PEFT's {method}" in reason for reason in policy.refusals(told(method, {name: value}))
                ):
                    passed.add((name, text))
    # names of modules of the model are compared with those it has, and nothing is done with one that it lacks
    assert {name for name, _ in passed} <= NAMES | BY_MODULE
    assert {text for _, text in passed} == {MODULE}
    assert not [name for name in set(sys.modules) - before if name.startswith("megatron")]


@pytest.mark.parametrize(
    "name", ["megatron_core", "megatron_config", "shadow_model", "corda_config", "lora_ga_config", "arrow_config"]
)
@pytest.mark.parametrize("value", ["megatron", 5, True, {}, {"a": 1}])
def test_what_is_imported_or_opened_is_refused_by_name_whatever_its_value(told, name, value):
    (reason,) = Policy().refusals(told("LORA", {"r": 2, name: value}))
    assert f"sets {name} of PEFT's LORA" in reason


def test_methods_are_found_however_deep():
    assert argument_refusals({"clients": [{"tuning": {"type": "LORA", "arguments": {"megatron_core": "x"}}}]}) != []


@pytest.mark.parametrize(
    ("method", "arguments"),
    [
        ("LORA", {"r": 4, "lora_alpha": 8, "use_dora": True, "init_lora_weights": "pissa_niter_4", "bias": "lora_only"}),
        ("LORA", {"rank_pattern": {r"^model\.layers\.0\..*q_proj": 4}, "layer_replication": [[0, 2], [1, 3]]}),
        ("LORA", {"trainable_token_indices": {"embed_tokens": [1, 2]}, "target_modules": r".*\.(q|v)_proj"}),
        ("IA3", {"target_modules": ["q_proj", "down_proj"], "feedforward_modules": ["down_proj"]}),
        ("LOKR", {"r": 8, "decompose_factor": -1, "rank_dropout": 0.1, "init_weights": "lycoris", "layers_to_transform": [0, 1]}),
        ("ROAD", {"variant": "road_2"}),
    ],
)
def test_what_methods_are_used_with_passes(told, method, arguments):
    assert Policy().refusals(told(method, arguments)) == []


def test_every_text_that_a_usable_method_begins_with_passes_but_those_that_name_modules_and_models():
    usable = {kind.value: config for kind, config in PEFT_TYPE_TO_CONFIG_MAPPING.items() if kind.value not in INSTEAD}
    texts = [
        (kind, item.name, item.default)
        for kind, config in usable.items()
        for item in fields(config)
        if isinstance(item.default, str)
    ]
    assert {n for kind, n, text in texts if argument_refusals({"tuning": {"type": kind, "arguments": {n: text}}})} == {
        "megatron_core",
        "shadow_model",
    }

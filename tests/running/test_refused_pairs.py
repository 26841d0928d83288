"""Pairs that would run to the end and mean nothing are refused before any work, naming what works instead."""

import pytest

from fedtailor.assembly import assemble
from fedtailor.errors import SettingError
from fedtailor.running import run
from fedtailor.studies.baselines import run_baseline

FACTORING = ["flexlora", "raflora", "fedsvd"]


@pytest.mark.parametrize("rule", FACTORING)
def test_what_was_kept_of_other_factors_is_not_set_against_new_ones(rule, make_job, rows):
    words = f"protocol.aggregation: {rule} does not go with personalization: ditto.*choose aggregation: fedavg, lora-fair or fedrot-lora"
    with pytest.raises(SettingError, match=words):
        assemble(make_job(protocol__aggregation={"kind": rule}, personalization={"kind": "ditto"}), given=rows)
    said = []
    assemble(make_job(protocol__aggregation={"kind": rule}, protocol__local__keep_optimizer=True), given=rows, warn=said.append)
    assert [text for text in said if "the moments that keep_optimizer keeps are those of other factors" in text]


@pytest.mark.parametrize("rule", ["ffa-lora", "rolora", "flexlora", "lora-fair", "fedrot-lora"])
@pytest.mark.parametrize("personal", [{"kind": "fedsa-lora"}, {"kind": "fedper", "home": ["*.layers.1.*.lora_A.*"]}])
def test_a_rule_over_both_factors_wants_both(rule, personal, make_job, rows, tmp_path):
    job = make_job(protocol__aggregation={"kind": rule}, personalization=personal)
    words = f"{rule} does not go with personalization: {personal['kind']}; .*only one is shared.*fedavg"
    with pytest.raises(SettingError, match=words):
        run(job, data=rows, out=tmp_path / "r")
    assert not (tmp_path / "r").exists()


def test_scaffold_wants_its_changes_unrounded(make_job):
    local = {"optimizer": "sgd", "learning_rate": 0.1}
    protocol = {"kind": "averaging", "aggregation": {"kind": "scaffold"}, "local": local, "wire": "bfloat16"}
    with pytest.raises(SettingError, match=r"wire: bfloat16 does not go with aggregation: scaffold.*float32"):
        make_job(protocol=protocol)


def test_central_is_the_same_whatever_the_rule(make_job, rows, tmp_path):
    """One reference for all rules: nothing is averaged where all data are in one place."""
    losses = {
        rule: run_baseline(
            make_job(stop__rounds=2, protocol__aggregation={"kind": rule}, evaluation__metrics=["loss"]),
            "central",
            data=rows,
            out=tmp_path / rule,
        ).summary["metrics"]["after"]["loss"]
        for rule in ("fedavg", "flora", "ffa-lora")
    }
    assert len(set(losses.values())) == 1


def test_no_more_is_carried_than_a_weight_has_ranks(make_job, rows, tmp_path):
    shared = assemble(make_job(protocol__aggregation={"kind": "flora", "carry": 500}), given=rows).worker.tensors()
    ranks = {tensor.shape[0] for name, tensor in shared.items() if name.endswith("carried_A.weight")}
    sides = {min(shared[n.replace("carried_A", "lora_B")].shape[0], t.shape[1]) for n, t in shared.items() if "carried_A" in n}
    assert ranks == {max(sides)}

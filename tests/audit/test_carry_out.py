"""A run is attacked with its clients' data, and what was found stands in its folder and its tables."""

import json

import pytest
from typer.testing import CliRunner

from fedtailor.audit import AUDITS, audit
from fedtailor.cli.main import make_app
from fedtailor.errors import DataError, SettingError
from fedtailor.running import run


@pytest.fixture(scope="module")
def done(tiny_backbone_folder, tmp_path_factory):
    from jobs import tiny_job, tiny_rows

    folder = tmp_path_factory.mktemp("audited")
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in tiny_rows()))
    privacy = {"kind": "dp-sgd", "noise_multiplier": 1.0, "epsilon": None, "delta": 0.01}
    job = tiny_job(
        tiny_backbone_folder,
        data__train=str(folder / "rows.jsonl"),
        stop__rounds=1,
        precision="bfloat16",  # of which the weights of LoRA are not, as on any machine that computes in it
        protocol__local={"learning_rate": 0.02, "batch_size": 2, "steps": 1, "privacy": privacy},
        protection=[{"kind": "codec", "code": "int8"}],
    )
    return run(job, out=folder / "r").folder


def test_every_attack_leaves_rows_with_its_floor(done):
    findings, left_out = audit(done)
    assert left_out == []
    assert {found.attack for found in findings} == set(AUDITS)
    told = json.loads((done / "audit.json").read_text())["findings"]
    assert [row["figure"] for row in told] == [found.figure for found in findings]
    words = [found.target for found in findings if found.attack == "words"]
    assert any(target.endswith("one step of SGD, as it is sent") for target in words)
    assert any(target.startswith("the sum of 4 clients, an example each") for target in words)
    blind = next(found for found in findings if "blind" in found.figure)
    assert blind.floor == 0.5
    noise = next(found for found in findings if found.figure.startswith("standard deviation"))
    assert noise.note == "as promised, within 3 %"
    shown = CliRunner().invoke(make_app(), ["show", str(done)]).output
    assert "attack" in shown
    assert "min-k %++" in shown


def test_one_attack_alone_and_names_that_are_none(done):
    findings, _ = audit(done, only=["words"])
    assert {found.attack for found in findings} == {"words"}
    with pytest.raises(SettingError, match="'word' is no attack; there are membership, canaries, words, own noise"):
        audit(done, only=["word"])


def test_what_cannot_be_attacked_is_said(done, tmp_path):
    (done / "network.json").write_text("{}")
    try:
        with pytest.raises(DataError, match="its clients' examples are at their sites"):
            audit(done)
    finally:
        (done / "network.json").unlink()

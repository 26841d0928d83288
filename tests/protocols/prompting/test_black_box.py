"""A search for a soft prompt by scores alone, from its job to its result."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from prompted import LABELS, place_rows, prompting_job

from fedtailor.assembly import assemble
from fedtailor.cli.tryout import answers
from fedtailor.errors import SettingError
from fedtailor.export import export, open_run
from fedtailor.prompting import Reading, prompt_from_json
from fedtailor.prompting.vectors import subspace, vectors_of
from fedtailor.protocols.prompting.client import Scoring
from fedtailor.running import run

METHOD = {"kind": "black-box", "prompt": "Where?", "length": 2, "dimensions": 6, "population": 6, "examples": 4}
CHANGES = {"protocol__method": METHOD, "stop__rounds": 6, "stop__patience": None, "evaluation__every": 2}


@pytest.fixture(scope="module")
def done(tiny_backbone_folder, tmp_path_factory):
    job = prompting_job(tiny_backbone_folder, **CHANGES)
    return run(job, data=place_rows(), out=tmp_path_factory.mktemp("black-box") / "run")


def test_the_result_is_the_prompt_of_the_best_round_with_its_vectors(done, tiny_backbone_folder):
    table = done.history
    assert table["candidates"].tolist() == [6.0] * 6
    assert table["scored"].tolist() == [12.0] * 6  # 4 of each of 3 clients
    losses = table["validation_loss"].dropna().tolist()
    assert len(losses) == 3
    assert min([done.summary["validation_loss"]["before"], *losses]) == pytest.approx(done.summary["validation_loss"]["after"])
    found = prompt_from_json((done.folder / "prompt/prompt.json").read_text())
    assert found.instruction == "Where?"
    width = open_run(done.folder).model.get_input_embeddings().embedding_dim
    assert len(vectors_of(found.vectors, width)) == 2
    assert done.summary["prompting"]["evaluations"] == 36


def test_a_round_asks_for_its_points_alone_and_adds_up_sums(done, tiny_backbone_folder):
    manifest = json.loads((done.folder / "manifest.json").read_text())
    assert set(manifest["up"]) == {"scored", "evaluate"}
    assert manifest["down"]["score-points"]["tensors"]["points"]["shape"] == [6, 6]
    parts = assemble(prompting_job(tiny_backbone_folder, **CHANGES), given=place_rows())
    (call,) = parts.protocol.calls({})
    point = torch.linspace(-1, 1, 36).view(6, 6).half()
    asked = call.question(version=0, most=4, points=point)
    own = next(iter(parts.clients.values()))
    scoring = Scoring(task=parts.worker.task, client=own, few=2)
    sums = parts.protocol.method.handlers(scoring)[type(asked)](asked).loss_sums
    model = parts.worker.model
    room = subspace(model.get_input_embeddings().weight, length=2, dimensions=6, seed=0)
    examples = scoring.examples(4)
    reading = parts.worker.prompts.read(parts.protocol.method.prompt, calibrate=True).behind(examples)
    wanted = [reading.score(room.vectors(np.asarray(each.double()))).loss_sum for each in point]
    assert sums == pytest.approx(wanted, rel=1e-5)
    assert len(set(sums)) == 6


def test_resumed_equals_unbroken(done, tiny_backbone_folder, tmp_path):
    run(prompting_job(tiny_backbone_folder, **{**CHANGES, "stop__rounds": 3}), data=place_rows(), out=tmp_path / "r")
    again = run(prompting_job(tiny_backbone_folder, **CHANGES), data=place_rows(), resume=tmp_path / "r")
    assert again.history["best_loss"].tolist() == done.history["best_loss"].tolist()
    assert (again.folder / "prompt/prompt.json").read_bytes() == (done.folder / "prompt/prompt.json").read_bytes()


def test_try_and_export_use_vectors_and_text(done, tmp_path):
    before, after = answers(done.folder, ["The inn 3 is in the town."], {})
    assert all(any(label in answer for label in LABELS) for answer in (*before, *after))
    folder = export(done.folder, to=None, folder=tmp_path / "out")
    assert (folder / "prompt.json").read_bytes() == (done.folder / "prompt/prompt.json").read_bytes()
    assert "the vectors that `prompt.json` holds" in (folder / "README.md").read_text()


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"length": 0}, "length is a number of vectors"),
        ({"dimensions": 0}, "dimensions is from 1"),
        ({"population": 3}, "population is from 4"),
        ({"sigma": 0.0}, "sigma is a step size"),
        ({"covariance": "round"}, "covariance"),
        ({"examples": 1}, "method.examples is 1, below few: 2"),
        ({"prompt": {"layout": {}}}, "protocol.method.prompt"),
    ],
)
def test_settings_that_cannot_be_are_named(tiny_backbone_folder, changes, match):
    with pytest.raises(SettingError, match=match):
        prompting_job(tiny_backbone_folder, protocol__method={**METHOD, **changes})


def test_vectors_that_leave_no_room_are_named(tiny_backbone_folder):
    with pytest.raises(SettingError, match=r"lower length or task\.max_tokens"):
        assemble(prompting_job(tiny_backbone_folder, protocol__method={**METHOD, "length": 240}), given=place_rows())


def test_a_prompt_for_another_width_is_named(done, tiny_backbone_folder):
    opened = open_run(done.folder)
    prompt = replace(prompt_from_json((done.folder / "prompt/prompt.json").read_text()), vectors="AAAA")
    with pytest.raises(SettingError, match="the backbone's width"):
        Reading(opened.model, opened.backbone.processor, prompt)

"""Protocols that train nothing, on a network of three sites in processes of their own: the same results as on one machine."""

import json
from importlib.util import find_spec

import pytest
from asked import document_rows, question_rows, retrieval_job
from prompted import LABELS, prompting_job

from fedtailor.network.command.submit import run_on
from fedtailor.network.command.world import make_world, running
from fedtailor.running import run

pytestmark = [
    pytest.mark.network,
    pytest.mark.xdist_group("network"),
    pytest.mark.skipif(find_spec("nvflare") is None, reason="NVFlare is not installed: pip install 'fedtailor[net]'"),
]


def on_files(job, folder, **data):
    """Return a job whose clients are three files."""
    settings = {**job.to_dict(), "base": str(folder), "data": {"train": [f"site-{n}.jsonl" for n in (1, 2, 3)], **data}}
    shares = {"validation_share": 0.3, "test_share": 0.2} if "label-likelihood" in str(settings["task"]) else {}
    return type(job).from_dict({**settings, "clients": {"partition": "files", "min_examples": 4, **shares}})


def sources(answer):
    """Return what was found, with scores as far as two machines agree."""
    return answer["answer"], [(one["client"], one["id"], pytest.approx(one["score"], abs=1e-5)) for one in answer["sources"]]


def test_questions_and_prompts_over_a_network(tmp_path, tiny_bert_folder, tiny_backbone_folder):
    labels = [label.replace(" ", "_") for label in LABELS]
    rows = [{**row, "label": labels[n % 2]} for n, row in enumerate(document_rows() * 3)]
    rows = [{**row, "id": f"p{n}", "text": f"{row['text']} Number {n}."} for n, row in enumerate(rows)]
    for n in (1, 2, 3):
        own = rows[12 * (n - 1) : 12 * n]
        (tmp_path / f"site-{n}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in own))
    (tmp_path / "questions.jsonl").write_text("".join(json.dumps(row) + "\n" for row in question_rows()))
    asking = on_files(retrieval_job(tiny_bert_folder, stop__rounds=2), tmp_path, test="questions.jsonl")
    searching = on_files(prompting_job(tiny_backbone_folder, stop__rounds=20), tmp_path)
    local = {"asking": run(asking, out=tmp_path / "asked-here"), "searching": run(searching, out=tmp_path / "searched-here")}
    place = make_world(asking, tmp_path / "world")
    for site in ("site-1", "site-2", "site-3"):
        file = place.folder / site / "local" / "fedtailor.json"
        told = json.loads(file.read_text())
        told |= {"backbones": {**told["backbones"], tiny_backbone_folder.name: str(tiny_backbone_folder)}}
        file.write_text(json.dumps({**told, "validation_share": 0.3, "test_share": 0.2}))
    with running(place):
        done = run_on(asking, place.folder, out=tmp_path / "asked").summary["retrieval"]
        found = local["asking"].summary["retrieval"]
        assert (done["metrics"], done["clients"]) == (found["metrics"], found["clients"])
        assert [sources(one) for one in done["answers"]] == [sources(one) for one in found["answers"]]
        over = run_on(searching, place.folder, out=tmp_path / "searched").summary
        assert over["prompting"] == local["searching"].summary["prompting"]
        assert over["metrics"] == local["searching"].summary["metrics"]

"""A search for a prompt with two sites: the same prompt as on one machine, and what a site may refuse."""

import json
from dataclasses import replace

import pytest
from nets import ALL, SITES, write_site
from prompted import place_rows, prompting_job

from fedtailor.running import run

POLICY = replace(ALL, protocols=("prompting",), reports=("examples", "figures", "prompt-scores"))


def job_of(net, policy):
    for number, (site, kit) in enumerate(net.kits.items()):
        own = net.folder / f"{site}.jsonl"
        own.write_text("".join(json.dumps(row) + "\n" for row in place_rows()[24 * number : 24 * number + 24]))
        write_site(kit, own, net.backbone, policy)
    (net.folder / "pool.yaml").write_text("- ''\n- Name the kind.\n- instruction: Where?\n  layout: {text: 'Place: '}\n")
    job = prompting_job(net.backbone, protocol__method__pool="pool.yaml")
    data = {"train": [f"{site}.jsonl" for site in SITES]}
    clients = {"partition": "files", "min_examples": 1}
    return type(job).from_dict({**job.to_dict(), "base": str(net.folder), "data": data, "clients": clients})


def test_the_prompt_is_that_of_a_local_run(net):
    job = job_of(net, POLICY)
    local = run(job, out=net.folder / "local")
    done = net.run(job)
    assert (done.ended, done.text) == ("done", "")
    assert (done.folder / "prompt/prompt.json").read_bytes() == (local.folder / "prompt/prompt.json").read_bytes()
    summary = json.loads((done.folder / "summary.json").read_text())
    assert summary["prompting"] == local.summary["prompting"]
    told = " ".join(path.read_text(errors="replace") for path in done.folder.rglob("*") if path.suffix in {".json", ".jsonl"})
    assert "The inn" not in told  # words of every example


@pytest.mark.parametrize(
    ("policy", "why"),
    [
        (replace(POLICY, protocols=("averaging",)), "protocol prompting is not permitted"),
        (replace(POLICY, reports=("examples", "figures")), "needs reports of prompt-scores"),
        (replace(POLICY, min_examples=16), "reports nothing over fewer"),
    ],
)
def test_a_site_refuses_the_protocol_or_its_scores(net, policy, why):
    done = net.run(job_of(net, policy))
    assert done.ended != "done"
    assert why in done.text

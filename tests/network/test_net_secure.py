"""Secure sums over the real transport: four sites in processes of their own, one of which is killed between two rounds."""

import json
import sys
from importlib.util import find_spec
from types import SimpleNamespace

import pandas as pd
import psutil
import pytest
import torch
from jobs import adapter, tiny_rows
from nets import LOCAL, net_job

from fedtailor.network.command.submit import run_on
from fedtailor.network.command.world import make_world, running
from fedtailor.running import run

pytestmark = [
    pytest.mark.network,
    pytest.mark.xdist_group("network"),
    pytest.mark.skipif(find_spec("nvflare") is None, reason="NVFlare is not installed: pip install 'fedtailor[net]'"),
]
SITES = ("site-1", "site-2", "site-3", "site-4")


def test_secure_sums_over_a_network_and_a_site_that_dies(tmp_path, tiny_backbone_folder):
    for number, site in enumerate(SITES):
        rows = tiny_rows()[number :: len(SITES)]
        (tmp_path / f"{site}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    net = SimpleNamespace(folder=tmp_path, backbone=tiny_backbone_folder)
    job = net_job(net, {"kind": "averaging", "local": LOCAL}, stop__rounds=1, protection=["secure-aggregation"])
    job = type(job).from_dict({**job.to_dict(), "data": {"train": [f"{site}.jsonl" for site in SITES]}})
    world, killed = make_world(job, tmp_path / "world"), []

    def kill_one(kind, facts):
        if kind == "round" and not killed:
            words = {str(world.folder / SITES[3]), str(world.folder / SITES[3] / "engine")}
            killed.extend(one for one in psutil.process_iter(["cmdline"]) if words & set(one.info["cmdline"] or []))
            for one in killed:
                one.kill()

    with running(world, lambda text: print(text, file=sys.stderr)):
        local = run(job, out=tmp_path / "local")
        done = run_on(job, world.folder, out=tmp_path / "net")
        found, wanted = adapter(done.folder), adapter(local.folder)
        assert all(torch.equal(found[name], wanted[name]) for name in wanted)  # whole numbers add up the same in any order
        clients = pd.read_parquet(done.folder / "clients.parquet")
        assert sorted(clients["client"]) == list(SITES)
        assert "error" not in clients  # nobody failed
        assert "update_norm" not in clients
        longer = type(job).from_dict({**job.to_dict(), "stop": {**job.to_dict()["stop"], "rounds": 8}})
        lost = run_on(longer, world.folder, out=tmp_path / "lost", watcher=kill_one)
    assert killed
    assert lost.summary["clients"]["failed"] == ["site-4"]
    last = pd.read_parquet(lost.folder / "clients.parquet").query("round == 8")
    assert sorted(last.loc[last["error"].isna(), "client"]) == list(SITES[:3])

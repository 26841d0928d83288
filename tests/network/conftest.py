import json
from types import SimpleNamespace

import pytest
from jobs import tiny_rows
from nets import SITES, DirectLine, at_hub, write_site


@pytest.fixture
def net(tmp_path, tiny_backbone_folder):
    """Return the folders of two sites that hold half of the rows each, and ways to run a job with them."""
    rows, kits = tiny_rows(), {site: tmp_path / site for site in SITES}
    for number, (site, kit) in enumerate(kits.items()):
        (kit / "local").mkdir(parents=True)
        own = "".join(json.dumps(row) + "\n" for row in rows[number::2])
        (tmp_path / f"{site}.jsonl").write_text(own)
        write_site(kit, tmp_path / f"{site}.jsonl", tiny_backbone_folder)
    public = [{"input": f"name[The Inn], near[{place}]", "target": f"The Inn is near {place}."} for place in "abcdefgh"]
    (tmp_path / "public.jsonl").write_text("".join(json.dumps(row) + "\n" for row in public))
    line = DirectLine(kits)
    yield SimpleNamespace(
        folder=tmp_path, kits=kits, line=line, backbone=tiny_backbone_folder, run=lambda job: at_hub(job, line, tmp_path)
    )
    line.close()

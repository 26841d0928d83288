"""What a server says of a backbone that it can send, and what a site takes for such an offer."""

import pytest

from fedtailor.errors import OffManifest
from fedtailor.network.meeting.offer import make_offer, read_offer


@pytest.fixture
def told(tiny_backbone_folder, tmp_path):
    """Return what a server tells of its backbone."""
    return make_offer(str(tiny_backbone_folder), {}, tmp_path)[0].plain()


@pytest.mark.parametrize(
    "name",
    [
        "../x.json",
        "a/b.json",
        ".x.json",
        "x.py",
        "x.bin",
        "pytorch_model.bin",
        "x.safetensors.bin",
        "/etc/x.txt",
        "",
        "adapter_config.json",
    ],
)
def test_a_file_that_no_backbone_has_is_not_taken(told, name):
    assert read_offer(told).plain() == told
    told["files"][0]["name"] = name
    with pytest.raises(OffManifest, match="is no file of a backbone"):
        read_offer(told)


@pytest.mark.parametrize("damage", [{"files": []}, {"files": "x"}, {"pins": {}}, {"files": [{"name": "config.json"}]}])
def test_an_offer_in_another_form_is_none(told, damage):
    with pytest.raises(OffManifest):
        read_offer(told | damage)


def test_a_file_is_offered_once(told):
    told["files"] += told["files"][:1]
    with pytest.raises(OffManifest, match="each once"):
        read_offer(told)

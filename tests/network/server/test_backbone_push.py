"""A backbone on its way from the server to sites: what arrives, what is sent again after an interruption, and what is refused."""

import errno
import json
import shutil
from types import SimpleNamespace

import pytest
import torch
from nets import SITES, DirectLine, submitted

from fedtailor.messages import decode, encode, write
from fedtailor.network.kit.policy import Policy
from fedtailor.network.kit.site_file import SiteFile
from fedtailor.network.meeting.offer import Piece, make_offer, read_offer
from fedtailor.network.server import backbone_push
from fedtailor.network.site import receiver as backbone_receiver

PERMITS = Policy(backbone_from_server=True)
PIECE_BYTES = 10_000


@pytest.fixture
def place(tmp_path, tiny_backbone_folder, monkeypatch):
    """Return two sites without the backbone that the server has, and a way to push it."""
    monkeypatch.setattr(backbone_push, "PIECE_BYTES", PIECE_BYTES)
    backbone = shutil.copytree(tiny_backbone_folder, tmp_path / "models" / "llama")
    kits = {site: tmp_path / site for site in SITES}
    for kit in kits.values():
        SiteFile(data=("/a",), policy=PERMITS).write(kit)

    def push(name=str(backbone), before=None):
        line, seen = DirectLine(kits), []  # fresh halves, as after the death of a process

        def note(client, ticket):
            seen.append(client)
            if before is not None:
                before(client, seen.count(client))

        line.before = note
        done = submitted({"push": name, "run": "push-1"}, line, tmp_path)
        rows = {row["site"]: SimpleNamespace(**row) for row in done.sites or []}
        return SimpleNamespace(ended=done.ended, text=done.text, rows=rows, messages=seen, events=done.events)

    return SimpleNamespace(folder=tmp_path, backbone=backbone, kits=kits, push=push)


def files(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def state(place, **changes):
    """Give site-1 another private file."""
    SiteFile(**{"data": ("/a",), "policy": PERMITS, **changes}).write(place.kits["site-1"])


def arriving(place):
    return place.kits["site-1"] / "backbones" / ".llama.arriving"


def test_a_backbone_arrives_whole_once_and_only_where_it_is_permitted(place):
    wanted = files(place.backbone)
    for name in ("modeling.py", "pytorch_model.bin", "notes.md", "._config.json", "a copy.json"):
        (place.backbone / name).write_text("stays at the server")
    SiteFile(data=("/a",)).write(place.kits["site-2"])
    done = place.push()
    assert files(place.kits["site-1"] / "backbones" / "llama") == wanted
    assert not arriving(place).exists()
    assert not (place.kits["site-2"] / "backbones").exists()
    assert (done.rows["site-1"].state, done.rows["site-2"].state) == ("whole", "refused")
    assert "its owner permits it with fedtailor site join KIT --backbone-from-server" in done.rows["site-2"].text.replace(
        "the site's", "its"
    )
    size = sum(map(len, wanted.values()))
    assert size < done.rows["site-1"].down_bytes < size * 1.2  # each piece has a head
    assert "is whole" in (place.kits["site-1"] / "site.log").read_text()
    ledger = json.loads((place.folder / "server" / "backbones.json").read_text())["llama"]
    assert ledger["size_bytes"] == size
    assert ledger["sites"]["site-1"]["down_bytes"] == done.rows["site-1"].down_bytes
    again = place.push()
    assert (again.rows["site-1"].state, again.messages) == ("had", [])
    assert again.rows["site-1"].down_bytes == done.rows["site-1"].down_bytes  # the line of the ledger stays


def test_what_is_there_and_whole_is_not_sent_again(place):
    def cut(client, number):
        if client == "site-1" and number == 4:
            raise ConnectionError("the site is gone")

    first = place.push(before=cut)
    assert (first.rows["site-1"].state, first.rows["site-2"].state) == ("failed", "whole")
    kept = sum(path.stat().st_size for path in arriving(place).iterdir())
    assert kept > 0
    assert not (place.kits["site-1"] / "backbones" / "llama").exists()
    second = place.push()
    assert second.rows["site-1"].state == "whole"
    assert files(place.kits["site-1"] / "backbones" / "llama") == files(place.backbone)
    told = next(facts for kind, facts in second.events if kind == "piece" and facts["site"] == "site-1")
    assert told["sent_bytes"] == kept
    whole = sum(1 for client in first.messages if client == "site-2")
    assert len(second.messages) == whole - 3  # three pieces had come before; the fourth was never answered


@pytest.mark.parametrize("damage", ["other bytes", "too long", "torn"])
def test_what_is_there_and_damaged_is_sent_again(place, damage):
    def cut(client, number):
        file = arriving(place) / "model.safetensors"
        if client == "site-1" and file.exists() and file.stat().st_size > PIECE_BYTES:
            raise ConnectionError("the site is gone")

    place.push(before=cut)
    file = arriving(place) / "model.safetensors"
    (arriving(place) / "strange.bin").write_bytes(b"not offered")
    data = file.read_bytes()
    size = (place.backbone / "model.safetensors").stat().st_size
    file.write_bytes({"other bytes": b"x" * len(data), "too long": b"x" * (size + 1), "torn": data[:-7]}[damage])
    done = place.push()
    assert done.rows["site-1"].state == "whole"
    assert files(place.kits["site-1"] / "backbones" / "llama") == files(place.backbone)


def test_a_file_that_changes_on_the_way_is_dropped_and_named(place):
    def change(client, number):
        file = place.backbone / "model.safetensors"
        if number == 2 and client == "site-1":
            data = file.read_bytes()
            file.write_bytes(bytes(8) + data[8:])

    done = place.push(before=change)
    assert {row.state for row in done.rows.values()} == {"failed"}
    assert "another SHA-256 than was announced" in done.rows["site-1"].text
    assert not (arriving(place) / "model.safetensors").exists()
    assert not (place.kits["site-1"] / "backbones" / "llama").exists()


def test_a_backbone_that_the_server_lacks_is_named(place):
    done = place.push(str(place.folder / "nowhere"))
    assert done.ended == "mend"
    assert "the server has no backbone" in done.text
    assert "local/server.json" in done.text
    spaced = place.backbone.rename(place.backbone.with_name("my llama"))
    done = place.push(str(spaced))
    assert (done.ended, "'my llama' is no name for a folder at a site" in done.text) == ("mend", True)


def test_what_calls_itself_safetensors_and_is_none_is_not_kept(place):
    (place.backbone / "model.safetensors").write_bytes(b"\x80\x04 a pickle, say")
    done = place.push()
    assert done.rows["site-1"].state == "failed"
    assert "is no safetensors file" in done.rows["site-1"].text
    assert not (arriving(place) / "model.safetensors").exists()


def test_another_backbone_of_that_name_is_not_replaced(place, tiny_gpt2_folder):
    own = shutil.copytree(tiny_gpt2_folder, place.kits["site-1"] / "backbones" / "llama")
    before = files(own)
    done = place.push()
    assert done.rows["site-1"].state == "refused"
    assert "the weights of backbone 'llama' have SHA-256" in done.rows["site-1"].text
    assert "what this site has is not replaced" in done.rows["site-1"].text
    assert (files(own), done.rows["site-2"].state) == (before, "whole")
    state(place, backbones={"llama": "/home/smith/gone"})
    refused = place.push().rows["site-1"]
    assert "cannot be opened" in refused.text
    assert "smith" not in refused.text
    assert "/home/smith/gone" in (place.kits["site-1"] / "site.log").read_text()


def test_a_full_disk_is_said_before_and_on_the_way(place, monkeypatch):
    monkeypatch.setattr(backbone_receiver.shutil, "disk_usage", lambda path: SimpleNamespace(free=backbone_receiver.SPARE_BYTES))
    refused = place.push().rows["site-1"]
    assert (refused.state, refused.text) == ("refused", "there is not enough room on this site's disk; what has arrived is kept")
    monkeypatch.undo()

    def no_room(self, file, offset, piece):
        raise OSError(errno.ENOSPC, "No space left on device", "/home/smith")

    monkeypatch.setattr(backbone_receiver.Receiver, "_write", no_room)
    failed = place.push().rows["site-1"]
    assert (failed.state, failed.text) == ("failed", "its disk is full; make room there and push again")


def test_the_most_bytes_of_a_day_end_it_and_the_next_day_continues(place):
    state(place, policy=Policy(backbone_from_server=True, bytes_per_day=2 * PIECE_BYTES))
    done = place.push()
    assert done.rows["site-1"].state == "failed"
    assert "push again tomorrow" in done.rows["site-1"].text
    kept = sum(path.stat().st_size for path in arriving(place).iterdir())
    assert kept > 0
    state(place)
    after = place.push()
    assert next(facts for kind, facts in after.events if kind == "piece")["sent_bytes"] == kept
    assert after.rows["site-1"].state == "whole"


@pytest.mark.parametrize("name", ["adapter_config.json", "adapter_model.safetensors", ".old.safetensors"])
def test_a_folder_with_more_than_a_backbone_is_not_sent_in_part(place, name):
    shutil.copy(
        place.backbone / "model.safetensors", place.backbone / name
    )  # of an adapter, transformers would put it onto the weights
    done = place.push()
    assert done.ended == "mend"
    assert f"holds {name}, which is loaded with it and is not sent; push a folder with the backbone alone" in done.text


def offered(place):
    return make_offer(str(place.backbone), {}, place.folder)[0].plain()


def piece(file="config.json", offset=0, size=3):
    return encode(write(Piece(file=file, offset=offset, data=torch.zeros(size, dtype=torch.uint8))))


@pytest.mark.parametrize(
    ("sent", "mark"),
    [
        (piece(file="other.json"), "NotOffered"),
        (piece(offset=5), "OutOfOrder"),
        (piece(size=100_000), "NotOffered"),
        (piece(size=0), "NotOffered"),
    ],
    ids=["another file", "a hole", "too long", "nothing"],
)
def test_a_piece_that_does_not_follow_is_a_failure(place, sent, mark):
    kit = place.kits["site-1"]
    taker = backbone_receiver.Receiver(read_offer(offered(place)), kit, SiteFile(data=("/a",)), lambda text: None)
    assert taker.open() == {"there": {}, "whole": False}
    with pytest.raises(backbone_receiver.Failed) as fault:
        taker.answer("1", sent)
    assert fault.value.mark == mark
    reply, _ = taker.answer("2", piece(size=3))
    assert dict(decode(reply).facts) == {"there": 3, "whole": 0}

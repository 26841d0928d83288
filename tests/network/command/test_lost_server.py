"""What a site says when it loses the server."""

from pathlib import Path

import pytest

from fedtailor.errors import SettingError
from fedtailor.network.command.lost_server import LOST, LostServer

ABOUT = {"server": "server.example.org", "port": 8102, "kit": "north"}


class World:
    def __init__(self):
        self.moment, self.answer, self.said, self.probes = 1000.0, "", [], 0
        self.losses = LostServer(Path("north"), ABOUT, self.said.append, self.probe, lambda: self.moment)

    def probe(self, kit, about):
        self.probes += 1
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer

    def lost(self, after_s):
        self.moment += after_s
        self.losses(f"ERROR CoreCell {LOST}: target_unreachable")


def test_a_moments_loss_is_not_said_and_a_second_one_names_a_copied_kit_once():
    world = World()
    world.lost(0)
    assert world.said == []
    world.lost(10)
    (line,) = world.said
    assert "server.example.org:8102 answers and takes this kit's certificate" in line
    assert "Is a copy of the kit used elsewhere?" in line
    assert "fedtailor net revoke NET north" in line
    world.lost(10)
    world.lost(10)
    assert len(world.said) == 1
    world.answer = SettingError("it was revoked")
    world.lost(10)
    assert world.said[1:] == ["this site has lost the server: it was revoked; it keeps trying"]  # another reason is said at once
    world.answer = ""
    world.lost(300)
    assert len(world.said) == 2  # long after


@pytest.mark.parametrize(
    "answer", ["the server at server.example.org:8102 cannot be reached (Connection refused)", SettingError("it was revoked")]
)
def test_a_server_that_is_away_or_refuses_is_named_at_once(answer):
    world = World()
    world.answer = answer
    world.losses("another line")
    assert world.said == []
    world.lost(0)
    assert world.said == [f"this site has lost the server: {answer}; it keeps trying"]


def test_words_of_the_engine_cause_no_flood_of_connections():
    world = World()
    for _ in range(1000):
        world.lost(0.001)
    assert world.probes == 1

"""What techniques give and need of each other is data, and each need names both sides and what to write instead."""

from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import pytest

from fedtailor.errors import SettingError
from fedtailor.pairs import WORDS, Need, Technique, check_together, technique

NEEDY = Technique(
    section="tuning", name="tuning: new", gives={}, needs=(Need(word="updates", why="it counts them", remedy="choose averaging"),)
)


@pytest.fixture(scope="module")
def pairs_table():
    spec = spec_from_file_location("pairs_table", Path(__file__).parents[1] / "tools" / "pairs_table.py")
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def protocol(**gives):
    return Technique(section="protocol", name="protocol: odd", gives=gives, needs=())


def test_a_need_that_is_not_met_names_both_sides_why_and_what_to_write():
    with pytest.raises(SettingError, match=r"^tuning: new does not go with protocol: odd: it counts them; choose averaging\.$"):
        check_together([NEEDY, protocol(updates=False)])
    with pytest.raises(SettingError, match="protocol: odd, which sends none: it counts them"):
        check_together([NEEDY, protocol(updates="which sends none")])
    check_together([NEEDY, protocol()])
    check_together([NEEDY])  # nothing in the job is of that section


def test_a_technique_that_says_nothing_has_what_is_usual_and_needs_it():
    own = technique("personalization", object())
    assert {need.word for need in own.needs} == {"training", "one-model", "whole-model"}
    assert own.lack("no-pull") is None
    assert own.lack("shared-adapter") == ""
    with pytest.raises(SettingError, match="personalization: object does not go with protocol: odd, where each has its own"):
        check_together([own, protocol(**{"one-model": "where each has its own"})])


def test_every_technique_speaks_of_known_words(pairs_table):
    for each in pairs_table.techniques():
        assert {need.word for need in each.needs} | set(each.gives) <= set(WORDS), each.name
        assert all(WORDS[word].section == each.section for word in each.gives), each.name


def test_the_page_is_as_the_code_has_it(pairs_table):
    assert pairs_table.PAGE.read_text(encoding="utf-8") == pairs_table.page(), "run make tables"


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (
            {"protection": [{"kind": "dp", "clip": 0.1, "noise": "shares"}, {"kind": "codec", "code": "int8"}]},
            r"protection: codec does not go with protection: dp, with noise: shares: .*choose noise: server",
        ),
        (
            {"protection": [{"kind": "dp"}, {"kind": "secure-aggregation"}]},
            r"protection: secure-aggregation does not go with protection: dp, with clip: adaptive: .*give clip as a number",
        ),
        (
            {"protection": [{"kind": "codec", "code": "int8"}], "clients__overrides": {"client-01": {"tuning": {"rank": 1}}}},
            r"protection: codec does not go with clients.overrides of ranks: all clients must send the same tensors",
        ),
        (
            {"protection": [{"kind": "secure-aggregation"}], "clients__most_weight": 0.5},
            r"protection: secure-aggregation does not go with clients.most_weight: 0.5: shares cannot be changed",
        ),
        (
            {"personalization": {"kind": "fedalt"}, "clients__overrides": {"client-01": {"tuning": {"rank": 1}}}},
            r"personalization: fedalt does not go with clients.overrides of ranks: its two adapters have one rank",
        ),
    ],
)
def test_pairs_that_depend_on_settings(make_job, changes, words):
    with pytest.raises(SettingError, match=words):
        make_job(**changes)


def test_overrides_to_the_rank_of_all_and_other_settings_are_no_pair(make_job):
    make_job(
        protection=[{"kind": "dp", "clip": 0.1}, {"kind": "codec", "code": "int8"}],
        clients__overrides={"client-01": {"tuning": {"rank": 2, "alpha": 4}}},
    )
    make_job(protection=[{"kind": "dp", "clip": 0.1}, {"kind": "secure-aggregation"}])

"""Settings of split learning that cannot be."""

import pytest
from split_shapes import save_family, split_parts

from fedtailor.errors import SettingError


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    home = tmp_path_factory.mktemp("families")
    return {family: save_family(family, home) for family in ("bert", "gpt2")}


@pytest.mark.parametrize(
    ("family", "settings", "words"),
    [
        ("gpt2", {"cut": 0}, "cut is the number of blocks that a client holds, at least 1; got 0"),
        ("gpt2", {"cut": 4}, "a client holds 1 to 3 of them; behind the last block the server would have nothing"),
        (
            "gpt2",
            {"cut": 5, "labels": "with-server"},
            "this backbone has 4 blocks, and with labels: with-server a client holds 1 to 4",
        ),
        ("gpt2", {"aggregation": {"kind": "fedadam"}}, "aggregation fedadam is not known across a cut"),
        ("gpt2", {"local": {"accumulate": 2}}, "local.accumulate is 2, which protocol: split does not know"),
        ("gpt2", {"changes": {"tuning": {"kind": "prefix"}}}, "does not go with tuning: prefix"),
        ("gpt2", {"changes": {"tuning": {"kind": "prompt"}}}, "does not go with tuning: prompt"),
        (
            "gpt2",
            {"changes": {"tuning": {"kind": "full"}}},
            "does not go with tuning: full here: this backbone's head is its embedding",
        ),
        ("gpt2", {"changes": {"personalization": {"kind": "ditto"}}}, "personalization: ditto does not go with protocol: split"),
        (
            "bert",
            {"changes": {"personalization": {"kind": "fedper", "home": ["*.layer.3.*"]}}},
            "weights home that lie in the server's part",
        ),
        ("gpt2", {"wire": {"kind": "int3"}}, "protocol.wire is 'int3', which is no wire"),
    ],
)
def test_settings_that_make_no_sense_are_refused(folders, family, settings, words):
    with pytest.raises(SettingError) as told:
        split_parts(folders[family], family, **settings)
    assert words in str(told.value)

"""Ranks per client: what is told before a run, and what is refused."""

import re

import pytest
from unequal import LOW, LOWER, job_of

from fedtailor.assembly import assemble
from fedtailor.errors import SettingError
from fedtailor.running import run


def test_check_reports_ranks_before_a_run(make_job, rows):
    from rich.console import Console

    from fedtailor.cli.check import plan_of, rendered

    job = job_of(make_job)
    console = Console(width=200, record=True, file=open("/dev/null", "w"))  # noqa: SIM115
    for part in rendered(plan_of(job, assemble(job, given=rows), [])):
        console.print(part)
    ups = {
        client: re.search(rf"{client}\s.*?([\d.]+) kB", console.export_text(clear=False)) for client in ("client-00", LOW, LOWER)
    }
    told = {client: float(found[1]) for client, found in ups.items()}
    assert told[LOW] < told[LOWER] < told["client-00"]


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"protocol__aggregation": {"kind": "fedavg"}}, r"fedavg does not go with clients.overrides.*'client-01' has rank 1.*flexlora, raflora or flora"),
        ({"protocol__aggregation": {"kind": "fedex-lora"}}, r"fedex-lora does not go with clients.overrides.*flora"),
        ({"clients__overrides": {LOW: {"tuning": {"alpha": 8}}}, "protocol__aggregation": {"kind": "rolora"}}, r"rolora does not go.*alpha 8"),
        ({"clients__overrides": {"client-9": {"tuning": {"rank": 1}}}}, r"names 'client-9'.*no such client.*client-00, client-01"),
        ({"clients__overrides": {LOW: {"tuning": {"rank": 8}}}}, r"client-01.tuning.rank is 8, above tuning.rank, 4.*tuning.rank: 8"),
        ({"tuning": {"kind": "full"}, "protocol__aggregation": {"kind": "fedavg"}}, r"overrides does not go with tuning: full.*tuning: lora"),
        ({"personalization": {"kind": "fedper", "home": ["lora_B"]}}, r"aggregation: flexlora does not go with personalization: fedper; .* only one is shared"),
    ],
)  # fmt: skip
def test_what_does_not_go_together_is_refused_before_anything_is_written(changes, text, make_job, rows, tmp_path):
    with pytest.raises(SettingError, match=text):
        run(job_of(make_job, **changes), data=rows, out=tmp_path / "r")
    assert not (tmp_path / "r").exists()


@pytest.mark.parametrize(
    ("override", "text"),
    [
        ({"tuning": {"rank": 0}}, r"clients.overrides.client-01.tuning.*rank is a whole number from 1, got 0"),
        ({"tuning": {"rank": True}}, r"clients.overrides.client-01.tuning.rank"),
        ({"tuning": {"alpha": -1}}, r"alpha is a number above 0, got -1"),
        ({"tuning": {"dropout": 0.1}}, r"clients.overrides.client-01.tuning.dropout is not a setting.*alpha and rank"),
        ({"data": "x"}, r"clients.overrides.client-01.data is not a setting.*tuning"),
        (4, r"clients.overrides.client-01 must be"),
    ],
)
def test_overrides_that_cannot_be_read_are_reported(override, text, make_job):
    with pytest.raises(SettingError, match=text):
        make_job(clients__overrides={LOW: override})


def test_two_adapters_side_by_side_have_one_rank_for_all(make_job, rows):
    with pytest.raises(SettingError, match=r"feddpa does not go with clients.overrides of ranks.*finetune"):
        assemble(
            make_job(
                clients__overrides={LOW: {"tuning": {"rank": 1}}},
                protocol__aggregation={"kind": "flexlora"},
                personalization={"kind": "feddpa"},
            ),
            given=rows,
        )

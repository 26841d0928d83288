"""Backbones that a job gives single sites: named by the server, opened only as the site's owner says."""

from pathlib import Path

import pytest
from distilling import class_job

from fedtailor.network.kit.site_file import SiteFile
from fedtailor.network.meeting.meeting import job_to_send
from fedtailor.network.site.at_site import Refused, with_own_backbone

KIT = Path("/nowhere/kit")


def test_a_server_sends_names_and_no_paths():
    own = {"north": {"backbone": "/home/server/models/wide-bert", "tuning": {"rank": 1}}, "south": {"tuning": {"rank": 2}}}
    told = job_to_send(class_job("b", p_public="public.jsonl", clients__overrides=own))["clients"]["overrides"]
    assert told["north"]["backbone"] == "wide-bert"
    assert told["north"]["tuning"]["rank"] == 1
    assert told["south"]["backbone"] is None


def test_a_site_opens_what_its_owner_has_added_and_no_path_of_the_job():
    file = SiteFile(data=("rows.jsonl",), backbones={"wide-bert": "/models/wide"})
    clients = {"overrides": {"north": {"backbone": "wide-bert"}, "south": {"backbone": "/etc"}}}
    assert with_own_backbone(clients, "north", file, KIT)["overrides"]["north"] == {"backbone": "/models/wide"}
    assert with_own_backbone({}, "north", file, KIT) == {"overrides": {}}
    with pytest.raises(Refused, match="this site has no backbone '/etc'"):
        with_own_backbone(clients, "south", file, KIT)

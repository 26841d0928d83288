import json

import pytest

SPLIT = {"kind": "split", "cut": 1, "labels": "with-server", "local": {"steps": 2}}


def test_cut_prints_what_each_cut_costs_and_recommends_one(fedtailor, write_job):
    job = write_job(protocol=SPLIT)
    code, printed, _ = fedtailor("cut", job, "--client-flops", "1e3", "--server-flops", "1e9", "--bandwidth", "1e6")
    assert code == 0
    for words in ("recommended: cut: 1", "most of it for computing at the client", "the job's", "1.0 MB/s between"):
        assert words in " ".join(printed.split())
    code, printed, _ = fedtailor("cut", job, "--json", "--server-flops", "1", "--client-flops", "1e9")
    told = json.loads(printed)
    assert [row["cut"] for row in told["cuts"]] == [1, 2]
    assert told["recommended"] == 2
    assert told["means"]["bandwidth"] == 12.5e6
    assert told["cuts"][0]["seconds"] > told["cuts"][1]["seconds"] > 0
    code, printed, _ = fedtailor("cut", job, "--json", "--server-flops", "1", "--client-flops", "1e9", "--latency", "0.5")
    far = json.loads(printed)["cuts"][0]
    assert far["link_seconds"] == pytest.approx(told["cuts"][0]["link_seconds"] + 3 * 0.5)  # two steps: three exchanges
    code, printed, _ = fedtailor("cut", job, "--json")  # speeds as measured
    assert json.loads(printed)["means"]["client_flops"] > 1e4


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--bandwidth", "0"], "--bandwidth is a number, 1 or more"),
        (["--latency", "-1"], "--latency is a number of seconds from 0"),
        (["--client-memory", "10"], "no cut fits in the client's memory"),
        (["protocol.kind=averaging"], "is for jobs with protocol: split, and this one has protocol: averaging"),
    ],
)
def test_cut_says_what_is_wrong(fedtailor, write_job, words, said):
    protocol = {"kind": "averaging", "local": {"steps": 2}} if "averaging" in words[0] else SPLIT
    code, _, told = fedtailor("cut", write_job(protocol=protocol), *words, "--client-flops", "1e6", "--server-flops", "1e6")
    assert code == 2
    assert said in " ".join(told.split())


def test_where_nothing_fits_the_figures_are_reported_all_the_same(fedtailor, write_job):
    words = ("--client-memory", "10", "--client-flops", "1e6", "--server-flops", "1e6")
    code, printed, told = fedtailor("cut", write_job(protocol=SPLIT), *words)
    assert code == 2
    assert "too large for a client" in " ".join(printed.split())
    assert "recommended" not in printed
    assert "no cut fits" in told
    code, printed, _ = fedtailor("cut", write_job(protocol=SPLIT), *words, "--json")
    found = json.loads(printed)
    assert (code, found["recommended"]) == (2, None)
    assert found["cuts"]

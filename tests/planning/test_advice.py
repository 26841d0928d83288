"""What exceeds the limits, and which settings are named to help."""

from dataclasses import replace

from fedtailor.assembly import assemble
from fedtailor.planning import Means, counts_of, estimate
from fedtailor.planning.advice import WORTH, remarks
from fedtailor.planning.estimate import MOST_LISTED


def looked(job, rows, **known):
    parts = assemble(job, given=rows)
    found = estimate(parts, means=Means(client_memory=1e3), counts=counts_of(parts), **known)
    return remarks(parts, found)[0], found


def test_only_what_saves_memory_is_named(make_job, rows):
    small, _ = looked(make_job(), rows, program=0.0)
    assert any("batch_size" in override for override in small.overrides)
    large, found = looked(make_job(), rows, program=5e11)  # beside it nothing that the job can change counts
    assert large.overrides == ()
    assert found.largest[1].memory.peak * WORTH > 1e6  # of the order of its own parts
    assert "no setting is enough alone: choose a smaller backbone, or split learning" in large.text


def test_many_clients_are_a_few_in_plain_values(make_job, rows):
    found = estimate(assemble(make_job(), given=rows))
    one = next(iter(found.clients.values()))
    heavy = replace(one, memory=replace(one.memory, program=1e12))
    many = replace(found, clients={f"c{place:05}": one for place in range(10_000)} | {"heavy": heavy})
    plain = many.to_dict()
    assert len(plain["clients"]) == MOST_LISTED + 1
    assert plain["clients"]["heavy"]["memory"]["peak"] == heavy.memory.peak
    assert plain["more_clients"] == 10_001 - MOST_LISTED - 1
    assert found.to_dict()["more_clients"] == 0

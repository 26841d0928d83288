"""How the server takes what one client sends in place of its honest messages, in every phase of a protocol."""

from attacks import Attack, attacks_on
from replays import BAD, Phases, same

from fedtailor.messages import decode


def all_of(phases: Phases) -> list[tuple[str, int, Attack]]:
    """Return every attack on every message of every phase; of a long conversation on the first message of each kind, and the last."""
    found = []
    for name, said in phases.said.items():
        kinds: dict[str, int] = {}
        for number, (data, asked) in enumerate(zip(said[BAD].replies, said[BAD].answered, strict=True)):
            honest = decode(data)
            if honest.kind in kinds:
                continue
            kinds[honest.kind] = number
            answers = phases.parts.manifest.answers_to(asked)
            found += [(name, number, attack) for attack in attacks_on(phases.parts.manifest, honest, answers)]
    return found


def fault_of(phases: Phases, name: str, number: int, attack: Attack, *, network: bool = False) -> str | None:
    """Return what is wrong with how the server took an attack, or None."""
    replies = phases.said[name][BAD].replies
    bad = attack.send(decode(replies[number]), replies[:number])
    where = f"{name}, message {number}: {attack.name}"
    try:
        done = phases.play(name, lambda now: bad if now == number else None, network=network)
    except Exception as fault:
        return f"{where} ended the run: {type(fault).__name__}: {str(fault)[:120]}"
    if BAD not in done.failures:
        return f"{where} was taken"
    if done.failures.keys() != {BAD} or done.failures[BAD].kind not in ("off-manifest", "not-finite"):
        return f"{where} was told as {done.failures}"
    return None if same(done.values, phases.without(name, number).values) else f"{where} changed the result"


def faults(phases: Phases, chosen: list[tuple[str, int, Attack]], **settings: bool) -> list[str]:
    return [fault for one in chosen if (fault := fault_of(phases, *one, **settings))]

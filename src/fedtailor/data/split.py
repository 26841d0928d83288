"""Each client's examples divided into training, validation and test, so that no input is on two sides."""

from collections.abc import Mapping, Sequence

from ..chance import stream
from ..errors import DataError
from ..records import ClientId, Example


def split_by_input(
    owned: Mapping[ClientId, Sequence[Example]], shares: Mapping[str, float], key: str, seed: int, *, apart: bool = False
) -> dict[str, dict[ClientId, list[Example]]]:
    """Return for each of train, validation and test the examples of each client, in the order they had.

    Examples that agree in field `key` are on one side, also across clients: else one client would train on what another is tested
    on. Clients are served in turn; what an earlier one put on a side stays there, and a client's other inputs fill its sides to its shares.

    Args:
        owned: the examples of each client.
        shares: of validation and test, 0 for none; each is rounded to whole examples, at least one.
        key: the field that parts must not share.
        seed: of the draws.
        apart: each client is served as if it were alone, as on a network; the others decide nothing.

    Raises:
        DataError: if a client has too few different inputs for its parts, or nothing to train on.
    """
    side_of: dict[str, str] = {}
    parts: dict[str, dict[ClientId, list[Example]]] = {part: {} for part in ("train", "validation", "test")}
    for client, examples in owned.items():
        if apart:
            side_of = {}
        sizes: dict[str, int] = {}
        for example in examples:
            text = str(example.fields[key])
            sizes[text] = sizes.get(text, 0) + 1
        wanted = {part: max(1, round(share * len(examples))) for part, share in shares.items() if share > 0}
        if len(sizes) < 1 + len(wanted):
            raise DataError(_too_few(client, len(examples), len(sizes), key, wanted))
        names = list(sizes)
        order = [names[place] for place in stream(seed, "split", client=client).permutation(len(names))]
        _assign(order, sizes, wanted, side_of)
        for part, owners in parts.items():
            owners[client] = [example for example in examples if side_of[str(example.fields[key])] == part]
        if not parts["train"][client]:
            raise DataError(
                f"every {key} of client {client!r} is held out for validation or test at other clients, as the same ones are with several "
                "clients; use fewer clients, a partition that keeps them together, or clients.test_share: 0"
            )
    return parts


def split_running(
    owned: Mapping[ClientId, Sequence[Example]], shares: Mapping[str, float]
) -> dict[str, dict[ClientId, list[Example]]]:
    """Return the same for lines of running text: each part is a stretch of it, training first, then validation, then test.

    Raises:
        DataError: if a client has too few lines for its parts.
    """
    parts: dict[str, dict[ClientId, list[Example]]] = {part: {} for part in ("train", "validation", "test")}
    for client, examples in owned.items():
        wanted = {part: max(1, round(share * len(examples))) for part, share in shares.items() if share > 0}
        begin = len(examples) - sum(wanted.values())
        if begin < 1:
            raise DataError(_too_few(client, len(examples), len(examples), "text", wanted))
        parts["train"][client] = list(examples[:begin])
        for part in ("validation", "test"):
            end = begin + wanted.get(part, 0)
            parts[part][client], begin = list(examples[begin:end]), end
    return parts


def _assign(order: Sequence[str], sizes: Mapping[str, int], wanted: Mapping[str, int], side_of: dict[str, str]) -> None:
    """Give each input of one client that has no side yet one, in `order`, until the sides are filled; the rest is for training."""
    free = [text for text in order if text not in side_of]
    trains = any(side_of.get(text) == "train" for text in order)
    for part in ("test", "validation"):
        have = sum(sizes[text] for text in order if side_of.get(text) == part)
        room = wanted.get(part, 0) - have
        spare = len(free) - (0 if trains else 1)  # one stays for training
        for text in list(free):
            if spare > 0 and sizes[text] <= room:
                side_of[text], room, spare = part, room - sizes[text], spare - 1
                free.remove(text)
        if wanted.get(part, 0) > 0 and not any(side_of.get(text) == part for text in order) and spare > 0:
            smallest = min(free, key=lambda text: sizes[text])  # all have more examples than there is room for
            side_of[smallest] = part
            free.remove(smallest)
    for text in free:
        side_of[text] = "train"


def _too_few(client: ClientId, examples: int, inputs: int, key: str, wanted: Mapping[str, int]) -> str:
    return (
        f"client {client!r} has {examples} examples with {inputs} different values of {key!r}, but needs one each for "
        f"{', '.join(['train', *wanted])}; use fewer clients or more data, raise clients.min_examples so that it is left out, "
        "or set clients.validation_share or clients.test_share to 0"
    )

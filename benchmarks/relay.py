"""A TCP relay that delays and slows what passes, as a link far away would: `tc netem` does not exist on every kernel.

Each direction has one rate, shared by all connections, as those of one machine share its line; a piece is passed on when it has been sent at
that rate and has been under way for half of the round-trip time. What is under way is bounded, so that senders notice a full line.

Usage: relay.py --listen PORT --to PORT [--round-trip-ms 50] [--mbit 20] [--capture FILE]. Runs until Ctrl-C; within a benchmark, `through`.
"""

import argparse
import asyncio
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

PIECE = 16384  # bytes that are passed on together
WAITING = 1 << 18  # bytes that may wait for the line in each connection, beyond which nothing more is read


@dataclass
class Line:
    """One direction of the link."""

    delay_s: float
    bytes_per_s: float  # inf: as fast as it can
    free_at: float = field(default=0.0)

    def due(self, size: int) -> float:
        """Take the line for so many bytes; return when the last of them arrives, on the clock of `time.monotonic`."""
        self.free_at = max(self.free_at, time.monotonic()) + size / self.bytes_per_s
        return self.free_at + self.delay_s


async def carry(source: asyncio.StreamReader, sink: asyncio.StreamWriter, line: Line, capture: Path | None) -> None:
    """Pass on what comes until it ends."""
    under_way: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(WAITING // PIECE)

    async def deliver() -> None:
        while True:
            due, piece = await under_way.get()
            await asyncio.sleep(max(0.0, due - time.monotonic()))
            if not piece:
                break
            sink.write(piece)
            await sink.drain()

    delivering = asyncio.create_task(deliver())
    with suppress(OSError):
        while not delivering.done():
            piece = await source.read(PIECE)
            if capture is not None:
                with capture.open("ab") as file:
                    file.write(piece)
            due = line.due(len(piece))
            await under_way.put((due, piece))
            await asyncio.sleep(max(0.0, due - line.delay_s - time.monotonic() - WAITING / line.bytes_per_s))
            if not piece:
                break
        await delivering
    sink.close()


async def serve(listen: int, to: int, lines: tuple[Line, Line], capture: Path | None) -> None:
    """Relay every connection until the process ends."""

    async def connect(up: asyncio.StreamReader, down: asyncio.StreamWriter) -> None:
        try:
            there, beyond = await asyncio.open_connection("localhost", to)
        except OSError:  # nobody listens yet
            down.close()
            return
        await asyncio.gather(carry(up, beyond, lines[0], capture), carry(there, down, lines[1], capture))

    server = await asyncio.start_server(connect, "localhost", listen)
    print("listening", flush=True)
    await server.serve_forever()


@contextmanager
def through(site_kit: Path, *, round_trip_ms: float = 0.0, mbit: float = 0.0, capture: Path | None = None) -> Iterator[None]:
    """Run a relay in a process of its own, inside the block, and let a site's kit reach its server through it.

    Args:
        mbit: millions of bits a second each way; 0: as fast as it can.
        capture: a file to which all that passes is added.
    """
    from fedtailor.network.command.world import free_port

    kit, listen = site_kit / "network.json", free_port()  # where the forwarder reads which server to reach
    before = kit.read_text()
    told = json.loads(before)
    words = ["--listen", str(listen), "--to", str(told["port"]), "--round-trip-ms", str(round_trip_ms), "--mbit", str(mbit)]
    words += [] if capture is None else ["--capture", str(capture)]
    process = subprocess.Popen([sys.executable, __file__, *words], stdout=subprocess.PIPE)
    try:
        assert process.stdout is not None
        process.stdout.readline()
        kit.write_text(json.dumps({**told, "port": listen}))
        yield
    finally:
        kit.write_text(before)
        process.kill()
        process.wait()


def main() -> None:
    """Relay until Ctrl-C."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--listen", type=int, required=True)
    parser.add_argument("--to", type=int, required=True)
    parser.add_argument("--round-trip-ms", type=float, default=0.0)
    parser.add_argument("--mbit", type=float, default=0.0, help="0: as fast as it can")
    parser.add_argument("--capture", type=Path)
    args = parser.parse_args()
    rate = args.mbit * 1e6 / 8 if args.mbit else float("inf")
    lines = tuple(Line(args.round_trip_ms / 2000, rate) for _ in range(2))
    with suppress(KeyboardInterrupt):
        asyncio.run(serve(args.listen, args.to, (lines[0], lines[1]), args.capture))


if __name__ == "__main__":
    main()

"""How long an exchange with a site takes, without any computing: an empty one, 0.26 MB each way (a split step), 100 MB one way.

A server and a site in processes of their own, mutual TLS on loopback; both gates, packing and the engine are in it, the pipe to the model's process
is not. With --round-trip-ms and --mbit a relay stands between them.

Usage: net_exchange.py [--times 200] [--round-trip-ms 0] [--mbit 0]. About 1 minute.
"""

import argparse

from exchanging import found_by
from timing import write


def main() -> None:
    """Exchange, and write the medians."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--times", type=int, default=200, help="of the small ones; of the large ones a tenth")
    parser.add_argument("--round-trip-ms", type=float, default=0.0)
    parser.add_argument("--mbit", type=float, default=0.0, help="millions of bits a second each way; 0: as fast as it can")
    args = parser.parse_args()
    link = {"round_trip_ms": args.round_trip_ms, "mbit": args.mbit}
    write("net_exchange", {**link, **found_by({"times": args.times}, link if any(link.values()) else {})})


if __name__ == "__main__":
    main()

"""Whether memory and threads of both ends stay level while small messages are exchanged, empty and 0.26 MB each way in turn.

Usage: net_soak.py [--minutes 30]. It takes so long and a minute more.
"""

import argparse
import statistics

from exchanging import found_by
from timing import write


def main() -> None:
    """Exchange, and write what both ends take from time to time, and how much that grows."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=30.0)
    found = found_by({"minutes": parser.parse_args().minutes})
    growth = {}
    for end in ("server", "site"):
        for what in ("rss", "threads"):
            seen = [row[end][what] for row in found["rows"]]
            third = max(1, len(seen) // 3)  # the first third warms up
            growth[f"{end} {what}"] = [statistics.median(seen[third : 2 * third] or seen), statistics.median(seen[-third:])]
    write("net_soak", {"middle third and last third": growth, **found})


if __name__ == "__main__":
    main()

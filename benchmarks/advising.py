"""How often the evidence of all other decisions puts a decision's measured winner among the first two.

Usage: advising.py EVIDENCE [--least 5]. EVIDENCE is a table that `fedtailor advise --collect RUNS --evidence EVIDENCE` writes. Prints a line for each decision with at least so many
systems, the share that is right, and what chance would give.
"""

import argparse
from pathlib import Path

from fedtailor.studies.advice import leave_one_out, read_evidence


def main() -> None:
    """Print the checks and their sum."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("evidence", type=Path)
    parser.add_argument("--least", type=int, default=5, help="systems that a decision has at least")
    args = parser.parse_args()
    checks = [check for check in leave_one_out(read_evidence(args.evidence)) if check.choices >= args.least]
    for check in checks:
        print(
            f"{'right' if check.right else 'wrong'}  {check.decision}  winner {check.winner}; advised {'; '.join(check.advised) or 'nothing'}; of {check.choices}"
        )
    if checks:
        right, chance = sum(check.right for check in checks) / len(checks), sum(check.chance for check in checks) / len(checks)
        print(f"{right:.0%} of {len(checks)} decisions right, {chance:.0%} by chance")
    else:
        print(f"no decision has {args.least} systems")


if __name__ == "__main__":
    main()

"""The gateway under attack: clients and models' servers that break every rule, at the same time.

    python -m benchmarks.chaos --seconds 600
    python -m benchmarks.chaos --seconds 30 --attack slowloris --json

`trim serve` runs in a process of its own before a server of its models that counts what it generates. Each attack
(`benchmarks/chaos/attacks/`, one file each) runs alone, then all run together. Meanwhile clients that behave well ask
all the time, and /healthz is asked ten times a second from another process. What has to hold: no health check fails or
takes over a second; who behaves well gets an answer, or where an attack makes that impossible one clear error in time;
the usage store has what was generated, within 1%; memory and log stay bounded; no task, thread or socket is left.
Prints a table, or JSON; exits with 1 if anything does not hold.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory

from rich.console import Console
from rich.table import Table

from benchmarks.chaos.attacks import all_attacks
from benchmarks.chaos.run import Report, run


def _print(report: Report) -> None:
    table = Table("attack", "expected", "healthz p99 ms", "longest", "failed", "answered", "refused", "seen", "faults")
    for phase in report.phases:
        table.add_row(
            phase.name,
            phase.expects,
            f"{phase.health_p99 * 1e3:.0f}",
            f"{phase.health_longest * 1e3:.0f}",
            str(phase.health_failed),
            str(phase.answered),
            ", ".join(f"{count} {what}" for what, count in phase.refused.items()),
            ", ".join(f"{count} {what}" for what, count in phase.seen.items()),
            "; ".join(phase.faults),
        )
    console = Console(width=200)
    console.print(table)
    console.print(
        f"{report.seconds:.0f} s; charged {report.spent:.6f}, generated {report.generated:.6f} "
        f"(in doubt {report.in_doubt:.6f}); memory "
        f"{report.memory_before >> 20} -> {report.memory_most >> 20} MB; log {report.log_bytes >> 10} kB"
    )
    for fault in report.faults:
        console.print(f"fault: {fault}")
    console.print("all holds" if report.holds else "it does not hold")


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.chaos", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=600.0)
    parser.add_argument(
        "--attack", action="append", help="only this one; may be repeated", choices=sorted(all_attacks())
    )
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    found = all_attacks()
    attacks = [found[name]() for name in args.attack or sorted(found)]
    with TemporaryDirectory(prefix="trim-chaos-") as folder:
        report = asyncio.run(run(attacks, args.seconds, Path(folder)))
    if args.json:
        print(json.dumps(asdict(report) | {"holds": report.holds}, indent=2))
    else:
        _print(report)
    sys.exit(int(not report.holds))


if __name__ == "__main__":
    main()

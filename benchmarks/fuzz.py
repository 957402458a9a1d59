"""The gateway against schemathesis, which writes requests from its OpenAPI document.

    pip install schemathesis
    python -m benchmarks.fuzz [--examples 200]

Simulated models answer. Exits with schemathesis' status: no server error, no undocumented status or content type, and
every answer has the declared form. What a body says may be refused although its form is right (a price for a policy
that has none), so acceptance of valid bodies is not checked. `make fuzz` runs this and the tests' malformed bodies.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
from pathlib import Path

from tests.server.gateway import serving, simulated

CHECKS = "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance"


def main() -> None:
    """Serve, and let schemathesis ask."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--examples", type=int, default=200, help="for each operation")
    args = parser.parse_args()
    command = shutil.which("schemathesis") or str(Path(sys.executable).with_name("schemathesis"))
    if not Path(command).exists():
        sys.exit("schemathesis is not installed: pip install schemathesis")
    with serving(simulated()) as served:
        options = ["--checks", CHECKS, "--max-examples", str(args.examples), "--seed", "1"]
        done = subprocess.run([command, "run", f"{served.url}/openapi.json", *options], check=False)
    sys.exit(done.returncode)


if __name__ == "__main__":
    main()

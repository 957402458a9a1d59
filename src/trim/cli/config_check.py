"""`trim config check`: validate a configuration file, and try its servers."""

from __future__ import annotations

import argparse
from pathlib import Path

from trim.cli.options import RAW
from trim.config.factory import Backends, open_backends
from trim.config.loading import load_config
from trim.config.policy import open_policy
from trim.config.specs import identities
from trim.errors import ConfigError

_DESCRIPTION = """\
Validates a configuration file and says which models and policy it names;
--probe tries its servers too.

example:
  trim config check trim.toml --probe
"""


def register(config: argparse.ArgumentParser) -> None:
    """Give the parser its description, options and `run`."""
    config.description = _DESCRIPTION
    kinds = config.add_subparsers(required=True, metavar="check")
    check = kinds.add_parser("check", help="validate a file", formatter_class=RAW)
    check.description = _DESCRIPTION
    check.add_argument("config", type=Path, metavar="trim.toml")
    check.add_argument("--probe", action="store_true", help="try the servers and say what they can do")
    check.set_defaults(run=_check)


async def _check(args: argparse.Namespace) -> int:
    config = load_config(args.config)
    for role, name in identities(config).items():
        print(f"{role:>6}  {name}")
    policy = open_policy(config)
    print(f"policy  {policy.name}" + ("" if policy.parameter is None else f" {policy.parameter:g}"))
    async with open_backends(config) as backends:  # finds templates, keys and model folders that are not there
        if args.probe:
            await _probe(args.config, backends)
    print(f"{args.config} is valid")
    return 0


async def _probe(path: Path, backends: Backends) -> None:
    """Try every backend and print what it can do."""
    from trim.backends.probe import describe

    failed = False
    for role, backend in (("weak", backends.weak), ("strong", backends.strong), ("prm", backends.prm)):
        found = await backend.probe()
        good = found.problem is None
        failed = failed or not good
        print(f"{role:>6}  {'ok' if good else 'FAILED'}: {describe(found)}")
    if failed:
        raise ConfigError(f"{path}: not every backend can be used")

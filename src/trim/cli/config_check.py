"""`trim config check`: validate a configuration file, and try its servers."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from textwrap import fill
from typing import TYPE_CHECKING

from trim.cli.options import RAW
from trim.config.factory import Backends, open_backends
from trim.config.judge_names import FITTED
from trim.config.judge_notes import judge_note
from trim.config.loading import load_config
from trim.config.policy import open_policy
from trim.config.specs import identities
from trim.errors import ConfigError
from trim.scoring.fitted import NO_LOGPROBS

if TYPE_CHECKING:
    from trim.protocols import Probe

_DESCRIPTION = """\
Validates a configuration file and says which models and policy it names;
--probe tries its servers too, each with a real request whose answer is
checked. Exit code 2 if something that routing needs is missing.

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
    check.add_argument("--json", action="store_true", help="print it as JSON")
    check.set_defaults(run=_check)


async def _check(args: argparse.Namespace) -> int:
    config = load_config(args.config)
    models, policy = identities(config), open_policy(config)
    if not args.json:
        for role, name in models.items():
            print(f"{role:>6}  {name}")
        print(judge_note(config))
        print(f"policy  {policy.name}" + ("" if policy.parameter is None else f" {policy.parameter:g}"))
    found: dict[str, Probe] = {}
    async with open_backends(config) as backends:  # finds templates, keys and model folders that are not there
        if args.probe:
            found = await probe_roles(backends)
    if args.json:
        told = {"config": str(args.config), "models": models, "policy": policy.name, "parameter": policy.parameter}
        print(json.dumps(told | {"judge": judge_note(config).conditions(), "probes": probes_as_json(found)}))
    else:
        print_probes(found)
    if failed := [role for role, probe in found.items() if probe.problem is not None]:
        raise ConfigError(f"{args.config}: not every backend can be used: {', '.join(failed)}")
    if not args.json:
        print(f"{args.config} is valid")
    return 0


async def probe_roles(backends: Backends) -> dict[str, Probe]:
    """What each role's model turned out to do."""
    from trim.backends.probe import try_judge, try_steps

    found = {
        "weak": await try_steps(backends.weak, await backends.weak.probe()),
        "strong": await try_steps(backends.strong, await backends.strong.probe()),
    }
    judge = await backends.prm.probe()
    if backends.spec.judge.backend != FITTED:
        return found | {"prm": await try_judge(backends.prm, judge)}
    if found["weak"].logprobs is False:
        judge = replace(judge, problem=f"{judge.server}: {NO_LOGPROBS}")
    return found | {"prm": replace(judge, notes=(*judge.notes, "it scores drafts by their log-probabilities"))}


def print_probes(found: Mapping[str, Probe]) -> None:
    """What is to be said of each role; a problem in one line, as all errors."""
    from trim.backends.probe import describe

    for role, probe in found.items():
        if probe.problem is not None:
            print(f"{role:>6}  FAILED: {probe.problem}")
            continue
        server, *words = describe(probe).split("; ")
        print(f"{role:>6}  ok: {server}")
        for line in words:
            print(fill(line, 79, initial_indent=" " * 8, subsequent_indent=" " * 10, break_on_hyphens=False))


def probes_as_json(found: Mapping[str, Probe]) -> dict[str, object]:
    """The same as values, without what was not tried."""
    from dataclasses import asdict

    from trim.backends.probe import counting

    told: dict[str, object] = {}
    for role, probe in found.items():
        values = {name: value for name, value in asdict(probe).items() if value not in (None, "", ())}
        counts = {} if probe.usage is None else {"token_counts": counting(probe)}
        told[role] = {"ok": probe.problem is None} | values | counts
    return told

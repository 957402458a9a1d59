"""`trim init`: find models, write a first `trim.toml`, and try it."""

from __future__ import annotations

import argparse
import json
import os
import socket
import sys
from dataclasses import asdict
from pathlib import Path
from textwrap import fill
from typing import TYPE_CHECKING

from trim.cli.config_check import print_probes, probe_roles, probes_as_json
from trim.cli.options import DEFAULT
from trim.config.starter import Choice, by_size, document, keys_in, suggested
from trim.errors import BackendError, ConfigError
from trim.private_files import make_private
from trim.redaction import redacted
from trim.types import Role

if TYPE_CHECKING:
    from trim.backends.discovery import FoundModel, FoundServer
    from trim.config.settings import Config
    from trim.protocols import Probe
    from trim.types import Prices, Trace

_DESCRIPTION = """\
Finds model servers on this machine (Ollama, llama-server, vLLM, SGLang, LM
Studio) and keys in the environment, asks which models to use, writes a
commented trim.toml, and tries it on a small problem. It never overwrites a
file without being asked to. The other commands read ./trim.toml by
themselves.

examples:
  trim init
  trim init --yes            the smallest model is weak, the largest strong
  trim init --weak ollama/qwen2.5:1.5b --strong openai/gpt-4.1-mini
"""
_PROBLEM = "A box holds 12 pens. Ann buys 3 boxes and gives away 8 pens. How many pens does she have left?"
_USUAL_PORT = 8080
_SHOWN = 20  # models


def register(init: argparse.ArgumentParser) -> None:
    """Give the parser its description, options and `run`."""
    init.description = _DESCRIPTION
    init.add_argument("--weak", metavar="MODEL", help="the weak model: KIND/MODEL or KIND/MODEL@URL")
    init.add_argument("--strong", metavar="MODEL", help="the strong model")
    init.add_argument("--judge", metavar="JUDGE", help="what scores steps (default: what fits the models)")
    init.add_argument(
        "--server", metavar="URL", action="append", default=[], help="look for models there, too; may be repeated"
    )
    init.add_argument("--out", type=Path, default=DEFAULT, metavar="FILE", help="(default: trim.toml)")
    init.add_argument("--yes", action="store_true", help="ask nothing, take what is suggested")
    init.add_argument("--force", action="store_true", help="overwrite the file if it exists")
    init.add_argument("--no-probe", action="store_true", help="only write the file")
    init.add_argument("--json", action="store_true", help="print what was found as JSON; needs --yes")
    init.set_defaults(run=_init)


async def _init(args: argparse.Namespace) -> int:
    from trim.backends.discovery import find_servers
    from trim.config.model_names import address_in

    _check(args)
    if not args.json:
        print("looking for model servers on this machine ...", flush=True)
    ollama = address_in("ollama", os.environ)
    servers = await find_servers([*args.server, *([ollama] if ollama else [])])
    models = [model for server in servers for model in server.models]
    keys = keys_in(os.environ)
    if not args.json:
        _print_found(servers, keys)
    choice = _choice(args, models, keys)
    text = document(choice, port=_free_port())
    _check_text(text, args.out)
    _write(args.out, text, force=args.force, ask=not args.yes)
    told = {
        "servers": [asdict(server) for server in servers],
        "keys": keys,
        "config": str(args.out),
        **asdict(choice),
    }
    if args.no_probe:
        print(
            redacted(json.dumps(told)) if args.json else f"wrote {args.out}\nnext: trim config check {args.out} --probe"
        )
        return 0
    if not args.json:
        print(f"wrote {args.out}; trying it ...", flush=True)
    return await _try(args, told)


def _check(args: argparse.Namespace) -> None:
    """What can be wrong before anything is looked for."""
    if not args.yes and (args.json or not sys.stdin.isatty()):
        raise ConfigError("trim init asks questions, and this is no terminal: add --yes, or --weak and --strong too")
    if args.yes and args.out.exists() and not args.force:
        raise ConfigError(f"{args.out} exists: add --force to overwrite it, or --out FILE for another one")


def _print_found(servers: list[FoundServer], keys: dict[str, str]) -> None:
    for server in servers:
        print(f"  {server.kind} at {server.url}{f' ({server.trouble})' if server.trouble else ''}")
        for model in server.models[:_SHOWN]:
            print(f"      {model.name}{_size(model)}")
        if len(server.models) > _SHOWN:
            print(f"      and {len(server.models) - _SHOWN} more")
    if not servers:
        print("  none found at the usual ports (--server URL names another place)")
    for kind, variable in keys.items():
        print(f"  {variable} is set: {kind}/MODEL can be used")


def _size(model: FoundModel) -> str:
    words = [] if model.parameters is None else [f"{model.parameters / 1e9:.2g} billion parameters"]
    words += [] if model.context is None else [f"context {model.context:,}"]
    words += ["a process reward model"] if model.scores else []
    return f" ({', '.join(words)})" if words else ""


def _choice(args: argparse.Namespace, models: list[FoundModel], keys: dict[str, str]) -> Choice:
    """The models: as options say, as is suggested, or as is answered."""
    from trim.config.judge_names import judge_table
    from trim.config.model_names import settings_of

    try:
        choice = suggested(models, weak=args.weak, strong=args.strong, judge=args.judge)
    except ConfigError as error:
        if args.yes:
            hosted = f" ({', '.join(keys.values())} set: {next(iter(keys))}/MODEL)" if keys else ""
            raise ConfigError(f"{error}{hosted}") from None
        choice = Choice(args.weak or "", args.strong or "", args.judge)
    if not args.yes:
        weak = args.weak or _ask("weak model", choice.weak, models)
        strong = args.strong or _ask("strong model", choice.strong, models)
        judge = args.judge or _ask("judge (empty: what fits the models)", choice.judge or "", [])
        choice = Choice(weak, strong, judge or None)
    for role, name in (("weak", choice.weak), ("strong", choice.strong)):
        settings_of(name, role)
    if choice.judge is not None:
        judge_table(choice.judge)
    return choice


def _ask(what: str, suggestion: str, models: list[FoundModel]) -> str:
    """An answer from the terminal: a model's name, or the number of one that was found."""
    ordered = by_size(models)
    for number, model in enumerate(ordered[:_SHOWN], 1):
        print(redacted(f"  {number}. {model.full_name}"))
    answer = _answer(redacted(f"{what}{f' [{suggestion}]' if suggestion else ''}: "))
    if answer.isdecimal() and 0 < int(answer) <= len(ordered):
        return ordered[int(answer) - 1].full_name
    return answer or suggestion


def _answer(question: str) -> str:
    try:
        return input(question).strip()
    except EOFError:
        raise ConfigError("no answer came, and nothing was written") from None


def _check_text(text: str, path: Path) -> None:
    """Raise what a command would say of the file, before there is one."""
    from tempfile import TemporaryDirectory

    from trim.config.loading import load_config

    with TemporaryDirectory() as folder:
        trial = Path(folder) / "trim.toml"
        trial.write_text(text, "utf-8")
        try:
            load_config(trial)
        except ConfigError as error:
            raise ConfigError(str(error).replace(str(trial), str(path))) from None


def _write(path: Path, text: str, *, force: bool, ask: bool) -> None:
    """Write the file, whole or not at all; an existing one only if that is wanted."""
    from trim.atomic import write_text

    kept = path.exists() and not force
    if kept and not (ask and _answer(f"{path} exists; overwrite it? [y/N]: ").lower() in ("y", "yes")):
        raise ConfigError(f"{path} exists and was left as it is: --out FILE writes another one")
    write_text(path, text)
    if redacted(text) != text:  # an address with a password
        make_private(path)


def _free_port() -> int | None:
    """A port for the gateway where something else listens at the usual one; None: nothing does."""
    for port in (_USUAL_PORT, *range(_USUAL_PORT + 10, _USUAL_PORT + 100)):
        with socket.socket() as tried:
            if tried.connect_ex(("127.0.0.1", port)) != 0:
                return None if port == _USUAL_PORT else port
    return 0


async def _try(args: argparse.Namespace, told: dict[str, object]) -> int:
    """Probe every role, solve a small problem, and say what that means."""
    from trim.config.factory import open_backends
    from trim.config.judge_notes import judge_note
    from trim.config.loading import load_config
    from trim.config.policy import open_policy
    from trim.tasks.final_answers import final_answer
    from trim.types import Question

    config = load_config(args.out)
    async with open_backends(config) as backends:
        found = await probe_roles(backends)
        if not args.json:
            print_probes(found)
            print(judge_note(config))
        trace = None
        if failed := [role for role, probe in found.items() if probe.problem is not None]:
            problem = f"{', '.join(failed)} cannot be used yet: see above"
        else:
            try:
                trace = await backends.router(open_policy(config)).route(Question(_PROBLEM))
                problem = "" if trace.text.strip() else "the answer to a small problem was empty"
            except BackendError as error:
                problem = str(error)
    if args.json:
        solved = None if trace is None else {"answer": final_answer(trace.said), "seconds": trace.seconds}
        more = {
            "probes": probes_as_json(found),
            "solved": solved,
            "per_1000_questions": _estimate(backends.spec.prices, trace),
        }
        print(redacted(json.dumps(told | more, default=str)))
    elif trace is not None:
        print(f"\n{fill(_PROBLEM, 79)}")
        print(f"answer {final_answer(trace.said) or 'none'} (36 - 8 = 28 is right) in {trace.seconds:.1f} s")
        _print_estimate(backends.spec.prices, trace)
    if problem:
        raise ConfigError(f"{args.out} was written, but {problem}; then: trim config check {args.out} --probe")
    if not args.json:
        _print_next(args.out, config, found)
    return 0


def _estimate(prices: Prices, trace: Trace | None) -> dict[str, object]:
    """Tokens and cost of 1,000 questions like this one; no cost where a role that was used has no price."""
    if trace is None:
        return {}
    tokens = {
        role.value: {"prompt": 1000 * used.prompt_tokens, "completion": 1000 * used.completion_tokens}
        for role, used in trace.usage.items()
    }
    cost = None if trace.cost is None else 1000 * trace.cost
    return {"tokens": tokens, "cost": cost, "unpriced": _unpriced(prices, trace), "estimate": True}


def _unpriced(prices: Prices, trace: Trace) -> list[str]:
    """The roles that were used and have no price."""
    return [role.value for role, price in prices.by_role.items() if price.of(trace.usage[role]) is None]


def _print_estimate(prices: Prices, trace: Trace) -> None:
    print("for 1,000 questions like it, a rough estimate from this one:")
    for role, used in trace.usage.items():
        if used.prompt_tokens or used.completion_tokens:
            about = "~" if used.estimated else ""
            written = f", {about}{used.completion_tokens:,} thousand written" if used.completion_tokens else ""
            print(f"  {role.value:>6}  {about}{used.prompt_tokens:,} thousand tokens read{written}")
    if unpriced := _unpriced(prices, trace):
        print(f"    cost  unknown: no prices for {', '.join(unpriced)}")
    elif trace.cost is not None:
        print(f"    cost  ${1000 * trace.cost:.4g}")


def _print_next(path: Path, config: Config, found: dict[str, Probe]) -> None:
    for role in (Role.WEAK, Role.STRONG):
        prices = config.roles()[role.value].prices
        if prices.prompt is None or prices.completion is None:
            print(f"missing: [{role.value}] prices, without which costs are unknown")
    for role_name, probe in found.items():
        for note in probe.notes:
            print(fill(f"{role_name}: {note}", 79))
    option = "" if path == DEFAULT else f" --config {path}"
    print(f'next: trim solve{option} "{_PROBLEM}"')
    print(f"      trim serve{option}")
    print(f"      base URL for OpenAI clients: http://127.0.0.1:{config.serve.port}/v1")

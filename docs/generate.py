"""Generates the reference pages from the code. They are committed; tests/docs and mkdocs (`hooks`) reject old ones.

python docs/generate.py      writes those that are out of date
"""

from __future__ import annotations

import argparse
import dataclasses
import inspect
import re
import sys
import textwrap
from collections.abc import Callable, Iterator, Sequence
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.files import Files
    from mkdocs.structure.pages import Page

    from trim.backends.capabilities import Capabilities
    from trim.policies.registry import Parameter
    from trim.scoring.registry import JudgeFamily

ROOT = Path(__file__).parents[1]


def _table(head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    lines = [head, tuple("---" for _ in head), *rows]
    return "\n".join(f"| {' | '.join(cell.replace('|', '&#124;') for cell in line)} |" for line in lines) + "\n"


# --- the command line -------------------------------------------------------------------------------------------------


def cli() -> str:
    """Every command with its arguments, from argparse."""
    from trim.cli.main import parser

    parts = [
        "# Commands\n",
        "Generated from the command line's parser; `trim COMMAND --help` prints the same. An error that the user can "
        "fix prints one sentence on standard error and exits with code 2; Ctrl-C exits with 130, SIGTERM "
        "with 143.\n",
    ]
    for name, command in _commands(parser(), "trim"):
        parts.append(_command(name, command))
    return "\n".join(parts)


def _commands(parser: argparse.ArgumentParser, name: str) -> Iterator[tuple[str, argparse.ArgumentParser]]:
    nested = [action for action in parser._actions if isinstance(action, argparse._SubParsersAction)]
    if not nested:
        yield name, parser
    for action in nested:
        for word, child in action.choices.items():
            yield from _commands(child, f"{name} {word}")


def _command(name: str, parser: argparse.ArgumentParser) -> str:
    text = (parser.description or "").strip()
    words, _, examples = text.partition("\nexample")
    parts = [f"## `{name}`\n"]
    if words.strip():
        parts.append(_prose(words))
    rows = [_argument(action) for action in parser._actions if not isinstance(action, argparse._HelpAction)]
    parts.append(_table(("argument", "default", "meaning"), [row for row in rows if row]))
    if examples:
        lines = examples.partition("\n")[2].rstrip().split("\n")
        indent = min(len(line) - len(line.lstrip()) for line in lines if line.strip())
        parts.append("```text\n" + "\n".join(line[indent:].rstrip() for line in lines) + "\n```\n")
    return "\n".join(parts)


def _prose(text: str) -> str:
    """A description; indented lists are kept as they are."""
    if re.search(r"^  ", text, re.MULTILINE):
        return f"```text\n{text.strip()}\n```\n"
    return text.strip() + "\n"


def _argument(action: argparse.Action) -> tuple[str, ...]:
    if action.help == argparse.SUPPRESS:
        return ()
    takes = ""
    if action.nargs != 0:
        takes = str(
            action.metavar or (" or ".join(map(str, action.choices)) if action.choices else action.dest.upper())
        )
    shown = f"`{' '.join(filter(None, (*action.option_strings[-1:], takes)))}`"
    default = "required" if action.required and action.option_strings else _default(action.default)
    words = (action.help or "") % {"default": action.default, "prog": "trim"} if action.help else ""
    words = re.sub(r" \(default: [^()]*\)$", "", words) if default else words
    return shown, default, words


def _default(value: object) -> str:
    """A default worth showing, else an empty string."""
    if value is None or isinstance(value, bool | tuple | list) or value in ("", argparse.SUPPRESS):
        return ""
    return f"`{value}`"


# --- configuration ----------------------------------------------------------------------------------------------------


def configuration() -> str:
    """Every key, from the typed settings."""
    from trim.config.reference import reference, tables

    words = tables()
    parts = [
        "# Configuration\n",
        "Configuration is one TOML file; every key is optional and validated. `trim config check trim.toml` checks it, "
        "`--probe` also queries the servers. An environment variable overrides its key: `TRIM_WEAK__BASE_URL` for "
        "`base_url` in `[weak]`. "
        "Without a file the embedded models are used at nominal prices, which are the defaults below.\n",
    ]
    by_table: dict[str, list[tuple[str, ...]]] = {}
    for key in reference():
        default = "" if key.default in (None, "") else f"`{key.default}`"
        by_table.setdefault(key.table, []).append((f"`{key.path[-1]}`", key.allowed, default, key.description))
    for table, rows in by_table.items():
        parts.append(f"## `[{table}]`\n")
        parts.append(words.get(table, "") + "\n")
        parts.append(_table(("key", "accepts", "default", "meaning"), rows))
        if table == "prm":
            parts.append("Each judge takes some of these keys; a value for any other is refused:\n")
            parts.append(_judges([".".join(key.path[1:]) for key in reference() if key.path[0] == "prm"]))
    return "\n".join(parts)


def _judges(keys: Sequence[str]) -> str:
    """Which judge takes which key of `[prm]`."""
    from trim.scoring.registry import JUDGES

    def cell(family: JudgeFamily, key: str) -> str:
        if family.takes(key, served=not family.local or key == "base_url"):
            return "yes"
        return "with `base_url`" if family.takes(key, served=True) else ""

    rows = [(f"`{key}`", *(cell(family, key) for family in JUDGES.values())) for key in keys]
    return _table(("key", *(f"`{name}`" for name in JUDGES)), rows)


# --- kinds of models --------------------------------------------------------------------------------------------------


def kinds() -> str:
    """Every kind of server and of model in this process, from the presets and the capabilities."""
    from trim.backends.capabilities import BACKENDS
    from trim.config.model_names import PRESETS

    parts = [
        "# Kinds of models\n",
        "A model has a name of one word, `KIND/MODEL` or `KIND/MODEL@URL`. `--weak`, `--strong` and `--judge` of the "
        "commands take it, `model` in `[weak]`, `[strong]` and `[prm]` of a configuration, and `trim.open` in "
        "Python. An address without a path gets `/v1`.\n",
        "The kind says where the server usually is, which environment variable holds its key, and how it is asked to "
        "continue a partial solution: as text (`completions`), as an unfinished answer (`chat`), or in words "
        "(`instruct`). Keys beside `model` in a table have their own say. A provider's key is sent to the provider's "
        "own address only. What a server counts is used; what it does not is counted by another way or estimated, and "
        "then marked.\n",
    ]
    rows = []
    for kind, preset in PRESETS.items():
        able = BACKENDS.get("llama-server" if kind == "gguf" else kind)
        rows.append(
            (
                preset.title,
                f"`{kind}/{preset.example}`" if preset.example else f"`{kind}`",
                f"`{preset.base_url}`" if preset.base_url else ("none" if preset.in_process else "in the name"),
                f"`{preset.api_key_env}`" if preset.api_key_env else "",
                "" if able is None else f"`{preset.continuation}`",
                "exact" if able is None else _counts(able),
                "yes" if able is None or able.logprobs else "",
                "" if able is None else _CACHES[preset.continuation],
                _judge(kind),
            )
        )
    server = ("runs on", "name", "address", "key variable", "continuation", "token counts", "log-probabilities")
    head = (*server, "prefix cache serves", "judge unless one is named")
    return "\n".join([*parts, _table(head, rows)])


_CACHES = {
    "completions": "question and kept steps",
    "chat": "question and kept steps",
    "instruct": "question and the steps kept at the last request",
}


def _judge(kind: str) -> str:
    """What scores the steps of a pair of this kind."""
    from trim.config.judges import judge_for
    from trim.config.loading import load_config

    name = kind if kind == "embedded" else f"{kind}/m.gguf" if kind == "gguf" else f"{kind}/m@http://host/v1"
    judge = judge_for(load_config(None, {}, {"weak": name, "strong": name}))
    return f"`{judge.backend}`"


def _counts(able: Capabilities) -> str:
    """When a kind of server tells its token counts."""
    if able.running_usage or able.timings:
        return "in every chunk"
    return "at the end" if able.usage else "not in streams"


# --- policies ---------------------------------------------------------------------------------------------------------


def policies() -> str:
    """Every policy family, from the registry."""
    from trim.policies.registry import FAMILIES, Level

    parts = [
        "# Policies\n",
        "This is the registry of policy families. A name is `FAMILY[+OPTION...][=FOLDER]`: `threshold+2` resamples a "
        "draft up to twice, `pomdp+revise=fits/gsm` is a saved plan with revisions. A family has one parameter, which "
        "an evaluation sweeps. *Tunable* families can follow a target share or spend in the gateway.\n",
        "`module:Class` and `file.py:Class` name a policy of your own: [how](../how-to/your-policy.md).\n",
    ]
    groups = {
        "TRIM's own": [f for f in FAMILIES.values() if not f.baseline and f.level is Level.STEP],
        "Baselines": [f for f in FAMILIES.values() if f.baseline and f.level is Level.STEP],
        "Query-level baselines": [f for f in FAMILIES.values() if f.level is Level.QUERY],
    }
    notes = {
        "Baselines": "Methods of other papers on the same harness: same models, same questions and seeds, same total "
        "cost. Each file in `src/trim/baselines/` cites its paper and says where it departs.\n",
        "Query-level baselines": "These choose one model for a whole question.\n",
    }
    for title, families in groups.items():
        parts.append(f"## {title}\n")
        parts.append(notes.get(title, ""))
        rows = [
            (
                f"`{family.name}`",
                family.summary,
                _parameter(family.parameter),
                ", ".join(f"`+{option}`" for option in family.options),
                "; ".join(
                    [
                        *([f"`{family.written_by}`"] if family.written_by else []),
                        *sorted(need.value for need in family.needs),
                    ]
                ),
                "yes" if family.tunable else "",
            )
            for family in families
        ]
        parts.append(
            _table(("name", "what it does", "parameter", "options", "needs, and what makes it", "tunable"), rows)
        )
    return "\n".join(parts)


def _parameter(parameter: Parameter | None) -> str:
    if parameter is None:
        return ""
    high = f"{parameter.high:g}]" if parameter.high < float("inf") else "∞)"
    default = f", default {parameter.default:g}" if parameter.default is not None else ""
    return f"{parameter.name} in [{parameter.low:g}, {high}{default}: {parameter.meaning}"


# --- traces -----------------------------------------------------------------------------------------------------------


def traces() -> str:
    """The trace format, from its dataclasses."""
    from trim import types

    parts = [
        "# Traces\n",
        "A line of `traces.jsonl` is a trace: a question with its decisions, steps, usage and stop reason. Python and "
        "JSON use the same names: the keys are the fields of the dataclasses in `trim.types`, plus `schema`, which is "
        "3. In schemas 1 and 2, which are still read, steps stood without the white space around them.\n",
        "The file is append-only. A last line truncated by a crash is reported and skipped when reading, and removed "
        "before anything is appended.\n",
    ]
    for kind in (types.Trace, types.Question, types.Message, types.Decision, types.Draft, types.Step, types.Usage,
                 types.Fallback):  # fmt: skip
        parts.append(f"## {kind.__name__}\n")
        parts.append((inspect.getdoc(kind) or "").split("\nArgs:")[0].strip() + "\n")
        rows = [(f"`{field.name}`", f"`{field.type}`") for field in dataclasses.fields(kind)]
        parts.append(_table(("field", "type"), rows))
    for enum in (types.Action, types.StopReason, types.Finish):
        parts.append(f"## {enum.__name__}\n")
        parts.append((inspect.getdoc(enum) or "").strip() + "\n")
        parts.append(", ".join(f"`{member.value}`" for member in enum) + "\n")
    return "\n".join(parts)


# --- metrics and spans ------------------------------------------------------------------------------------------------


def metrics() -> str:
    """Every metric of the gateway, from its registry."""
    from trim.server import tracing
    from trim.server.prometheus import Metrics

    rows = []
    for metric in Metrics().registry.collect():
        counter = "_total" if metric.type == "counter" else ""
        labels = _labels(metric.name)
        rows.append(
            (
                f"`{metric.name}{counter}`",
                metric.type,
                ", ".join(f"`{label}`" for label in labels),
                metric.documentation,
            )
        )
    return (
        "# Metrics and spans\n\n"
        "## Prometheus\n\n"
        "The gateway serves these at `GET /metrics`, for all its worker processes (`trim serve --workers`), those\n"
        "that have ended included. Several machines are several targets.\n\n"
        "A histogram `NAME` has the series `NAME_bucket`, `NAME_sum` and `NAME_count`.\n\n"
        + _table(("metric", "type", "labels", "meaning"), rows)
        + f"\n## OpenTelemetry\n\n{inspect.getdoc(tracing)}\n"
    )


def _labels(name: str) -> tuple[str, ...]:
    """The label names of a metric."""
    from trim.server.prometheus import Metrics

    for collector in vars(Metrics()).values():
        if getattr(collector, "_name", None) == name:
            return tuple(collector._labelnames)
    return ()


# --- the wire format --------------------------------------------------------------------------------------------------


def wire() -> str:
    """Routes, requests and responses of the gateway, from its OpenAPI document."""
    from trim.server.openapi import IGNORED, document

    made = document()
    parts = [
        "# Wire format\n",
        "From the OpenAPI document that a running gateway serves at `GET /openapi.json`. How to use it: "
        "[Use the gateway](../how-to/use-the-gateway.md).\n",
        "## Routes\n",
    ]
    rows = []
    for path, methods in made["paths"].items():
        for method, route in methods.items():
            if method == "parameters":
                continue
            answers = ", ".join(route["responses"])
            rows.append((f"`{method.upper()} {path}`", route.get("summary", route.get("description", "")), answers))
    parts.append(_table(("route", "what it does", "answers"), rows))
    parts.append("## Objects\n")
    for name, schema in sorted(made["components"]["schemas"].items()):
        if "properties" not in schema:
            continue
        parts.append(f"### {name}\n")
        if schema.get("description"):
            parts.append(schema["description"].strip() + "\n")
        required = schema.get("required", ())
        fields = [
            (f"`{field}`", _type(of), "yes" if field in required else "", _brief(of))
            for field, of in schema["properties"].items()
            if of != IGNORED
        ]
        parts.append(_table(("field", "type", "required", "limits"), fields))
        if ignored := [f"`{field}`" for field, of in schema["properties"].items() if of == IGNORED]:
            words = f"Ignored, and named in the response header `x-trim-ignored`: {', '.join(ignored)}."
            parts.append(textwrap.fill(words, 120, break_on_hyphens=False) + "\n")
    return "\n".join(parts)


def _type(schema: dict[str, Any]) -> str:
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return f"[{name}](#{name.lower()})"
    if "anyOf" in schema:
        return " or ".join(dict.fromkeys(_type(one) for one in schema["anyOf"]))
    if "const" in schema:
        return f"`{schema['const']!r}`"
    if "enum" in schema:
        return ", ".join(f"`{value}`" for value in schema["enum"])
    if schema.get("type") == "array":
        return f"list of {_type(schema.get('items', {}))}"
    return str(schema.get("type", "any"))


def _brief(schema: dict[str, Any]) -> str:
    """Bounds of a field, those of alternatives included."""
    named = {
        "minimum": "at least", "exclusiveMinimum": "above", "maximum": "at most", "exclusiveMaximum": "below",
        "minLength": "characters at least", "maxLength": "characters at most", "minItems": "items at least",
        "maxItems": "items at most",
    }  # fmt: skip
    found = [
        f"{words} {one[key]}"
        for one in (schema, *schema.get("anyOf", ()))
        for key, words in named.items()
        if key in one
    ]
    return ", ".join(dict.fromkeys(([schema["description"]] if "description" in schema else []) + found))


# --- Python -----------------------------------------------------------------------------------------------------------

_GROUPS = {
    "Routing": "trim.routing.",
    "Policies": "trim.policies.",
    "Extension points": "trim.protocols",
    "Bases for your own": "trim.backends.",
    "Configuration": "trim.config.",
    "Tasks": "trim.tasks",
    "Traces": "trim.traces",
    "Steps": "trim.steps",
    "Values": "trim.types",
    "Errors": "trim.errors",
    "Other": "trim.",
}
"""Section title, and the module prefix of the names in it."""


def python() -> str:
    """The public API in tables, by the modules that define it."""
    import trim

    parts = [_PYTHON]
    for title, names in _public().items():
        parts.append(f"## {title}\n")
        parts.append(_table(("name", "what it is"), [(f"`{name}`", _first(getattr(trim, name))) for name in names]))
    parts.append("## Checks for third parties\n")
    parts.append(f"`trim.testing`: {_first(import_module('trim.testing'))}\n")
    return "\n".join(parts)


def documented() -> str:
    """The same page of the site, where mkdocstrings adds signatures and whole docstrings."""
    parts = [_PYTHON]
    for title, names in _public().items():
        parts.append(f"## {title}\n")
        parts.extend(f"::: trim.{name}\n    options: {{heading_level: 3}}\n" for name in names)
    parts.append("## Checks for third parties\n")
    parts.append("::: trim.testing\n    options: {heading_level: 3}\n")
    return "\n".join(parts)


_PYTHON = (
    "# Python\n\n"
    "The public names of `trim`, in groups. Everything else is internal and may change. Third parties implement the\n"
    "[extension points](#extension-points). `trim.testing` checks an implementation.\n"
)


def _public() -> dict[str, list[str]]:
    """Names of the public API by the title of their group."""
    import trim

    by_module: dict[str, list[str]] = {}
    for name in trim.__all__:
        if not name.startswith("__"):
            by_module.setdefault(getattr(getattr(trim, name), "__module__", "trim"), []).append(name)
    groups = {}
    for title, start in _GROUPS.items():
        modules = sorted(module for module in by_module if module.startswith(start))
        if names := [name for module in modules for name in sorted(by_module.pop(module))]:
            groups[title] = names
    return groups


def _first(thing: object) -> str:
    """The first sentence of a docstring."""
    text = " ".join((inspect.getdoc(thing) or "").split("\n\n")[0].split())
    return re.split(r"(?<=\.) (?=[A-Z`])", text)[0]


GENERATED: dict[str, Callable[[], str]] = {
    "reference/cli.md": cli,
    "reference/config.md": configuration,
    "reference/kinds.md": kinds,
    "reference/policies.md": policies,
    "reference/wire.md": wire,
    "reference/metrics.md": metrics,
    "reference/traces.md": traces,
    "reference/python.md": python,
}
"""Pages, and the functions that generate them."""

COMMAND = "python docs/generate.py"


def outdated() -> dict[Path, str]:
    """The pages that are not what the code says, with the text that they should have."""
    made = {ROOT / "docs" / name: make() for name, make in GENERATED.items()}
    return {path: text for path, text in made.items() if not path.exists() or path.read_text("utf-8") != text}


def on_pre_build(config: MkDocsConfig) -> None:
    """mkdocs: build no site with old pages."""
    from mkdocs.exceptions import Abort

    sys.path.insert(0, str(ROOT / "src"))
    if old := outdated():
        raise Abort(f"out of date: {', '.join(path.name for path in old)}; {COMMAND} writes them anew")


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """mkdocs: whole docstrings on the page about Python."""
    return documented() if page.file.src_uri == "reference/python.md" else markdown


def main() -> None:
    """Write the pages."""
    for path, text in outdated().items():
        path.write_text(text, "utf-8")
        print(path.relative_to(ROOT))


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT / "src"))
    main()

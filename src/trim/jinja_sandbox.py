"""Chat templates rendered as transformers does, in a sandbox and within limits.

Templates are programs that come with models: none may run code of its own, hang the process or fill its memory. The
sandbox sees each call, filter, operator, loop and output, and charges the characters that it makes or reads before
it runs. A template that exceeds its allowance or its time is ended.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, ItemsView, Iterable, Iterator, KeysView, Mapping, Sequence, ValuesView
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache, wraps
from itertools import chain, islice
from typing import Any

from jinja2 import Template, nodes, pass_context
from jinja2.exceptions import SecurityError
from jinja2.ext import Extension
from jinja2.parser import Parser
from jinja2.runtime import Context, LoopContext
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.utils import Namespace
from jinja2.visitor import NodeTransformer

SECONDS = 2.0  # for one rendering
_ALLOWANCE = 10_000_000  # characters read and made by one rendering, and in addition ...
_PER_CHARACTER = 200  # ... this many for each character of the values
_SOURCE = 1_000_000  # characters of a template
_NUMBER = 100_000  # the largest width, count or range
_BITS = 100_000  # of whole numbers
# Filters that look at no text, or at no more of it than they hand on.
_CHEAP = {"length", "count", "first", "last", "list", "reverse", "default", "d", "items", "attr", "map", "random"}
_CHEAP |= {"select", "reject", "selectattr", "rejectattr", "slice", "batch"}
_WIDE = re.compile(r"%[^a-zA-Z%]*(?:\d{5}|\*)|:[^{}]*\d{5}|\{[^{}]+\{")  # of a format string
_WIDE_DATE = re.compile(r"%[^a-zA-Z%]*\d{3}")


class TemplateLimit(SecurityError):
    """A template wants to make too much, or takes too long."""


@dataclass
class _Meter:
    """What a rendering may still read and make (characters), and until when (of the monotonic clock)."""

    left: int
    end: float


_METER: ContextVar[_Meter] = ContextVar("_METER")


def _charge(characters: int) -> None:
    meter = _METER.get()
    meter.left -= max(1, characters)
    if meter.left < 0:
        raise TemplateLimit("it makes too much text or repeats itself too often")
    if time.monotonic() > meter.end:
        raise TemplateLimit(f"it takes more than {SECONDS:g} seconds")


@contextmanager
def _metered(characters: int) -> Iterator[None]:
    token = _METER.set(_Meter(_ALLOWANCE + _PER_CHARACTER * characters, time.monotonic() + SECONDS))
    try:
        yield
    finally:
        _METER.reset(token)


def _size(value: object) -> int:
    """Characters of a value when it is printed, roughly; counts no further than the allowance goes."""
    size, limit, stack = 0, _METER.get().left, [value]
    while stack and size <= limit:
        value = stack.pop()
        size += 8
        if isinstance(value, str | bytes):
            size += len(value)
        elif isinstance(value, int):
            size += value.bit_length() // 3
        elif isinstance(value, range):
            size += 7 * len(value)
        elif isinstance(value, Mapping):
            stack.extend(chain.from_iterable(value.items()))
        elif isinstance(value, list | tuple | set | frozenset | KeysView | ItemsView | ValuesView):
            stack.extend(value)
        else:
            size += 30
    return size


def _sizes(args: Iterable[object], kwargs: Mapping[str, object]) -> int:
    return sum(map(_size, chain(args, kwargs.values())))


def _bounded(args: Iterable[object], kwargs: Mapping[str, object]) -> None:
    """Refuse numbers that would blow up a text."""
    for value in chain(args, kwargs.values()):
        if isinstance(value, int) and abs(value) > _NUMBER:
            raise TemplateLimit(f"the number {value:.0e} is too large")


def _materialised(items: Iterable[object]) -> Sequence[object]:
    return items if isinstance(items, Sequence) else list(islice(items, _METER.get().left + 1))


def _format_cost(text: str, args: Iterable[object], kwargs: Mapping[str, object]) -> int:
    if _WIDE.search(text.replace("{{", "").replace("}}", "")):
        raise TemplateLimit("a format with a width like this is not allowed")
    return len(text) + (text.count("%") + text.count("{")) * (1 + _sizes(args, kwargs))


def _replace_cost(text: str, old: str, new: str) -> int:
    return len(text) + text.count(old) * len(new)


def _join_cost(separator: str, items: Sequence[object]) -> int:
    return len(separator) * len(items) + _size(items)


class _Environment(ImmutableSandboxedEnvironment):
    """Charges for calls and operators; see `_Metering` for loops and literals, `_metered_filter` for filters."""

    intercepted_binops = frozenset(["+", "*", "%", "**"])

    def is_safe_attribute(self, obj: Any, attr: str, value: Any) -> bool:
        """Numbers and bytes have nothing that a template needs, and `to_bytes`."""
        return not isinstance(obj, int | float | bytes) and super().is_safe_attribute(obj, attr, value)

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        """Charge an operator, then apply it."""
        if operator == "%" and isinstance(left, str):
            _charge(_format_cost(left, (right,), {}))
        elif isinstance(left, int) and isinstance(right, int):
            bits = left.bit_length() * right if operator == "**" else left.bit_length() + right.bit_length()
            if bits > _BITS:
                raise TemplateLimit("a number is too large")
            _charge(1)
        elif operator == "*":
            times = next((max(0, n) for n in (left, right) if isinstance(n, int)), 1)
            _charge(max(_size(left), _size(right)) * times)
        elif isinstance(left, list | tuple) and isinstance(right, list | tuple):
            _charge(len(left) + len(right))
        else:
            _charge(_size(left) + _size(right))
        return super().call_binop(context, operator, left, right)

    def call(self, context: Context, obj: Any, /, *args: Any, **kwargs: Any) -> Any:
        """Charge a call and what comes back."""
        method = getattr(obj, "__wrapped__", obj)  # the sandbox wraps str.format
        receiver = getattr(method, "__self__", None)
        if isinstance(receiver, str):
            args = _charge_method(receiver, str(method.__name__), args, kwargs)
        elif isinstance(obj, LoopContext):  # {% for ... recursive %}
            args = (_materialised(args[0]), *args[1:])
            _charge(len(args[0]) * 1000)
        result = super().call(context, obj, *args, **kwargs)
        _charge(1 if isinstance(receiver, dict | list | tuple) else _size(result))
        return result


def _charge_method(text: str, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, ...]:
    """Charge a method of a text; returns the arguments to call it with."""
    _bounded(args, kwargs)
    if name in ("translate", "maketrans"):
        raise TemplateLimit(f"{name} is not allowed")
    if name == "join" and args:
        args = (_materialised(args[0]), *args[1:])
        _charge(_join_cost(text, args[0]))
    elif name == "replace":
        _charge(_replace_cost(text, *args[:2]))
    elif name in ("format", "format_map"):
        _charge(_format_cost(text, args, kwargs))
    elif name == "expandtabs":
        _charge(len(text) + text.count("\t") * (args[0] if args else 8))
    else:
        _charge(len(text) + _sizes(args, kwargs))
    return args


def _metered_filter(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    """A filter that is charged before it runs."""
    at = int(hasattr(function, "jinja_pass_arg"))  # the first argument is a context of jinja's

    @wraps(function)
    def metered(*args: Any, **kwargs: Any) -> Any:
        before, value, rest = args[:at], args[at], args[at + 1 :]
        if name in _CHEAP:
            _charge(1)
        elif name == "join":
            value = _materialised(value)
            _charge(_join_cost(str(kwargs.get("d", rest[0] if rest else "")), value))
        elif name == "replace":
            _charge(_replace_cost(*map(str, (value, *rest[:2])), *map(str, kwargs.values())))
        elif name == "format":
            _charge(_format_cost(str(value), rest, kwargs))
        elif name == "indent":
            width = kwargs.get("width", rest[0] if rest else 4)
            _charge((str(value).count("\n") + 1) * (len(width) if isinstance(width, str) else width) + len(str(value)))
        elif name == "sum" and not isinstance(kwargs.get("start", rest[1] if len(rest) > 1 else 0), int | float):
            raise TemplateLimit("only numbers can be added up")
        else:
            _charge(_size(value) + _sizes(rest, kwargs))
        _bounded(rest, kwargs)
        return function(*before, value, *rest, **kwargs)

    return metered


class _Metering(NodeTransformer):
    """Rewrites a template so that loops, literals and `~` are charged."""

    def _charged(self, node: nodes.Node, by: str, *args: nodes.Expr) -> nodes.Filter:
        return nodes.Filter(node, by, list(args), [], None, None, lineno=node.lineno)

    def visit_For(self, node: nodes.For) -> nodes.Node:  # noqa: N802  found by this name
        """A turn of a loop costs the text that stands in it."""
        text = sum(map(len, _texts(node)))
        loop = self.generic_visit(node)
        assert isinstance(loop, nodes.For)
        loop.iter = self._charged(loop.iter, "trim_loop", nodes.Const(1 + text))
        return loop

    def visit_Concat(self, node: nodes.Concat) -> nodes.Node:  # noqa: N802
        """`a ~ b`."""
        made = self.generic_visit(node)
        assert isinstance(made, nodes.Concat)
        return self._charged(nodes.List(made.nodes, lineno=node.lineno), "trim_concat")

    def _visit_literal(self, node: nodes.Node) -> nodes.Node:
        made = self.generic_visit(node)
        is_target = isinstance(node, nodes.Tuple) and node.ctx != "load"
        return made if is_target else self._charged(made, "trim_literal")

    visit_List = visit_Tuple = visit_Dict = _visit_literal  # noqa: N815


def _texts(node: nodes.Node) -> Iterator[str]:
    """What a part of a template writes itself, and strings in its expressions."""
    yield from (data.data for data in node.find_all(nodes.TemplateData))
    yield from (const.value for const in node.find_all(nodes.Const) if isinstance(const.value, str))


@pass_context
def _loop(_: Context, items: Iterable[object], weight: int) -> Iterator[object]:
    for item in items:
        _charge(weight)
        yield item


@pass_context
def _concat(_: Context, parts: list[object]) -> str:
    _charge(_size(parts))
    return "".join(map(str, parts))


@pass_context
def _literal(_: Context, value: object) -> object:
    _charge(_size(value))
    return value


def _printed(value: object) -> object:
    _charge(_size(value))
    return value


class _Generation(Extension):
    """`{% generation %}` marks what the model writes, for training; here it only has its own variables."""

    tags = {"generation"}  # noqa: RUF012  the library's own way

    def parse(self, parser: Parser) -> nodes.Node:
        line = next(parser.stream).lineno
        return nodes.Scope(parser.parse_statements(("name:endgeneration",), drop_needle=True), lineno=line)


class _Namespace(Namespace):
    """Keeps the names of Python's own attributes free, and prints none of its values."""

    def __init__(*args: Any, **kwargs: Any) -> None:  # so that a template can say namespace(self=...)
        values = dict(*args[1:], **kwargs)
        for name in values:
            _check_name(name)
        Namespace.__init__(args[0], values)

    def __setitem__(self, name: str, value: Any) -> None:
        _check_name(name)
        super().__setitem__(name, value)

    def __repr__(self) -> str:
        return "<namespace>"


def _check_name(name: object) -> None:
    if str(name).startswith("_"):
        raise SecurityError(f"the name {name!r} is not allowed in a namespace")


def _range(*args: int) -> range:
    made = range(*args)
    if len(made) > _NUMBER:
        raise TemplateLimit(f"a range of {len(made):.0e} numbers is too long")
    return made


def _raise_exception(message: str) -> None:
    raise ValueError(message)


def _strftime_now(form: str) -> str:
    if _WIDE_DATE.search(form):
        raise TemplateLimit("a date with a width like this is not allowed")
    return datetime.now().strftime(form)  # local time, as transformers has it


def _tojson(
    value: object,
    ensure_ascii: bool = False,
    indent: int | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,
) -> str:
    """JSON as it is, where jinja2's own filter escapes `<` and the like."""
    if (indent or 0) > 100 or sum(map(len, separators or ())) > 100:
        raise TemplateLimit("tojson: such an indent or separator is not allowed")
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)


def _environment() -> _Environment:
    environment = _Environment(
        trim_blocks=True, lstrip_blocks=True, extensions=[_Generation, "jinja2.ext.loopcontrols"], finalize=_printed
    )
    environment.filters["tojson"] = _tojson
    for name in ("urlize", "wordwrap", "xmlattr", "pprint"):
        del environment.filters[name]
    metered = {name: _metered_filter(name, function) for name, function in environment.filters.items()}
    environment.filters = metered | {"trim_loop": _loop, "trim_concat": _concat, "trim_literal": _literal}
    del environment.globals["lipsum"]
    environment.globals |= {
        "raise_exception": _raise_exception,
        "strftime_now": _strftime_now,
        "namespace": _Namespace,
        "range": _range,
    }
    return environment


@lru_cache(maxsize=32)
def _compiled(source: str) -> tuple[Template, tuple[str, ...]]:
    """The program of a template, and the texts that stand in it."""
    if len(source) > _SOURCE:
        raise TemplateLimit(f"it has {len(source)} characters, {_SOURCE} are allowed")
    environment = _environment()
    with _metered(len(source)):  # constant expressions are evaluated now
        tree = environment.parse(source)
        texts = tuple(_texts(tree))
        code = environment.compile(_Metering().visit(tree))
    return Template.from_code(environment, code, environment.make_globals(None)), texts


def literals(source: str) -> tuple[str, ...]:
    """The texts that stand in a template: what it writes itself, and strings in its expressions.

    Raises:
        Exception: of any kind; the template is not valid.
    """
    return _compiled(source)[1]


def render(source: str, values: Mapping[str, Any]) -> str:
    """The text that a template makes of these values.

    Raises:
        Exception: of any kind; a template is a program. `jinja2.sandbox.SecurityError`: it goes over its limits.
    """
    template, _ = _compiled(source)
    with _metered(_value_size(values)):
        return template.render(values)


def _value_size(values: Mapping[str, Any]) -> int:
    with _metered(1_000_000_000):  # counts all of it
        return _size(values)

"""The sandbox of chat templates: what it offers, and that no template hangs the process or fills its memory."""

from __future__ import annotations

import time
from typing import Any

import pytest

from trim.jinja_sandbox import SECONDS, TemplateLimit, literals, render

_NS = "{% set ns = namespace(x='a') %}{% for i in range(99) %}"
_LONG = "{% set a = 'x' * 99999 %}"


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("{% generation %}a{% set x = 1 %}{% endgeneration %}{{ x is defined }}", "aFalse"),
        ("{% if tools is none %}a{% endif %}{% if tools is not none %}b{% endif %}", "a"),
        ("{% if documents %}a{% endif %}{{ add_generation_prompt }}", "True"),
        ("{{ {'b': '<é>', 'a': [1]} | tojson }}", '{"b": "<é>", "a": [1]}'),
        ("{{ {'b': 'é', 'a': 1} | tojson(sort_keys=true, ensure_ascii=true) }}", '{"a": 1, "b": "\\u00e9"}'),
        ("{{ [1, 2] | tojson(indent=1) }}{{ [1, 2] | tojson(separators=(',', ':')) }}", "[\n 1,\n 2\n][1,2]"),
        (
            "{% for x in [1, 2, 3, 4] %}{% if x == 2 %}{% continue %}{% elif x == 4 %}{% break %}{% endif %}{{ x }}"
            "{% endfor %}",
            "13",
        ),
        (
            "{% for x in 'abc' %}{{ loop.previtem }}{{ x }}{{ loop.nextitem }}{{ loop.last }}{% endfor %}",
            "abFalseabcFalsebcTrue",
        ),
        ("{% set ns = namespace(n=0) %}{% for x in [1, 2] %}{% set ns.n = ns.n + x %}{% endfor %}{{ ns.n }}", "3"),
        ("{{ namespace(self=1).self }}{{ dict(a=1).items() | list }}", "1[('a', 1)]"),
        ("  {% if true %}\na\n  {% endif %}\nb\n", "a\nb"),
        (
            "{% macro f(x) %}<{{ x }}{{ caller() if caller }}>{% endmacro %}{{ f('a') }}{% call f(1) %}b{% endcall %}",
            "<a><1b>",
        ),
        ("{% for x in [[1, []], [2, [[3, []]]]] recursive %}{{ x[0] }}{{ loop(x[1]) }}{% endfor %}", "123"),
        (
            "{% for a, b in [(1, 2)] %}{{ a }}{{ b }}{% else %}no{% endfor %}{% for a in [] %}{% else %}no{% endfor %}",
            "12no",
        ),
        ("{{ '%s-%d' % ('a', 2) }}{{ '{}{b}'.format(1, b=2) }}{{ 'a,b'.split(',')[::-1] | join('+') }}", "a-212b+a"),
        ("{{ messages | selectattr('role', 'equalto', 'user') | map(attribute='content') | join }}", "Q"),
        (
            "{{ 2 ** 10 }}{{ 7 % 4 }}{{ 'ab' * 2 }}{{ [1] + [2] }}{{ 1 + 0.5 }}{{ 'a' in 'ab' }}",
            "10243abab[1, 2]1.5True",
        ),
        ("{{ strftime_now('%Y')[:2] }}{{ missing }}{{ missing is defined }}", "20False"),
        (
            "{{ 'a\nb' | indent(2) }}{{ ' a ' | trim }}{{ 'aXb' | replace('X', '-') }}{{ [3, 1] | sort | first }}",
            "a\n  baa-b1",
        ),
    ],
)
def test_what_templates_use(source: str, expected: str) -> None:
    values = {"messages": [{"role": "user", "content": "Q"}], "tools": None, "documents": None}
    assert render(source, values | {"add_generation_prompt": True}) == expected


@pytest.mark.parametrize(
    "source",
    [
        "{% for i in range(10**9) %}x{% endfor %}",
        "{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}",
        "{{ 'x' * 10**10 }}",
        "{{ ([0] * 10**9) | length }}",
        "{{ 9 ** (9 ** 9) }}",
        _NS + "{% set ns.x = ns.x ~ ns.x %}{% endfor %}",
        _NS + "{% set ns.x = ns.x + ns.x %}{% endfor %}",
        _NS + "{% set ns.x %}{{ ns.x }}{{ ns.x }}{% endset %}{% endfor %}",
        _NS + "{% set ns.x = [ns.x, ns.x] | join %}{% endfor %}",
        _NS + "{% set ns.x = [ns.x, ns.x] %}{% endfor %}",
        _NS + "{% set ns.x = dict(a=ns.x, b=ns.x) %}{% endfor %}",
        _NS.replace("'a'", "3") + "{% set ns.x = ns.x * ns.x %}{% endfor %}",
        "{{ '%1000000000d' % 1 }}",
        "{{ '%*d' % (1000000000, 1) }}",
        "{{ '{:1000000000}'.format(1) }}",
        "{{ '{:{}}'.format(1, 99999) }}",
        "{{ '%.1000000000f' | format(1.0) }}",
        "{{ 'x' | center(10**9) }}",
        "{{ 'x'.ljust(1000000000) }}",
        "{{ ('\t' * 10000).expandtabs(99999) }}",
        "{{ ('\n' * 10000) | indent(99999, blank=true) }}",
        _LONG + "{{ a.replace('x', a) | length }}",
        _LONG + "{{ a | replace('x', a) | length }}",
        _LONG + "{{ a.join([a] * 99999) | length }}",
        _LONG + "{{ range(99999) | join(a) | length }}",
        _LONG + "{{ [a] * 99999 }}",
        _LONG + "{{ ([a] * 99999) | tojson | length }}",
        "{{ [1] | tojson(indent=101) }}",
        "{{ strftime_now('%1000000000Y') }}",
        "{% macro f(n) %}{% if n %}{{ f(n - 1) }}{{ f(n - 1) }}{% endif %}{% endmacro %}{{ f(60) }}",
        "{% for a in [1] recursive %}{{ loop(range(99999)) }}{% endfor %}",
        "{{ ([[1] * 9999] * 9999) | sum(start=[]) }}",
        "{{ [1] | slice(10**9) | list }}",
        "{% for i in range(9) %}{% set a %}{% for j in range(99999) %}"
        + "y" * 100_000
        + "{% endfor %}{% endset %}{% endfor %}",
        "x" * 1_000_001,
    ],
)
def test_limits(source: str) -> None:
    start = time.monotonic()
    with pytest.raises(TemplateLimit):
        render(source, {"messages": []})
    assert time.monotonic() - start < 10 * SECONDS  # far more than it takes, on a busy machine


@pytest.mark.parametrize(
    "source",
    [
        "{{ ''.__class__.__mro__ }}{{ ''.__class__.__mro__[1].__subclasses__() }}",
        "{{ messages.append(1) }}",
        "{{ (1).to_bytes(10**9, 'big') }}",
        "{{ (messages | attr('__class__')).mro() }}",
        "{{ namespace(__class__=1) }}",
        "{% set ns = namespace() %}{% set ns._x = 1 %}",
        "{% include 'file' %}",
        "{{ lipsum(n=10) }}",
        "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}",
        "{{ " + "(" * 100_000 + "1" + ")" * 100_000 + " }}",
        "{{ cycler.__init__.__globals__ }}",
        "{{ '{0.__class__.__mro__}'.format(messages).x.y }}",
    ],
)
def test_what_is_refused(source: str) -> None:
    with pytest.raises(Exception):  # noqa: B017  of any kind, as documented
        render(source, {"messages": []})


def test_long_chats_are_within_the_limits() -> None:
    source = (
        "{% for message in messages %}{% set text = message.content | trim %}"
        "{{ '<|' ~ message.role ~ '|>' + text.split('</think>')[-1].strip('\n') + '\n' }}{% endfor %}"
    )
    chat: list[dict[str, Any]] = [{"role": "user", "content": "word " * 2000}] * 200
    assert len(render(source, {"messages": chat})) > 1_900_000


def test_literals() -> None:
    assert literals("a{{ 'b' ~ x }}{% if y == 'c' %}d{% endif %}") == ("a", "d", "b", "c")

"""Names that the parser keeps apart, and numbers that tell different formulas apart."""

from __future__ import annotations

import pytest

from trim.tasks.formulas import Sample, differ, readable, sample

sympy = pytest.importorskip("sympy", reason="needs the math extra")


@pytest.mark.parametrize(
    ("text", "read"),
    [
        (r"c(\gamma^{2}-1)", r"c(\varrho ^{2}-1)"),
        (r"\frac{E_0^2}{2 e_{1}}", r"\frac{\Upsilon _0^2}{2 \Upsilon _{1}}"),
        ("I_0 + aI_{1} + I(0)", r"\Xi _0 + a\Xi _{1} + I(0)"),
        (r"L_{\odot} M_\max", "L_{odot} M_{max}"),
        (r"v_\infty \maxim", r"v_\infty \maxim"),
        ("f'(x)+x''", r"f^{\prime}(x)+x^{\prime\prime}"),
        (r"\frac{r R}{R_1+r}", r"\frac{r \mathcal{R}}{\mathcal{R}_1+r}"),
        (r"\frac{T}{\tan x}", r"\frac{T}{\tan x}"),
        (r"\hat{X}+x+v_X", r"\hat{X}+x+v_X"),
        (r"e^{-E/kT}", r"e^{-E/kT}"),
        ("Bob", "Bob"),
    ],
)
def test_names_that_the_parser_mixes_up_are_replaced(text: str, read: str) -> None:
    assert readable(text) == read


def test_two_ways_to_write_a_formula_agree_and_different_formulas_differ() -> None:
    groups = [
        ["(x+1)**2", "x**2+2*x+1", "x**2+x*2.0+1"],
        ["sin(2*x)", "2*sin(x)*cos(x)"],
        ["exp(I*x)", "cos(x)+I*sin(x)"],
        ["x**2+2*x"],
        ["1e-30*x", "x/10**30"],
        ["2e-30*x"],
        ["f(2*x)/y", "f(x+x)/y"],
        ["f(x)/y"],
        ["g(x)/y"],
    ]
    samples = [[sample(sympy.parse_expr(text)) for text in group] for group in groups]
    assert all(each.value is not None for group in samples for each in group)
    for at, group in enumerate(samples):
        for other, others in enumerate(samples):
            assert {differ(one, two) for one in group for two in others} == {at != other}


@pytest.mark.parametrize("text", ["x", "zoo", "nan", "oo", "Integral(x, x)", "Derivative(f(x), x)", "10**(10**9*x)"])
def test_what_has_no_value_is_left_to_algebra(text: str) -> None:
    assert sample(sympy.parse_expr(text)) == Sample()
    assert not differ(Sample(), Sample(1.0))


def test_equations_in_other_variables_and_pairs_against_numbers_differ() -> None:
    equation, turned, other, function, another, pair, interval, number, text = map(
        sample,
        (
            *map(
                sympy.parse_expr,
                ("Eq(y, 2*x)", "Eq(x, y/2)", "Eq(y, 2*z)", "Eq(f(x), x)", "Eq(g(x), x)", "Tuple(1, 2)"),
            ),
            sympy.Interval(1, 2),
            sympy.Integer(2),
            "2",
        ),
    )
    assert not differ(equation, turned)
    assert differ(equation, other) and differ(function, another)
    assert differ(number, pair) and differ(interval, number)
    assert not differ(pair, interval) and not differ(equation, number) and not differ(text, pair)

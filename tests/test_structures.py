r"""What belongs together in a text."""

from __future__ import annotations

import pytest

from trim.structures import Structure, is_heading


@pytest.mark.parametrize(
    "line",
    ["### Solution", "#", "#### Step 1: Read", "#### Answer:", "**Step 2: Add the two**", "**Solution:**", "__Plan__",
     "Step 2:", "Step 3", "Case B.", "1.", " 2)", "- ", "**2. Add**"],
)  # fmt: skip
def test_headings(line: str) -> None:
    assert is_heading(line + "\n")


@pytest.mark.parametrize(
    "line",
    ["#### 42", "#### x = 5", "#### The answer is 7", "**42**", "**x = 5**", "**The answer is no**", "**Answer: 5**",
     "Step 2: Add", "1. Add", "So we add:", "- one", "#hash", "**Done.**"],
)  # fmt: skip
def test_lines_that_are_no_headings(line: str) -> None:
    assert not is_heading(line + "\n")


@pytest.mark.parametrize(
    ("text", "open_"),
    [
        ("```python\nx\n", True),
        ("```python\nx\n```\n", False),
        ("````\n```\n", True),
        ("~~~\n```\n~~~\n", False),
        ("```\n    ```\n", True),
        ("1. so\n   ```\n   x\n   ```\n", False),
        ("- ```\n  x\n", True),
        ("> ```\n> x\n", True),
        ("> ```\n> x\n\n", False),
        ("```a` b\n", False),
        ("\\[\nx\n", True),
        ("\\[\nx\n\\]\n", False),
        ("$$\nx\n", True),
        ("$$x$$ and $$\n", True),
        ("\\$$ or \\$\\$\n", False),
        ("so \\begin{a}\n\\begin{b}\n\\end{b}\n", True),
        ("\\begin{a}\\begin{b}\n\\end{a}\n", False),
        ("a \\\\[2pt] b\n", False),
        ("`\\[` and ``$$``\n", False),
        ("` \\[\n", True),
    ],
)
def test_what_is_open_at_the_end_of_a_line(text: str, open_: bool) -> None:
    structure = Structure()
    for line in text.splitlines(keepends=True):
        structure.read(line)
    assert structure.open is open_


def test_a_table_goes_on_until_a_line_without_cells() -> None:
    structure = Structure()
    structure.read("| a | b |\n")
    assert not structure.continues("so | what\n")
    assert structure.continues("|---|:-:|\n")
    structure.read("|---|:-:|\n")
    assert structure.in_table
    assert structure.continues("1 | 2\n")
    assert not structure.continues("So\n")
    structure.read("\n")
    assert not structure.in_table

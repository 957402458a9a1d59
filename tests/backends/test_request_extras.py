"""Additions to requests, as a configuration has them."""

from __future__ import annotations

from trim.backends.request_extras import RequestExtras


def test_additions_are_read_from_the_texts_of_a_configuration() -> None:
    assert RequestExtras.read((), "", "") == RequestExtras()
    found = RequestExtras.read(("seed",), '{"a": {"b": 1}}', '{"X-Token": "s3cr3t"}')
    assert (found.omit, found.extra_body, found.headers) == (("seed",), {"a": {"b": 1}}, {"X-Token": "s3cr3t"})
    assert "s3cr3t" not in repr(found)

"""There is room for as many connections as the system lets this process have files."""

from __future__ import annotations

import resource
from collections.abc import Iterator

import pytest

from trim.config.settings import ServeSettings
from trim.server.open_files import raise_open_files


@pytest.fixture
def files() -> Iterator[int]:
    """The hard limit; the soft one is put back."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    yield before[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


def test_the_limit_is_raised_to_what_is_needed(files: int) -> None:
    resource.setrlimit(resource.RLIMIT_NOFILE, (256, files))
    assert raise_open_files(ServeSettings(max_connections=64, max_requests=16)) == 64
    assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] == 256
    assert raise_open_files(ServeSettings(max_connections=300, max_requests=16)) == 300
    assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] == 300 + 4 * 16 + 128


def test_where_it_cannot_be_there_are_fewer_connections(files: int, caplog: pytest.LogCaptureFixture) -> None:
    if files == resource.RLIM_INFINITY:
        pytest.skip("there is no limit here")
    room = raise_open_files(ServeSettings(max_connections=files + 1, max_requests=16))
    assert 0 < room <= files - 4 * 16
    assert f"max_connections is {room} instead of {files + 1}" in caplog.text

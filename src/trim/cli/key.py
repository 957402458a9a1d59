"""`trim key`: an API key for `trim serve`."""

from __future__ import annotations

import argparse

from trim.errors import ConfigError

_DESCRIPTION = """\
Prints a new key, and the entry to append to the file of keys.

example:
  trim key alice
  trim serve --keys keys.toml
"""


def register(key: argparse.ArgumentParser) -> None:
    """Give the parser its description, options and `run`."""
    key.description = _DESCRIPTION
    key.add_argument("name", help="name of the owner of the key")
    key.set_defaults(run=_key)


async def _key(args: argparse.Namespace) -> int:
    from trim.server.auth import generate_key, hash_key

    if not args.name.strip():
        raise ConfigError("the name of a key is empty: say whose it is")
    if not args.name.isprintable() or '"' in args.name or "\\" in args.name:
        raise ConfigError(f"the name of a key must be printable, without quotes and backslashes, not {args.name!r}")
    secret = generate_key()
    print(f'The key, shown once: {secret}\nAppend to the file of keys:\n\n[[key]]\nname = "{args.name}"')
    print(f'sha256 = "{hash_key(secret)}"')
    return 0

"""Secrets, kept out of everything that is said: errors, logs and tracebacks.

Every error of TRIM and every log that TRIM sets up passes through `redacted`. It takes user, password and query out of
any address, and what was configured as a secret out of any text, in whatever form a server or a library repeats it.
Text of models and users never passes here: it is not altered.
"""

from __future__ import annotations

import logging
import re
from base64 import b64encode
from urllib.parse import quote, quote_plus, unquote

HIDDEN = "[hidden]"
_SHORTEST = 6  # characters of a secret that is looked for; a shorter one is a part of too many words
_LIBRARIES = ("httpx", "httpx2", "httpcore", "openai", "websockets")
_USER = re.compile(r"(?<=://)[^\s'\"<>/?#]*@")
_BROKEN_USER = re.compile(  # with a slash or the like in its password, as what should be an address may have
    r"(?<=://)[^\s'\"<>/?#@:]*:(?!\d*(?:[/?#\s'\"<>)]|$))[^\s'\"<>]*@"
)
_QUERY = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*://[^\s'\"<>?#]*)[?#][^\s'\"<>)]*")


class _Secrets:
    """The secrets of this process, and a pattern of all of them."""

    def __init__(self) -> None:
        self._known: set[str] = set()
        self._pattern: re.Pattern[str] | None = None

    def add(self, secret: str) -> None:
        """Remember a secret in the forms in which it travels."""
        forms = {secret, unquote(secret), quote(secret, safe=""), quote_plus(secret), repr(secret)[1:-1]}
        forms.add(b64encode(secret.encode("utf-8", "surrogateescape")).decode())
        new = {form for form in forms if len(form) >= _SHORTEST} - self._known
        if new and len(secret) >= _SHORTEST:
            self._known |= new
            self._pattern = re.compile("|".join(map(re.escape, sorted(self._known, key=len, reverse=True))))

    def hidden(self, text: str) -> str:
        """The text without them."""
        return text if self._pattern is None else self._pattern.sub(HIDDEN, text)


_SECRETS = _Secrets()


def hide(secret: str) -> None:
    """From now on `redacted` takes this out of every text; of a header's value such as `Bearer KEY` the key, too."""
    whole = secret.strip()
    for part in (secret, whole, whole.rpartition(" ")[2]):
        _SECRETS.add(part)


def redacted(text: str) -> str:
    """A text without secrets, and its addresses without user, password and query."""
    if "://" in text:
        text = _QUERY.sub(r"\1", _BROKEN_USER.sub("", _USER.sub("", text)))
    return _SECRETS.hidden(text)


class RedactingFormatter(logging.Formatter):
    """Formats the records of a log, tracebacks included, without secrets."""

    def format(self, record: logging.LogRecord) -> str:
        return redacted(super().format(record))


class _RedactingFilter(logging.Filter):
    """For loggers of other libraries, whose handlers may be anybody's."""

    def filter(self, record: logging.LogRecord) -> bool:
        record.msg, record.args = redacted(record.getMessage()), ()
        return True


_FILTER = _RedactingFilter()


def redact_library_logs() -> None:
    """Take secrets out of what the HTTP libraries log, whoever listens. A logger's filter does not hold for those
    below it, so that each gets one.
    """
    for name in (*_LIBRARIES, *logging.Logger.manager.loggerDict):
        if name.partition(".")[0] in _LIBRARIES:
            logging.getLogger(name).addFilter(_FILTER)  # once, however often it is called

"""Everything that TRIM raises on purpose.

    TrimError                    catch this for all of them
    +-- ConfigError              a setting or argument is wrong; says which and where
    +-- MissingExtra             a package is needed; says what to install
    +-- TaskError                a data set or question is unusable
    +-- TraceError               a trace file cannot be read
    +-- SpendReached             a limit on what a run costs leaves nothing for another call
    +-- PluginError              a policy, judge or task of your own raised an error or breaks its contract; names it
    +-- BackendError             a model server failed; names role and server, says whether a retry may help
        +-- BackendTimeout       no answer in time
        +-- BackendUnavailable   refused, reset or 5xx
        |   +-- RateLimited      429: too many requests or tokens in a short time
        +-- QuotaExhausted       the account has no credit or quota left, a retry won't help
        +-- BackendRefused       4xx: the request is not accepted, a retry won't help
        |   +-- InputTooLong     the text does not fit the model's context
        |   +-- OutputTooLong    more completion tokens were asked for than the model may write
        |   +-- ContentFiltered  the server's content filter does not let the request through
        +-- BadResponse          an answer that breaks the contract (wrong number of scores, truncated message)

Messages say what happened, where, and what to do. None of them carries a key or a request header.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Self

from trim.redaction import redacted

_LONGEST = 300  # characters of what another library or a damaged file has to say
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]+")  # line breaks, and what terminals take as commands


class TrimError(Exception):
    """Base of all errors that TRIM raises on purpose. As text it is one line without control characters and secrets,
    whatever the files, models and servers are called that it speaks of.
    """

    def __str__(self) -> str:
        return redacted(_CONTROL.sub(" ", super().__str__()))

    @classmethod
    def reading(cls, path: str | Path, expected: str, error: Exception, *, kind: str = "file") -> Self:
        """For what could not be read.

        Args:
            path: of the file or folder.
            expected: what was expected and is not there, such as `not a record`.
            error: what reading it raised; a missing key is named, as is a missing file of a folder.
            kind: file or folder.
        """
        if isinstance(error, OSError) and not Path(path).exists():
            return cls(f"{path}: there is no such {kind}")
        if isinstance(error, FileNotFoundError):
            words = f"it has no {Path(error.filename).name}"
        elif isinstance(error, OSError):
            words = error.strerror or str(error)
        elif isinstance(error, KeyError):
            words = f"it has no {error.args[0]!r}"
        elif isinstance(error, TypeError | AttributeError | IndexError):
            missing = re.search(r"missing .*arguments?: (.+)$", str(error))
            words = f"it has no {missing[1]}" if missing else "its content has another form"
        else:
            words = str(error)
        line = redacted(" ".join(words.split()))
        return cls(f"{path}: {expected} ({line if len(line) <= _LONGEST else f'{line[:_LONGEST]}...'})")


class ConfigError(TrimError):
    """A setting or an argument is wrong."""


class MissingExtra(TrimError):
    """A package is not installed.

    Args:
        package: what is imported.
        extra: the extra of this project that brings it; None: TRIM itself requires it.
    """

    def __init__(self, package: str, extra: str | None = None) -> None:
        target = "." if extra is None else f"'.[{extra}]'"
        whole = "trim-router" if extra is None else f"trim-router[{extra}]"
        super().__init__(
            f"{package} is needed for this: pip install {target} in a clone of TRIM, "
            f'or pip install "{whole} @ git+URL" with the URL that you would clone'
        )


class TaskError(TrimError):
    """A data set or a question cannot be used."""


class TraceError(TrimError):
    """A trace file cannot be read or belongs to something else."""


class SpendReached(TrimError):
    """A limit on what a run costs leaves nothing for another call."""


class PluginError(TrimError):
    """A policy, a judge or a task raised an error that is not one of these, or breaks its contract while it is used.
    What it raised is the cause, which `trim --debug` shows.
    """


class BackendError(TrimError):
    """A model server failed. `server` says which (role, model, address), `retryable` whether a retry may help."""

    retryable = False

    def __init__(self, server: str, problem: str, hint: str = "") -> None:
        super().__init__(f"{server}: {problem}" + (f" ({hint})" if hint else ""))
        self.server = server
        self.problem = problem
        self.hint = hint

    def with_hint(self, hint: str) -> Self:
        """The same, with what to do about it in place of what was said before."""
        self.hint = hint
        self.args = (f"{self.server}: {self.problem} ({hint})",)
        return self


class BackendTimeout(BackendError):
    """No answer in time. `told`: the server itself says so; else it has said nothing."""

    retryable = True

    def __init__(self, server: str, problem: str, hint: str = "", *, told: bool = False) -> None:
        super().__init__(server, problem, hint)
        self.told = told


class BackendUnavailable(BackendError):
    """The server cannot be reached or says that it is overloaded or broken. `retry_after`: the seconds after which it
    asks to be tried again, if it says so.
    """

    retryable = True

    def __init__(self, server: str, problem: str, hint: str = "", *, retry_after: float | None = None) -> None:
        super().__init__(server, problem, hint)
        self.retry_after = retry_after


class RateLimited(BackendUnavailable):
    """Too many requests or tokens in a short time: the server works, but not now for us."""


class QuotaExhausted(BackendError):
    """The account behind the API key has no credit or quota left; only its owner can change that."""


class BackendRefused(BackendError):
    """The server does not accept the request. `status` is its HTTP status, 0 where there was none."""

    def __init__(self, server: str, problem: str, hint: str = "", *, status: int = 0) -> None:
        super().__init__(server, problem, hint)
        self.status = status


class InputTooLong(BackendRefused):
    """The text does not fit the model's context. Nothing is ever cut off to make it fit.

    `limit` is the context and `prompt` what the prompt takes of it, in tokens, where the server says so.
    """

    def __init__(
        self,
        server: str,
        problem: str,
        hint: str = "",
        *,
        status: int = 0,
        limit: int | None = None,
        prompt: int | None = None,
    ) -> None:
        super().__init__(server, problem, hint, status=status)
        self.limit = limit
        self.prompt = prompt


class OutputTooLong(BackendRefused):
    """More completion tokens were asked for than the model may write: `limit`, where the server says so."""

    def __init__(self, server: str, problem: str, hint: str = "", *, status: int = 0, limit: int | None = None) -> None:
        super().__init__(server, problem, hint, status=status)
        self.limit = limit


class ContentFiltered(BackendRefused):
    """The server's content filter does not let the request or its answer through."""


class BadResponse(BackendError):
    """The server's answer breaks the contract."""

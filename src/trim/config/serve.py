"""What `[serve]` in a configuration says: the gateway's address, its guards and its books."""

from __future__ import annotations

from dataclasses import dataclass

from trim.errors import ConfigError


@dataclass(frozen=True)
class ServeSettings:
    """The gateway. Times in seconds; money in the unit of the prices; an empty path means none."""

    host: str = "127.0.0.1"
    port: int = 8080
    keys: str = ""  # file with hashed API keys (`trim key` writes entries); none: everybody may ask
    max_requests: int = 256  # worked on at the same time
    queue: int = 256  # that may wait for their turn; more get 429
    deadline: float = 300.0  # of a request, the wait in the queue included
    grace: float = 30.0  # that running requests get when the server stops
    max_body: int = 1_000_000  # bytes
    max_tokens: int = 4_096  # completion tokens of an answer, also where a request asks for more
    max_choices: int = 8  # `n` at most
    pass_through: bool = False  # tools, images, logprobs, ...: the strong model's server answers whole; else refused
    strong_share: float | None = None  # held for the model `trim` by adjusting its policy's parameter
    target_spend_per_hour: float | None = None  # held for the model `trim` likewise; all spend counts
    target_spend_per_day: float | None = None
    spend_per_hour: float | None = None  # hard caps over all requests; then 429 until the hour or day (UTC) is over
    spend_per_day: float | None = None
    state: str = ""  # SQLite file that spend and held shares survive a restart in
    record: str = ""  # folder for traces
    record_mb: float = 64.0  # size at which a new trace file is begun
    log_questions: bool = False  # write questions into the log
    failures: int = 5  # in a row that take a backend out
    cooldown: float = 10.0  # before it is tried again

    def __post_init__(self) -> None:
        for name in ("max_requests", "deadline", "grace", "max_body", "max_tokens", "max_choices", "record_mb"):
            if not getattr(self, name) > 0:
                raise ConfigError(f"[serve] {name} must be above 0")
        for name in ("queue", "failures", "cooldown"):
            if not getattr(self, name) >= 0:
                raise ConfigError(f"[serve] {name} must be 0 or more")
        for name in ("spend_per_hour", "spend_per_day", "target_spend_per_hour", "target_spend_per_day"):
            if not (getattr(self, name) or 0) >= 0:
                raise ConfigError(f"[serve] {name} must be 0 or more")
        if self.strong_share is not None and self.spend_targets():
            raise ConfigError(
                "[serve] strong_share and target_spend_per_hour or _per_day: one parameter holds one of them"
            )
        if not 0 <= self.port <= 65_535:
            raise ConfigError("[serve] port must lie between 0 and 65535")
        if self.strong_share is not None and not 0.0 <= self.strong_share <= 1.0:
            raise ConfigError("[serve] strong_share must lie in [0, 1]")

    def spend_targets(self) -> dict[int, float]:
        """Spend to hold, by the hours that it is for."""
        given = {1: self.target_spend_per_hour, 24: self.target_spend_per_day}
        return {hours: target for hours, target in given.items() if target is not None}

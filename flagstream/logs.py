"""Logs: JSON lines in production, readable text on a terminal, to stderr in both.

The standard library's loggers (uvicorn, sqlalchemy, nats) go through the same formatter. Environment keys and tokens
are never logged: where a line must say which environment it is about, it carries `key_id(key)`, a short digest that
an operator can compute for a key at hand but that opens nothing.
"""

from __future__ import annotations

import hashlib
import logging
import sys
from typing import Literal

import structlog
from structlog.typing import EventDict, WrappedLogger

__all__ = ["LogFormat", "LogLevel", "configure", "get_logger", "key_id"]

LogFormat = Literal["auto", "json", "text"]
LogLevel = Literal["debug", "info", "warning", "error"]


def configure(*, program: str, log_format: LogFormat = "auto", level: LogLevel = "info") -> None:
    """Send every log line of this process to stderr; ``auto`` is text on a terminal and JSON elsewhere."""
    text = log_format == "text" or (log_format == "auto" and sys.stderr.isatty())

    def name_program(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
        event["program"] = program
        return event

    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.stdlib.ExtraAdder(),
        name_program,
    ]
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        wrapper_class=structlog.stdlib.BoundLogger,
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )
    last: list[structlog.typing.Processor] = (
        # The default formatter prints the local variables of each frame, tokens among them.
        [structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty(), exception_formatter=structlog.dev.plain_traceback)]
        if text
        else [structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *last],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    for chatty in ("uvicorn.error", "uvicorn.access", "httpx", "httpcore", "aiosqlite", "alembic.runtime.migration"):
        logging.getLogger(chatty).setLevel(logging.WARNING)
    for own_handlers in ("uvicorn", "uvicorn.error", "uvicorn.access"):
        logging.getLogger(own_handlers).handlers[:] = []
        logging.getLogger(own_handlers).propagate = True


def get_logger(name: str) -> structlog.stdlib.BoundLogger:
    """Return the logger of one module; events are short phrases, facts are keyword arguments."""
    logger: structlog.stdlib.BoundLogger = structlog.stdlib.get_logger(name)
    return logger


def key_id(key: str) -> str:
    """Return 12 hex digits that stand for an environment key in logs (BLAKE2b, RFC 7693)."""
    return hashlib.blake2b(key.encode(), digest_size=6).hexdigest()

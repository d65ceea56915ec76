"""Settings of a program: its defaults, a site file merged key by key over them, the environment over both.

A program declares a `ProgramSettings` subclass and a `default.toml` beside it that names every setting once.
The site file is named by ``FLAGSTREAM_CONFIG``; it is TOML with one table a program (``[publisher]``,
``[stream_server]``), so one file serves a whole host. An environment variable is the program's prefix and the
setting's name in capitals: ``STREAM_SERVER_LIFETIME=60``.

All faults are found in one pass and reported by name (`SettingsError.faults`): unknown names are faults too, because
a misspelt setting that is silently ignored is found out in an outage.
"""

from __future__ import annotations

import difflib
import os
import re
import tomllib
from collections.abc import Iterator, Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any, ClassVar, TypeVar, get_args
from urllib.parse import urlsplit

from pydantic import SecretStr, ValidationError
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

__all__ = ["PROGRAMS", "ProgramSettings", "SettingsError", "load", "url_fault"]

PROGRAMS = ("publisher", "stream_server", "cdn")
"""The tables that a site file may hold."""

SITE_FILE = "FLAGSTREAM_CONFIG"

MASK = "******"


class SettingsError(Exception):
    """The settings cannot be used; `faults` says each thing that is wrong, by the name its owner knows it by."""

    def __init__(self, faults: list[str]) -> None:
        self.faults = faults
        super().__init__("\n".join(faults))


class ProgramSettings(BaseSettings):
    """One frozen value with all settings of a program, checked whole at start and passed down."""

    model_config = SettingsConfigDict(frozen=True, extra="forbid", env_ignore_empty=False)

    program: ClassVar[str]
    """The package that holds `default.toml`; also the table in the site file and, in capitals, the prefix."""

    def rules(self) -> Iterator[str]:
        """Yield a sentence for each rule between several settings that these break."""
        return iter(())

    def remarks(self) -> Iterator[str]:
        """Yield a sentence for each thing worth knowing about these settings on this machine; none is a fault."""
        return iter(())

    def shown(self) -> dict[str, Any]:
        """Return the settings by name with secrets and passwords in URLs masked, fit for a log or a terminal."""
        return {
            name: (MASK if value.get_secret_value() else "") if isinstance(value, SecretStr) else _masked(value)
            for name, value in self
        }

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Use what `load` has merged and nothing else (pydantic-settings calls this)."""
        del settings_cls, env_settings, dotenv_settings, file_secret_settings
        return (init_settings,)


S = TypeVar("S", bound=ProgramSettings)


def load(
    model: type[S],
    *,
    overrides: Mapping[str, Any] | None = None,
    environ: Mapping[str, str] | None = None,
) -> S:
    """Read, merge and check the settings of one program.

    `overrides` come from the command line and win over everything. `environ` defaults to the process's own.
    Raises `SettingsError` with every fault found.
    """
    environ = os.environ if environ is None else environ
    faults: list[str] = []
    values, origin = _merged(model, environ, overrides or {}, faults)
    try:
        settings = model(**values)
    except ValidationError as error:
        for each in error.errors():
            key = str(each["loc"][0]) if each["loc"] else ""
            faults.append(f"{origin.get(key, key)}: {_sentence(each, is_secret=_is_secret(model, key))}")
        raise SettingsError(faults) from None
    faults.extend(_without_passwords(rule, settings) for rule in settings.rules())
    if faults:
        raise SettingsError(faults)
    return settings


def _merged(
    model: type[ProgramSettings],
    environ: Mapping[str, str],
    overrides: Mapping[str, Any],
    faults: list[str],
) -> tuple[dict[str, Any], dict[str, str]]:
    """Return the merged values and, for each, where it came from in words."""
    values = defaults(model)
    origin = {key: f"{key} (default.toml of {model.program})" for key in values}
    known = set(model.model_fields)

    site, path = _site_table(model.program, environ, faults)
    for key, value in site.items():
        if key not in known:
            faults.append(f"{path}: [{model.program}] {key} is not a setting{_nearest(key, known)}")
            continue
        values[key], origin[key] = value, f"{path}: [{model.program}] {key}"

    prefix = f"{model.program}_".upper()
    for name, text in environ.items():
        if not name.startswith(prefix):
            continue
        key = name.removeprefix(prefix).lower()
        if key not in known:
            faults.append(f"{name} is not a setting{_nearest(key, known, prefix)}{_service_link(text)}")
            continue
        values[key], origin[key] = _from_text(model, key, text), f"{name}{_service_link(text)}"

    for key, value in overrides.items():
        values[key], origin[key] = value, f"--{key.replace('_', '-')}"
    return values, origin


def url_fault(url: str, *schemes: str, hostless: str = "") -> str:
    """Say what keeps `url` from being one of these schemes with a host and a port that can be; empty if nothing.

    `hostless` is the one scheme that needs no host. The sentence does not repeat the URL, which may hold a password.
    """
    beginnings = [f"{scheme}://" for scheme in schemes]
    if not url.startswith(tuple(beginnings)):
        *others, last = beginnings
        return f"must begin with {', '.join(others) + ' or ' if others else ''}{last}"
    if not _URL_CHARACTERS.fullmatch(url):
        return "has a character that no URL has; percent-encode it"
    try:
        parts = urlsplit(url)
        usable = parts.port != 0 and (bool(parts.hostname) or parts.scheme == hostless)
    except ValueError:
        usable = False
    return "" if usable else f"is not a URL with a host and a port; write it like {beginnings[0]}HOST:PORT"


_URL_CHARACTERS = re.compile(r"[A-Za-z0-9\-._~:/?#\[\]@!$&'()*+,=%]+")
"""RFC 3986, section 2, without the semicolon: a URL of a setting also stands in headers that semicolons divide."""


def defaults(model: type[ProgramSettings]) -> dict[str, Any]:
    """Return the defaults of `model`, as its package's `default.toml` states them."""
    return tomllib.loads(files(model.program).joinpath("default.toml").read_text(encoding="utf-8"))


def _site_table(program: str, environ: Mapping[str, str], faults: list[str]) -> tuple[dict[str, Any], str]:
    path = environ.get(SITE_FILE, "")
    if not path:
        return {}, ""
    try:
        document = tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        faults.append(f"{SITE_FILE}={path}: cannot be read ({error.strerror})")
        return {}, path
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        faults.append(f"{SITE_FILE}={path}: is not TOML ({error})")
        return {}, path
    for table, content in document.items():
        if table not in PROGRAMS:
            faults.append(f"{path}: [{table}] is not a program; the tables are {', '.join(PROGRAMS)}")
        elif not isinstance(content, dict):
            faults.append(f"{path}: {table} must be a table, written [{table}]")
    table = document.get(program, {})
    return (table if isinstance(table, dict) else {}), path


def _from_text(model: type[ProgramSettings], key: str, text: str) -> Any:
    """Split a list, written with commas in an environment variable; pydantic reads the rest from text."""
    if "tuple" in str(model.model_fields[key].annotation):
        return tuple(part.strip() for part in text.split(",") if part.strip())
    return text


def _sentence(error: Any, *, is_secret: bool) -> str:
    message = str(error["msg"]).removeprefix("Value error, ").removeprefix("Input should be ")
    if error["type"] == "missing":
        return "has no value"
    if error["type"] == "value_error":
        return message
    return f"should be {message}" if is_secret else f"{_masked(error['input'])!r} is refused; it should be {message}"


def _is_secret(model: type[ProgramSettings], key: str) -> bool:
    field = model.model_fields.get(key)
    return field is not None and SecretStr in (field.annotation, *get_args(field.annotation))


def _masked(value: Any) -> Any:
    """Return `value` without what opens the server that a URL names: user, password, token, query."""
    match value:
        case str():
            return _masked_url(value)
        case list() | tuple():
            return type(value)(map(_masked, value))
        case dict():
            return {name: _masked(each) for name, each in value.items()}
    return value


def _masked_url(text: str) -> str:
    scheme, separator, rest = text.rpartition("://") if text.count("://") == 1 else ("", "", text)
    if rest.startswith("/"):
        return text  # a file's path or URL names no server
    # Up to the last @, for drivers take a password with / and @ in it.
    user, at, place = rest.rpartition("@")
    place, mark, query = place.partition("?")
    shown = f"{scheme}{separator}{MASK if user else ''}{at}{place}{mark}"
    return shown + (MASK if separator and query else query)


def _without_passwords(sentence: str, settings: ProgramSettings) -> str:
    """Return a rule's sentence with every value of a setting that it quotes masked."""
    for _, value in settings:
        for each in value if isinstance(value, tuple) else (value,):
            if isinstance(each, str) and each:
                sentence = sentence.replace(each, _masked_url(each))
    return sentence


def _nearest(key: str, known: set[str], prefix: str = "") -> str:
    match = difflib.get_close_matches(key, known, n=1)
    if not match:
        return ""
    return f"; did you mean {prefix + match[0].upper() if prefix else match[0]}?"


def _service_link(text: str) -> str:
    """Kubernetes sets NAME_PORT=tcp://… for every service: the usual cause of a strange value."""
    return " (a Kubernetes service link? set enableServiceLinks: false)" if text.startswith("tcp://") else ""

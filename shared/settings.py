"""Settings: the environment, read once into a frozen object.

Every error is one sentence that names the variable and the fix. Secrets stay out of ``repr``, summaries and
errors: ``summary()`` shows them as set or unset.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Self

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    ValidationError,
    model_validator,
)

from shared.core.errors import SettingsError
from shared.core.ordering import OrderingPolicy
from shared.retention import DAY_S, DEFAULT_DAYS, SHORTEST_DAYS, Retention

BUILTINS: Final = ("fetch_documents", "track_status", "reconcile", "erase_destroyed")
"""Names of the built-in actions that ``all`` means, in the order in which they are registered."""

PUBLISH_EVENT: Final = "publish_event"
"""The built-in action that writes to other services' queues: only if asked for, by name or by DEEDBOX_EVENTS_URL."""

_SOURCE_NAME: Final = re.compile(r"[A-Za-z0-9_-]{1,64}", re.ASCII)
_SECRET: Final = "set"  # noqa: S105 - the word shown instead of a secret


@dataclass(frozen=True, slots=True)
class Source:
    """One tenant: its name in ``/callbacks/<source>`` and its key ring (any may sign, the first calls the API)."""

    name: str
    api_keys: tuple[str, ...] = field(repr=False)


def _split(value: object) -> object:
    if isinstance(value, str):
        return tuple(part.strip() for part in value.split(",") if part.strip())
    return value


def _lower(value: object) -> object:
    return value.strip().lower() if isinstance(value, str) else value


Csv = Annotated[tuple[str, ...], BeforeValidator(_split)]
Seconds = Annotated[float, Field(ge=0, le=86_400, allow_inf_nan=False)]
PerMinute = Annotated[int, Field(ge=1, le=1_000_000)]
Port = Annotated[int, Field(ge=0, le=65_535)]
Days = Annotated[int, Field(ge=SHORTEST_DAYS, le=3650)]


class Settings(BaseModel):
    """Everything a process may know from its environment. Field descriptions are the reference."""

    model_config = ConfigDict(frozen=True, extra="ignore", populate_by_name=False)

    api_keys: Annotated[SecretStr | None, Field(alias="DEEDBOX_API_KEYS")] = None
    """Key ring of source ``default``, comma-separated; any may sign, the first calls the API."""
    sources_text: Annotated[SecretStr | None, Field(alias="DEEDBOX_SOURCES")] = None
    """JSON or the path of a JSON file: ``{name: {"api_keys": [...]}}`` for more accounts or apps."""
    redis_url: Annotated[SecretStr | None, Field(alias="DEEDBOX_REDIS_URL")] = None
    """State and RQ; unset: the embedded Redis of the data directory."""
    broker_url: Annotated[SecretStr | None, Field(alias="DEEDBOX_BROKER_URL")] = None
    """Any kombu URL; unset: the Redis URL. Several, separated by ``;``, for failover."""
    redis_wait_replicas: Annotated[int, Field(alias="DEEDBOX_REDIS_WAIT_REPLICAS", ge=0, le=9)] = 0
    """Replicas of Redis that must have a callback before it is acknowledged; 0: the master alone."""
    data_dir: Annotated[Path, Field(alias="DEEDBOX_DATA_DIR")] = Path("var")
    """Embedded Redis, spool, documents and run files."""
    documents_url: Annotated[str | None, Field(alias="DEEDBOX_DOCUMENTS_URL")] = None
    """``file:///path`` of the document store; unset: ``documents`` in the data directory."""
    document_type: Annotated[
        Literal["pdf", "zip"], BeforeValidator(_lower), Field(alias="DEEDBOX_DOCUMENT_TYPE")
    ] = "pdf"
    """``pdf``: one merged file; ``zip``: the separate files."""
    actions: Annotated[Csv, Field(alias="DEEDBOX_ACTIONS")] = ()
    """Modules with ``@action`` functions, comma-separated."""
    builtins: Annotated[Csv, Field(alias="DEEDBOX_BUILTINS")] = ("all",)
    """Built-in actions: ``all``, ``none`` or names, comma-separated."""
    events_url: Annotated[SecretStr | None, Field(alias="DEEDBOX_EVENTS_URL")] = None
    """kombu URL to which ``publish_event`` publishes, and with ``all`` the wish for it; unset: the broker, if named."""
    events_payload: Annotated[
        Literal["on", "off"], BeforeValidator(_lower), Field(alias="DEEDBOX_EVENTS_PAYLOAD")
    ] = "on"
    """``off``: ``publish_event`` leaves the callback's body, which names signers, out of its messages."""
    hold_s: Annotated[Seconds, Field(alias="DEEDBOX_HOLD_S")] = 30.0
    """Longest wait (seconds) for a predecessor that a snapshot proves."""
    settle_s: Annotated[Seconds, Field(alias="DEEDBOX_SETTLE_S")] = 0.0
    """Wait (seconds) of every event, for order among events that no snapshot proves."""
    hold_max_s: Annotated[Seconds, Field(alias="DEEDBOX_HOLD_MAX_S")] = 600.0
    """Longest wait (seconds) while a spool still holds older callbacks."""
    downloadable_grace_s: Annotated[Seconds, Field(alias="DEEDBOX_DOWNLOADABLE_GRACE_S")] = 60.0
    """Seconds after ``all_signed`` after which the document is fetched without a ``downloadable``."""
    gap_after_s: Annotated[Seconds, Field(alias="DEEDBOX_GAP_AFTER_S")] = 900.0
    """Seconds after ``all_signed``, ``downloadable`` or a predecessor given up until gaps are looked for; 0: off."""
    body_max_bytes: Annotated[int, Field(alias="DEEDBOX_BODY_MAX_BYTES", ge=1024, le=512 * 1024 * 1024)] = (
        10 * 1024 * 1024
    )
    """Largest request body (bytes) that ingress reads."""
    max_event_age_s: Annotated[float, Field(alias="DEEDBOX_MAX_EVENT_AGE_S", ge=0, allow_inf_nan=False)] = 0.0
    """An event older than this (seconds) at receipt is acknowledged and dead-lettered; 0: off."""
    event_retention_days: Annotated[Days, Field(alias="DEEDBOX_EVENT_RETENTION_DAYS")] = DEFAULT_DAYS
    """Days for which a callback's body is kept after its arrival; at least 7, at most the state's."""
    state_retention_days: Annotated[Days, Field(alias="DEEDBOX_STATE_RETENTION_DAYS")] = DEFAULT_DAYS
    """Days for which order state, dedupe memory, timeline and read model live after a request's last event; at least 7."""
    erase_documents: Annotated[
        Literal["on", "off"], BeforeValidator(_lower), Field(alias="DEEDBOX_ERASE_DOCUMENTS")
    ] = "off"
    """``on``: ``erase_destroyed`` removes the stored documents of a destroyed request too."""
    spool: Annotated[Literal["on", "off"], BeforeValidator(_lower), Field(alias="DEEDBOX_SPOOL")] = "on"
    """``on``: acknowledge from a local spool while the broker is down; ``off``: refuse with 503."""
    spool_max_bytes: Annotated[int, Field(alias="DEEDBOX_SPOOL_MAX_BYTES", ge=65_536)] = 1024 * 1024 * 1024
    """Cap (bytes) on what all web processes of a host have spooled; beyond it callbacks get 503."""
    body_signature: Annotated[
        Literal["record", "check", "require"], BeforeValidator(_lower), Field(alias="DEEDBOX_BODY_SIGNATURE")
    ] = "record"
    """``Content-Sha256``: ``record`` the verdict, ``check`` (refuse a wrong one), ``require`` (or an absent one)."""
    port: Annotated[Port, Field(alias="PORT")] = 8000
    """Port of ingress."""
    bind: Annotated[str, Field(alias="DEEDBOX_BIND", min_length=1)] = "127.0.0.1"
    """Address of ingress."""
    web_workers: Annotated[int, Field(alias="DEEDBOX_WEB_WORKERS", ge=1, le=64)] = 2
    """gunicorn worker processes."""
    web_threads: Annotated[int, Field(alias="DEEDBOX_WEB_THREADS", ge=1, le=256)] = 8
    """Threads of each gunicorn worker."""
    ops_port: Annotated[Port, Field(alias="OPS_PORT")] = 8001
    """Port of the dashboard, the status API and the metrics."""
    ops_bind: Annotated[str, Field(alias="DEEDBOX_OPS_BIND", min_length=1)] = "127.0.0.1"
    """Their address; never the public one."""
    ops_hosts: Annotated[Csv, Field(alias="DEEDBOX_OPS_HOSTS")] = ()
    """Host names under which ops may be asked for, besides localhost; comma-separated, without ports."""
    ops_token: Annotated[SecretStr | None, Field(alias="DEEDBOX_OPS_TOKEN")] = None
    """Token of the name ``admin``, with all scopes."""
    ops_tokens_text: Annotated[SecretStr | None, Field(alias="DEEDBOX_OPS_TOKENS")] = None
    """JSON or the path of a JSON file: ``{name: {"token": ..., "scopes": ["read", "documents", "write"]}}``."""
    api_url: Annotated[str, Field(alias="DEEDBOX_API_URL")] = "https://api.hellosign.com/v3"
    """Base URL of the Dropbox Sign API; ends in ``/v3``."""
    files_per_minute: Annotated[PerMinute, Field(alias="DEEDBOX_FILES_PER_MINUTE")] = 15
    """Account-wide budget of file downloads (vendor: 25, shared with sending)."""
    test_files_per_minute: Annotated[PerMinute, Field(alias="DEEDBOX_TEST_FILES_PER_MINUTE")] = 6
    """The same for requests in test mode (vendor: 10)."""
    api_per_minute: Annotated[PerMinute, Field(alias="DEEDBOX_API_PER_MINUTE")] = 60
    """Account-wide budget of other API calls (vendor: 100)."""
    log_format: Annotated[
        Literal["auto", "json", "console"], BeforeValidator(_lower), Field(alias="DEEDBOX_LOG_FORMAT")
    ] = "auto"
    """``auto``: readable on a terminal, else one JSON object per line."""
    log_hops: Annotated[Literal["on", "off"], BeforeValidator(_lower), Field(alias="DEEDBOX_LOG_HOPS")] = "on"
    """``on``: one line for every callback at every hop; ``off``: only what was refused, failed or was set aside."""
    otel: Annotated[Literal["on", "off"], BeforeValidator(_lower), Field(alias="DEEDBOX_OTEL")] = "off"
    """``on``: OpenTelemetry spans (extra ``otel``), sent where the standard ``OTEL_...`` variables say."""

    @classmethod
    def load(cls, environ: Mapping[str, str]) -> Self:
        """Read the settings; empty values count as unset.

        Raises SettingsError with one sentence for the first thing that is wrong.
        """
        try:
            return cls.model_validate({name: value for name, value in environ.items() if value.strip()})
        except ValidationError as error:
            raise SettingsError(_sentence(error)) from None

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        unknown = set(self.builtins) - {*BUILTINS, PUBLISH_EVENT, "all", "none"}
        if unknown:
            raise ValueError(
                f"DEEDBOX_BUILTINS names {', '.join(sorted(unknown))}, which is no built-in action; "
                f"use all, none or some of {', '.join((*BUILTINS, PUBLISH_EVENT))}."
            )
        if not re.fullmatch(r"https?://[^/\s]+(/\S*)?/v3", self.api_url):
            raise ValueError("DEEDBOX_API_URL is not a URL that ends in /v3; the vendor's is the default.")
        if self.event_retention_days > self.state_retention_days:
            raise ValueError(
                f"DEEDBOX_EVENT_RETENTION_DAYS ({self.event_retention_days}) is more than DEEDBOX_STATE_RETENTION_DAYS "
                f"({self.state_retention_days}), and a body that outlives its request's state cannot be found to be "
                "erased; lower the first or raise the second."
            )
        return self

    @property
    def retention(self) -> Retention:
        """How long things are kept."""
        return Retention(self.state_retention_days * DAY_S, self.event_retention_days * DAY_S)

    @property
    def order_policy(self) -> OrderingPolicy:
        """The ordering rule's policy."""
        return OrderingPolicy(self.hold_s, self.settle_s, self.hold_max_s)

    @property
    def enabled_builtins(self) -> tuple[str, ...]:
        """Names of the built-in actions to register."""
        everything = "all" in self.builtins
        names = tuple(name for name in BUILTINS if everything or name in self.builtins)
        published = PUBLISH_EVENT in self.builtins or (everything and self.events_url is not None)
        return (*names, PUBLISH_EVENT) if published else names

    @property
    def gap_look_after_s(self) -> float:
        """``gap_after_s``, or 0 if nothing here could reconcile what was found."""
        return self.gap_after_s if "reconcile" in self.enabled_builtins else 0.0

    @property
    def documents_dir(self) -> Path:
        """Directory of the document store. Raises SettingsError for a URL that is no ``file://`` URL."""
        if self.documents_url is None:
            return self.data_dir / "documents"
        if not self.documents_url.startswith("file:///"):
            raise SettingsError(
                "DEEDBOX_DOCUMENTS_URL is not a file:///absolute/path URL; this version stores documents in a file tree."
            )
        return Path(self.documents_url.removeprefix("file://"))

    @property
    def run_dir(self) -> Path:
        """Directory of lock, socket and address files of a running ``deedbox up``."""
        return self.data_dir / "run"

    def sources(self) -> dict[str, Source]:
        """Return the tenants by name. Raises SettingsError if the key ring of ``default`` is missing."""
        found = _parse_sources(self.sources_text.get_secret_value()) if self.sources_text else {}
        if self.api_keys is not None:
            ring = tuple(part.strip() for part in self.api_keys.get_secret_value().split(",") if part.strip())
            if not ring:
                raise SettingsError(
                    "DEEDBOX_API_KEYS holds no key; set it to the API key of your Dropbox Sign account."
                )
            others = found["default"].api_keys if "default" in found else ()
            found["default"] = Source("default", (*ring, *(key for key in others if key not in ring)))
        if "default" not in found:
            raise SettingsError(
                "DEEDBOX_API_KEYS is not set; set it to the API key of your Dropbox Sign account "
                "(Settings, API, in its web pages), or define the source default in DEEDBOX_SOURCES."
            )
        return found

    def summary(self) -> dict[str, Any]:
        """Return the settings for a start-up log line: secrets only as set or unset."""
        rows: dict[str, Any] = {}
        for name, info in type(self).model_fields.items():
            value = getattr(self, name)
            if "SecretStr" in str(info.annotation):
                rows[name] = _SECRET if value is not None else "unset"
            else:
                rows[name] = str(value) if isinstance(value, Path) else value
        return rows


def _parse_sources(text: str) -> dict[str, Source]:
    if not text.lstrip().startswith("{"):
        try:
            text = Path(text).read_text(encoding="utf-8")
        except OSError as error:
            raise SettingsError(
                f"DEEDBOX_SOURCES is neither JSON nor a readable file ({error.strerror}); "
                'it looks like {"name": {"api_keys": ["..."]}}.'
            ) from None
    try:
        document = json.loads(text)
        rows = {name: tuple(entry["api_keys"]) for name, entry in document.items()}
    except (ValueError, AttributeError, KeyError, TypeError):
        raise SettingsError(
            'DEEDBOX_SOURCES is not of the form {"name": {"api_keys": ["..."]}}; correct the JSON.'
        ) from None
    for name, keys in rows.items():
        if _SOURCE_NAME.fullmatch(name) is None:
            raise SettingsError(
                f"DEEDBOX_SOURCES names the source {name!r}; use 1 to 64 letters, digits, _ or -, it is part of the URL."
            )
        if not keys or not all(isinstance(key, str) and key.strip() for key in keys):
            raise SettingsError(
                f"DEEDBOX_SOURCES gives the source {name} no usable api_keys; list at least one key."
            )
    return {name: Source(name, tuple(key.strip() for key in keys)) for name, keys in rows.items()}


def _sentence(error: ValidationError) -> str:
    """Turn pydantic's report into one sentence; input values are left out, they may be secrets."""
    first = error.errors(include_url=False, include_input=False, include_context=False)[0]
    message = str(first["msg"]).removeprefix("Value error, ")
    if not first["loc"]:
        return message
    name = str(first["loc"][0])
    return f"{name} is not usable: {message[:1].lower()}{message[1:]}; correct or unset it."

"""Settings: the environment, and the files that it names, read once into a frozen object.

Every error is one sentence that names the variable and the fix. Secrets stay out of ``repr``, summaries and
errors: ``summary()`` shows them as set or unset.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
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

from deedbox.shared import consistency
from deedbox.shared.alerts.alerting import DEFAULT_EVENTS
from deedbox.shared.callback_url import shown
from deedbox.shared.core.errors import SettingsError
from deedbox.shared.core.ordering import OrderingPolicy
from deedbox.shared.destinations import Destination, parse_destinations
from deedbox.shared.documents_url import FILE, DocumentsUrl
from deedbox.shared.retention import DAY_S, DEFAULT_DAYS, SHORTEST_DAYS, Retention
from deedbox.shared.sealing.ring_setting import ring_keys
from deedbox.shared.secret_files import with_secrets
from deedbox.shared.sources import Source, parse_sources

BUILTINS: Final = (
    "fetch_documents",
    "track_status",
    "reconcile",
    "erase_destroyed",
    "alert",
    "watch_callback_url",
)
"""Names of the built-in actions that ``all`` means, in the order in which they are registered."""

PUBLISH_EVENT: Final = "publish_event"
"""The built-in action that writes to other services' queues: only if asked for, by name or by DEEDBOX_EVENTS_URL."""

BUDGET_WINDOW_S: Final = 60
"""In which so many calls of the API are made at most as ``call_budgets`` says."""

SETTINGS_SHOWN: Final = "DEEDBOX_SETTINGS_SHOWN"
"""Set for the children of ``deedbox up``, which has printed the settings: they do not log them again."""

_SECRET: Final = "set"  # noqa: S105 - the word shown instead of a secret


def _variable(field: str) -> str:
    return f"DEEDBOX_{field.upper()}"


def _split(value: object) -> object:
    if isinstance(value, str):
        return tuple(part.strip() for part in value.split(",") if part.strip())
    return value


def _lower(value: object) -> object:
    return value.strip().lower() if isinstance(value, str) else value


Lower = BeforeValidator(_lower)
OnOff = Annotated[Literal["on", "off"], Lower]
Csv = Annotated[tuple[str, ...], BeforeValidator(_split)]
Seconds = Annotated[float, Field(ge=0, le=86_400, allow_inf_nan=False)]
PerMinute = Annotated[int, Field(ge=1, le=1_000_000)]
Port = Annotated[int, Field(ge=0, le=65_535)]
Days = Annotated[int, Field(ge=SHORTEST_DAYS, le=3650)]


class Settings(BaseModel):
    """Everything a process may know from its environment. Field descriptions are the reference."""

    model_config = ConfigDict(
        alias_generator=_variable, frozen=True, extra="ignore", use_attribute_docstrings=True
    )

    api_keys: SecretStr | None = None
    """API keys of source ``default``, comma-separated; each of them may sign, and the first one calls the API."""
    sources_text: Annotated[SecretStr | None, Field(alias="DEEDBOX_SOURCES")] = None
    """JSON or the path of a JSON file: ``{name: {"api_keys": [...]}}`` for more accounts or apps, each with its own keys."""
    redis_url: SecretStr | None = None
    """Redis for state and RQ; unset: the embedded Redis of the data directory."""
    broker_url: SecretStr | None = None
    """Redis, RabbitMQ or SQS; unset: the Redis of DEEDBOX_REDIS_URL. Several RabbitMQ nodes are separated by ``;``."""
    redis_wait_replicas: Annotated[int, Field(ge=0, le=9)] = 0
    """How many replicas of Redis must have a callback before it is acknowledged; 0: only the master has it."""
    data_dir: Path = Path("var")
    """Directory of the embedded Redis, the spool, documents and run files."""
    documents_url: str | None = None
    """Document store: ``file:///path``, ``s3://``, ``gs://`` or ``az://bucket/prefix``; unset: ``documents`` in the data directory."""
    document_type: Annotated[Literal["pdf", "zip"], Lower] = "pdf"
    """``pdf``: one merged file; ``zip``: the separate files."""
    document_max_bytes: Annotated[int, Field(ge=1024, le=2 * 1024 * 1024 * 1024)] = 200 * 1024 * 1024
    """Largest document (bytes) that is fetched; a larger one becomes a dead letter. A worker has one in memory."""
    actions: Csv = ()
    """Modules with ``@action`` functions, comma-separated."""
    builtins: Csv = ("all",)
    """Built-in actions: ``all``, ``none`` or names, comma-separated."""
    events_url: SecretStr | None = None
    """Redis or RabbitMQ to which ``publish_event`` publishes; set, ``all`` includes that action. Unset: the broker."""
    destinations_text: Annotated[SecretStr | None, Field(alias="DEEDBOX_DESTINATIONS")] = None
    """JSON or the path of a JSON file: ``{name: {"url": ..., "secret": "whsec_..."}}``, receivers of clean events over HTTP."""
    events_payload: OnOff = "on"
    """``off``: ``publish_event`` leaves the callback's body, which names signers, out of its messages."""
    hold_s: Seconds = 30.0
    """How long (seconds) an event waits for an earlier one that its own content shows is missing."""
    settle_s: Seconds = 0.0
    """Delay (seconds) of every event, to sort events whose order cannot be seen from their content."""
    hold_max_s: Seconds = 600.0
    """How long (seconds) an event may wait while a spool still has older callbacks."""
    downloadable_grace_s: Seconds = 60.0
    """Seconds to wait for ``downloadable`` after ``all_signed``; then the document is fetched without it."""
    events_keep: Annotated[int, Field(ge=0, le=100_000_000)] = 100_000
    """About how many of the latest events ``/api/events`` keeps; 0: none."""
    gap_after_s: Seconds = 900.0
    """Seconds until a request is checked for gaps, after it is complete or an event was not waited for any longer; 0: off."""
    archive_after_s: Annotated[float, Field(ge=60)] = 3600.0
    """Seconds without anything new after which a request is archived: its keys in Redis become one compressed value."""
    synthesise: OnOff = "off"
    """``on``: events that the API proves, and whose callbacks are lost, are released by ``reconcile`` with ``event.origin``
    ``reconciled``; ``off``: they are only reported."""
    body_max_bytes: Annotated[int, Field(ge=1024, le=512 * 1024 * 1024)] = 10 * 1024 * 1024
    """Largest request body (bytes) that ingress reads."""
    max_event_age_s: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 345_600.0
    """An event that is older than this (seconds) at receipt is acknowledged and becomes a dead letter; 0: off. Dropbox Sign
    gives up after 3 days, and the memory of known events is longer, so that no replay is ever a new event."""
    event_retention_days: Days = DEFAULT_DAYS
    """Days to keep a callback's body after its last outcome; at least 7, at most DEEDBOX_STATE_RETENTION_DAYS."""
    state_retention_days: Days = DEFAULT_DAYS
    """Days to keep order state, dedupe memory, timeline and read model after a request's last event; at least 7."""
    erase_documents: OnOff = "off"
    """``on``: ``erase_destroyed`` also removes the stored documents of a destroyed request."""
    spool: OnOff = "on"
    """``on``: acknowledge from a local spool while the broker is down; ``off``: refuse with 503."""
    spool_max_bytes: Annotated[int, Field(ge=65_536)] = 1024 * 1024 * 1024
    """Largest spool (bytes) of all web processes of a host together; callbacks beyond it get 503."""
    body_signature: Annotated[Literal["auto", "record", "check", "require"], Lower] = "auto"
    """``Content-Sha256``: ``record`` the verdict; ``auto``: once a source has shown that it signs, set bodies aside that have
    no valid header; ``check``: refuse a wrong header; ``require``: also refuse an absent one."""
    encryption_keys: SecretStr | None = None
    """Keys (extra ``encryption``) that encrypt what is stored: 64 hexadecimal characters each, comma-separated, the current one
    first; unset: nothing is encrypted."""
    port: Annotated[Port, Field(alias="PORT")] = 8000
    """Port of ingress."""
    bind: Annotated[str, Field(min_length=1)] = "127.0.0.1"
    """Address of ingress."""
    web_workers: Annotated[int, Field(ge=1, le=64)] = 2
    """gunicorn worker processes."""
    web_threads: Annotated[int, Field(ge=1, le=256)] = 8
    """Threads of each gunicorn worker: how many callbacks it can store at the same time."""
    metrics_port: Port | None = None
    """Port of the metrics of ingress; unset: off."""
    metrics_bind: Annotated[str, Field(min_length=1)] = "127.0.0.1"
    """Address of the metrics of ingress; never the public one."""
    callback_url: str | None = None
    """Public callback URL that the account of source ``default`` should have; checked every 15 minutes."""
    alert_urls: SecretStr | None = None
    """Where alerts go (extra ``alerts``): Apprise URLs, separated by commas or line breaks; unset: nowhere."""
    alert_events: Csv = DEFAULT_EVENTS
    """Event types that send an alert, comma-separated, exact or a prefix such as ``template_*``; ``none``: none."""
    alert_details: OnOff = "off"
    """``on``: alerts name the titles of signature requests, which may name people."""
    alert_window_s: Annotated[float, Field(ge=1, le=86_400, allow_inf_nan=False)] = 300.0
    """Seconds for which further alerts of a kind are gathered into one message, after the first was sent."""
    alert_per_hour: Annotated[int, Field(ge=2, le=1000)] = 20
    """Most alerts in any hour; the last one says that the limit is reached."""
    ops_port: Annotated[Port, Field(alias="OPS_PORT")] = 8001
    """Port of the dashboard, the status API and the metrics."""
    ops_bind: Annotated[str, Field(min_length=1)] = "127.0.0.1"
    """Address of the dashboard, the status API and the metrics; never the public one."""
    ops_hosts: Csv = ()
    """Host names that ops answers to, besides localhost; comma-separated, without ports."""
    ops_trusted_proxies: Csv = ()
    """Addresses or networks of proxies in front of ops, comma-separated: they may say for which client they ask."""
    ops_proxy_user_header: Annotated[str | None, Field(pattern=r"^[A-Za-z0-9-]{1,64}$")] = None
    """Header in which a trusted proxy names the user that it has signed in, such as X-Forwarded-User; unset: off."""
    ops_token: SecretStr | None = None
    """One token, named ``admin``, with all scopes."""
    ops_tokens_text: Annotated[SecretStr | None, Field(alias="DEEDBOX_OPS_TOKENS")] = None
    """JSON or the path of a JSON file: ``{name: {"token": ..., "scopes": ["read", "documents", "write"]}}``, or ``sha256`` for ``token``."""
    api_url: str = "https://api.hellosign.com/v3"
    """Base URL of the Dropbox Sign API; ends in ``/v3``."""
    plain_http: OnOff = "off"
    """``on``: the API, the receivers of alerts and destinations may be on other machines and without TLS; keys and messages can be read on
    the way."""
    files_per_minute: PerMinute = 15
    """File downloads per minute and account (Dropbox Sign allows 25, shared with sending)."""
    test_files_per_minute: PerMinute = 6
    """File downloads per minute and account for test requests (Dropbox Sign allows 10)."""
    api_per_minute: PerMinute = 60
    """Other API calls per minute and account (Dropbox Sign allows 100)."""
    log_format: Annotated[Literal["auto", "json", "console"], Lower] = "auto"
    """``auto``: ``console`` on a terminal, else ``json`` (one object per line)."""
    log_hops: OnOff = "on"
    """``on``: one log line for every callback at every step; ``off``: only callbacks that were refused, spooled or failed."""
    otel: OnOff = "off"
    """``on``: OpenTelemetry spans (extra ``otel``), sent where the standard ``OTEL_...`` variables say."""

    @classmethod
    def load(cls, environ: Mapping[str, str]) -> Self:
        """Read the settings, secrets also from their files; empty values count as unset.

        Raises SettingsError with one sentence for the first thing that is wrong.
        """
        try:
            return cls.model_validate(with_secrets(environ, SECRETS))
        except ValidationError as error:
            raise SettingsError(_sentence(error)) from None

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        unknown = set(self.builtins) - {*BUILTINS, PUBLISH_EVENT, "all", "none"}
        if unknown:
            raise ValueError(
                f"DEEDBOX_BUILTINS names {', '.join(sorted(unknown))}, which is not a built-in action; "
                f"use all, none or some of {', '.join((*BUILTINS, PUBLISH_EVENT))}."
            )
        consistency.demand(self)
        return self

    @property
    def encryption_ring(self) -> tuple[bytes, ...]:
        """The keys that encrypt what is stored, the current one first; empty: nothing is encrypted."""
        return ring_keys(self.encryption_keys.get_secret_value()) if self.encryption_keys else ()

    @property
    def call_budgets(self) -> Mapping[str, int]:
        """The budgets of each account: kind of call of the API to calls per minute."""
        return {
            "files": self.files_per_minute,
            "test_files": self.test_files_per_minute,
            "api": self.api_per_minute,
        }

    @property
    def alert_types(self) -> tuple[str, ...]:
        """Event types that alert."""
        return tuple(each for each in self.alert_events if each != "none")

    @property
    def watched_sources(self) -> dict[str, Source]:
        """The sources whose callback URL is checked. Raises SettingsError."""
        if self.callback_url is None and self.sources_text is None:
            return {}
        return {
            name: source for name, source in self.known_sources().items() if source.callback_url is not None
        }

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
        """Names of the built-in actions to register: those that were chosen and have what they work with."""
        idle = set() if self.alert_urls is not None else {"alert"}
        if not self._watches():
            idle.add("watch_callback_url")
        everything = "all" in self.builtins
        chosen = BUILTINS if everything else self.builtins
        names = tuple(name for name in BUILTINS if name in chosen and name not in idle)
        published = PUBLISH_EVENT in self.builtins or (everything and self.events_url is not None)
        return (*names, PUBLISH_EVENT) if published else names

    def _listed_sources(self) -> dict[str, Source]:
        return parse_sources(self.sources_text.get_secret_value()) if self.sources_text else {}

    def _watches(self) -> bool:
        try:
            return bool(self.watched_sources)
        except SettingsError:  # the code that needs the sources reports the error
            return False

    @property
    def gap_look_after_s(self) -> float:
        """``gap_after_s``, or 0 if nothing here could reconcile what was found."""
        return self.gap_after_s if "reconcile" in self.enabled_builtins else 0.0

    @property
    def documents(self) -> DocumentsUrl:
        """Where the document store is. Raises SettingsError."""
        if self.documents_url is None:
            return DocumentsUrl(FILE, str(self.data_dir / "documents"))
        return DocumentsUrl.parse(self.documents_url)

    @property
    def run_dir(self) -> Path:
        """Directory of lock, socket and address files of a running ``deedbox up``."""
        return self.data_dir / "run"

    def destinations(self) -> dict[str, Destination]:
        """Return the receivers of clean events by name. Raises SettingsError."""
        if self.destinations_text is None:
            return {}
        text = self.destinations_text.get_secret_value()
        return parse_destinations(text, plain_http=self.plain_http == "on")

    def sources(self) -> dict[str, Source]:
        """Return the tenants by name. Raises SettingsError if a key ring is missing."""
        found = self.known_sources()
        if self.api_keys is None and "default" not in self._listed_sources():
            raise SettingsError(
                "DEEDBOX_API_KEYS is not set; set it to the API key of your Dropbox Sign account "
                "(Settings, API, in its web pages), or define the source default in DEEDBOX_SOURCES."
            )
        keyless = [name for name, source in found.items() if not source.api_keys]
        if keyless:
            raise SettingsError(
                f"DEEDBOX_SOURCES gives the source {keyless[0]} no usable api_keys; list at least one key."
            )
        return found

    def known_sources(self) -> dict[str, Source]:
        """Return the tenants by name, ``default`` among them, with the keys that this process has: perhaps none.

        Raises SettingsError for sources that cannot be read.
        """
        found = self._listed_sources()
        if self.api_keys is not None:
            ring = tuple(part.strip() for part in self.api_keys.get_secret_value().split(",") if part.strip())
            if not ring:
                raise SettingsError(
                    "DEEDBOX_API_KEYS holds no key; set it to the API key of your Dropbox Sign account."
                )
            listed = found.get("default", Source("default", ()))
            keys = (*ring, *(key for key in listed.api_keys if key not in ring))
            found["default"] = replace(listed, api_keys=keys)
        found.setdefault("default", Source("default", ()))
        if self.callback_url is not None:
            found["default"] = replace(found["default"], callback_url=self.callback_url)
        return found

    def summary(self) -> dict[str, Any]:
        """Return the variables that are set, for a start-up line: secrets only as set."""
        rows: dict[str, Any] = {}
        for name, info in type(self).model_fields.items():
            value = getattr(self, name)
            if name not in self.model_fields_set:
                continue
            if info.alias in SECRETS:
                rows[str(info.alias)] = _SECRET
            elif name == "callback_url":
                rows[str(info.alias)] = shown(value)
            elif isinstance(value, tuple):
                rows[str(info.alias)] = ",".join(value)
            else:
                rows[str(info.alias)] = str(value) if isinstance(value, Path) else value
        return rows


SECRETS: Final = tuple(
    str(info.alias) for info in Settings.model_fields.values() if "SecretStr" in str(info.annotation)
)
"""The variables whose value is shown nowhere and may come from a file."""


def _sentence(error: ValidationError) -> str:
    """Turn pydantic's report into one sentence; input values are left out, they may be secrets."""
    first = error.errors(include_url=False, include_input=False, include_context=False)[0]
    message = str(first["msg"]).removeprefix("Value error, ")
    if not first["loc"]:
        return message
    name = str(first["loc"][0])
    return f"{name} is not usable: {message[:1].lower()}{message[1:]}; correct or unset it."

"""Checks of what this host gives: variables, settings, keys, the disk of the document store."""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from deedbox.ops.checks.finding import Finding, failed, ok, unusable, warning
from deedbox.ops.variables import PREFIX
from deedbox.ops.variables import unknown as unknown_variables
from deedbox.shared.alerts.targets import demand, described, receivers
from deedbox.shared.core.errors import SettingsError, Unavailable
from deedbox.shared.documents import DocumentStore, open_store
from deedbox.shared.settings import Settings

STORE: Final = "document store"

FREE_MIN_BYTES: Final = 1 << 30


def variables(environ: Mapping[str, str]) -> Iterator[Finding]:
    """Find DEEDBOX_ variables that nothing reads."""
    found = [warning("variables", detail, fix) for detail, fix in unknown_variables(environ)]
    yield from found
    if not found:
        count = sum(name.startswith(PREFIX) for name in environ)
        yield ok("variables", f"{count} DEEDBOX_ variables are set, all known")


def settings(environ: Mapping[str, str]) -> tuple[Settings | None, list[Finding]]:
    """Parse the settings; None if they are not usable."""
    try:
        loaded = Settings.load(environ)
        loaded.destinations()
    except SettingsError as error:
        return None, [unusable("settings", str(error))]
    return loaded, [ok("settings", "all values are usable")]


def api_keys(loaded: Settings) -> Iterator[Finding]:
    """Look for the key ring of every source."""
    try:
        sources = loaded.sources()
    except SettingsError as error:
        yield unusable("api keys", str(error))
        return
    rings = ", ".join(f"{source.name}: {len(source.api_keys)}" for source in sources.values())
    yield ok("api keys", f"keys per source: {rings}")


def alerts(loaded: Settings) -> Iterator[Finding]:
    """Parse the receivers of alerts; nothing is sent."""
    found = receivers(loaded)
    if not found:
        fix = "set DEEDBOX_ALERT_URLS, unless something else monitors Deedbox"
        yield ok("alerts", f"no receiver is set; {fix}")
        return
    try:
        demand(loaded)
    except SettingsError as error:
        yield unusable("alerts", str(error))
        return
    if "alert" not in loaded.enabled_builtins:
        fix = "add alert to DEEDBOX_BUILTINS"
        yield warning("alerts", "DEEDBOX_BUILTINS leaves out alert, so that nothing is sent", fix)
        return
    names = "; ".join(described(each) for each in found)
    yield ok(
        "alerts",
        f"{names}; try them with `deedbox alert-test`. `deedbox ops` must run: it sends those about Redis, workers, "
        "ages and disks. Nothing reports that ops or its host is down: monitor /healthz of ops from outside",
    )


def document_store(loaded: Settings) -> Iterator[Finding]:
    """Write and remove a file where documents go."""
    try:
        store = open_store(loaded.documents)
    except SettingsError as error:
        yield unusable(STORE, str(error))
        return
    folder = loaded.documents.folder
    yield _directory(folder.absolute()) if folder is not None else _bucket(store)


def _bucket(store: DocumentStore) -> Finding:
    try:
        store.ping()
    except Unavailable as error:
        trouble, _, fix = str(error).partition("; ")
        return failed(STORE, trouble, fix)
    return ok(STORE, f"{store.where} can be written, read and emptied")


def _directory(root: Path) -> Finding:
    """Write, flush and remove a file in the directory, or where it will be made."""
    # Not made here: a directory made by the person who checks could lock the workers out.
    place = next(path for path in (root, *root.parents) if path.exists())
    try:
        _write_through(place)
        free_bytes = shutil.disk_usage(place).free
    except OSError as error:
        detail = f"{place} cannot be written ({error.strerror or type(error).__name__})"
        return failed(STORE, detail, _remedy(error))
    where = f"{root} is writable" if place == root else f"{root} does not exist yet and can be created"
    if free_bytes < FREE_MIN_BYTES:
        return warning(STORE, f"{where}, but less than 1 GiB is free", "make room on that disk")
    return ok(STORE, f"{where} ({free_bytes / (1 << 30):.0f} GiB free)")


def _remedy(error: OSError) -> str:
    if error.errno in {errno.ENOSPC, errno.EDQUOT}:
        return "make room on that disk"
    return "give the workers' user write access, or set DEEDBOX_DOCUMENTS_URL"


def _write_through(folder: Path) -> None:
    with tempfile.NamedTemporaryFile(dir=folder, prefix=".deedbox-check-") as file:
        file.write(b"deedbox check\n")
        file.flush()
        os.fsync(file.fileno())

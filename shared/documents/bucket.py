"""Documents in a bucket: Amazon S3 and what speaks its protocol, Google Cloud Storage, Azure Blob Storage.

The library reads credentials, region, endpoint and encryption from the vendors' own variables. A file is written with one
request, which the store carries out whole or not at all. Imported only where DEEDBOX_DOCUMENTS_URL names a bucket: the
extra ``stores`` may be missing.
"""

from __future__ import annotations

import contextlib
import re
import tempfile
from collections.abc import Iterator
from contextlib import AbstractContextManager
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from obstore.exceptions import AlreadyExistsError, BaseError, PermissionDeniedError, UnauthenticatedError
from obstore.store import AzureStore, GCSStore, S3Store

from deedbox.shared.core.errors import SettingsError, Unavailable
from deedbox.shared.documents.place import OpenFile
from deedbox.shared.documents_url import DocumentsUrl

if TYPE_CHECKING:  # no names at run time
    from obstore.store import ClientConfig, RetryConfig

_CLIENT: Final[ClientConfig] = {
    # Plain http only if the variable of the endpoint says so.
    "allow_http": True,
    "connect_timeout": timedelta(seconds=5),
    # Of one request, body included: less than the time that a fetch may take.
    "timeout": timedelta(seconds=90),
}
_RETRIES: Final[RetryConfig] = {
    "max_retries": 2,
    "retry_timeout": timedelta(seconds=20),
    "backoff": {"init_backoff": timedelta(milliseconds=200), "max_backoff": timedelta(seconds=2), "base": 2},
}
"""Few and quick: the fetch itself is retried for days."""

_CREDENTIALS: Final = {
    "s3": "AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_REGION",
    "gs": "GOOGLE_APPLICATION_CREDENTIALS",
    "az": "AZURE_STORAGE_ACCOUNT_NAME and AZURE_STORAGE_ACCOUNT_KEY",
}
_MEDIA: Final = {"pdf": "application/pdf", "zip": "application/zip", "json": "application/json"}
_CHUNK: Final = 1 << 20

_CODE: Final = re.compile(r"<Code>(\w{1,60})</Code>", re.ASCII)
_STATUS: Final = re.compile(r"status code: (\d{3})", re.ASCII)
_NO_BUCKET: Final = frozenset({"NoSuchBucket", "ContainerNotFound"})
_METADATA: Final = ("169.254.", "metadata.google")
"""Where a cloud's machines ask for their role; elsewhere it says that no credentials are set."""


class Bucket:
    """A ``DocumentPlace``; ``url``: a bucket, and maybe a prefix in it.

    Raises SettingsError for variables that the library cannot use.
    """

    locks = False

    def __init__(self, url: DocumentsUrl) -> None:
        self._url = url
        kind = {"s3": S3Store, "gs": GCSStore, "az": AzureStore}[url.scheme]
        try:
            self._store = kind(
                url.place, prefix=url.prefix or None, client_options=_CLIENT, retry_config=_RETRIES
            )
        except (BaseError, ValueError) as error:
            raise SettingsError(
                f"DEEDBOX_DOCUMENTS_URL names {url}, and its variables are not usable "
                f"({type(error).__name__}); correct {_CREDENTIALS[url.scheme]}."
            ) from None

    def put_new(self, name: str, data: bytes) -> None:
        with self._errors(), contextlib.suppress(AlreadyExistsError):
            self._store.put(name, data, mode="create", attributes=_attributes(name))

    def replace(self, name: str, data: bytes) -> None:
        with self._errors():
            # In one part, as above: an upload in parts could be left unfinished, and be paid for.
            self._store.put(name, data, use_multipart=False, attributes=_attributes(name))

    def read(self, name: str) -> bytes:
        with self._errors(missing=True):
            return bytes(self._store.get(name).bytes())

    def open(self, name: str) -> OpenFile:
        """Copy the file to one of this host that has no name: its digest is known before the first byte goes out."""
        with contextlib.ExitStack() as stack:
            stack.enter_context(self._errors(missing=True))
            file = stack.enter_context(tempfile.TemporaryFile())
            for chunk in self._store.get(name).stream(min_chunk_size=_CHUNK):
                file.write(chunk)
            file.seek(0)
            stack.pop_all()
        return file

    def names(self, folder: str) -> list[str]:
        with self._errors():
            return sorted(found["path"] for page in self._store.list(folder) for found in page)

    def all_named(self, name: str) -> Iterator[str]:
        with self._errors():
            for page in self._store.list():
                yield from (found["path"] for found in page if found["path"].endswith(f"/{name}"))

    def remove(self, folder: str) -> list[str]:
        removed = self.names(folder)
        if removed:
            with self._errors():
                self._store.delete(removed)
        return removed

    def writing(self, source: str) -> AbstractContextManager[None]:
        del source
        return contextlib.nullcontext()

    def erasing(self, source: str) -> AbstractContextManager[None]:
        del source
        return contextlib.nullcontext()

    def url(self, name: str) -> str:
        return f"{self._url}/{name}"

    def shown(self, name: str) -> str:
        return self.url(name) if name else str(self._url)

    @contextlib.contextmanager
    def _errors(self, *, missing: bool = False) -> Iterator[None]:
        """Translate. ``missing``: the file may be missing, which is FileNotFoundError."""
        try:
            yield
        except (BaseError, OSError) as error:
            # The library's own text names keys, and quotes answers: only their code goes on.
            if isinstance(error, OSError) and error.errno:
                raise Unavailable(
                    f"no room for a document in this host's temporary directory: {error.strerror}"
                ) from error
            code = _first(_CODE, error)
            if missing and isinstance(error, FileNotFoundError) and code not in _NO_BUCKET:
                raise FileNotFoundError("the file is not in the bucket") from None
            raise Unavailable(f"the document store {self._trouble(error, code)}") from None

    def _trouble(self, error: Exception, code: str) -> str:
        where, names, text = self._url, _CREDENTIALS[self._url.scheme], str(error)
        status = _first(_STATUS, error)
        told = f" ({code or status})" if code or status else ""
        if code in _NO_BUCKET:
            return f"{where} does not exist{told}; make the bucket, or correct DEEDBOX_DOCUMENTS_URL"
        if any(each in text for each in _METADATA):
            return f"{where} needs credentials; set {names}, or give this machine a role"
        if isinstance(error, PermissionDeniedError | UnauthenticatedError) or status in {"401", "403"}:
            return (
                f"{where} refused the credentials{told}; check {names}, and that they may read, write, list and "
                "delete there"
            )
        if told:
            return f"{where} refused{told}; check its settings, and {names}"
        return f"{where} did not answer in time, or the connection broke; check its endpoint and the network"


def _attributes(name: str) -> dict[str, str]:
    media = _MEDIA.get(name.rpartition(".")[2])
    return {"Content-Type": media} if media else {}


def _first(pattern: re.Pattern[str], error: Exception) -> str:
    found = pattern.search(str(error))
    return found[1] if found else ""

"""What is a bucket's own: credentials, encryption, broken uploads, and erasures without locks."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from redis import Redis

from deedbox.shared.core.errors import SettingsError, Unavailable
from deedbox.shared.documents import DocumentStore, open_store
from deedbox.shared.documents_url import DocumentsUrl
from deedbox.shared.redis import keys
from deedbox.shared.redis.erasure import Asker, Eraser
from deedbox.shared.redis.request_keys import Subject
from deedbox.shared.redis.scripting import Scripts
from deedbox.shared.retention import Retention
from tests.component.documents.conftest import InBucket
from tests.support.moto import SECRET
from tests.support.s3 import BUCKET, URL, S3Server

pytestmark = pytest.mark.usefixtures("s3")

R1 = Subject("default", "signature_request/r1")


def opened(url: str = URL) -> DocumentStore:
    return open_store(DocumentsUrl.parse(url))


def refusal(store: DocumentStore) -> str:
    """Return the sentence of a store that does not store; it never names the secret."""
    with pytest.raises(Unavailable) as refused:
        store.put("default", "r1", b"%PDF-", "pdf", {})
    assert SECRET not in str(refused.value)
    return str(refused.value)


def test_wrong_credentials_are_named_with_their_variables(s3: S3Server, bucket: InBucket) -> None:
    s3.tell("reset-auth", b"0")
    try:
        said = refusal(opened())
    finally:
        s3.tell("reset-auth", b"Infinity")
    assert said == (
        f"the document store {URL} refused the credentials (InvalidAccessKeyId); check AWS_ACCESS_KEY_ID, "
        "AWS_SECRET_ACCESS_KEY and AWS_REGION, and that they may read, write, list and delete there"
    )
    opened().put("default", "r1", b"%PDF-", "pdf", {})
    assert len(bucket.files()) == 2


def test_a_bucket_that_does_not_exist_is_named(bucket: InBucket) -> None:
    store = opened("s3://another")
    assert refusal(store) == (
        "the document store s3://another does not exist (NoSuchBucket); make the bucket, or correct DEEDBOX_DOCUMENTS_URL"
    )
    with pytest.raises(Unavailable, match="does not exist"):
        store.open("default", "r1", "0" * 64, "pdf")
    with pytest.raises(Unavailable, match="does not exist"):
        store.mark_here()
    assert bucket.files() == {}


def test_a_server_that_is_not_there_is_unavailable(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as unused:
        port = unused.getsockname()[1]
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{port}")
    assert "did not answer in time, or the connection broke" in refusal(opened())


def test_the_encryption_that_the_variables_name_is_asked_for(
    bucket: InBucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_SERVER_SIDE_ENCRYPTION", "aws:kms")
    monkeypatch.setenv("AWS_SSE_KMS_KEY_ID", "a-key-of-ours")
    opened().put("default", "r1", b"%PDF-", "pdf", {})
    opened().mark()
    names = [each["Key"] for each in bucket.client.list_objects_v2(Bucket=BUCKET)["Contents"]]
    heads = [bucket.client.head_object(Bucket=BUCKET, Key=name) for name in names]
    assert {(head["ServerSideEncryption"], head["SSEKMSKeyId"]) for head in heads} == {
        ("aws:kms", "a-key-of-ours")
    }
    assert len(heads) == 3
    assert "application/pdf" in {head["ContentType"] for head in heads}


@pytest.mark.parametrize(
    "url",
    [
        "az://container/x",
        "s3://k:s3cret@bucket",
        "s3://b?x=1",
        "s3://b/../a",
        "ftp://b",
        "s3:///x",
        "documents",
    ],
)
def test_what_cannot_be_a_store_is_refused_before_anything_starts(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("AZURE_STORAGE_ACCOUNT_NAME", "AZURE_STORAGE_ACCOUNT_KEY"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(SettingsError, match="DEEDBOX_DOCUMENTS_URL") as refused:
        opened(url)
    assert SECRET not in str(refused.value)


# --- uploads that break


class Cutter:
    """Passes connections on, and cuts each one that sends more than so many bytes, until it is told to stop."""

    def __init__(self, port: int, cut_after: int) -> None:
        self._to = port
        self.cut_after: int | None = cut_after
        self.cuts = 0
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            far = socket.create_connection(("127.0.0.1", self._to))
            for pair in ((near, far, True), (far, near, False)):
                threading.Thread(target=self._pass_on, args=pair, daemon=True).start()

    def _pass_on(self, here: socket.socket, there: socket.socket, counted: bool) -> None:  # noqa: FBT001
        sent = 0
        try:
            while data := here.recv(65536):
                sent += len(data)
                if counted and self.cut_after is not None and sent > self.cut_after:
                    self.cuts += 1
                    break
                there.sendall(data)
        except OSError:
            pass
        for each in (here, there):
            each.close()


@pytest.fixture
def cutter(s3: S3Server, monkeypatch: pytest.MonkeyPatch) -> Iterator[Cutter]:
    found = Cutter(s3.port, 400_000)
    monkeypatch.setenv("AWS_ENDPOINT_URL", found.address)
    yield found
    found.close()


def test_an_upload_that_breaks_leaves_nothing_and_the_next_try_stores_it(
    cutter: Cutter, bucket: InBucket
) -> None:
    store, data = opened(), b"%PDF-" + bytes(2_000_000)
    with pytest.raises(Unavailable, match="connection broke"):
        store.put("default", "r1", data, "pdf", {})
    assert cutter.cuts
    assert bucket.files() == {}
    cutter.cut_after = None
    stored = store.put("default", "r1", data, "pdf", {})
    assert bucket.files()[f"default/r1/{stored.sha256}.pdf"] == data


# --- erasures


@pytest.mark.real_redis
@pytest.mark.parametrize("killed", [False, True])
def test_an_erasure_beside_a_fetch_is_refused_until_it_is_over(
    state: Redis,
    bucket: InBucket,
    killed: bool,  # noqa: FBT001
) -> None:
    """The fetch looked before the tombstone was set, and stores after it."""
    store = opened()
    eraser = Eraser(Scripts(state), store, Retention())
    refused: list[str] = []

    def wanted() -> bool:
        answer = not state.exists(keys.erased(R1.stream))
        with pytest.raises(Unavailable) as refusal:
            eraser.erase(R1, documents=True, by=Asker.OPERATOR)
        refused.append(str(refusal.value))
        return answer

    state.set(keys.fetching(R1.stream), "its mark", ex=130)
    store.put("default", "r1", b"%PDF-", "pdf", {}, wanted)
    if killed:  # the mark goes by itself
        with pytest.raises(Unavailable):
            eraser.erase(R1, documents=True, by=Asker.OPERATOR)
    state.delete(keys.fetching(R1.stream))

    assert len(eraser.erase(R1, documents=True, by=Asker.OPERATOR).documents) == 2
    assert bucket.files() == {}
    assert refused == ["A document of signature_request/r1 is being fetched; erase it again in two minutes."]


def test_a_missing_extra_is_one_sentence(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import sys

    monkeypatch.delitem(sys.modules, "deedbox.shared.documents.bucket", raising=False)
    missing: Any = None
    for name in ("obstore", "obstore.store", "obstore.exceptions"):
        monkeypatch.setitem(sys.modules, name, missing)
    with pytest.raises(SettingsError) as refused:
        opened()
    assert str(refused.value) == (
        "DEEDBOX_DOCUMENTS_URL names a bucket (s3://), which needs the extra: pip install 'deedbox[stores]'."
    )
    opened(tmp_path.as_uri()).mark()

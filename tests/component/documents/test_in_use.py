"""A bucket as the document store of a whole installation: fetched into, served from, checked and erased."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
from redis import Redis

from deedbox.shared.documents import open_store
from deedbox.shared.documents_url import DocumentsUrl
from tests.component.conftest import Operate
from tests.component.documents.conftest import InBucket
from tests.component.ops_web.asking import PDF, remember
from tests.component.ops_web.conftest import TOKEN, Ops, StartOps, start_ops
from tests.component.workers.fetch_desk import ALL_SIGNED, DOWNLOADABLE, Open, open_desk
from tests.support.s3 import URL, S3Server

__all__ = ["open_desk", "start_ops"]

pytestmark = pytest.mark.real_redis

PATH = "/api/requests/r1/documents/1"
SHA = hashlib.sha256(PDF).hexdigest()


@pytest.fixture
def ops(start_ops: StartOps, s3: S3Server, state: Redis) -> Ops:
    """Run ops on a host that has nothing of the store but its URL."""
    store = open_store(DocumentsUrl.parse(URL))
    remember(state, store, "r1", PDF, store=store.mark())
    del s3  # its variables are inherited
    return start_ops(DEEDBOX_DOCUMENTS_URL=URL)


def test_ops_sends_what_is_in_the_bucket(ops: Ops) -> None:
    whole = ops.request("GET", PATH, token=TOKEN)
    assert (whole.status, whole.data) == (200, PDF)
    assert whole.headers["ETag"] == f'"{SHA}"'
    assert whole.headers["Content-Length"] == str(len(PDF))
    assert whole.headers["Cache-Control"] == "private, no-cache"
    part = ops.request("GET", PATH, token=TOKEN, headers={"Range": "bytes=5-8"})
    assert (part.status, part.data) == (206, PDF[5:9])
    assert ops.request("GET", PATH, token=TOKEN, headers={"If-None-Match": f'"{SHA}"'}).status == 304


def test_ops_tells_a_changed_document_a_missing_one_and_a_bucket_that_is_away(
    ops: Ops, bucket: InBucket, server: S3Server
) -> None:
    bucket.change(f"default/r1/{SHA}.pdf", PDF + b"!")
    assert ops.request("GET", PATH, token=TOKEN).json()["error"] == "gone"
    bucket.remove(f"default/r1/{SHA}.pdf")
    assert ops.request("GET", PATH, token=TOKEN).json()["error"] == "gone"
    server.empty()
    answer = ops.request("GET", PATH, token=TOKEN)
    assert (answer.status, answer.json()["error"]) == (503, "unavailable")
    assert f"{URL} does not exist (NoSuchBucket)" in answer.json()["detail"]


def test_a_fetched_document_is_in_the_bucket_and_on_no_disk(open_desk: Open, bucket: InBucket) -> None:
    desk = open_desk(DEEDBOX_DOCUMENTS_URL=URL)
    desk.happen(ALL_SIGNED)
    desk.happen(DOWNLOADABLE, 1)
    assert sorted(bucket.files()) == [f"default/r1/{desk.sha256()}.{end}" for end in ("json", "pdf")]
    [announced] = desk.stored.calls
    assert announced[0].payload["url"] == f"{URL}/default/r1/{desk.sha256()}.pdf"
    assert not (desk.settings.data_dir / "documents").exists()


def test_a_bucket_that_does_not_answer_is_waited_for(
    open_desk: Open, bucket: InBucket, server: S3Server
) -> None:
    server.empty()
    desk = open_desk(DEEDBOX_DOCUMENTS_URL=URL)
    desk.happen(DOWNLOADABLE)
    assert desk.waits()
    [retry] = [row for row in desk.deployment.timeline() if row["kind"] == "retry"]
    assert f"the document store {URL} does not exist" in str(retry)
    server.make_bucket()
    desk.go_on()
    assert f"default/r1/{desk.sha256()}.pdf" in bucket.files()
    assert not desk.deployment.letters()


def test_check_writes_to_the_bucket_and_leaves_nothing(
    operate: Operate, bucket: InBucket, server: S3Server, tmp_path: Path
) -> None:
    answer = operate("check", "--offline", "--json", DEEDBOX_DOCUMENTS_URL=URL)
    found = _finding(answer.document)
    assert found["detail"] == f"{URL} can be written, read and emptied"
    assert bucket.files() == {}
    assert list(tmp_path.iterdir()) == []
    server.empty()
    found = _finding(operate("check", "--offline", "--json", DEEDBOX_DOCUMENTS_URL=URL).document)
    assert (found["verdict"], found["fix"]) == ("failed", "make the bucket, or correct DEEDBOX_DOCUMENTS_URL")


def _finding(document: dict[str, list[dict[str, str]]]) -> dict[str, str]:
    return next(each for each in document["checks"] if each["name"] == "document store")


@pytest.mark.usefixtures("s3")
def test_erase_removes_what_is_in_the_bucket(operate: Operate, state: Redis, bucket: InBucket) -> None:
    store = open_store(DocumentsUrl.parse(URL))
    remember(state, store, "r1", PDF, store=store.mark())
    answer = operate("erase", "r1", "--documents", "--yes", DEEDBOX_DOCUMENTS_URL=URL)
    assert answer.code == 0
    assert f"to remove   {URL}/default/r1/{SHA}.pdf" in answer.out
    assert bucket.files() == {}


def test_a_process_without_the_settings_of_its_store_does_not_start(operate: Operate) -> None:
    answer = operate("up", DEEDBOX_DOCUMENTS_URL="s3://user:s3cret@bucket")
    assert answer.code == 2
    assert "DEEDBOX_DOCUMENTS_URL" in answer.sentence
    assert "s3cret" not in answer.sentence

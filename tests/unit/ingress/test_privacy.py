"""What is said to the sender and to the log holds no payload and no secret."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator, Sequence

import pytest

from deedbox.ingress.app import create_app
from deedbox.shared.core.envelope import Envelope
from tests.unit.ingress.wire import KEY, MULTIPART, RememberingBroker, callback, multipart, settings
from tests.unit.logging_to import logging_to

SIGNER = "jack@example.com"


@pytest.fixture
def written() -> Iterator[io.StringIO]:
    stream = io.StringIO()
    with logging_to(stream):
        yield stream


def lines(stream: io.StringIO) -> list[dict[str, object]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


class SaysTooMuch(RememberingBroker):
    """Fails with the payload in its message, as a careless library would."""

    def publish_many(self, envelopes: Sequence[Envelope]) -> None:
        raise RuntimeError(envelopes[0].body)


def traffic(broker: RememberingBroker) -> bytes:
    """Send one of everything; return all answers."""
    client = create_app(settings(), broker).test_client()
    bodies = [
        callback(signer=SIGNER),
        callback(signer=SIGNER, key="stolen"),
        b'{"event": {"event_type": "%s"}}' % SIGNER.encode(),
        b'{"%s"' % SIGNER.encode(),
        b'{"event": "%s"}' % SIGNER.encode(),
    ]
    answers = [client.post("/callbacks", data=multipart(text), content_type=MULTIPART) for text in bodies]
    answers.append(client.post(f"/callbacks/{SIGNER}", data=multipart(callback()), content_type=MULTIPART))
    answers.append(client.post("/callbacks", data=multipart(callback(), name=SIGNER), content_type=MULTIPART))
    answers.append(client.get(f"/{SIGNER}"))
    return b"".join(answer.data for answer in answers)


@pytest.mark.parametrize("broker", [RememberingBroker(), RememberingBroker(down=True), SaysTooMuch()])
def test_no_payload_and_no_secret_is_said(written: io.StringIO, broker: RememberingBroker) -> None:
    said = traffic(broker).decode() + written.getvalue()
    for word in (SIGNER, "jack", KEY, "stolen", "s3cret-word", "Traceback"):
        assert word not in said


def test_every_request_to_a_source_writes_one_wide_line(written: io.StringIO) -> None:
    traffic(RememberingBroker())
    found = [line for line in lines(written) if line["event"] == "event.received"]
    assert [line["status"] for line in found] == [200, 401, 400, 400, 400, 404, 400]
    assert (
        found[0].items()
        >= {
            "outcome": "accepted",
            "source": "default",
            "event_type": "signature_request_viewed",
            "body_signature": "absent",
            "level": "info",
            "process": "web",
        }.items()
    )
    assert len(str(found[0]["trace_id"])) == 32
    assert isinstance(found[0]["took_ms"], float)


def test_a_refusal_is_a_warning_with_its_reason(written: io.StringIO) -> None:
    traffic(RememberingBroker())
    refusals = [line for line in lines(written) if line.get("outcome") == "refused"]
    assert {line["level"] for line in refusals} == {"warning"}
    assert [line["reason"] for line in refusals[:2]] == ["bad_event_hash", "bad_field"]


def test_an_unavailable_broker_is_explained_in_the_log_only(written: io.StringIO) -> None:
    answers = traffic(RememberingBroker(down=True))
    assert b"ConnectionRefusedError" not in answers
    assert "ConnectionRefusedError" in str(lines(written)[0]["cause"])


def test_a_bug_is_logged_by_type_and_place(written: io.StringIO) -> None:
    traffic(SaysTooMuch())
    failure = next(line for line in lines(written) if line["event"] == "request.failed")
    assert failure["exception"] == "RuntimeError"
    assert "publish" in str(failure["frames"])


def test_an_exception_of_any_library_is_logged_without_its_text(written: io.StringIO) -> None:
    try:
        int(SIGNER)
    except ValueError:
        logging.getLogger("somebody").exception("it failed")
    line = lines(written)[0]
    assert (line["event"], line["exception"]) == ("it failed", "ValueError")
    assert SIGNER not in written.getvalue()


def test_libraries_speak_from_warnings_on(written: io.StringIO) -> None:
    for name in ("werkzeug", "kombu", "rq"):
        logging.getLogger(name).info("chatter")
        logging.getLogger(name).warning("trouble")
    assert [line["event"] for line in lines(written)] == ["trouble"] * 3

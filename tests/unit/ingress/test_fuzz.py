"""Whatever is sent, the answer is a decision: never a 5xx, never an exception."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from deedbox.ingress.app import create_app
from deedbox.ingress.receive.ladder import Accepted, LadderPolicy, Received, judge
from tests.unit.ingress.wire import (
    BOUNDARY,
    KEY,
    MULTIPART,
    RememberingBroker,
    callback,
    multipart,
)
from tests.unit.ingress.wire import settings as app_settings

NOW = 1_800_000_000.0
POLICY = LadderPolicy(key_rings={"default": (KEY,)}, body_max_bytes=10_000, body_signature="check")

HEADER_TEXT = st.text(st.characters(min_codepoint=0x20, max_codepoint=0xFF), max_size=60)
CONTENT_TYPES = st.one_of(
    st.none(),
    st.sampled_from(
        [
            MULTIPART,
            "multipart/form-data; boundary=x",
            "application/json",
            "application/x-www-form-urlencoded",
            'multipart/form-data; boundary="',
            "multipart/form-data; boundary=\xff",
            "multipart/form-data; boundary=\r",
        ]
    ),
    HEADER_TEXT,
    HEADER_TEXT.map(lambda text: f"multipart/form-data; boundary={text}"),
)
MARK = f"--{BOUNDARY}".encode()
PIECES = st.sampled_from(
    [
        MARK + b"\r\n",
        MARK + b"--\r\n",
        b"\r\n",
        b"--x",
        b'Content-Disposition: form-data; name="json"\r\n\r\n',
        b"Content-Disposition: form-data; name*=utf-8''json\r\n",
        b"Content-Length: -1\r\n",
        b" folded\r\n",
        b'\r\nContent-Disposition: form-data; filename="\\""',
        b"json=%7B%7D&json",
        b"%",
        callback(),
        multipart(callback()),
        b'{"event":',
        b'{"event_type":"x","event_time":"9","event_hash":"\\ud800"}}',
    ]
)
BODIES = st.one_of(st.binary(max_size=200), st.lists(st.one_of(PIECES, st.binary(max_size=8))).map(b"".join))


@given(body=BODIES, content_type=CONTENT_TYPES, signature=st.one_of(st.none(), HEADER_TEXT))
@settings(max_examples=400, deadline=None)
def test_the_ladder_decides_anything(body: bytes, content_type: str | None, signature: str | None) -> None:
    verdict = judge(Received("default", "POST", content_type, signature, body, NOW), POLICY)
    if not isinstance(verdict, Accepted):
        assert 400 <= verdict.status < 500
        assert "\n" not in verdict.detail


@given(body=BODIES, content_type=st.one_of(CONTENT_TYPES))
@settings(max_examples=150, deadline=None)
def test_the_application_never_fails_over_what_is_sent(body: bytes, content_type: str | None) -> None:
    client = APP.test_client()
    headers = [] if content_type is None else [("Content-Type", content_type.replace("\r", " "))]
    answer = client.post("/callbacks", input_stream=None, data=body, headers=headers)
    assert answer.status_code < 500
    if answer.status_code != 200:
        assert answer.json is not None


APP = create_app(app_settings(), RememberingBroker())

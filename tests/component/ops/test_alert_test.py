"""``deedbox alert-test``: each receiver gets one message, and the one that fails is named without its secrets."""

from __future__ import annotations

import pytest

from deedbox.shared.redis.embedded import free_port
from tests.component.conftest import Operate
from tests.support.alert_receiver import AlertReceiver

pytestmark = pytest.mark.real_redis


def test_every_receiver_gets_one_message_and_the_failed_one_is_named(operate: Operate) -> None:
    with AlertReceiver() as receiver:
        urls = f"{receiver.url},json://user:s3cret@127.0.0.1:{free_port()}/s3cret"
        answer = operate("alert-test", "--json", DEEDBOX_ALERT_URLS=urls)
        people = operate("alert-test", DEEDBOX_ALERT_URLS=urls)
    assert answer.code == people.code == 1
    assert receiver.titles == ["Deedbox: this is a test"] * 2
    assert answer.document["receivers"] == [
        {"receiver": "1: JSON, json://127.0.0.1", "taken": True},
        {"receiver": "2: JSON, json://127.0.0.1", "taken": False},
    ]
    assert "FAILED  2: JSON, json://127.0.0.1" in people.out
    assert "s3cret" not in answer.out + people.out + answer.logged + people.logged


def test_one_receiver_can_be_tried_alone(operate: Operate) -> None:
    with AlertReceiver() as receiver:
        urls = f"json://127.0.0.1:{free_port()},{receiver.url}"
        assert operate("alert-test", "--receiver", "2", DEEDBOX_ALERT_URLS=urls).code == 0
    assert len(receiver.taken) == 1


@pytest.mark.parametrize(
    ("words", "urls", "sentence"),
    [
        ((), "", "DEEDBOX_ALERT_URLS is not set"),
        ((), "s3cret", "URL 1 of 1"),
        (("--receiver", "3"), "jsons://h.example", "1 to 1"),
    ],
)
def test_unusable_settings_are_one_sentence(
    operate: Operate, words: tuple[str, ...], urls: str, sentence: str
) -> None:
    answer = operate("alert-test", *words, DEEDBOX_ALERT_URLS=urls)
    assert answer.code == 2
    assert sentence in answer.sentence
    assert "s3cret" not in answer.sentence

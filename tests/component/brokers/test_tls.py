"""TLS to a real Redis and a real RabbitMQ: the server is verified, and so are we."""

from __future__ import annotations

from typing import Any

import pytest
from redis import Redis

from deedbox.shared.core.envelope import Envelope
from deedbox.shared.core.errors import Unavailable
from deedbox.shared.redis import inbox
from deedbox.shared.redis.address import RedisAddress
from tests.component.brokers.conftest import OTHER_NAME, Secure
from tests.component.conftest import Operate
from tests.component.ingress.conftest import envelope
from tests.support.brokers import broker_at

__all__ = ["envelope"]

pytestmark = [pytest.mark.rabbitmq, pytest.mark.real_redis]

ELSEWHERE = RedisAddress((("elsewhere", 1),))


def test_a_callback_goes_in_and_comes_out_over_tls(secure: Secure, envelope: Envelope) -> None:
    broker = broker_at(secure.url(secure.right))
    broker.ping()
    broker.publish(envelope)
    broker.publish_many([envelope, envelope])
    assert broker.look().depth == 3
    [opener] = broker.consumers("b", ELSEWHERE)
    consumer, seen = opener(), 0
    while seen < 3:
        load = inbox.Load()
        consumer.take(load)
        consumer.done()
        assert [each.body for each in load.envelopes] == [envelope.body] * len(load.envelopes)
        seen += len(load.envelopes)
    consumer.close()
    broker.close()


def refused(url: str, envelope: Envelope) -> bool:
    broker = broker_at(url)
    for attempt in (broker.ping, lambda: broker.publish(envelope), broker.look):
        with pytest.raises(Unavailable):
            attempt()
    return True


@pytest.mark.parametrize("authority", ["strangers", None])
def test_a_server_of_another_authority_is_refused(
    secure: Secure, envelope: Envelope, authority: str | None
) -> None:
    parameters = dict(secure.right)
    del parameters["ssl_ca_certs"]
    if authority is not None:
        parameters["ssl_ca_certs"] = secure.strangers.ca
    assert refused(secure.url(parameters), envelope)


def test_a_server_of_another_name_is_refused_unless_told_otherwise(
    secure: Secure, envelope: Envelope
) -> None:
    assert refused(secure.url(secure.right, OTHER_NAME), envelope)
    broker_at(secure.url({**secure.right, "ssl_check_hostname": "no"}, OTHER_NAME)).ping()


def test_an_authority_of_anybody_is_taken_only_if_told_so(secure: Secure) -> None:
    parameters = {name: value for name, value in secure.right.items() if name != "ssl_ca_certs"}
    broker_at(secure.url({**parameters, "ssl_cert_reqs": "none"}, OTHER_NAME)).ping()


def test_a_server_that_asks_for_our_certificate_gets_it_or_refuses_us(
    secure: Secure, envelope: Envelope
) -> None:
    assert refused(secure.url({"ssl_ca_certs": secure.ours.ca}), envelope)


def test_check_says_in_one_line_what_tls_refused(secure: Secure, operate: Operate, state: Redis) -> None:
    assert state.ping()

    def finding(url: str) -> dict[str, Any]:
        checks = operate("check", "--offline", "--json", DEEDBOX_BROKER_URL=url).document["checks"]
        found: dict[str, Any] = next(check for check in checks if check["name"] == "broker")
        return found

    assert finding(secure.url(secure.right))["verdict"] == "ok"
    wrong = finding(secure.url(secure.right, OTHER_NAME))
    assert wrong["verdict"] == "failed"
    assert "SSLCertVerificationError" in wrong["detail"]
    assert "s3cret" not in str(wrong)

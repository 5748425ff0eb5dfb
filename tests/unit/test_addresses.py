"""Addresses of Redis and brokers: what they say, that every client says the same, and what is said of wrong ones."""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deedbox.shared.broker import address
from deedbox.shared.broker.address import AmqpAddress, SqsAddress
from deedbox.shared.broker.amqp_broker import DEAD_QUEUE, raw_queue
from deedbox.shared.broker.brokers import broker_address, events_address, open_broker
from deedbox.shared.core.errors import SettingsError
from deedbox.shared.redis import connections, sentinel
from deedbox.shared.redis.address import RedisAddress, parse
from deedbox.shared.settings import Settings
from tests.support.brokers import connect

SENTINELS = "redis+sentinel://user:p%2Fss@one:1,two,[::1]:3/sign/4?sentinel_password=w%40rd"
LAW = settings(deadline=None)
WORDS = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=12)


@LAW
@given(username=WORDS, password=WORDS, database=st.integers(0, 99), port=st.integers(1, 65_535))
def test_one_redis_url_means_the_same_to_redis_py_and_to_kombu(
    username: str, password: str, database: int, port: int
) -> None:
    url = f"redis://{quote(username, safe='')}:{quote(password, safe='')}@host:{port}/{database}"
    ours = connections.brisk_redis(parse(url)).connection_pool.connection_kwargs
    theirs = connect(url)
    assert (ours["host"], ours["port"], ours["db"]) == ("host", port, database)
    assert (ours["username"], ours["password"]) == (username, password)
    assert (theirs.hostname, theirs.port, int(theirs.virtual_host)) == ("host", port, database)
    assert (theirs.userid, theirs.password) == (username, password)


@LAW
@given(username=WORDS, password=WORDS, vhost=WORDS, port=st.integers(1, 65_535))
def test_one_amqp_url_means_the_same_to_kombu(username: str, password: str, vhost: str, port: int) -> None:
    login = f"{quote(username, safe='')}:{quote(password, safe='')}"
    found = address.parse(f"amqp://{login}@host:{port}/{quote(vhost, safe='')}")
    assert isinstance(found, AmqpAddress)
    import kombu

    theirs = kombu.Connection(found.nodes[0].url())
    assert (theirs.hostname, theirs.port, theirs.virtual_host) == ("host", port, vhost)
    assert (theirs.userid, theirs.password) == (username, password)


@pytest.mark.parametrize(
    ("url", "database"),
    [
        ("redis://h", 0),
        ("redis://h/", 0),
        ("redis://h/12", 12),
        ("redis://h/12/", 12),
        ("unix:///run/r.sock?db=12", 12),
    ],
)
def test_a_database_is_read_the_same_for_all(url: str, database: int) -> None:
    assert parse(url).database == database
    assert connections.brisk_redis(parse(url)).connection_pool.connection_kwargs["db"] == database
    theirs = connect(url)
    shown = theirs.hostname.partition("virtual_host=")[2] or theirs.virtual_host
    assert int(shown) == database


def test_an_address_names_sentinels_master_database_and_both_logins() -> None:
    found = parse(SENTINELS)

    assert found.nodes == (("one", 1), ("two", 26379), ("::1", 3))
    assert (found.master, found.database, found.tls) == ("sign", 4, None)
    assert (found.username, found.password) == ("user", "p/ss")
    assert sentinel.sentinel_options(found)["password"] == "w@rd"


def test_kombu_gets_the_same_sentinels_in_its_own_spelling() -> None:
    connection = connect(SENTINELS)

    assert connection.alt == [
        "sentinel://user:p%2Fss@one:1/4", "sentinel://user:p%2Fss@two:26379/4", "sentinel://user:p%2Fss@[::1]:3/4",
    ]  # fmt: skip
    assert connection.transport_options["master_name"] == "sign"
    assert (connection.userid, connection.password, connection.virtual_host) == ("user", "p/ss", "4")


@pytest.mark.parametrize("url", ["rediss://one:1/", "rediss+sentinel://one:1/sign", "amqps://one:1//"])
def test_tls_has_one_set_of_parameters_and_verifies_unless_told_otherwise(url: str, tmp_path: Path) -> None:
    for name in ("ca", "cert", "key"):
        (tmp_path / name).touch()
    own = f"?ssl_ca_certs={tmp_path}/ca&ssl_certfile={tmp_path}/cert&ssl_keyfile={tmp_path}/key"
    files: Any = [address.parse(url + own).tls, address.parse(url + own).tls]  # type: ignore[union-attr]
    for options in (files[0].for_redis(), files[1].for_amqp()):
        bare = {name.removeprefix("ssl_"): value for name, value in options.items()}
        assert bare["cert_reqs"] is ssl.CERT_REQUIRED
        assert (bare["ca_certs"], bare["certfile"], bare["keyfile"]) == (
            f"{tmp_path}/ca", f"{tmp_path}/cert", f"{tmp_path}/key",
        )  # fmt: skip
    loose: Any = address.parse(url + "?ssl_cert_reqs=none").tls  # type: ignore[union-attr]
    assert loose.for_redis()["ssl_cert_reqs"] is ssl.CERT_NONE
    assert loose.for_amqp()["cert_reqs"] is ssl.CERT_NONE


WRONG = [
    ("redis://:s3cret@a/1;redis://:s3cret@b/1", "need Sentinel"),
    ("redis://:s3cret@a:1,b:1/0", "need Sentinel"),
    ("redis://:s3cret@h/0?client_name=x", "'client_name' is no parameter"),
    ("redis://:s3cret@h/?db=3", "'db' is no parameter"),
    ("redis://:s3cret@h/0?ssl_ca_certs=x", "'ssl_ca_certs' is no parameter"),
    ("redis://:s3cret@h/first", "database"),
    ("redis://:s3cret@h:port/0", "host:port"),
    ("redis://:s3#cret@h/0", "percent-encode"),
    ("rediss://:s3cret@h/0?ssl_ca_certs=/no/such/file", "ssl_ca_certs names no file"),
    ("rediss://:s3cret@h/0?ssl_cert_reqs=perhaps", "ssl_cert_reqs"),
    ("unix://:s3cret@?db=0", "path of the socket"),
    ("redis+sentinel://:s3cret@one:1", "name of the master"),
    ("redis+sentinel://:s3cret@one:1/", "name of the master"),
    ("redis+sentinel://:s3cret@one:1/sign/first", "database"),
    ("redis+sentinel://:s3cret@one:port/sign", "host:port"),
    ("redis+sentinel://:s3cret@one:1,,two/sign", "host:port"),
    ("redis+sentinel://:s3cret@one:1/sign?password=s3cret", "'password' is no parameter"),
    ("redis+sentinel://:s3cret@one:1/sign?ssl_ca_certs=x", "'ssl_ca_certs' is no parameter"),
    ("redis+sentinel://:s3cret@one:1/sign;redis+sentinel://two:1/sign", "list of Redis servers"),
]


@pytest.mark.parametrize(("url", "why"), WRONG)
@pytest.mark.parametrize("setting", ["DEEDBOX_REDIS_URL", "DEEDBOX_BROKER_URL", "DEEDBOX_EVENTS_URL"])
def test_a_wrong_address_gets_one_sentence_that_names_the_setting(url: str, why: str, setting: str) -> None:
    settings = Settings.load({"DEEDBOX_REDIS_URL": "redis://x", setting: url})
    read = {"DEEDBOX_REDIS_URL": connections.redis_address, "DEEDBOX_BROKER_URL": broker_address}

    with pytest.raises(SettingsError) as error:
        read.get(setting, events_address)(settings)

    sentence = str(error.value)
    assert sentence.startswith(setting + ":")
    assert why in sentence
    assert "\n" not in sentence
    assert "s3" not in sentence


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("s3cret", "is not a URL like"),
        ("memory://", "is not a URL like"),
        ("sentinel://:s3cret@one:1", r"redis+sentinel://"),
        ("redis+socket:///run/s3cret", "unix://"),
        ("amqp://u:s3cret@h/?heartbeat=3", "'heartbeat' is no parameter"),
        ("amqp://u:s3cret@a,b//", "separated by ;"),
        ("amqp://u:s3cret@a//;amqps://b//", "same way"),
        ("amqp://u:s3cret@a//;redis://b//", "whole amqp:// or amqps:// URL"),
        ("amqp://u:s3cret@a:x//", "host:port"),
        ("sqs://k:s3cret@?regoin=x", "'regoin' is no parameter"),
        ("sqs://k:s3cret@?tls=maybe", "tls is neither"),
        ("sqs://k:s3cret@?visibility_timeout=0", "visibility_timeout"),
        ("sqs://k:s3cret@h/queue", "no path"),
    ],
)
def test_a_broker_that_is_none_is_refused_without_quoting_it(url: str, why: str) -> None:
    with pytest.raises(SettingsError) as error:
        address.parse(url)

    assert why in str(error.value)
    assert "DEEDBOX_BROKER_URL" in str(error.value)
    assert "s3cret" not in str(error.value)


@LAW
@given(
    st.text(max_size=40),
    st.sampled_from(["", "redis://", "amqps://", "sqs://", "unix://", "redis+sentinel://"]),
)
def test_any_text_is_an_address_or_one_sentence(text: str, scheme: str) -> None:
    try:
        found = address.parse(scheme + text)
    except SettingsError as error:
        assert "\n" not in str(error)  # noqa: PT017 - a URL may also be usable
    else:
        assert str(found)


@pytest.mark.parametrize(
    "url",
    [
        SENTINELS,
        "redis://u:hush@h",
        "amqp://u:hush@h//",
        "amqps://u:hush@a//;amqps://u:hush@b//",
        "sqs://key:hush@h:1",
    ],
)
def test_no_password_shows_in_an_address(url: str) -> None:
    for text in (repr(address.parse(url)), str(address.parse(url))):
        for secret in ("hush", "p/ss", "p%2Fss", "w@rd"):
            assert secret not in text


def test_each_address_gets_its_broker() -> None:
    names = {
        url: open_broker(address.parse(url)).name
        for url in ("redis://h", "unix:///r", SENTINELS, "amqp://h", "sqs://")
    }
    assert list(names.values()) == ["redis", "redis", "redis", "amqp", "sqs"]


def test_the_same_server_is_the_same_address_whatever_setting_names_it() -> None:
    assert parse("redis://h/0") == address.parse("redis://h:6379/")
    assert parse("redis://h/0") != address.parse("redis://h/1")


def test_several_nodes_are_each_an_address_of_their_own() -> None:
    found = address.parse("amqp://a//;amqp://u:p@b:1/vh")
    assert isinstance(found, AmqpAddress)
    assert [len(each.nodes) for each in found.alone()] == [1, 1]
    assert len(open_broker(found).consumers("b", RedisAddress((("s", 1),)))) == 2


def test_amqp_has_a_quorum_queue_that_loses_nothing() -> None:
    arguments = raw_queue().queue_arguments
    assert arguments["x-queue-type"] == "quorum"
    assert arguments["x-overflow"] == "reject-publish"
    assert arguments["x-dead-letter-routing-key"] == DEAD_QUEUE == "deedbox.raw.dead"


def test_sqs_takes_its_credentials_and_its_queue_from_the_address() -> None:
    found = address.parse(
        "sqs://key:s%2Fcret@h:1?tls=off&region=r&visibility_timeout=7&queue=https%3A%2F%2Fq"
    )
    assert found == SqsAddress("h", 1, "key", "s/cret", "r", "https://q", 7, encrypted=False)

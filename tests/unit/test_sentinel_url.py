"""Addresses of Redis behind Sentinel: what they say, and what is said of wrong ones."""

from __future__ import annotations

import ssl

import pytest

from deedbox.ops.wording.addresses import without_secrets
from deedbox.shared.broker import topology
from deedbox.shared.core.errors import SettingsError
from deedbox.shared.redis import connections, sentinel
from deedbox.shared.settings import Settings

URL = "redis+sentinel://user:p%2Fss@one:1,two,[::1]:3/sign/4?sentinel_password=w%40rd"


def test_an_address_names_sentinels_master_database_and_both_logins() -> None:
    address = sentinel.parse(URL)

    assert address.nodes == (("one", 1), ("two", 26379), ("::1", 3))
    assert (address.master, address.database, address.tls) == ("sign", 4, None)
    assert (address.username, address.password) == ("user", "p/ss")
    assert address.sentinel_options()["password"] == "w@rd"


def test_without_login_and_database_the_defaults_hold() -> None:
    address = sentinel.parse("redis+sentinel://one/sign")

    assert (address.username, address.password, address.database) == (None, None, 0)
    assert "password" not in address.sentinel_options()


def test_kombu_gets_the_same_address_in_its_own_spelling() -> None:
    connection = topology.connect(URL)

    assert connection.alt == [
        "sentinel://user:p%2Fss@one:1/4", "sentinel://user:p%2Fss@two:26379/4", "sentinel://user:p%2Fss@[::1]:3/4",
    ]  # fmt: skip
    assert connection.transport_options["master_name"] == "sign"
    assert (connection.userid, connection.password, connection.virtual_host) == ("user", "p/ss", "4")
    assert topology.is_redis(URL)


def test_tls_verifies_certificates_of_sentinels_and_servers() -> None:
    url = "rediss+sentinel://one:1/sign?ssl_ca_certs=/ca.pem&ssl_check_hostname=no"

    options = sentinel.parse(url).sentinel_options()
    assert (options["ssl"], options["ssl_cert_reqs"], options["ssl_ca_certs"]) == (
        True,
        ssl.CERT_REQUIRED,
        "/ca.pem",
    )
    assert options["ssl_check_hostname"] is False
    pool = connections.brisk_redis(url).connection_pool
    assert pool.connection_kwargs["ssl_cert_reqs"] == ssl.CERT_REQUIRED
    assert pool.connection_kwargs["ssl_ca_certs"] == "/ca.pem"
    assert topology.connect(url).ssl["ssl_cert_reqs"] == ssl.CERT_REQUIRED


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("redis+sentinel://:s3cret@one:1", "name of the master"),
        ("redis+sentinel://:s3cret@one:1/", "name of the master"),
        ("redis+sentinel://:s3cret@one:1/sign/first", "database"),
        ("redis+sentinel://:s3cret@one:port/sign", "host:port"),
        ("redis+sentinel://:s3cret@one:1,,two/sign", "host:port"),
        ("redis+sentinel://:s3cret@one:1/sign?password=s3cret", "password is no option"),
        ("redis+sentinel://:s3cret@one:1/sign?ssl_ca_certs=x", "ssl_ca_certs is no option"),
        ("redis+sentinel://:s3cret@one:1/sign;redis+sentinel://two:1/sign", "commas"),
    ],
)
@pytest.mark.parametrize("setting", ["DEEDBOX_REDIS_URL", "DEEDBOX_BROKER_URL"])
def test_a_wrong_address_gets_one_sentence_that_names_the_setting(url: str, why: str, setting: str) -> None:
    settings = Settings.load({"DEEDBOX_REDIS_URL": "redis://x", setting: url})

    with pytest.raises(SettingsError) as error:
        connections.broker_url(settings) if "BROKER" in setting else connections.redis_url(settings)

    sentence = str(error.value)
    assert sentence.startswith(setting + ":")
    assert why in sentence
    assert "\n" not in sentence
    assert "s3cret" not in sentence


def test_kombus_own_spelling_is_refused_with_ours() -> None:
    settings = Settings.load({"DEEDBOX_BROKER_URL": "sentinel://:s3cret@one:1"})

    with pytest.raises(SettingsError, match=r"redis\+sentinel://") as error:
        connections.broker_url(settings)

    assert "s3cret" not in str(error.value)


def test_no_password_shows_in_an_address_or_in_what_up_announces() -> None:
    for text in (repr(sentinel.parse(URL)), without_secrets(URL)):
        assert "p/ss" not in text
        assert "p%2Fss" not in text
        assert "rd" not in text.replace("redis", "")

"""Addresses of InfluxDB: what URLs, settings and the environment say."""

from __future__ import annotations

from pathlib import Path

import pytest

from tickc.runtime.influxdb.address import Address, named, parse
from tickc.runtime.settings import Settings, SettingsError, load

CONFIG = """
[[influxdb]]
  enabled = true
  name = "main"
  default = true
  urls = ["https://db.example.com:8086", "http://backup.example.com"]
  username = "kapacitor"
  password = "from settings"
  ssl-ca = "ca.pem"
  insecure-skip-verify = false
  timeout = "10s"
  disable-subscriptions = false
  [influxdb.subscriptions]
    telegraf = ["autogen"]

[[influxdb]]
  name = "other"
  urls = ["http://localhost"]
  timeout = "0s"

[[influxdb]]
  name = "off"
  enabled = false
  urls = []
"""


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    path = tmp_path / "kapacitor.conf"
    path.write_text(CONFIG)
    return load(path)


def address(text: str, settings: Settings | None = None, **environment: str) -> Address:
    return parse(text, settings, environment)


def test_a_url_says_all() -> None:
    found = address("influxdb://me:p%40ss%2Fword@h:1/my%2Edb.one%20week?timeout=1m30s&measurement=a&measurement=b%26c")
    assert found == Address(
        "http://h:1", username="me", password="p@ss/word", database="my.db", policy="one week", timeout=90.0,
        measurements=("a", "b&c"),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("text", "base", "version"),
    [
        ("influxdb://h/db", "http://h:8086", 1),
        ("influxdb+https://h/db", "https://h:8086", 1),
        ("influxdb2://h:99/db", "http://h:99", 2),
        ("influxdb3://h/db", "http://h:8181", 3),
        ("influxdb3+https://[::1]:443/db", "https://[::1]:443", 3),
        ("influxdb:///db", "http://localhost:8086", 1),
    ],
)
def test_schemes_and_ports(text: str, base: str, version: int) -> None:
    found = address(text)
    assert (found.base, found.version, found.database) == (base, version, "db")


def test_a_token_stands_where_the_user_would() -> None:
    assert address("influxdb2://tok%3D@h/b?org=o") == Address(
        "http://h:8086", 2, token="tok=", org="o", database="b", policy=""
    )
    assert address("influxdb2://me:word@h/b").username == "me"  # a login of version 1


def test_the_environment_gives_the_login_that_the_url_does_not() -> None:
    login = {"INFLUX_USERNAME": "me", "INFLUX_PASSWORD": "word"}
    assert address("influxdb://h/db", **login).password == "word"
    assert address("influxdb://you:other@h/db", **login).password == "other"
    assert address("influxdb2://h/db", INFLUX_TOKEN="t", INFLUX_ORG="o", **login) == Address(
        "http://h:8086", 2, token="t", org="o", database="db"
    )
    assert address("influxdb3://h/db", INFLUXDB3_AUTH_TOKEN="t3", INFLUX_TOKEN="t").token == "t3"


def test_settings_complete_a_url(settings: Settings, tmp_path: Path) -> None:
    whole = Address(
        "https://db.example.com:8086", username="kapacitor", password="from settings", database="db",
        ca=str(tmp_path / "ca.pem"), timeout=10.0,
    )  # fmt: skip
    assert address("influxdb:///db", settings) == whole  # the default one
    assert address("influxdb://main/db", settings) == whole  # by its name
    assert address("influxdb+https://db.example.com/db", settings) == whole  # by its URL
    backup = address("influxdb://backup.example.com/db", settings)
    assert (backup.base, backup.username) == ("http://backup.example.com:8086", "kapacitor")
    assert address("influxdb://you:w@main/db?timeout=5s", settings).timeout == 5.0
    assert address("influxdb://else.example.com/db", settings) == Address("http://else.example.com:8086", database="db")
    assert named("other", settings) == Address("http://localhost:8086")


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        ("http://h/db", "http://h/db is no address of InfluxDB", "it begins with one of influxdb://"),
        ("influxdb://h:port/db", "influxdb://h:port/db is no URL", "such as influxdb://USER"),
        ("influxdb://h/db?timeou=5s", "there is no option 'timeou'", "did you mean timeout?"),
        ("influxdb://h/db?timeout=soon", "'soon' is no length of time", "such as 30s"),
        ("influxdb://h/db?timeout=0", "timeout is a length of time", "such as 30s"),
        ("influxdb://h/db?connections=0", "connections is a number from 1 to 64", ""),
        ("influxdb://h/db?insecure-skip-verify=perhaps", "insecure-skip-verify is yes or no", ""),
        ("influxdb://h/db/rp", "the path has more parts than a database", "?measurement=cpu"),
        ("influxdb://h/db.", "'db.' is no database and retention policy", ""),
    ],
)
def test_mistakes(text: str, message: str, hint: str) -> None:
    with pytest.raises(SettingsError) as caught:
        address(text)
    assert message in caught.value.message
    assert hint in caught.value.hint


@pytest.mark.parametrize("text", ["influxdb://me:sec/ret@h/db", "influxdb://me:secret@h/a/b", "x://h?token=secret&a=b"])
def test_no_message_has_a_password(text: str) -> None:
    with pytest.raises(SettingsError) as caught:
        address(text)
    assert "sec" not in caught.value.message + caught.value.hint


def test_neither_repr_nor_text_has_a_password() -> None:
    found = address("influxdb://me:secret@h/db.rp?token=hidden")
    assert str(found) == "http://h:8086/db.rp"
    assert "secret" not in repr(found) and "hidden" not in repr(found)


def test_an_unknown_cluster_is_told(settings: Settings) -> None:
    with pytest.raises(SettingsError) as caught:
        named("mein", settings)
    assert caught.value.hint == "did you mean main?"
    with pytest.raises(SettingsError) as caught:
        named("off", settings)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[influxdb]\nname='a'", "`influxdb` is a table"),
        ("[[influxdb]]\nurls='http://a'", "must have a name and a list of urls"),
        ("[[influxdb]]\nurls=['a:8086']", "a:8086 is no URL of http or https"),
        ("[[influxdb]]\nusername=5", "username has to be a string"),
    ],
)
def test_mistakes_in_settings(text: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "c.toml"
    path.write_text(text)
    with pytest.raises(SettingsError) as caught:
        load(path)
    assert message in caught.value.message

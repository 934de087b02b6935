from pathlib import Path

import pytest
from pydantic import TypeAdapter, ValidationError

from acquisition.config import load_config
from acquisition.errors import ConfigError
from acquisition.sink_config import AnySink, SinkConfig, read_secret

BED = """\
[site]
site = "uniklinik"
bed = "icu1-bed04"
timezone = "UTC"
[journal]
directory = "journal"
[[device]]
id = "flow"
driver = "delimited"
profile = "emtec_bioprott"
link = "serial:///dev/ttyS0"
[[sink]]
id = "research"
type = "influxdb_v2"
url = "http://127.0.0.1:8086"
bucket = "bedside"
"""
V2: dict[str, object] = {"id": "a", "type": "influxdb_v2", "url": "http://127.0.0.1:8086", "bucket": "b"}
V1: dict[str, object] = {"id": "a", "type": "influxdb_v1", "url": "https://127.0.0.1:8086", "database": "b"}
MQTT: dict[str, object] = {"id": "a", "type": "mqtt", "host": "127.0.0.1"}
HIDDEN = "s3cr3t-value"


def sink(table: dict[str, object], **more: object) -> AnySink:
    parsed: AnySink = TypeAdapter[AnySink](SinkConfig).validate_python(table | more)
    return parsed


def problems(tmp_path: Path, text: str) -> list[str]:
    path = tmp_path / "bed.toml"
    path.write_text(text)
    with pytest.raises(ConfigError) as caught:
        load_config(path)
    return [problem.removeprefix(str(path)) for problem in caught.value.problems]


@pytest.mark.parametrize("table", [V2, V1, MQTT], ids=lambda table: str(table["type"]))
def test_a_sink_without_a_secret_needs_none(table: dict[str, object]) -> None:
    assert read_secret(sink(table)) is None


def test_a_secret_comes_from_a_file_the_environment_or_a_credential(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "influx").write_text(f"{HIDDEN}\n")
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    monkeypatch.setenv("INFLUX_TOKEN", HIDDEN)
    sinks = [
        sink(V2, token_file=tmp_path / "influx"),
        sink(V2, token_env="INFLUX_TOKEN"),
        sink(V2, token_credential="influx"),
        sink(V1, username="u", password_file=tmp_path / "influx"),
        sink(MQTT, username="u", password_credential="influx"),
    ]
    for each in sinks:
        secret = read_secret(each)
        assert secret is not None
        assert secret.get_secret_value() == HIDDEN
        assert HIDDEN not in f"{secret!r} {secret} {each!r}"


def test_a_secret_that_is_not_where_the_configuration_says_is_told_with_key_and_line(tmp_path: Path) -> None:
    found = problems(tmp_path, BED + 'token_file = "nowhere"\n')
    assert found == [f':17: [sink "research"] token_file: {tmp_path}/nowhere cannot be read: No such file or directory']


def test_a_certificate_that_cannot_be_used_is_told_with_key_and_line(tmp_path: Path) -> None:
    (tmp_path / "empty.pem").touch()
    (absent,) = problems(tmp_path, BED + 'ca_file = "nowhere"\n')
    (empty,) = problems(tmp_path, BED + 'ca_file = "empty.pem"\n')
    assert absent == f':17: [sink "research"] ca_file: {tmp_path}/nowhere cannot be used: No such file or directory'
    assert empty.startswith(f':17: [sink "research"] ca_file: {tmp_path}/empty.pem cannot be used: ')


def test_a_missing_credentials_directory_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CREDENTIALS_DIRECTORY", raising=False)
    (found,) = problems(tmp_path, BED + 'token_credential = "influx"\n')
    assert "LoadCredential=influx:" in found


def test_an_empty_secret_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "empty").write_text(" \n")
    monkeypatch.setenv("INFLUX_TOKEN", "")
    for way, problem in (({"token_file": tmp_path / "empty"}, "is empty"), ({"token_env": "INFLUX_TOKEN"}, "not set")):
        with pytest.raises(ConfigError, match=problem):
            read_secret(sink(V2, **way))


def test_a_secret_that_is_no_text_is_not_shown(tmp_path: Path) -> None:
    (tmp_path / "binary").write_bytes(b"\xffsecret")
    with pytest.raises(ConfigError, match="is not text") as caught:
        read_secret(sink(V2, token_file=tmp_path / "binary"))
    assert caught.value.__cause__ is None


def test_who_only_reads_the_journal_needs_no_secret(tmp_path: Path) -> None:
    path = tmp_path / "bed.toml"
    path.write_text(BED + 'token_file = "nowhere"\n')
    assert load_config(path, for_sinks=False).journal.directory == tmp_path / "journal"


@pytest.mark.parametrize("key", ["token", "password", "api_key", "Token"])
def test_a_secret_in_the_file_is_refused_and_never_repeated(tmp_path: Path, key: str) -> None:
    (found,) = problems(tmp_path, BED + f'{key} = "{HIDDEN}"\n')
    assert found.startswith(f':17: [sink "research"] {key}: a secret does not belong in this file; use one of: ')
    assert HIDDEN not in found


def test_a_secret_in_a_devices_options_is_refused_too(tmp_path: Path) -> None:
    text = BED.replace("[[sink]]", f'[device.options]\npassword = "{HIDDEN}"\n[[sink]]')
    found = problems(tmp_path, text)
    assert found[0].startswith(':13: [device "flow"] options.password: a secret does not belong')
    assert HIDDEN not in "".join(found)


def test_a_secret_in_a_url_is_refused_and_never_repeated(tmp_path: Path) -> None:
    (found,) = problems(tmp_path, BED.replace("http://", f"http://admin:{HIDDEN}@"))
    assert "a user or password does not belong in the URL" in found
    assert HIDDEN not in found


@pytest.mark.parametrize(
    ("table", "more", "problem"),
    [
        (V2, {"token_env": "A", "token_file": "b"}, "token_env and token_file exclude each other"),
        (V1, {"username": "u"}, "go together"),
        (MQTT, {"password_env": "A"}, "go together"),
        (MQTT, {"prefix": "ecmo/#"}, "pattern"),
        (MQTT, {"prefix": "/ecmo"}, "pattern"),
        (MQTT, {"port": 0}, "greater"),
        (V2, {"batch_points": 0}, "greater"),
        (V2, {"timeout_s": 0}, "greater"),
        (V2, {"database": "b"}, "Extra"),
        (V1, {"token_env": "A"}, "Extra"),
        (V2, {"url": "ftp://127.0.0.1"}, "not a server's address"),
    ],
)
def test_what_a_sink_cannot_use_is_refused(table: dict[str, object], more: dict[str, object], problem: str) -> None:
    with pytest.raises(ValidationError, match=problem):
        sink(table, **more)


def test_the_certificate_authority_counts_from_the_file(tmp_path: Path) -> None:
    path = tmp_path / "bed.toml"
    path.write_text(BED + 'ca_file = "ca.pem"\n')
    assert load_config(path, for_sinks=False).sink[0].ca_file == tmp_path / "ca.pem"

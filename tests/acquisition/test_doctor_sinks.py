from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from acquisition.clock import SystemClock
from acquisition.config import load_config
from acquisition.daemon import make_sink
from acquisition.doctor.examination import examine
from acquisition.doctor.findings import Finding, Verdict
from acquisition.doctor.sinks import sink
from tests.acquisition.certificates import server_context
from tests.acquisition.scripted_influx import Answer, scripted_influx
from tests.system.beds import device, write_config
from tests.system.servers import free_port


async def seen(tmp_path: Path, url: str, *lines: str) -> Sequence[Finding]:
    table = f'\n[[sink]]\nid = "central"\ntype = "influxdb_v1"\nurl = "{url}"\ndatabase = "x"\ntimeout_s = 2\n'
    pump = device("pump", "modbus", "tcp://127.0.0.1:1502", 'profile = "sim_pump_console"')
    config = load_config(write_config(tmp_path, pump, table + "\n".join(lines)), for_sinks=False)
    return await sink(config.sink[0], lambda: make_sink(config.sink[0], config), SystemClock())


def trusting(certificate: Path) -> str:
    return f'ca_file = "{certificate}"'


def nothing(_certificate: Path) -> str:
    return ""


@pytest.mark.parametrize(
    ("name", "days", "setting", "what", "todo"),
    [
        ("IP:127.0.0.1", 2, trusting, "its certificate holds for 1 days", "have it renewed on the server"),
        ("IP:127.0.0.1", -1, trusting, "certificate has expired", "it has run out: have it renewed on the server"),
        ("DNS:other.example", 2, trusting, "mismatch", "give the name in the certificate in place of the address"),
        ("IP:127.0.0.1", 2, nothing, "self-signed certificate", "give the server's certificate as ca_file"),
        ("IP:127.0.0.1", 2, lambda _: "verify_tls = false", "is not checked", "give its authority as ca_file"),
        ("IP:127.0.0.1", 2, lambda _: 'ca_file = "absent.pem"', "absent.pem cannot be used", "certificates in PEM"),
        ("IP:127.0.0.1", 2, lambda _: 'ca_file = "bed.toml"', "bed.toml cannot be used", "certificates in PEM"),
    ],
    ids=["soon over", "expired", "another host's", "unknown authority", "not checked", "no ca_file", "no certificate"],
)  # fmt: skip
async def test_what_is_wrong_with_a_certificate_is_named_with_what_to_do(
    name: str, days: int, setting: Callable[[Path], str], what: str, todo: str, tmp_path: Path
) -> None:
    certificate, context = await server_context(tmp_path, name=name, days=days)
    async with scripted_influx(tls=context) as server:
        found = await seen(tmp_path, f"https://127.0.0.1:{server.port}", setting(certificate))
    assert what in found[1].what
    assert todo in found[1].todo
    warned = found[1].verdict is Verdict.WARN
    assert [each.verdict for each in found[2:]] == ([Verdict.OK] if warned else [])
    assert warned or found[1].verdict is Verdict.FAIL


async def test_a_certificate_that_holds_for_weeks_is_well(tmp_path: Path) -> None:
    certificate, context = await server_context(tmp_path, days=30)
    async with scripted_influx(tls=context) as server:
        found = await seen(tmp_path, f"https://127.0.0.1:{server.port}", trusting(certificate))
    assert [str(each) for each in found] == [
        "ok    sink central: 127.0.0.1 has an address",
        "ok    sink central: its certificate holds for 29 days",
        "ok    sink central: takes what it is sent",
    ]


async def test_a_port_without_tls_is_named(tmp_path: Path) -> None:
    async with scripted_influx() as server:
        found = await seen(tmp_path, f"https://127.0.0.1:{server.port}")
    assert f"no TLS with 127.0.0.1:{server.port}" in found[-1].what
    assert "does that port speak TLS?" in found[-1].todo


async def test_a_port_where_nobody_listens_is_named(tmp_path: Path) -> None:
    port = free_port()
    for scheme, what in (("https", f"127.0.0.1:{port} does not answer"), ("http", "cannot be reached")):
        found = await seen(tmp_path, f"{scheme}://127.0.0.1:{port}")
        assert [each.verdict for each in found] == [Verdict.OK, Verdict.FAIL]
        assert what in found[1].what
        assert "does the server run" in found[1].todo


async def test_a_name_without_an_address_is_named(tmp_path: Path) -> None:
    (found,) = await seen(tmp_path, f"http://{'x' * 64}.invalid:8086")  # no label of DNS is that long
    assert found.verdict is Verdict.FAIL
    assert "has no address" in found.what
    assert "/etc/resolv.conf" in found.todo


@pytest.mark.parametrize(
    ("status", "todo"),
    [
        (401, "mend the token"),
        (403, "mend the token"),
        (404, "mend the token"),
        (400, "that kind of server"),
        (503, "does the server run"),
    ],
)
async def test_what_a_server_refuses_is_told_apart(status: int, todo: str, tmp_path: Path) -> None:
    async with scripted_influx(Answer(status, '{"error":"no"}')) as server:
        found = await seen(tmp_path, server.url)
    assert [each.verdict for each in found] == [Verdict.OK, Verdict.FAIL]
    assert str(status) in found[1].what
    assert todo in found[1].todo


async def test_the_point_that_is_written_is_an_event_marked_as_the_doctors(tmp_path: Path) -> None:
    async with scripted_influx() as server:
        found = await seen(tmp_path, server.url)
    assert {each.verdict for each in found} == {Verdict.OK}
    ((point,),) = [each.points for each in server.requests]
    assert dict(point.fields)["text"] == "doctor: test of the sink"


async def test_a_secret_that_is_not_there_is_one_finding_of_many(tmp_path: Path) -> None:
    pump = device("pump", "modbus", "tcp://127.0.0.1:1502", 'profile = "sim_pump_console"')
    table = '\n[[sink]]\nid = "central"\ntype = "influxdb_v2"\nurl = "http://h"\nbucket = "x"\ntoken_file = "no"\n'
    path = write_config(tmp_path, pump, table)
    config = load_config(path, for_sinks=False)
    found = await examine(config, path, lambda table: make_sink(table, config), SystemClock())
    assert len(found) > 3
    assert found[-1].verdict is Verdict.FAIL
    assert found[-1].what == f"sink central: token_file: {tmp_path}/no cannot be read: No such file or directory"

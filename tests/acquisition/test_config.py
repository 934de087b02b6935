import asyncio
import os
from pathlib import Path

import pytest

from acquisition.config import Config, RecordConfig, load_config, profile_search
from acquisition.errors import ConfigError
from tests.acquisition.certificates import server_context

GOOD = """\
[site]
site = "uniklinik"
bed = "icu1-bed04"
timezone = "Europe/Berlin"

[journal]
directory = "journal"

[[device]]
id = "flow"
driver = "delimited"
profile = "emtec_bioprott"
link = "serial:///dev/ttyS0?baud=38400"
"""
SINK = """
[[sink]]
id = "broker"
type = "mqtt"
host = "127.0.0.1"
"""


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in list(os.environ):
        if name.startswith("ECMO_DAQ__"):
            monkeypatch.delenv(name)
    return tmp_path


def load(home: Path, text: str) -> Config:
    path = home / "bed.toml"
    path.write_text(text)
    return load_config(path)


def problems(home: Path, text: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load(home, text)
    return [problem.removeprefix(str(home / "bed.toml")) for problem in caught.value.problems]


def test_a_small_configuration_is_enough(home: Path) -> None:
    config = load(home, GOOD)
    assert config.site.bed == "icu1-bed04"
    assert config.device[0].id == "flow"
    assert config.sink == ()
    assert config.journal.commit_interval_ms == 200


def test_relative_paths_count_from_the_file_and_absolute_ones_stay(home: Path) -> None:
    authority, _ = asyncio.run(server_context(home))
    assert authority.is_absolute()
    config = load(home, GOOD + 'record = "traces/flow.trace"\n' + SINK + f'ca_file = "{authority}"\n')
    assert config.journal.directory == home / "journal"
    assert config.status_file == home / "journal" / "status.json"
    assert config.device[0].record == RecordConfig(file=home / "traces" / "flow.trace", file_mb=64, quota_mb=2000)
    assert getattr(config.sink[0], "ca_file", None) == authority
    assert load(home, GOOD + '[status]\nfile = "now.json"\n').status_file == home / "now.json"


def test_a_status_file_whose_directory_is_not_there_is_beside_the_journal_until_it_is(home: Path) -> None:
    config = load(home, GOOD + '[status]\nfile = "run/now.json"\n')
    assert config.status_file == home / "journal" / "status.json"
    (home / "run").mkdir()
    assert config.status_file == home / "run" / "now.json"


def test_a_configuration_cannot_be_changed(home: Path) -> None:
    config = load(home, GOOD)
    for part, name in ((config.site, "bed"), (config, "device")):
        with pytest.raises(ValueError, match="frozen"):
            setattr(part, name, None)


def test_every_mistake_is_told_at_once_with_its_line(home: Path) -> None:
    text = """\
[site]
site = "uni klinik"
bed = 4
timezone = "Europe/Berln"
ward = "icu"

[journal]
commit_interval_ms = 5

[[device]]
id = "pump"
driver = "delimitet"
link = "seriel:///dev/ttyS0"

[[device]]
id = "pump"
driver = "delimited"
profile = "emtec_bioprot"
lnik = "x"
link = "tcp://127.0.0.1:4000"
gap_after_s = "soon"

[device.options]
chanels = 1

[[sink]]
id = "a"
type = "influxdb_v3"

[[sink]]
id = "b"
type = "influxdb_v2"
url = "influx:8086"
token_file = "nowhere.token"

[logs]
level = "loud"
"""
    found = problems(home, text)
    expected = [
        (2, "[site] site: 'uni klinik' does not have the form", None),
        (3, "[site] bed: input should be a valid string, not 4", None),
        (4, "[site] timezone: unknown timezone 'Europe/Berln'; did you mean 'Europe/Berlin'?", None),
        (5, "[site] ward: unknown key", "(have: bed, site, timezone)"),
        (7, "[journal] directory: this key is missing", None),
        (8, "[journal] commit_interval_ms: input should be greater than or equal to 20, not 5", None),
        (12, "[device \"pump\"] driver: unknown driver 'delimitet'; did you mean 'delimited'? (have: ", None),
        (13, '[device "pump"] link: ', "seriel"),
        (16, "[device \"pump\"] id: 'pump' is already the id of device 1", None),
        (18, "[device \"pump\"] profile: unknown profile 'emtec_bioprot'; did you mean 'emtec_bioprott'?", None),
        (19, "[device \"pump\"] lnik: unknown key; did you mean 'link'?", "gap_after_s, id, link"),
        (21, '[device "pump"] gap_after_s: input should be a valid number', None),
        (24, "[device \"pump\"] options.chanels: unknown key; did you mean 'channels'?", None),
        (28, "[sink \"a\"] type: unknown type 'influxdb_v3'; did you mean 'influxdb_v2'?", "mqtt"),
        (30, '[sink "b"] bucket: this key is missing', None),
        (33, "[sink \"b\"] url: 'influx:8086' is not a server's address", None),
        (36, "logs: unknown key; did you mean 'log'?", "(have: device, episodes, journal, log, sink, site, status)"),
    ]
    assert [problem.split(":")[1] for problem in found] == [str(line) for line, _, _ in expected]
    for problem, (line, start, also) in zip(found, expected, strict=True):
        assert problem.startswith(f":{line}: {start}")
        assert also is None or also in problem


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("[site]\nbed = \n", ":2: not TOML: Invalid value"),
        ("[site]\nbed = 1\nbed = 2\n", ":3: not TOML: Cannot overwrite a value"),
        ('[site]\nbed = "\n', ":2: not TOML: "),
        ('a = """\n\n', ":3: not TOML: Unterminated string"),
    ],
)
def test_what_is_not_toml_is_told_with_its_line(home: Path, text: str, problem: str) -> None:
    (found,) = problems(home, text)
    assert found.startswith(problem)
    assert "at line" not in found


def test_a_file_that_cannot_be_read_says_why(home: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read: No such file"):
        load_config(home / "nowhere.toml")
    (home / "bed.toml").write_bytes(b"site = '\xff'")
    with pytest.raises(ConfigError, match="not UTF-8"):
        load_config(home / "bed.toml")


def test_missing_tables_are_told(home: Path) -> None:
    assert problems(home, "[log]\n") == [f":1: {key}: this key is missing" for key in ("site", "journal", "device")]
    assert problems(home, GOOD.partition("[[device]]")[0] + "[device]\n")[0].startswith(":9: device: ")


def test_a_table_that_is_no_table_is_told(home: Path) -> None:
    found = problems(
        home, GOOD.replace('[journal]\ndirectory = "journal"\n', "").replace("[site]", "journal = 3\nsink = 4\n[site]")
    )
    assert found[0].startswith(":1: journal: ")
    assert found[1].startswith(":2: sink: ")
    assert problems(home, "device = [1, 'x']\n")[-1] == ':1: [device "2"]: this must be a table'


def test_two_devices_never_share_a_serial_port_under_whatever_names(home: Path) -> None:
    (home / "by-path").symlink_to("/dev/ttyS0")
    second = GOOD[GOOD.index("[[device]]") :].replace('"flow"', '"flow2"').replace("/dev/ttyS0", str(home / "by-path"))
    assert problems(home, GOOD + second) == [':18: [device "flow2"] link: port /dev/ttyS0 is already taken by device 1']


def rail(home: Path, *units: int) -> str:
    head = GOOD.partition("[[device]]")[0]
    table = '[[device]]\nid = "u{0}"\ndriver = "modbus"\nprofile = "leviflow"\nlink = "{1}"\noptions.unit = {2}\n'
    link = "serial:///dev/ttyS9?baud=9600"
    return head + "".join(table.format(number, link, unit) for number, unit in enumerate(units))


def test_devices_with_an_address_each_may_share_a_line(home: Path) -> None:
    load(home, rail(home, 1, 2, 3))


def test_two_devices_with_one_address_on_a_line_are_told(home: Path) -> None:
    (problem,) = problems(home, rail(home, 1, 2, 1))
    assert problem.endswith('[device "u2"] options: unit 1 is already device 1 there')


def test_two_devices_that_share_a_line_must_say_the_same_of_it(home: Path) -> None:
    (problem,) = problems(home, rail(home, 1, 2).replace("9600", "19200", 1))
    assert problem.endswith("link: port /dev/ttyS9 is already taken by device 1")


def test_two_devices_never_share_a_listening_port(home: Path) -> None:
    one = GOOD.replace("serial:///dev/ttyS0?baud=38400", "tcp-listen://0.0.0.0:2575")
    two = one[one.index("[[device]]") :].replace('"flow"', '"flow2"').replace("0.0.0.0", "127.0.0.1")
    assert problems(home, one + two) == [':18: [device "flow2"] link: TCP port 2575 is already taken by device 1']
    load(home, one + two.replace("2575", "2576"))
    load(home, (one + two).replace("tcp-listen", "tcp"))
    load(home, (one + two).replace("0.0.0.0", "127.0.0.2"))


def test_the_daemons_own_name_is_no_device(home: Path) -> None:
    assert problems(home, GOOD.replace('"flow"', '"daemon"')) == [
        ":10: [device \"daemon\"] id: 'daemon' is the daemon's own name; choose another id"
    ]


def test_a_profile_beside_the_configuration_is_found_and_its_mistakes_are_told(home: Path) -> None:
    (home / "devices").mkdir()
    (home / "devices" / "mine.toml").write_text('name = "Mine"\nsuorce = "x"\n')
    text = GOOD.replace("emtec_bioprott", "mine")
    found = problems(home, text)
    assert profile_search(home / "bed.toml") == (home / "devices",)
    assert any(f"{home}/devices/mine.toml:2: suorce: unknown key; did you mean 'source'?" in each for each in found)
    assert all(each.startswith(':12: [device "flow"] profile: ') for each in found)


def test_the_environment_overrides_the_file(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ECMO_DAQ__SITE__BED", "icu1-bed07")
    monkeypatch.setenv("ECMO_DAQ__JOURNAL__COMMIT_INTERVAL_MS", "500")
    monkeypatch.setenv("ECMO_DAQ__LOG__LEVEL", "debug")
    config = load(home, GOOD)
    assert (config.site.bed, config.site.site) == ("icu1-bed07", "uniklinik")
    assert config.journal.commit_interval_ms == 500
    assert config.log.level == "debug"


def test_devices_and_sinks_stand_in_the_file_alone(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DEVICE", "[]")
    monkeypatch.setenv("ECMO_DAQ__DEVICE", "[]")
    assert load(home, GOOD).device[0].id == "flow"


def test_a_mistake_in_the_environment_names_the_variable(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ECMO_DAQ__SITE__BED", "no/slash")
    monkeypatch.setenv("ECMO_DAQ__LOG__COLOUR", "red")
    found = problems(home, GOOD)
    assert found[0].startswith("environment ECMO_DAQ__SITE__BED: 'no/slash' does not have")
    assert found[1].startswith("environment ECMO_DAQ__LOG__COLOUR: unknown key (have: format, level)")
    assert len(found) == 2


def test_an_environment_that_cannot_be_read_is_a_mistake(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ECMO_DAQ__SITE", "{not json")
    assert len(problems(home, GOOD)) == 1

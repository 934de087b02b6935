import re
from pathlib import Path

import pytest
from pydantic import BaseModel

from acquisition.catalogue import shipped_config
from acquisition.config import (
    Config,
    DeviceConfig,
    EpisodesConfig,
    JournalConfig,
    LogConfig,
    SiteConfig,
    StatusConfig,
    load_config,
)
from acquisition.errors import ConfigError
from acquisition.sink_config import InfluxV1Config, InfluxV2Config, MqttConfig
from tests.sparing import most_slow

SAMPLE = Path(__file__).parents[2] / "config" / "acquisition.toml"


def test_the_annotated_sample_is_valid() -> None:
    config = load_config(SAMPLE)
    assert SAMPLE.parent == shipped_config()
    assert len(config.device) == 2
    assert {sink.type for sink in config.sink} == {"influxdb_v2", "influxdb_v1", "mqtt"}


@pytest.mark.parametrize(
    ("header", "model"),
    [
        (r"\[site\]", SiteConfig),
        (r"\[journal\]", JournalConfig),
        (r"\[\[device\]\]", DeviceConfig),
        (r"\[\[sink\]\]", InfluxV2Config),
        (r"\[\[sink\]\]", InfluxV1Config),
        (r"\[\[sink\]\]", MqttConfig),
        (r"\[status\]", StatusConfig),
        (r"\[log\]", LogConfig),
    ],
)
def test_every_setting_stands_in_the_sample(header: str, model: type[BaseModel]) -> None:
    tables = re.split(r"^(?=\[+[a-z])", SAMPLE.read_text(), flags=re.MULTILINE)
    text = "".join(table for table in tables if re.match(header, table) or table.startswith("[device.options]"))
    missing = [
        name
        for name in model.model_fields
        if name != "options" and not re.search(rf"^(# )?{name} = ", text, flags=re.MULTILINE)
    ]
    assert not missing


@pytest.mark.parametrize(
    "value", most_slow(['"x"', "[{}]", "1", "-0.5", "[]", "{}", "[1]", "true", "1979-05-27", "nan", '"\\u0000"'], 2)
)
def test_any_value_anywhere_is_taken_or_told_with_its_line(tmp_path: Path, value: str) -> None:
    lines = SAMPLE.read_text().splitlines()
    path = tmp_path / "bed.toml"
    for number, line in enumerate(lines):
        if re.match(r"[a-z_]+ = ", line):
            changed = [*lines[:number], f"{line.partition(' =')[0]} = {value}", *lines[number + 1 :]]
            path.write_text("\n".join(changed))
            found = problems(path)
            assert all(problem.startswith(f"{path}:") for problem in found)
            assert not found or any(problem.startswith(f"{path}:{number + 1}: ") for problem in found)


def problems(path: Path) -> list[str]:
    try:
        load_config(path)
    except ConfigError as error:
        return error.problems
    return []


def test_every_table_of_the_configuration_stands_in_the_sample() -> None:
    text = SAMPLE.read_text()
    assert all(re.search(rf"^\[+{name}\]+", text, flags=re.MULTILINE) for name in Config.model_fields)
    assert "[device.options]" in text


def test_what_the_sample_says_in_passing_is_a_setting_too() -> None:
    keys = set(re.findall(r"^# ([a-z_]+) = ", SAMPLE.read_text(), flags=re.MULTILINE))
    models = (EpisodesConfig, StatusConfig, InfluxV2Config, InfluxV1Config, MqttConfig)
    assert keys
    assert keys <= {name for model in models for name in model.model_fields}

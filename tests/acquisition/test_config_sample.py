import re
from pathlib import Path

import pytest
from pydantic import BaseModel

from acquisition.catalogue import shipped_config
from acquisition.config import Config, DeviceConfig, JournalConfig, LogConfig, SiteConfig, StatusConfig, load_config
from acquisition.sink_config import InfluxV1Config, InfluxV2Config, MqttConfig

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


def test_every_table_of_the_configuration_stands_in_the_sample() -> None:
    text = SAMPLE.read_text()
    assert all(re.search(rf"^\[+{name}\]+", text, flags=re.MULTILINE) for name in Config.model_fields)
    assert "[device.options]" in text


def test_what_the_sample_says_in_passing_is_a_setting_too() -> None:
    keys = set(re.findall(r"^# ([a-z_]+) = ", SAMPLE.read_text(), flags=re.MULTILINE))
    models = (StatusConfig, InfluxV2Config, InfluxV1Config, MqttConfig)
    assert keys
    assert keys <= {name for model in models for name in model.model_fields}

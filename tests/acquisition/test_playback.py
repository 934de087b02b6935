from __future__ import annotations

from pathlib import Path
from zoneinfo import ZoneInfo

from acquisition.catalogue import Catalogue
from acquisition.commands.playback import Playback, play
from acquisition.registry import build_driver
from tests.acquisition.scripted_influx import Answer, scripted_influx

CASE = Path(__file__).parents[1] / "drivers" / "delimited" / "flow_reversed"
CONFIG = """\
[site]
site = "site-1"
bed = "bed-1"
timezone = "UTC"
[journal]
directory = "unused"
[[device]]
id = "flow"
driver = "delimited"
profile = "emtec_bioprott"
link = "serial:///dev/ttyS0"
[[sink]]
id = "central"
type = "influxdb_v1"
url = "{url}"
database = "ecmo"
"""


def flow_values(text: str) -> int:
    return text.count('"ecmo_flow":') // 2  # a value and its quality


async def test_a_replay_is_over_when_the_sink_has_the_whole_journal(tmp_path: Path) -> None:
    async with scripted_influx(Answer(503)) as server:
        (tmp_path / "bed.toml").write_text(CONFIG.format(url=server.url))
        wanted = Playback(
            traces=[CASE / "wire.trace"],
            driver=build_driver("delimited", "emtec_bioprott", {}, Catalogue.shipped(), ()),
            device="flow",
            zone=ZoneInfo("UTC"),
            journal=tmp_path / "journal",
            config=tmp_path / "bed.toml",
            sinks=["central"],
        )
        await play(wanted)
        refused, *taken = [request for request in server.requests if request.path == "/write"]
    assert refused.points
    flows = {point.time_ns for request in taken for point in request.points if "ecmo_flow" in dict(point.fields)}
    assert len(flows) == flow_values((CASE / "expected.jsonl").read_text())
    assert not (tmp_path / "unused").exists()

from __future__ import annotations

import asyncio
from collections.abc import Callable
from itertools import cycle
from pathlib import Path

import hl7
import pytest

from acquisition.commands.listening import listen_to
from acquisition.config import DeviceConfig
from acquisition.journal.reader import JournalReader
from acquisition.model import Numerics, Waveform
from acquisition.transports.links import Links
from acquisition.wire.mllp import frame
from simulators.hl7_monitor import Hl7Monitor
from simulators.links import attached
from simulators.whole_bed import Swing
from tests.drivers.hl7_vectors import MDC_UNITS, message, msh, nm
from tests.system.beds import daemon, device, until, write_config
from tests.system.servers import free_port

pytestmark = pytest.mark.system


async def test_a_monitor_that_is_the_server_is_read_by_connecting_to_it(tmp_path: Path) -> None:
    monitor = Hl7Monitor(
        lambda: {"hr": 90.0, "abp_mean": 71.0}, {"wf_abp": Swing(85.0, 25.0, 1.2, 0.1)}, every_s=0.2, counter=True
    )
    async with attached("tcp-listen://127.0.0.1:0", monitor) as link:
        config = write_config(tmp_path, device("mon", "hl7", link, 'profile = "hl7_generic"'))
        async with daemon(config):
            await until(lambda: monitor.acknowledged >= 10)
            monitor.stop()
            await until(lambda: not monitor.waiting)
    found = list(JournalReader(tmp_path / "journal").query(devices={"mon"}))
    readings = [each for each in found if isinstance(each, Numerics)]
    assert len(readings) == monitor.acknowledged // 2
    assert {each.values["abp_mean"] for each in readings} == {71.0}
    assert any(isinstance(each, Waveform) for each in found)


def report(control_id: str, bed: str, rate: int) -> bytes:
    hr = nm("147842^MDC_ECG_HEART_RATE^MDC", str(rate), MDC_UNITS["bpm"])
    order = "OBR|1|||182777000^monitoring of patient^SCT|||20260101080000"
    return frame(message(msh(control_id), "PID|1", f"PV1||I|ICU^^{bed}", order, hr))


async def test_each_daemon_takes_its_own_bed_of_a_gateway_that_sends_several_on_one_connection(tmp_path: Path) -> None:
    beds = {"B1": free_port(), "B2": free_port()}
    sent = [report(str(number), bed, 60 + number) for number, bed in enumerate(("B1", "B2", "B1", "B3", "B2"))]
    for bed, port in beds.items():
        directory = tmp_path / bed
        directory.mkdir()
        table = device("mon", "hl7", f"tcp-listen://127.0.0.1:{port}", f'[device.options]\nbed = "{bed}"')
        async with daemon(write_config(directory, table)):
            reader = writer = None
            async with asyncio.timeout(90):
                while writer is None:
                    try:
                        reader, writer = await asyncio.open_connection("127.0.0.1", port)
                    except OSError:
                        await asyncio.sleep(0.1)
                assert reader is not None
                writer.write(b"".join(sent))
                answers = [hl7.parse((await reader.readuntil(b"\x1c\r"))[1:-2].decode()) for _ in sent]
            writer.close()
            await writer.wait_closed()
        assert sorted(str(answer["MSA"][0][2]) for answer in answers) == ["0", "1", "2", "3", "4"]
        assert {str(answer["MSA"][0][1]) for answer in answers} == {"AA"}
    heard = {
        bed: [
            each.values["hr"]
            for each in JournalReader(tmp_path / bed / "journal").query(devices={"mon"})
            if isinstance(each, Numerics)
        ]
        for bed in beds
    }
    assert heard == {"B1": [60.0, 62.0], "B2": [61.0, 64.0]}


def shown_in_turns() -> Callable[[], dict[str, float | str]]:
    """Something else in every report."""
    turns = cycle(({"hr": 90.0}, {"spo2": 97.0}, {"abp_mean": 71.0}))
    return lambda: dict(next(turns))


@pytest.mark.parametrize("acknowledge", [False, True])
async def test_check_lists_what_all_reports_have_and_takes_none_from_a_sender_unasked(acknowledge: bool) -> None:
    monitor = Hl7Monitor(shown_in_turns(), {}, every_s=0.1)
    async with attached("tcp-listen://127.0.0.1:0", monitor) as link:
        told = await listen_to(
            DeviceConfig(id="mon", driver="hl7", link=link), 2.0, (), Links([link]), acknowledge=acknowledge
        )
    begin = "ok: eui64 02005EFFFE000001: "
    if acknowledge:
        assert told == f"{begin}abp_mean, hr, spo2"
        assert monitor.acknowledged > 2
    else:
        assert told == f"{begin}hr; nothing was acknowledged, so it may have more to say: --acknowledge"
        assert (monitor.acknowledged, monitor.refused) == (0, 0)

"""HL7 messages of a full load, written without the product's own encoder."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np

WAVES = (150036, 131330, 150452, 150084, 131329, 131331, 150044, 151562)
FIRST_NUMERIC = 160_000
START = datetime(2026, 1, 1, tzinfo=UTC)


def second(number: int, *, waves: int = 8, rate: int = 500, numerics: int = 100) -> bytes:
    """One message with one second of everything, MLLP-framed.

    Args:
        number: Which second; it gives the message its own id and times.
        waves: Waveforms, at most eight.
        rate: Samples a second of each.
        numerics: Values; the first ones are in the catalogue, the others are codes it does not know.
    """
    when = START + timedelta(seconds=number)
    stamp = f"{when:%Y%m%d%H%M%S}.000+0000"
    lines = [
        f"MSH|^~\\&|BENCH^0011223344556677^EUI-64||||{stamp}||ORU^R01^ORU_R01|B{number}|P|2.6|||NE|AL||UNICODE UTF-8",
        "PID|||BENCH",
        "PV1||I|ICU^^1",
        f"OBR|1|||182777000^monitoring of patient^SCT|||{stamp}",
    ]
    known = (147842, 150037, 150038, 150039, 150087, 150456, 149522)
    codes = [*known, *range(FIRST_NUMERIC, FIRST_NUMERIC + max(0, numerics - len(known)))][:numerics]
    units = {147842: "264864^MDC_DIM_BEAT_PER_MIN^MDC", 150456: "262688^MDC_DIM_PERCENT^MDC"}
    units[149522] = units[147842]
    for row, code in enumerate(codes):
        unit = units.get(code, "266016^MDC_DIM_MMHG^MDC")
        lines.append(f"OBX|{row}|NM|{code}^X^MDC|1.1.1.{row}|{80 + (row + number) % 15}|{unit}|||||R")
    phase = np.arange(number * rate, (number + 1) * rate) / rate
    for channel in range(waves):
        samples = np.round(800 + 200 * np.sin(2 * np.pi * 1.6 * phase + channel)).astype(int)
        at = f"1.2.{channel + 1}"
        lines += [
            f"OBX||NA|{WAVES[channel]}^W^MDC|{at}.1|{'^'.join(map(str, samples.tolist()))}|266016^MDC_DIM_MMHG^MDC",
            f"OBX||NM|0^MDC_ATTR_SAMP_RATE^MDC|{at}.1.1|{rate}|264608^MDC_DIM_PER_SEC^MDC",
            f"OBX||NM|2327^MDC_ATTR_NU_MSMT_RES^MDC|{at}.1.2|0.1|266016^MDC_DIM_MMHG^MDC",
        ]
    return b"\x0b" + "".join(f"{line}\r" for line in lines).encode() + b"\x1c\r"

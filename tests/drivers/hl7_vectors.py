"""HL7 messages of the kinds found in the wild, as their makers document them; every identity in them is invented."""

from __future__ import annotations

SECRETS = ("ZZSECRETNAME", "19010203", "IPP0000042", "DRNOBODY")
PID = "PID|1||IPP0000042^^^HOSP^MR||ZZSECRETNAME^ALPHA^^^^^L||19010203|M"
MDC_UNITS = {"mmHg": "266016^MDC_DIM_MMHG^MDC", "bpm": "264864^MDC_DIM_BEAT_PER_MIN^MDC",
             "%": "262688^MDC_DIM_PERCENT^MDC", "degC": "268192^MDC_DIM_DEGC^MDC",
             "rpm": "264928^MDC_DIM_RESP_PER_MIN^MDC", "mV": "266418^MDC_DIM_MILLI_VOLT^MDC",
             "/s": "264608^MDC_DIM_PER_SEC^MDC", "1": "262656^MDC_DIM_DIMLESS^MDC"}  # fmt: skip


def msh(
    control_id: str = "1",
    *,
    event: str = "ORU^R01^ORU_R01",
    time: str = "20260101080000+0000",
    acks: str = "NE|AL",
    charset: str = "UNICODE UTF-8",
    encoding: str = "^~\\&",
) -> str:
    return (
        f"MSH|{encoding}|VSP^080019FFFE0B4020^EUI-64|GE Healthcare|||{time}||{event}|{control_id}|P|2.6|||{acks}"
        f"||{charset}|||PCD_DEC_001^IHE PCD^1.3.6.1.4.1.19376.1.6.1.1.1^ISO"
    )


def nm(
    code: str,
    value: str,
    unit: str = "mmHg",
    *,
    flags: str = "",
    status: str = "R",
    time: str = "",
    at: str = "1.13.1.1",
) -> str:
    unit = MDC_UNITS.get(unit, unit)
    return f"OBX|1|NM|{code}|{at}|{value}|{unit}||{flags}|||{status}|||{time}||||080019FFFE0B4020^B1X5_GE"


def message(*segments: str) -> bytes:
    return "".join(f"{segment}\r" for segment in segments).encode()


def report(*rows: str, header: str | None = None, bed: str = "B1", order_time: str = "20260101080000") -> bytes:
    return message(
        header or msh(), PID, f"PV1||E|ICU^^{bed}", f"OBR|1|||182777000^monitoring of patient^SCT|||{order_time}", *rows
    )


GE_B1X5 = message(
    msh("000C290B4020", time="20211129084800+0100", charset="UNICODE"),
    PID,
    "PV1||E|ICU^^79874",
    "OBR|1|080019FFFE0B402020121109160900^VSP^080019FFFE0B4020^EUI-64|080019FFFE0B402020121109160900^VSP"
    "^080019FFFE0B4020^EUI-64|182777000^monitoring of patient^SCT|||20211129084759",
    "OBX|1||69965^MDC_DEV_MON_PHYSIO_MULTI_PARAM_MDS^MDC|1.0.0.0|||||||X",
    "OBX|2||69854^MDC_DEV_METER_PRESS_BLD_VMD^MDC|1.13.0.0|||||||X",
    nm("150033^MDC_PRESS_BLD_ART_SYS^MDC", "112"),
    nm("150034^MDC_PRESS_BLD_ART_DIA^MDC", "76", at="1.13.1.2"),
    nm("150035^MDC_PRESS_BLD_ART_MEAN^MDC", "95", at="1.13.1.3"),
    nm("149522^MDC_BLD_PULS_RATE_INV^MDC", "80", "bpm", at="1.13.1.4"),
    nm("150087^MDC_PRESS_BLD_VEN_CENT_MEAN^MDC", "-1", at="1.13.2.1"),
    nm("147842^MDC_ECG_HEART_RATE^MDC", "80", "bpm", at="1.5.1.1"),
    nm("150344^MDC_TEMP^MDC", "36.6", "degC", at="1.26.1.1"),
    nm("151594^MDC_CO2_RESP_RATE^MDC", "14", "rpm", at="1.11.1.3"),
    nm("150456^MDC_PULS_OXIM_SAT_O2^MDC", "97", "%", at="1.22.1.2"),
)
"""GE B1X5 with invasive pressure, after the layout of GE's PCD-01 description."""

GE_B40_HEADER = (
    "MSH|^~\\&|VSP^080019FFFE1443EC^EUI-64|GE Healthcare|||20230309143900||ORU^R01^ORU_R01|0040971443EC|P|2.6|||NE|AL"
    "||UNICODE UTF-8|||PCD_DEC_001^IHE PCD^1.3.6.1.4.1.19376.1.6.1.1.1^ISO"
)

XH80X = message(
    "MSH|^~\\&|XH80X^00A037009B000000^EUI-64||||20210611102047||ORU^R01^ORU_R01|41|P|2.4|||AL|NE||UNICODE UTF-8",
    "PID|||^^^^PI||^^^^^^L|||||",
    "PV1||I|^^^",
    "OBR|1|41^XH80X^00A037009B000000^EUI-64|41^XH80X^00A037009B000000^EUI-64|182777000^monitoring of patient^SCT|||"
    "20210611102047",
    "OBX|1|NM|150301^MDC_PRESS_CUFF_SYS^MDC|1.1.9.150301|-999|266016^MDC_DIM_MMHG^MDC||||||||20210611102047",
    "OBX|5|NM|150456^MDC_PULS_OXIM_SAT_O2^MDC|1.3.1.150456|-999|262688^MDC_DIM_PERCENT^MDC||||||||20210611102047",
    "OBX|9|NM|147842^MDC_ECG_HEART_RATE^MDC|1.7.4.147842|-999|264864^MDC_DIM_BEAT_PER_MIN^MDC||||||||20210611102047",
    "OBX|7|NM|150344^MDC_TEMP^MDC|1.13.1.150344|-99.9|268192^MDC_DIM_DEGC^MDC||||||||20210611102047",
)
"""XH80X with every sensor off."""

XH80X_WAVE = message(
    "MSH|^~\\&|XH80X^00A037009B000000^EUI-64||||20210611102048||ORU^W01^ORU_W01|42|P|2.4|||AL|NE||UNICODE UTF-8",
    "PV1||I|^^^",
    "OBR|1||42^XH80X^00A037009B000000^EUI-64|CONTINUOUS WAVEFORM|||20210611102047.000|20210611102048.000",
    "OBX|1|NA|131330^MDC_ECG_ELEC_POTL_II^MDC|1.7.6.131330|0^-12^25^32767^^8|266418^MDC_DIM_MILLI_VOLT^MDC",
    "OBX|2|NM|0^MDC_ATTR_SAMP_RATE^MDC|1.7.6.131330.1|500|264608^MDC_DIM_PER_SEC^MDC",
    "OBX|3|NM|2327^MDC_ATTR_NU_MSMT_RES^MDC|1.7.6.131330.2|0.001221|266418^MDC_DIM_MILLI_VOLT^MDC",
    "OBX|4|NM|262196^MDC_EVT_INOP^MDC|1.7.6.131330.3|32767",
    "OBX|5|NR|0^MDC_ATTR_DATA_RANGE^MDC|1.7.6.131330.4|-2048^2047",
)

MDIL = message(
    "MSH|^~\\&|EFFICIA||||20260101080000||ORU^R01|7|P|2.3",
    "PID|1",
    "OBR|1||||||20260101080000",
    "OBX||NM|0002-4bb8^SpO2^MDIL|0|95|0004-0220^%^MDIL|||||F",
    "OBX||NM|0002-4182^HR^MDIL|0||0004-0aa0^bpm^MDIL|||||X",
    "OBX||NM|0002-4a15^ABPs^MDIL|0|120|0004-0f20^mmHg^MDIL|||||F",
    "OBX||NM|0002-f0c7^T1^MDIL|0|36.5|0004-17a0^C^MDIL|||||F",
)
"""Philips Data Export over HL7; the last row's term is private to the vendor."""

NIHON_KOHDEN = message(
    "MSH|^~\\&|NIHON KOHDEN|NIHON KOHDEN|CLIENT APP|CLIENT FACILITY|20260422000007||ORU^R01|20260422000007|P|2.4"
    "|||NE|AL||ASCII||ASCII",
    PID,
    "PV1||I|^^BED-001^10.0.100.98:1",
    "ORC|RE",
    "OBR|1|||VITAL|||20260422000007",
    "OBX|1|NM|007000^VITAL SpO2|1|99|%|||||F",
    "OBX|2|NM|009000^VITAL NIBP SYS|1|118|mmHg|||||F",
)

COMEN = message(
    msh("9", acks="|"),
    "OBR|1||||||20260101080000",
    "OBX||NM|147842^MDC_ECG_HEART_RATE^MDC|1.7.4.147842|8388607|264864^MDC_DIM_BEAT_PER_MIN^MDC|||||X",
    "OBX||NM|150456^MDC_PULS_OXIM_SAT_O2^MDC|1.3.1.150456|8388607|262688^MDC_DIM_PERCENT^MDC|||||R",
)

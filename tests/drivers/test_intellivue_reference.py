from __future__ import annotations

import csv
import re
from pathlib import Path

import pytest

from acquisition.catalogue import CIRCUIT, Catalogue
from acquisition.clock import Instant
from acquisition.model import Numerics, Quality, State
from acquisition.stamping import Stamper
from acquisition.units import MDC_UNITS
from acquisition.wire.intellivue import association, framing, messages, naming, polls, values
from simulators import intellivue_screen as screen
from tests.drivers import intellivue_vectors as vectors
from tests.drivers.intellivue_bench import number, numerics_of, quiet

# Where the reference has a word for it, what that is called in the code.
ATTRIBUTES = {
    "label": messages.LABEL, "label string": messages.LABEL_TEXT, "NU_VAL_OBS": messages.NUMERIC,
    "compound NU_VAL_OBS": messages.COMPOUND_NUMERIC, "SA_VAL_OBS": messages.SAMPLES,
    "compound SA_VAL_OBS": messages.COMPOUND_SAMPLES, "SA_SPECN": messages.ARRAY, "SCALE_SPECN_I16": messages.SCALE,
    "SA_CALIB_I16": messages.CALIBRATION, "SA fixed values": messages.FIXED, "TIME_PD_SAMP": messages.PERIOD,
    "unit": messages.UNIT, "RTSA priority list": polls.WAVE_LIST,
}  # fmt: skip
NOT_READ = {
    "handle", "type", "metric spec", "phys range", "colour", "relative", "absolute time", "numeric priority list",
    "MDS status", "pat. id", "family", "given", "sex", "birth date",
}  # fmt: skip
QUALITIES: dict[str, tuple[Quality | None, State | None]] = {
    # of a value that is sent with the bit; None where there is no value then
    "INVALID": (None, State.INVALID), "QUESTIONABLE": (Quality.SUSPECT, State.QUESTIONABLE),
    "UNAVAILABLE": (None, State.UNAVAILABLE), "CALIBRATION ONGOING": (Quality.BAD, State.CALIBRATING),
    "TEST": (Quality.BAD, State.DEMO), "DEMO": (Quality.BAD, State.DEMO), "VALIDATED": (Quality.GOOD, None),
    "EARLY": (Quality.GOOD, None), "MSMT ONGOING": (Quality.GOOD, None), "IN ALARM": (Quality.GOOD, None),
    "ALARM INHIBITED": (Quality.GOOD, None),
}  # fmt: skip
UCUM = {
    "mmHg": "mm[Hg]", "bpm": "{beat}/min", "degC": "Cel", "cmH2O": "cm[H2O]", "resp/min": "{breath}/min",
    "dimensionless": "1",
}  # fmt: skip
CHANNELS = {
    # signals of the table of physiological identifiers that have a channel, with those of its wave and values
    "ABP": ("wf_abp", "abp_sys", "abp_dia", "abp_mean"), "ART": ("wf_abp", "abp_sys", "abp_dia", "abp_mean"),
    "PAP": ("", "pap_sys", "pap_dia", "pap_mean"), "CVP": ("wf_cvp", "", "", "cvp"), "PAWP": ("pawp",),
    "NBP": ("", "nibp_sys", "nibp_dia", "nibp_mean"), "HR (ECG)": ("hr",), "SpO2": ("spo2",), "SvO2": ("svo2_pa",),
    "ScvO2": ("scvo2",), "CO": ("co_td",), "RR": ("rr",), "CO2 et": ("etco2",), "core": ("temp_core",),
    "ECG II wave": ("wf_ecg_ii",), "pleth wave": ("wf_pleth",),
}  # fmt: skip
PRIVATE_LEFT_OUT = {
    "ecmo_dp_dev": "a difference of any two pressures: the bed says of which",
    "body_weight": "of the patient's demographics, which are never asked for",
    "body_height": "likewise",
}


@pytest.fixture(scope="module")
def protocol(reference: Path) -> str:
    text = (reference / "PROTOCOLS.md").read_text(encoding="utf-8")
    begin = text.index("## 1. PHILIPS INTELLIVUE")
    return text[begin : text.index("## 2. HL7")]


def part(protocol: str, heading: str) -> str:
    begin = protocol.index(f"### {heading} ")
    return protocol[begin : protocol.find("\n### ", begin)]


def unmarked(text: str) -> str:
    return text.replace("**", "")


def digits(text: str) -> str:
    return re.sub(r"\s", "", text).upper()


def test_every_attribute_of_the_reference_is_read_under_its_number_or_left_out_on_purpose(protocol: str) -> None:
    seen: dict[str, int] = {}
    for row in re.findall(r"^\| (.+?) \| (.+?) \|", unmarked(part(protocol, "1.9")), re.MULTILINE):
        ids = [int(each, 16) for each in re.findall(r"(?:0x)?([0-9A-F]{4})\b", row[0])]
        names = [name.strip() for name in re.split(r" / |, ", row[1])]
        seen.update(zip(names, ids, strict=False))
    seen["numeric priority list"] = seen.pop("numeric")
    assert {name: seen[name] for name in ATTRIBUTES} == ATTRIBUTES
    assert set(seen) == set(ATTRIBUTES) | NOT_READ
    connect = unmarked(part(protocol, "1.2"))
    named = {"system model": messages.SYSTEM_MODEL, "production spec": messages.PRODUCTION}
    assert {name: int(_only(rf"0x([0-9A-F]{{4}}) {name}", connect), 16) for name in named} == named
    assert int(_only(r"0x([0-9A-F]{4}) PCOL_SUPPORT", connect.replace("**", "")), 16) == messages.PROTOCOLS
    assert frozenset({*ATTRIBUTES.values(), *named.values(), messages.PROTOCOLS}) == messages.KEPT


def _only(pattern: str, text: str) -> str:
    (found,) = re.findall(pattern, text)[:1]
    return str(found)


def test_every_bit_of_the_measurement_state_has_its_quality(protocol: str) -> None:
    line = unmarked(_only(r"State bits: (.*)\. \(", part(protocol, "1.9")))
    bits = {name: int(code, 16) for code, name in re.findall(r"0x([0-9A-F]{4}) ([A-Z ]+)", line)}
    assert set(bits) == set(QUALITIES)
    assert {name: bits[name] for name in ("INVALID", "QUESTIONABLE", "UNAVAILABLE", "TEST", "DEMO")} == {
        "INVALID": values.INVALID, "QUESTIONABLE": values.QUESTIONABLE, "UNAVAILABLE": values.UNAVAILABLE,
        "TEST": values.TEST, "DEMO": values.DEMO,
    }  # fmt: skip
    for name, bit in bits.items():
        bench = quiet()
        stamper = Stamper("mon", Catalogue.shipped())
        bench.receive(numerics_of((0x41, number(16770, 72.0, 2720, bit))))
        observed = stamper.stamp([*bench.readings], Instant(utc_ns=10**18, mono_ns=10**9), None)
        (reading,) = (each for each in observed if isinstance(each, Numerics))
        quality, state = QUALITIES[name]
        assert reading.quality.get("hr") is quality, name
        assert reading.states.get("hr") is state, name
        assert any(f"{bit:04X}" in text for text in bench.texts), f"{name} is not told as it came"


def test_numbers_of_the_float_type_are_those_of_the_reference(protocol: str) -> None:
    text = part(protocol, "1.9")
    for word, value in re.findall(r"([0-9A-F]{8}) = ([\d.]+)", _only(r"Examples: (.*)", text)):
        assert values.real(int(word, 16)) == float(value)
    specials = {
        "NaN": State.INVALID, "NRes": State.UNAVAILABLE, "+INF": State.ABOVE_RANGE, "-INF": State.BELOW_RANGE,
    }  # fmt: skip
    line = _only(r"Specials \(mantissa\): (.*)\.", text)
    found = {name: int(code, 16) for code, name in re.findall(r"0x([0-9A-F]{6}) ([+\w-]+)", line)}
    assert set(found) == set(specials)
    assert {name: values.real(word) for name, word in found.items()} == specials


def test_every_unit_of_the_reference_is_known_by_its_code(protocol: str) -> None:
    line = _only(r"Units: (.*)\. \(all from", part(protocol, "1.10"))
    found = re.findall(r"([A-Za-z%/0-9]+) (\d+)(?: \(([0-9A-F]{4})\))?", line)
    assert len(found) > 12
    for name, code, printed in found:
        assert not printed or int(printed, 16) == int(code)
        assert MDC_UNITS.get(naming.UNITS + int(code)) == UCUM.get(name, name), name
    in_simulator = {screen.MMHG, screen.PER_MIN, screen.PERCENT, screen.CELSIUS, screen.BREATHS, screen.MILLIVOLT}
    assert in_simulator | {screen.PLAIN, screen.LITRES} <= {int(code) for _, code, _ in found}


def signals(protocol: str) -> dict[str, int]:
    """Signals of the table of physiological identifiers, with the code of the wave or of the one value."""
    found: dict[str, int] = {}
    for row in unmarked(part(protocol, "1.10")).splitlines():
        cells = [cell.strip() for cell in row.strip("| ").split("|")]
        if not row.startswith("|") or cells[0] in ("Signal", "---"):
            continue
        for place, cell in enumerate(cells):
            follower = cells[place + 1] if place + 1 < len(cells) else ""
            if re.fullmatch(r"[A-Za-z][\w. ()/]*", cell) and re.match(r"\d{3,5}", follower):
                pieces = [piece.strip() for piece in follower.split(";")]
                codes = re.findall(r"\d{3,5}", pieces[0]) if " / " in cell else [re.findall(r"\d+", pieces[0])[0]]
                found.update(zip(cell.split(" / "), map(int, codes), strict=True))
                for piece in pieces[1:]:
                    name, _, code = piece.rpartition(" ")
                    found[name] = int(code)
            for name, code in re.findall(r"(\w+) (\d{5})", cell) if cell.startswith("Temp") else ():
                found[name] = int(code)
    return found


def test_every_signal_of_the_reference_has_its_channel(protocol: str) -> None:
    found = signals(protocol)
    assert set(CHANNELS) <= set(found), found
    for row in re.findall(r"\| (\d+) / ([0-9A-F]{4}) \|", part(protocol, "1.10")):
        assert int(row[0]) == int(row[1], 16)
    for signal, channels in CHANNELS.items():
        for offset, channel in enumerate(channels):
            if channel:
                wave = channel.startswith("wf_")
                names = naming.Names(Catalogue.shipped(), {}, lambda *_, **__: None)
                plan = names.plan(naming.METRICS + found[signal] + offset, None, "", wave=wave)
                assert (plan.channel, plan.problem) == (channel, ""), signal
    for signal in set(found) - set(CHANNELS):
        names = naming.Names(Catalogue.shipped(), {}, lambda *_, **__: None)
        code = naming.METRICS + found[signal]
        assert names.plan(code, None, "", wave=False).channel == f"mdc_{code}", signal


def test_the_simulated_monitor_sends_the_terms_of_the_reference(protocol: str) -> None:
    found = signals(protocol)
    expected = {
        channel: found[signal] + offset
        for signal, channels in CHANNELS.items()
        if signal != "ART"
        for offset, channel in enumerate(channels)
        if channel
    }
    sent = {channel: term for _, _, _, terms in screen.NUMERICS for term, channel in terms}
    sent |= {channel: drawn.term for channel, drawn in screen.WAVES.items()}
    assert {channel: expected[channel] for channel in sent} == sent


def test_the_labels_of_waves_are_those_of_the_reference(protocol: str) -> None:
    line = unmarked(_only(r"TextId label = (.*)", part(protocol, "1.7")))
    labels = {name: int(code, 16) for name, code in re.findall(r"([A-Z][\w ]*?) 0x0002([0-9A-F]{4})", line)}
    assert len(labels) == 9
    waves = {name: CHANNELS[name][0] for name in ("ABP", "ART", "CVP")}
    waves |= {"PLETH": "wf_pleth", "ECG II": "wf_ecg_ii"}
    for name, channel in waves.items():
        names = naming.Names(Catalogue.shipped(), {}, lambda *_, **__: None)
        assert names.plan(naming.METRICS + labels[name], None, "", wave=True).channel == channel


def test_every_code_of_the_table_of_channels_leads_to_its_channel(reference: Path) -> None:
    with (reference / "channels.csv").open(encoding="utf-8", newline="") as table:
        rows = list(csv.DictReader(table))
    mapped: set[int] = set()
    for row in rows:
        codes = [int(row["mdc_code"])] if row["mdc_code"] else []
        private = [int(code, 16) for code in re.findall(r"0x2(F[0-9A-F]{3})", row["other_codes"])]
        if row["id"] not in PRIVATE_LEFT_OUT:
            codes += [naming.METRICS + code for code in private]
            mapped.update(naming.METRICS + code for code in private)
        for code in codes:
            names = naming.Names(Catalogue.shipped(), {}, lambda *_, **__: None)
            channel = names.plan(code, None, "", wave=row["kind"] == "wave").channel
            of_circuit = row["source"] == CIRCUIT and code not in mapped
            # A monitor's arterial temperature is the patient's: that a probe is in the circuit only the bed can say.
            assert channel == row["id"] or (of_circuit and not channel.startswith("ecmo_")), code
    assert mapped == set(naming.PRIVATE)


def test_operations_actions_objects_and_groups_have_the_numbers_of_the_reference(protocol: str) -> None:
    envelope, asked = unmarked(part(protocol, "1.5")), unmarked(part(protocol, "1.7"))
    operations = _only(r"ro_type \((.*?)\)", envelope)
    assert operations == (
        f"{polls.INVOKE} ROIV invoke, {polls.RESULT} RORS result, {polls.ERROR} ROER error, "
        f"{polls.LINKED} RORLS linked result"
    )
    commands = {name: int(code) for code, name in re.findall(r"(\d) ([A-Z_]+)", _only(r"Commands: (.*)", envelope))}
    assert {name: commands[name] for name in ("EVENT_REPORT", "CONFIRMED_EVENT_REPORT", "GET", "CONFIRMED_ACTION")} == {
        "EVENT_REPORT": polls.EVENT_REPORT, "CONFIRMED_EVENT_REPORT": polls.CONFIRMED_EVENT_REPORT, "GET": polls.GET,
        "CONFIRMED_ACTION": polls.CONFIRMED_ACTION,
    }  # fmt: skip
    assert int(_only(r"Single poll \(action 0x([0-9A-F]{4})\)", asked), 16) == polls.SINGLE
    assert int(_only(r"Extended poll \(action 0x([0-9A-F]{4})\)", asked), 16) == polls.EXTENDED
    objects = {name: int(code) for code, name in re.findall(r"(\d+) ([\w ]+)", _only(r"Object codes: (.*)", asked))}
    assert {
        name: objects[name] for name in ("numerics", "RTSA waves", "MDS", "patient demographics")
    } == {
        "numerics": polls.NUMERICS, "RTSA waves": polls.WAVES, "MDS": polls.MDS,
        "patient demographics": polls.DEMOGRAPHICS,
    }  # fmt: skip
    groups = dict(re.findall(r"0x([0-9A-F]{4}) (\w+)", _only(r"Attribute groups: (.*)", asked)))
    assert [groups[f"{code:04X}"] for code in (polls.VALUES, polls.PRODUCT, polls.LABELS)] == [
        "METRIC_VAL_OBS", "SYS_PROD", "VMO_STATIC",
    ]  # fmt: skip
    assert int(_only(r"AVA 0x([0-9A-F]{4}) TIME_PD_POLL", asked), 16) == polls._PUSH
    assert int(_only(r"event_type=0x([0-9A-F]{4}) \(NOM_NOTI_CONN", part(protocol, "1.2")), 16) == (
        polls.CONNECT_INDICATION
    )
    assert int(_only(r"event 0x([0-9A-F]{4})\)", part(protocol, "1.6")), 16) == polls.MDS_CREATE


def test_the_association_is_that_of_the_reference(protocol: str) -> None:
    answers, asked = unmarked(part(protocol, "1.4")), unmarked(part(protocol, "1.3"))
    kinds = dict(re.findall(r"0x([0-9A-F]{2}) (\w+)", _only(r"SI byte: (.*)", answers)))
    assert {kind.name.lower(): f"{kind.value:02X}" for kind in association.Kind} == {
        name: code for code, name in kinds.items()
    }
    bits = _only(r"ext_options bits: (.*)", asked)
    assert int(_only(r"0x([0-9A-F]{8}) numerics 1 s", bits), 16) == association.NUMERICS
    assert int(_only(r"0x([0-9A-F]{8}) RTSA waves", bits), 16) == association.WAVES
    assert "period <= 3.3 s -> 10 s; <= 43 s -> 3 x period; else 130 s" in answers
    assert [association.patience_ns(round(s * 1e9)) / 1e9 for s in (3.3, 43, 43.1)] == [10, 129, 130]
    for frame in (association.RELEASE, association.RELEASED):
        assert frame.hex().upper()[:-16] in digits(answers)
    assert association.ABORT.hex().upper()[:-20] in digits(answers)
    printed = digits(asked)
    request = vectors.ASSOCIATION_REQUEST.hex().upper()
    # The reference prints one byte 80 too many, and lengths that count it.
    assert (
        request.replace("0DEC", "0DED", 1).replace("C1DC", "C1DD", 1).replace("A080800101", "A08080800101", 1)[:-32]
        in printed
    )


def test_frames_of_the_reference_are_the_vectors_of_the_tests(protocol: str) -> None:
    for heading, frames in (
        ("1.11", [vectors.RELEASE_FRAMED]),
        ("1.12", [vectors.NUMERICS, vectors.WAVE]),
        ("1.6", [vectors.WAVE_LIST[:4], vectors.REFUSAL, vectors.DEMOGRAPHICS_HEAD]),
    ):
        printed = digits(part(protocol, heading))
        assert [frame.hex().upper() in printed for frame in frames] == [True] * len(frames), heading
    fcs = part(protocol, "1.11")
    assert int(_only(r'check\("123456789"\) = ([0-9A-F]{4})', fcs), 16) == framing.checksum(b"123456789")
    assert len(vectors.MDS_CREATE) == int(_only(r"MDS create, (\d+) B", part(protocol, "1.6")))
    assert len(vectors.CONNECT_INDICATION) == int(_only(r"(\d+)-byte payload", part(protocol, "1.2")))

"""How channels, units, numbers and causes of gaps are written for people."""

from __future__ import annotations

from acquisition.catalogue import Catalogue

CHANNELS = {
    "ecmo_flow": "Circuit flow",
    "ecmo_rpm": "Pump speed",
    "ecmo_rpm_set": "Pump speed, set",
    "ecmo_mode": "Pump mode",
    "ecmo_p_drain": "Drainage pressure",
    "ecmo_p_pre": "Pre-membrane pressure",
    "ecmo_p_post": "Return pressure",
    "ecmo_dp_dev": "Membrane pressure drop",
    "ecmo_svo2": "Drainage SvO₂",
    "ecmo_so2_post": "Return SO₂",
    "ecmo_hb": "Haemoglobin, inline",
    "ecmo_hct": "Haematocrit, inline",
    "ecmo_temp_ven": "Drainage temperature",
    "ecmo_temp_art": "Return temperature",
    "ecmo_sweep": "Sweep gas flow",
    "ecmo_fdo2": "Sweep FdO₂",
    "ecmo_power": "Pump power",
    "hr": "Heart rate",
    "pr_abp": "Pulse rate",
    "pvc_rate": "Premature beats",
    "abp_sys": "Systolic pressure",
    "abp_dia": "Diastolic pressure",
    "abp_mean": "Mean pressure",
    "pp_num": "Pulse pressure",
    "nibp_sys": "Cuff, systolic",
    "nibp_dia": "Cuff, diastolic",
    "nibp_mean": "Cuff, mean",
    "cvp": "Central venous pr.",
    "pap_sys": "Pulmonary, systolic",
    "pap_dia": "Pulmonary, diastolic",
    "pap_mean": "Pulmonary, mean",
    "pawp": "Wedge pressure",
    "spo2": "SpO₂",
    "rr": "Respiratory rate",
    "etco2": "End-tidal CO₂",
    "vent_fio2": "Ventilator FiO₂",
    "temp_core": "Core temperature",
    "svo2_pa": "Mixed venous SO₂",
    "scvo2": "Central venous SO₂",
    "co_td": "Cardiac output, TD",
    "rso2": "Regional SO₂",
    "wf_abp": "Arterial pressure wave",
    "wf_ecg_ii": "ECG II",
    "wf_pleth": "Plethysmogram",
    "wf_cvp": "CVP wave",
    "wf_ecmo_flow": "Circuit flow wave",
    "inf_rate": "Infusion rate",
    "study_drug_rate": "Study drug rate",
    "dose_norepinephrine": "Norepinephrine",
    "dose_dobutamine": "Dobutamine",
    "dose_epinephrine": "Epinephrine",
    "lvef": "LVEF",
    "lvot_vti": "LVOT VTI",
    "tdsa": "Lateral S′",
    "lactate": "Lactate",
}
_UNITS = {"{rev}/min": "rpm", "mm[Hg]": "mmHg", "Cel": "°C", "1": "", "ug/kg/min": "µg/kg/min"}
CAUSES = {
    "daemon_down": "service not running",
    "host_reboot": "host restarted",
    "port_absent": "port absent",
    "link_lost": "link lost",
    "cable_or_no_bytes": "cable, or no bytes",
    "framing_errors": "framing errors",
    "blocks_missing": "blocks missing",
    "clock_step": "clock set",
    "quota": "disk quota",
    "unassigned": "deleted, unassigned",
    "unknown": "unknown",
}
"""Codes of gaps (CLINICAL.md section 6.4); the style sheet has a colour for each, by its place."""


def name_of(channel: str) -> str:
    """What a channel is called in a picture; its id where it is a code that only its device knows."""
    return CHANNELS.get(channel, channel)


def unit_of(channel: str) -> str:
    """Its unit as people write it."""
    unit = Catalogue.shipped().unit(channel)
    return _UNITS.get(unit, unit)


def with_unit(channel: str) -> str:
    """Name and unit."""
    return ", ".join(filter(None, (name_of(channel), unit_of(channel))))


def number_told(value: float, *, sign: bool = False) -> str:
    """A value with three figures that count; whole numbers from a hundred on.

    Args:
        value: The number.
        sign: Whether a plus is written too.
    """
    text = f"{value:+.0f}" if abs(value) >= 100 else f"{value:+.3g}"
    return (text if sign else text.removeprefix("+")).replace("-", "−")


def count_told(number: int) -> str:
    """A count as people read it: 950, 12 400, 3.42 million."""
    if number < 1_000_000:
        return f"{number:,}".replace(",", "\N{NARROW NO-BREAK SPACE}")
    return f"{number / 1e6:.3g} million" if number < 1_000_000_000 else f"{number / 1e9:.3g} billion"


def cause_told(cause: str) -> str:
    """A cause in words."""
    return CAUSES.get(cause, cause.replace("_", " "))


def cause_place(cause: str) -> int:
    """Its place among CAUSES; one that is not known stands with the unknown."""
    known = list(CAUSES)
    return known.index(cause) if cause in CAUSES else len(known) - 1

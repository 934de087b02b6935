"""Which signals stand together on a page: by what a physiologist asks, then by device."""

from __future__ import annotations

from collections.abc import Iterable

from acquisition.archive.report.findings import Key

GROUPS: dict[str, tuple[str, ...]] = {
    "Circuit: flow and speed": ("ecmo_flow", "ecmo_rpm", "ecmo_rpm_set", "ecmo_mode", "ecmo_power"),
    "Circuit: pressures": ("ecmo_p_drain", "ecmo_p_pre", "ecmo_p_post", "ecmo_dp_dev"),
    "Arterial pressure and rate": (
        "abp_mean", "pp_num", "abp_sys", "abp_dia", "hr", "pr_abp", "pvc_rate", "nibp_mean", "nibp_sys", "nibp_dia",
    ),
    "Right heart and output": ("cvp", "pap_mean", "pap_sys", "pap_dia", "pawp", "co_td"),
    "Gas exchange and blood": (
        "ecmo_sweep", "ecmo_fdo2", "ecmo_so2_post", "ecmo_svo2", "svo2_pa", "scvo2", "spo2", "rso2", "ecmo_hb",
        "ecmo_hct", "lactate",
    ),
    "Breathing": ("rr", "etco2", "vent_fio2"),
    "Temperature": ("temp_core", "ecmo_temp_ven", "ecmo_temp_art"),
    "Infusions": ("dose_norepinephrine", "dose_epinephrine", "dose_dobutamine", "inf_rate", "study_drug_rate"),
}  # fmt: skip
OTHER = "Other signals"
_PLACE = {channel: (at, place) for at, names in enumerate(GROUPS.values()) for place, channel in enumerate(names)}


def grouped(keys: Iterable[Key]) -> dict[str, list[Key]]:
    """Groups that have a signal, in order, and what is in no group at the end."""
    found: dict[str, list[Key]] = {name: [] for name in (*GROUPS, OTHER)}
    names = list(found)
    for key in sorted(keys, key=lambda key: (_PLACE.get(key.channel, (99, 0)), key.channel, key.device)):
        at = _PLACE.get(key.channel)
        found[OTHER if at is None else names[at[0]]].append(key)
    return {name: members for name, members in found.items() if members}

"""What may be written into the registry: study ids and no names, known words, values within the catalogue's limits."""

from __future__ import annotations

import re
from collections.abc import Mapping

from acquisition.catalogue import Catalogue
from acquisition.clock import NS
from acquisition.mistakes import nearest

SUBJECT_PATTERN = r"[A-Z]{2,8}-\d{2}-\d{3,4}"
"""Study, site, number: LEV-03-012; a site may configure another."""

ECHO_VALUES = ("lvef", "lvot_vti", "tdsa", "lactate")
"""Channel ids of what a person measures; units and limits are the catalogue's."""

UNCERTAINTY_NS = 60 * NS
"""How far off the time of a measurement may be where nobody says."""

CONFIGURATIONS = ("fem-fem", "fem-ax", "fem-jug", "central", "other")
RUN_REASONS = ("weaned", "death", "bridge_lvad", "transplant", "left_site", "other")
"""Why the cannulas were removed, or the site lost sight of them. `weaned` says what was intended, not that it held."""
RUN_EVENTS = ("oxygenator_change", "pump_change", "console_change", "circuit_change", "cannula_change", "other")

COVARIATES: Mapping[str, tuple[str, ...]] = {
    "unloading_device": ("iabp", "microaxial", "surgical_vent", "septostomy", "other"),
    "prone": ("yes",),
    "rrt": ("yes",),
    "sedation": ("yes",),
    "ventilation": ("yes",),
}

_WEANED = re.compile(r"succe\w*[ _-]*(?:\w+[ _-]+)?wean|wean\w*[ _-]*succe|primary[ _-]*(?:outcome|endpoint)", re.I)
_ARM = re.compile(r"^(?:arm|treatment|treatment_arm|allocation|group|study_drug|levosimendan|placebo)$", re.I)
_ARM_TOLD = re.compile(r"\b(?:levosimendan|placebo|(?:treatment|control|placebo)\s+arm)\b", re.I)
_LONG_NUMBER = re.compile(r"(?:\d[ .-]?){6,}\d")
_BIRTH = re.compile(r"\b(?:\d{1,2}[./-]\d{1,2}[./-](?:19|20)?\d{2}|(?:19|20)\d{2}[./-]\d{1,2}[./-]\d{1,2})\b")
_TITLE = re.compile(r"\b(?:Mr|Mrs|Ms|Mme|Mlle|Herr|Frau|Monsieur|Madame)\b\.?\s", re.I)


def subject_mistake(text: str, pattern: str) -> str | None:
    """Why a text is no study id; None if it is one. What may be a name or a number of a person is not repeated.

    Args:
        text: What was given.
        pattern: Regular expression that all of it must match.
    """
    form = f"a study id has the form {pattern}"
    if not re.search(r"\d", text) or re.search(r"[\s,^]", text.strip()):
        return f"the subject looks like a name; {form}, and names are never stored"
    if re.fullmatch(r"[\d ./-]*", text) or re.search(r"\d{7,}", text):
        return f"the subject looks like a hospital number; {form}, and such numbers are never stored"
    if re.fullmatch(pattern, text) is None:
        return f"the subject {text!r} is no study id; {form}"
    return None


def text_mistake(text: str) -> str | None:
    """Why a free text is refused; None if nothing in it looks like identity. What is found is not repeated."""
    if _LONG_NUMBER.search(text):
        return "it has a number of seven digits or more, which may be that of a person"
    if _BIRTH.search(text):
        return "it has a date, which may be that of a birth; times stand in the entry itself"
    if _TITLE.search(text):
        return "it seems to name a person"
    if _ARM_TOLD.search(text):
        return "it seems to tell the arm, and the trial is blind"
    return None


def key_mistake(key: str) -> str | None:
    """Why a field can never be in the registry; None if nothing is against it but that it may be unknown."""
    if _WEANED.search(key):
        return (
            f"{key}: whether weaning succeeded is known 30 days after the cannulas are out; "
            "it is never computed and never recorded here"
        )
    if _ARM.search(key):
        return f"{key}: the arm is never stored here; the trial is blind"
    return None


def echo_mistakes(values: Mapping[str, float], catalogue: Catalogue) -> list[str]:
    """What is wrong with measured values: unknown, or beyond what the catalogue takes as possible."""
    found = []
    for name, value in values.items():
        never = key_mistake(name)
        if never is not None:
            found.append(never)
        elif name not in ECHO_VALUES:
            found.append(f"unknown value {name!r}{nearest(name, ECHO_VALUES)}")
        else:
            low, high = catalogue[name].hard or (float("-inf"), float("inf"))
            if not low <= value <= high:
                found.append(f"{name} {value:g} is not possible: it is from {low:g} to {high:g} {catalogue.unit(name)}")
    return found if values else ["an echo without a value; give one of: " + ", ".join(ECHO_VALUES)]


def pattern_mistake(pattern: str) -> str | None:
    """Why a configured pattern of study ids is refused; None if it can be used."""
    try:
        compiled = re.compile(pattern)
    except re.error as error:
        return f"{pattern!r} is no regular expression: {error}"
    for sample in ("12345678", "00123456789"):
        if compiled.fullmatch(sample):
            return f"{pattern!r} would take hospital numbers, such as {sample}"
    for sample in ("Martin", "MARTIN", "martin", "Jean Martin", "MARTIN^JEAN"):
        if compiled.fullmatch(sample):
            return f"{pattern!r} would take names, such as {sample}"
    return None

"""Everything that may be done to the patient or go wrong with the circuit while time passes."""

from __future__ import annotations

from dataclasses import dataclass, fields

RHYTHMS = ("sinus", "pvc", "af", "vt", "vf", "asystole")
LINES = ("ok", "flush", "zeroing", "disconnected", "damped")


@dataclass(slots=True)
class Conditions:
    """What holds now. Factors multiply what the phenotype or the circuit has; each may be set at any time.

    Attributes:
        rpm: Pump speed.
        clamped: The circuit is clamped.
        contractility: Factor of the left ventricle's elastance.
        resistance: Factor of the systemic resistance.
        stiffness: Factor of the ventricles' passive pressure, as in tamponade.
        heart_rate: Beats a minute; 0 leaves the phenotype's.
        rhythm: One of `RHYTHMS`.
        variability: Beat-to-beat variation, standard deviation as a part of the whole.
        respiration: Swing of the thoracic pressure, mmHg, of a ventilated patient.
        breaths: Breaths a minute.
        volume: Blood given (or lost, negative) so far, mL.
        collapsible: The vein around the drainage cannula can collapse: suction and chatter.
        oxygenator: Factor of the membrane's resistance: clotting.
        return_cannula: Factor of its resistance: a kink.
        drainage_cannula: Factor of its resistance.
        balloon: Rise of the arterial pressure in diastole by an intra-aortic balloon, mmHg.
        line: State of the arterial line, one of `LINES`; it changes what is shown and not the patient.
        sweep: Gas flow, L/min.
        fdo2: Oxygen in it, %.
    """

    rpm: float = 3000.0
    clamped: bool = False
    contractility: float = 1.0
    resistance: float = 1.0
    stiffness: float = 1.0
    heart_rate: float = 0.0
    rhythm: str = "sinus"
    variability: float = 0.0
    respiration: float = 0.0
    breaths: float = 14.0
    volume: float = 0.0
    collapsible: bool = False
    oxygenator: float = 1.0
    return_cannula: float = 1.0
    drainage_cannula: float = 1.0
    balloon: float = 0.0
    line: str = "ok"
    sweep: float = 3.0
    fdo2: float = 60.0


NUMBERS = frozenset(field.name for field in fields(Conditions) if field.type == "float")
SWITCHES = frozenset(field.name for field in fields(Conditions) if field.type == "bool")
WORDS = {"rhythm": RHYTHMS, "line": LINES}
POSITIVE = frozenset(
    {
        "contractility",
        "resistance",
        "stiffness",
        "oxygenator",
        "return_cannula",
        "drainage_cannula",
        "breaths",
    }
)
"""What must be above zero; of the other numbers all but `volume` must not be below it."""

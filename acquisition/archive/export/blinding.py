"""What would tell who is blinded which drug a subject got, and is left out unless a role asks (CLINICAL.md 6.2)."""

from __future__ import annotations

import re

CHANNELS = frozenset({"study_drug_rate", "inf_rate"})
"""The rate of a pump shows the steps of the study drug's scheme even without its name."""
_WORDS = re.compile(r"levosimendan|simdax|placebo|study[ _-]?drug|inf_rate|treatment arm|unblind", re.IGNORECASE)


def tells(text: str) -> bool:
    """Whether a text speaks of the study drug."""
    return _WORDS.search(text) is not None

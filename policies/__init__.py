"""The policy pack: what may never be merged. Its rules are pure and run under the Pulumi CLI, the embedded engine and the review alike.

Does: hold every rule with its id, level and words (`RULES`). Does not: know operations and old states (the review does), ask a vendor, or
read anything but what an engine would register and the files that it was registered from.
"""

from __future__ import annotations

from typing import Final

from policies.rules import ceilings, exposure, gates, images, marks, naming, protection, secrets, sizes
from rowhouse.spec.policy import Rule

__all__ = ["RULES"]

RULES: Final[tuple[Rule, ...]] = (
    *exposure.RULES,
    *gates.RULES,
    *images.RULES,
    *sizes.RULES,
    *protection.RULES,
    *secrets.RULES,
    *marks.RULES,
    *naming.RULES,
    *ceilings.RULES,
)
"""Every rule, by subject."""

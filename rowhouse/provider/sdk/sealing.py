"""Literal secrets of a program become Pulumi secrets before anything else sees them."""

from __future__ import annotations

from collections.abc import Mapping

import pulumi

__all__ = ["sealed"]


def sealed(values: Mapping[str, pulumi.Input[str]]) -> dict[str, pulumi.Input[str]]:
    """The values with every literal made secret; references say only where a secret is, and stay readable in a preview."""

    def seal(value: pulumi.Input[str]) -> pulumi.Input[str]:
        if isinstance(value, str) and value.startswith(("env:", "file:")):
            return value
        return pulumi.Output.secret(value)

    return {name: seal(value) for name, value in values.items()}

"""What runs is what was reviewed: images by their digest, from registries that the project trusts."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from policies.rules import kinds
from policies.rules.reading import LATER, is_unknown, known_text, said
from rowhouse.spec.fields import IMAGE_BY_DIGEST
from rowhouse.spec.guardrails import FILE
from rowhouse.spec.policy import Facts, Resource, ResourceRule
from rowhouse.spec.problem import listed
from rowhouse.spec.slug import show

__all__ = ["RULES"]


def _digest(resource: Resource, facts: Facts) -> Iterator[str]:
    del facts
    image = said(resource, "image")
    if image is None:
        yield "image is missing; it must be <name>@sha256:<64 hexadecimal digits>."
    elif is_unknown(image):
        yield f"image {LATER}."
    elif not isinstance(image, str) or IMAGE_BY_DIGEST.fullmatch(image) is None:
        yield f"image is {show(image)}; it must be <name>@sha256:<64 hexadecimal digits>."


def _registry(resource: Resource, facts: Facts) -> Iterator[str]:
    allowed = facts.guardrails.registries
    image = known_text(resource, "image")
    if not allowed:
        return
    if image is None:
        yield f"image is missing or not known; it must come from {listed(allowed)}."
    elif not any(image.startswith(f"{registry.rstrip('/')}/") for registry in allowed):
        yield f"image {show(image)} is from no allowed registry. Allowed: {listed(allowed)}."


RULES: Final = (
    ResourceRule(
        id="image.digest",
        level="mandatory",
        wants="An image is named by its digest.",
        why="A tag can be moved: what a machine runs after its next start would be reviewed by nobody.",
        mend="Write the image with its digest in the app's file; `docker buildx imagetools inspect` shows it.",
        types=frozenset({kinds.FLY_MACHINE}),
        check=_digest,
    ),
    ResourceRule(
        id="image.registry",
        level="mandatory",
        wants="An image comes from a registry that the project's settings allow; where they name none, from any.",
        why="Whoever can publish an image that customers' machines run can read customers' data.",
        mend=f"Use an image of an allowed registry, or add the registry to `registries` in {FILE} in a change of its own.",
        types=frozenset({kinds.FLY_MACHINE}),
        check=_registry,
    ),
)

"""Every vendor call failing once, in every way: the run repairs itself or says what failed, and the next one ends where all end."""

from collections.abc import Callable

import pytest

from tests.end_to_end.faulting import KINDS, apply_spoiled, destroy_spoiled, spread
from tests.end_to_end.killing import DESTROY_CALLS, UP_CALLS

STEP = 6  # one call of six is spoiled in `make test`
# A vendor in another state than it said, and one that answers with what was: seen each time; all kinds in `make test-long`.
OFTEN = {"error_after", "stale"}
TURNS = [pytest.param(kind, turn, marks=() if kind in OFTEN else pytest.mark.long) for turn, kind in enumerate(KINDS)]


@pytest.mark.parametrize(("kind", "turn"), TURNS)
def test_an_apply_with_spoiled_calls_converges(play: Callable[..., None], undisturbed: dict[str, object], kind: str, turn: int):
    play(lambda made: apply_spoiled(made, undisturbed, kind, spread(UP_CALLS, STEP, turn)))


# One after which the vendor has done what it does not say: the others are the apply's business, and all are `make test-long`'s.
@pytest.mark.long
@pytest.mark.parametrize(("kind", "turn"), [(kind, turn) for turn, kind in enumerate(KINDS) if kind == "drop_after"])
def test_a_destroy_with_spoiled_calls_converges(play: Callable[..., None], undisturbed: dict[str, object], kind: str, turn: int):
    play(lambda made: destroy_spoiled(made, undisturbed, kind, spread(DESTROY_CALLS, STEP, turn)))


@pytest.mark.long
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("number", range(UP_CALLS))
def test_an_apply_with_any_call_spoiled_converges(play: Callable[..., None], undisturbed: dict[str, object], kind: str, number: int):
    play(lambda made: apply_spoiled(made, undisturbed, kind, frozenset({number})))


@pytest.mark.long
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("number", range(DESTROY_CALLS))
def test_a_destroy_with_any_call_spoiled_converges(play: Callable[..., None], undisturbed: dict[str, object], kind: str, number: int):
    play(lambda made: destroy_spoiled(made, undisturbed, kind, frozenset({number})))

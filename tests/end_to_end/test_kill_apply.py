"""An apply killed at any vendor call; see `killing`."""

from collections.abc import Callable

import pytest

from tests.end_to_end.killing import UP_CALLS, apply_killed, rest, short

SHORT = short(UP_CALLS, 2)


def test_no_call_is_left_unvisited(undisturbed: dict[str, object]):
    assert undisturbed["up calls"] <= UP_CALLS  # type: ignore[operator]


@pytest.mark.parametrize(("number", "moment", "victim"), SHORT)
def test_an_apply_killed_at_a_call_converges(
    play: Callable[..., None], undisturbed: dict[str, object], number: int, moment: str, victim: str
):
    play(lambda made: apply_killed(made, undisturbed, number, moment, victim))


@pytest.mark.long
@pytest.mark.parametrize(("number", "moment", "victim"), rest(UP_CALLS, SHORT))
def test_an_apply_killed_at_any_call_converges(
    play: Callable[..., None], undisturbed: dict[str, object], number: int, moment: str, victim: str
):
    play(lambda made: apply_killed(made, undisturbed, number, moment, victim))

"""A destroy killed at any vendor call; see `killing`."""

from collections.abc import Callable

import pytest

from tests.end_to_end.killing import DESTROY_CALLS, destroy_killed, rest, short

SHORT = short(DESTROY_CALLS, 3)


def test_no_call_is_left_unvisited(undisturbed: dict[str, object]):
    assert undisturbed["destroy calls"] <= DESTROY_CALLS  # type: ignore[operator]


@pytest.mark.parametrize(("number", "moment", "victim"), SHORT)
def test_an_destroy_killed_at_a_call_converges(
    play: Callable[..., None], undisturbed: dict[str, object], number: int, moment: str, victim: str
):
    play(lambda made: destroy_killed(made, undisturbed, number, moment, victim))


@pytest.mark.long
@pytest.mark.parametrize(("number", "moment", "victim"), rest(DESTROY_CALLS, SHORT))
def test_an_destroy_killed_at_any_call_converges(
    play: Callable[..., None], undisturbed: dict[str, object], number: int, moment: str, victim: str
):
    play(lambda made: destroy_killed(made, undisturbed, number, moment, victim))

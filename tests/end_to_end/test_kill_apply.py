"""An apply killed at any vendor call; see `killing`."""

from collections.abc import Callable

import pytest

from tests.end_to_end.killing import apply_killed, none_unvisited, rest, short

SHORT = short("up", 17)


def test_no_call_is_left_unvisited(undisturbed: dict[str, object]):
    none_unvisited("up", undisturbed)


@pytest.mark.parametrize(("number", "moment", "victim"), SHORT)
def test_an_apply_killed_at_a_call_converges(
    play: Callable[..., None], undisturbed: dict[str, object], number: int, moment: str, victim: str
):
    play(lambda made: apply_killed(made, undisturbed, number, moment, victim))


@pytest.mark.long
@pytest.mark.parametrize(("number", "moment", "victim"), rest("up", SHORT))
def test_an_apply_killed_at_any_call_converges(
    play: Callable[..., None], undisturbed: dict[str, object], number: int, moment: str, victim: str
):
    play(lambda made: apply_killed(made, undisturbed, number, moment, victim))

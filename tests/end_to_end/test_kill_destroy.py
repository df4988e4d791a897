"""A destroy killed at any vendor call; see `killing`."""

from collections.abc import Callable

import pytest

from tests.end_to_end.killing import destroy_killed, none_unvisited, rest, short

SHORT = short("destroy", 25)


@pytest.mark.long
def test_no_call_is_left_unvisited(undisturbed: dict[str, object]):
    none_unvisited("destroy", undisturbed)


@pytest.mark.long
@pytest.mark.parametrize(("number", "moment", "victim"), SHORT)
def test_an_destroy_killed_at_a_call_converges(
    play: Callable[..., None], undisturbed: dict[str, object], number: int, moment: str, victim: str
):
    play(lambda made: destroy_killed(made, undisturbed, number, moment, victim))


@pytest.mark.long
@pytest.mark.parametrize(("number", "moment", "victim"), rest("destroy", SHORT))
def test_an_destroy_killed_at_any_call_converges(
    play: Callable[..., None], undisturbed: dict[str, object], number: int, moment: str, victim: str
):
    play(lambda made: destroy_killed(made, undisturbed, number, moment, victim))

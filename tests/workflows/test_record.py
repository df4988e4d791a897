"""What is to be applied and who waits, as laws over made-up histories."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from rowhouse.cli.ci_cells import JOBS_MAX, lanes, matrix
from rowhouse.cli.ci_record import Between, Standing, cells_to_apply, pending_tenants

CELLS = ("main", "two", "three")
TENANTS = {f"{cell}-{number}": cell for cell in CELLS for number in range(3)}
# A history is a list of merges, each a set of tenants; commit n is the state after merge n.
HISTORIES = st.lists(st.sets(st.sampled_from(sorted(TENANTS)), max_size=4), min_size=1, max_size=6)


def sha(number: int) -> str:
    return f"{number:040x}"


def between_of(history: list[set[str]]):
    def between(start: str, end: str) -> Between:
        tenants = set().union(*history[int(start, 16) : int(end, 16)])
        return Between(frozenset(TENANTS[tenant] for tenant in tenants), frozenset(tenants))

    return between


@given(HISTORIES, st.data())
def test_who_waits_is_exactly_who_is_merged_beyond_what_is_applied(history: list[set[str]], data: st.DataObject):
    tip = len(history)
    applied = {cell: data.draw(st.integers(0, tip)) for cell in CELLS}
    standings = {cell: Standing(cell, sha(at)) for cell, at in applied.items()}
    wanted = {tenant for number, merge in enumerate(history) for tenant in merge if applied[TENANTS[tenant]] <= number}
    assert pending_tenants(standings, sha(tip), TENANTS, between_of(history)) == wanted
    assert set(cells_to_apply(CELLS, standings, sha(tip), between_of(history))) == {TENANTS[tenant] for tenant in wanted}


@given(HISTORIES, st.data())
def test_an_attempt_with_known_failures_lets_all_others_of_it_go(history: list[set[str]], data: st.DataObject):
    tip = len(history)
    start = data.draw(st.integers(0, tip - 1))
    attempt = data.draw(st.integers(start + 1, tip))
    mine = sorted(tenant for tenant, cell in TENANTS.items() if cell == "main")
    failed = data.draw(st.sets(st.sampled_from(mine), min_size=1))
    standings = {"main": Standing("main", sha(start), sha(attempt), frozenset(failed))}
    later = {tenant for merge in history[attempt:] for tenant in merge if TENANTS[tenant] == "main"}
    assert pending_tenants(standings, sha(tip), TENANTS, between_of(history)) == failed | later


@given(HISTORIES, st.data())
def test_knowing_less_never_lets_anybody_go(history: list[set[str]], data: st.DataObject):
    tip = len(history)
    start = data.draw(st.integers(0, tip - 1))
    attempt = data.draw(st.integers(start + 1, tip))
    tried = sorted(tenant for merge in history[start:attempt] for tenant in merge if TENANTS[tenant] == "main")
    failed = frozenset(data.draw(st.sets(st.sampled_from(tried)))) if tried else frozenset()
    known = {"main": Standing("main", sha(start), sha(attempt), failed)}
    unknown = {"main": Standing("main", sha(start), sha(attempt), None)}
    nothing = {"main": Standing("main", "")}
    waits = [pending_tenants(each, sha(tip), TENANTS, between_of(history)) for each in (known, unknown, nothing)]
    assert waits[0] <= waits[1] <= waits[2] == {tenant for tenant, cell in TENANTS.items() if cell == "main"}


def test_a_tenant_that_is_in_no_file_any_more_waits_for_whichever_cell_it_was_in():
    gone = Between(frozenset({"two"}), frozenset({"gone"}))
    standings = {"main": Standing("main", sha(1)), "two": Standing("two", sha(0))}
    assert pending_tenants(standings, sha(1), TENANTS, lambda _start, _end: gone) == {"gone"}


@given(st.sets(st.from_regex(r"[a-z][a-z0-9]{0,8}", fullmatch=True), min_size=1, max_size=600), st.data())
def test_every_chosen_cell_is_in_one_lane_which_depends_on_no_other_choice(known: set[str], data: st.DataObject):
    chosen = data.draw(st.sets(st.sampled_from(sorted(known))))
    found = lanes(chosen, known)
    assert sorted(cell for cells in found.values() for cell in cells) == sorted(chosen)
    assert len(found) <= JOBS_MAX
    whole = lanes(known, known)
    assert all(set(cells) <= set(whole[lane]) for lane, cells in found.items())


def test_a_project_of_many_cells_still_fits_into_a_matrix_and_an_output():
    known = [f"cell-{number}" for number in range(5000)]
    text = matrix(lanes(known, known))
    entries = json.loads(text)["include"]
    assert len(entries) == JOBS_MAX
    assert sum(len(entry["cells"].split()) for entry in entries) == len(known)
    assert "\n" not in text
    assert len(text) < 1_000_000

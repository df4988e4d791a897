"""One new tenant costs few calls, and few of them wait for each other."""

from collections.abc import Callable

import pytest

from rowhouse.localcloud.kernel import Entry, Fault
from tests.end_to_end.calling import calls_of, chain_of, is_once_a_run
from tests.end_to_end.world import World

CALLS = 14
CHAIN = 8
DELTA = "owner: {name: Delta GmbH, email: ops@delta.example}\nplan: shop/paid\n"


def entry(number: int, began_s: float, ended_s: float, path: str = "/v1/apps", vendor: str = "fly", method: str = "POST") -> Entry:
    return Entry(number, "", vendor, method, path, "", "", began_s=began_s, ended_s=ended_s)


def test_a_new_tenant_of_a_running_fleet_costs_few_calls(play: Callable[..., None]):
    async def scene(made: World) -> None:
        assert (ran := await made.up()).code == 0, ran.failed()
        made.write("tenants/delta.yaml", DELTA)
        made.cloud.journal.clear()
        ran = await made.up()
        assert ran.code == 0, ran.failed()
        assert {change["tenant"] for change in ran.document["changes"]} <= {"delta", None}
        calls = calls_of(made.cloud.journal.entries)
        assert len(calls.own) <= CALLS, "\n".join(calls.document()["asked"])
        # Lists are made once a run: as many as for a run with nothing to do, and the policies' and applications' once at most.
        asked = [one.path + one.query for one in calls.shared]
        assert len(asked) <= 7, asked

    play(scene)


@pytest.mark.long
def test_few_calls_of_a_new_tenant_wait_for_each_other(play: Callable[..., None]):
    async def scene(made: World) -> None:
        assert (ran := await made.up()).code == 0, ran.failed()
        made.write("tenants/delta.yaml", DELTA)
        made.cloud.journal.clear()
        # Every answer takes a quarter of a second, so that calls which do not wait for each other overlap.
        made.cloud.faults.add(slow := Fault("slow", value=0.25, times=-1))
        ran = await made.up()
        assert ran.code == 0, ran.failed()
        assert slow.hits == len(made.cloud.journal.entries)
        chain = calls_of(made.cloud.journal.entries).chain
        assert len(chain) <= CHAIN, "\n".join(f"{one.vendor} {one.method} {one.path}" for one in chain)
        assert len(chain) > 3

    play(scene)


def test_a_chain_is_the_longest_path_of_calls_that_follow_each_other():
    side = [entry(1, 0.0, 1.0), entry(2, 0.1, 0.9)]
    after = [entry(3, 1.0, 2.0), entry(4, 2.5, 3.0)]
    assert [one.number for one in chain_of([*after, *side])] == [1, 3, 4]
    assert chain_of([]) == ()
    assert len(chain_of([entry(1, 0.0, 1.0), entry(2, 0.99, 2.0)])) == 1


def test_only_lists_and_the_token_count_as_once_a_run():
    lists = "/client/v4/accounts/1/access/policies"
    assert is_once_a_run(entry(1, 0, 1, lists, "cloudflare", "GET"))
    assert is_once_a_run(entry(1, 0, 1, "/client/v4/accounts/1/cfd_tunnel/0a-1b/token", "cloudflare", "GET"))
    assert not is_once_a_run(entry(1, 0, 1, lists, "cloudflare", "POST"))
    assert not is_once_a_run(entry(1, 0, 1, f"{lists}/7", "cloudflare", "GET"))
    assert not is_once_a_run(entry(1, 0, 1, "/v1/customers", "stripe", "GET"))

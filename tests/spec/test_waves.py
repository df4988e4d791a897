"""Who takes a new image when."""

from hypothesis import given
from hypothesis import strategies as st

from rowhouse.spec.guardrails import Rollout
from rowhouse.spec.waves import waves_of

names = st.integers(0, 400).map(lambda count: [f"t{number}" for number in range(count)])
percents = st.lists(st.integers(1, 99), max_size=4, unique=True).map(lambda found: [*sorted(found), 100])


@given(names, percents, st.data())
def test_everybody_is_in_exactly_one_wave_and_none_is_empty(tenants: list[str], waves_percent: list[int], data: st.DataObject):
    asleep = data.draw(st.sets(st.sampled_from(tenants))) if tenants else set()
    canary = data.draw(st.lists(st.sampled_from(tenants), unique=True, max_size=3)) if tenants else []
    waves = waves_of(dict.fromkeys(tenants, "i"), asleep, Rollout(canary=canary, waves_percent=waves_percent))
    assert sorted(tenant for wave in waves for tenant in wave) == sorted(tenants)
    assert all(waves)
    awake = [tenant for tenant in canary if tenant not in asleep]
    if awake:
        assert list(waves[0])[: len(awake)] == awake
    for wave in waves[:-1]:
        assert not asleep & set(wave), "who sleeps proves nothing, and comes last"


def test_shares_are_of_those_who_are_no_canaries():
    waves = waves_of({f"t{number}": "i" for number in range(1001)}, (), Rollout(canary=["t5"], waves_percent=[1, 10, 100]))
    assert [len(wave) for wave in waves] == [1, 10, 90, 900]


def test_a_share_of_few_is_one_at_least():
    assert [len(wave) for wave in waves_of(dict.fromkeys("abc", "i"), (), Rollout())] == [1, 1, 1]
    assert [len(wave) for wave in waves_of(dict.fromkeys("ab", "i"), (), Rollout())] == [1, 1]
    assert [len(wave) for wave in waves_of({"a": "i"}, (), Rollout())] == [1]


def test_the_same_image_goes_first_to_the_same_tenants_and_another_one_to_others():
    tenants = [f"t{number}" for number in range(500)]
    firsts = {image: waves_of(dict.fromkeys(tenants, image), (), Rollout())[0] for image in ("one", "two", "three")}
    assert waves_of(dict.fromkeys(reversed(tenants), "one"), (), Rollout())[0] == firsts["one"]
    assert len({frozenset(first) for first in firsts.values()}) == 3


def test_a_canary_that_gets_no_new_image_is_no_canary():
    assert waves_of({"a": "i"}, (), Rollout(canary=["b"])) == [("a",)]

"""Whatever stands in a file, reading it ends in a fleet or in problems, never in an exception, and twice in the same ones."""

import json
import tempfile
from decimal import Decimal
from pathlib import Path

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rowhouse.spec import read_fleet
from rowhouse.spec.files import AppFile, CatalogFile, TenantFile
from tests.spec.project import project
from tests.strategies import odd_texts, slugs

QUICK = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])


def keys_of(*models) -> list[str]:
    """Every key that stands anywhere in the models, so that generated files reach deep into them."""
    found: set[str] = set()
    for model in models:
        schema = model.model_json_schema()
        for part in [schema, *schema.get("$defs", {}).values()]:
            found |= set(part.get("properties", {}))
    return sorted(found)


KEYS = st.sampled_from([*keys_of(TenantFile, CatalogFile, AppFile), "main", "lab", "running_hours", "pro", "free", "A", "USER_NAME"])
LEAVES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-10, 10**20),
    st.floats(allow_nan=True),
    odd_texts(),
    slugs(),
    st.sampled_from(
        ["aether/pro", "notebook", "fly", "docker", "fra", "active", "purge", "env:A", "20.00", "unlimited", "second", "bill", "counter"]
    ),
)
TREES = st.recursive(LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=4), max_leaves=25)
FILES = st.dictionaries(KEYS, TREES, max_size=8)


def read(**files: bytes) -> tuple:
    with tempfile.TemporaryDirectory() as folder:
        root = project(Path(folder), **files)
        first, second = read_fleet(root), read_fleet(root)
        assert first == second
        return first


@pytest.mark.parametrize("key", ["tenants__acme", "plans__aether", "apps__notebook"])
@QUICK
@given(content=st.binary(max_size=200) | odd_texts().map(lambda text: text.encode("utf-8", "surrogatepass")))
def test_any_bytes_are_read_or_refused(key: str, content: bytes):
    _, problems = read(**{key: content})
    assert all(str(problem).isprintable() for problem in problems)


@pytest.mark.parametrize("key", ["tenants__acme", "plans__aether", "apps__notebook"])
@QUICK
@given(tree=FILES)
def test_any_mapping_is_read_or_refused(key: str, tree: dict):
    _, problems = read(**{key: yaml.safe_dump(tree, allow_unicode=False).encode()})
    assert all(str(problem).isprintable() for problem in problems)
    assert all(problem.line >= 1 and problem.column >= 1 for problem in problems)


SIZES = st.fixed_dictionaries(
    {},
    optional={
        "cpus": st.integers(1, 16),
        "memory_mb": st.integers(1, 64).map(lambda n: n * 256),
        "volume_gb": st.integers(1, 60),
        "hostname": slugs(),
    },
)


@QUICK
@given(
    instances=st.dictionaries(slugs(), SIZES, min_size=1, max_size=4),
    members=st.lists(st.tuples(slugs(), slugs()).map(lambda pair: f"{pair[0]}@{pair[1]}.example"), min_size=1, max_size=4),
)
def test_what_is_accepted_keeps_its_plans_promises(instances: dict, members: list[str]):
    tenant = {"owner": {"email": "ops@acme.example"}, "plan": "aether/pro", "instances": instances, "members": members}
    fleet, problems = read(tenants__acme=json.dumps(tenant).encode())
    held = fleet.tenant("acme")
    assert list(held.members) == list(dict.fromkeys(members))
    assert [one.name for one in held.instances] == list(instances)
    if not problems:
        assert len(held.instances) <= 3
        assert all(one.memory_mb <= 2048 and one.cpus <= 2 and one.volume_gb <= 20 for one in held.instances)
        assert all(256 * one.cpus <= one.memory_mb <= 2048 * one.cpus for one in held.instances)
        assert len({one.hostname for one in held.instances}) == len(held.instances)


@QUICK
@given(price=st.decimals(0, 9999, places=2), included=st.integers(0, 10**6), rate=st.decimals(0, 99, places=4))
def test_money_and_quantities_arrive_exactly(price: Decimal, included: int, rate: Decimal):
    catalog = {
        "title": "x",
        "app": "notebook",
        "meters": {"hours": {"kind": "running_hours", "unit": "hour", "rounding": "second"}},
        "plans": {
            "pro": {
                "title": "x",
                "price": f"{price:.2f}",
                "meters": {"hours": {"included": included, "beyond": "bill", "price": f"{rate:f}"}},
            },
        },
    }
    fleet, problems = read(plans__aether=json.dumps(catalog).encode())
    assert problems == []
    plan = fleet.plan("aether/pro")
    assert (plan.price, plan.meter("hours").included, plan.meter("hours").price) == (price, included, rate)

"""A volume with data neither moves nor shrinks, and the file that wants it so is told where and what to write instead."""

from pathlib import Path

import pytest

from rowhouse.spec import load_fleet
from rowhouse.spec.kept import KeptVolume, unfollowed
from tests.spec.project import TENANT, project


def told(root: Path, tenant: str, **kept: KeptVolume) -> list[str]:
    """Every problem of Acme's file as a person reads it, given the volumes that it has."""
    fleet = load_fleet(project(root, tenants__acme=tenant) or root)
    found = unfollowed(fleet, fleet.tenant("acme"), kept)
    return [f"{name}: {problem}" for name, problems in found.items() for problem in problems]


@pytest.mark.parametrize(
    ("instances", "kept"),
    [
        ("", KeptVolume("fra", 1)),
        ("instances: {main: {region: ams, volume_gb: 5}}\n", KeptVolume("ams", 5)),
        ("instances: {main: {volume_gb: 5}}\n", KeptVolume("fra", 1)),
    ],
    ids=["as it is", "as it is said", "larger"],
)
def test_what_stays_or_grows_is_no_problem(tmp_path: Path, instances: str, kept: KeptVolume):
    assert told(tmp_path, TENANT + instances, main=kept) == []


def test_a_new_instance_may_be_anywhere(tmp_path: Path):
    assert told(tmp_path, TENANT + "instances: {main: {}, lab: {region: ams}}\n", main=KeptVolume("fra", 1)) == []


def test_an_edited_region_is_pointed_at_and_the_old_one_is_named(tmp_path: Path):
    [line] = told(tmp_path, TENANT + "instances:\n  main: {region: ams}\n", main=KeptVolume("fra", 1))
    assert line.startswith("main: tenants/acme.yaml:4:18: error instance.moved: instance main would move from 'fra' to 'ams', and a volume")
    assert "Write `instances: {main: {region: fra}}` to stay where it is, or add a new instance in 'ams'" in line
    assert line.endswith("Until then nothing of acme changes.")


def test_a_plan_that_moves_the_instance_is_pointed_at(tmp_path: Path):
    [line] = told(tmp_path, TENANT, main=KeptVolume("iad", 1))
    assert line.startswith("main: tenants/acme.yaml:2:7: error instance.moved: ")
    assert "from 'iad' to 'fra' with plan aether/pro" in line
    assert "`instances: {main: {region: iad}}`" in line


def test_a_smaller_volume_is_pointed_at(tmp_path: Path):
    [line] = told(tmp_path, TENANT + "instances: {main: {volume_gb: 2}}\n", main=KeptVolume("fra", 5))
    assert line.startswith("main: tenants/acme.yaml:3:31: error instance.shrunk: instance main's volume would shrink from 5 to 2 GB, and")
    assert "Write `instances: {main: {volume_gb: 5}}`" in line


def test_nobody_is_told_to_write_what_the_plan_forbids(tmp_path: Path):
    [line] = told(tmp_path, TENANT, main=KeptVolume("fra", 30))
    assert "Plan aether/pro allows 20 GB: take one that allows 30 GB, or" in line
    assert "Write" not in line


def test_all_of_a_tenant_is_told_at_once(tmp_path: Path):
    lines = told(tmp_path, TENANT + "instances: {main: {}, lab: {}}\n", main=KeptVolume("iad", 9), lab=KeptVolume("ams", 1))
    assert [line.split(": ")[2].split()[1] for line in lines] == ["instance.moved", "instance.shrunk", "instance.moved"]

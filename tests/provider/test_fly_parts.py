"""Apps, volumes and secrets: whose name it is, what may never be lost, what may never be shown."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from rowhouse.provider.references import fingerprint, matches, resolve
from rowhouse.wire.contract import Refused
from rowhouse.wire.values import UNKNOWN, Secret
from tests.provider.hosts import Host, engine_on, fly_vendor, run
from tests.provider.support import Failed
from tests.provider.test_fly_whole import APP, SECRETS, VOLUME

APP_KIND, VOLUME_KIND, SECRETS_KIND = "rowhouse:fly:App", "rowhouse:fly:Volume", "rowhouse:fly:Secrets"


def test_a_name_of_another_organisation_is_refused(tmp_path: Path) -> None:
    async def body() -> None:
        async with fly_vendor(tmp_path) as vendor, engine_on(Host(vendor.app)) as engine:
            vendor.foreign_names.add("acme-1")
            vendor.apps.clear()
            with pytest.raises(Failed, match="taken by another organisation") as caught:
                await engine.up(APP_KIND, "app", APP)
            assert caught.value.code == "FAILED_PRECONDITION"

    run(body)


def test_an_app_of_ours_in_another_network_is_not_taken_over(tmp_path: Path) -> None:
    async def body() -> None:
        async with fly_vendor(tmp_path) as vendor:
            async with engine_on(Host(vendor.app)) as engine:
                await engine.up(APP_KIND, "app", {**APP, "network": "somebody"})
            async with engine_on(Host(vendor.app)) as engine:
                with pytest.raises(Failed, match="was not made for app"):
                    await engine.up(APP_KIND, "app", APP)

    run(body)


def test_a_new_app_that_fly_does_not_know_everywhere_yet_is_waited_for(tmp_path: Path) -> None:
    async def body() -> None:
        async with fly_vendor(tmp_path) as vendor:
            for status in (404, 401):
                vendor.create_window_s, vendor.create_window_status = 0.3, status
                host = Host(vendor.app)
                async with engine_on(host) as engine:
                    name = f"acme-{status}"
                    await engine.up(APP_KIND, "app", {**APP, "name": name})
                    await engine.up(VOLUME_KIND, "volume", {**VOLUME, "app": name})
                    assert host.calls.count(f"POST /v1/apps/{name}/volumes") > 1
                assert len(vendor.apps[name].volumes) == 1

    run(body)


def test_an_app_whose_maker_was_killed_in_its_first_minute_is_adopted_all_the_same(tmp_path: Path) -> None:
    async def body() -> None:
        async with fly_vendor(tmp_path) as vendor:
            vendor.create_window_s = 0.3
            async with engine_on(Host(vendor.app)) as engine:
                await engine.up(APP_KIND, "app", APP)
            async with engine_on(Host(vendor.app)) as engine:
                await engine.up(APP_KIND, "app", APP)
                assert engine.resources["app"].id == "acme-1"

    run(body)


@pytest.mark.parametrize(
    ("change", "where"),
    [
        ({"region": "ams"}, "region"),
        ({"name": "other"}, "name"),
        ({"encrypted": False}, "encrypted"),
        ({"sizeGb": 1}, "sizeGb"),
        ({"app": "acme-2"}, "app"),
        ({"app": UNKNOWN}, "app"),
    ],
)
def test_a_volume_is_never_replaced(change: dict[str, Any], where: str) -> None:
    async def body() -> None:
        async with engine_on(Host(None)) as engine:
            old, _ = await engine.check(VOLUME_KIND, "v", {**VOLUME, "sizeGb": 2})
            _, failures = await engine.check(VOLUME_KIND, "v", {**VOLUME, "sizeGb": 2, **change}, old)
            assert list(failures) == [where]
            assert "never replaced" in failures[where]
            assert "state: offboarding" in failures[where]

    run(body)


def test_a_volume_grows_in_place_and_keeps_its_id(tmp_path: Path) -> None:
    async def body() -> None:
        async with fly_vendor(tmp_path) as vendor, engine_on(Host(vendor.app)) as engine:
            await engine.up(APP_KIND, "app", APP)
            await engine.up(VOLUME_KIND, "v", VOLUME)
            first = engine.resources["v"].id
            assert await engine.up(VOLUME_KIND, "v", {**VOLUME, "sizeGb": 3, "snapshotRetention": 9}) == "update"
            (volume,) = vendor.apps["acme-1"].volumes.values()
            assert (engine.resources["v"].id, volume.size_gb, volume.snapshot_retention) == (first, 3, 9)

    run(body)


def test_a_left_over_volume_with_other_properties_is_not_taken_and_not_doubled(tmp_path: Path) -> None:
    async def body() -> None:
        async with fly_vendor(tmp_path) as vendor:
            async with engine_on(Host(vendor.app)) as engine:
                await engine.up(APP_KIND, "app", APP)
                await engine.up(VOLUME_KIND, "v", {**VOLUME, "sizeGb": 5})
            async with engine_on(Host(vendor.app)) as engine:
                with pytest.raises(Failed, match="5 GB instead of 1, and it may hold data"):
                    await engine.up(VOLUME_KIND, "v", VOLUME)
            assert len(vendor.apps["acme-1"].volumes) == 1

    run(body)


def test_a_left_over_volume_that_is_too_small_is_adopted_and_grown(tmp_path: Path) -> None:
    async def body() -> None:
        async with fly_vendor(tmp_path) as vendor:
            async with engine_on(Host(vendor.app)) as engine:
                await engine.up(APP_KIND, "app", APP)
                await engine.up(VOLUME_KIND, "v", VOLUME)
            async with engine_on(Host(vendor.app)) as engine:
                await engine.up(VOLUME_KIND, "v", {**VOLUME, "sizeGb": 4})
            assert [v.size_gb for v in vendor.apps["acme-1"].volumes.values()] == [4]

    run(body)


def test_secrets_are_set_changed_and_unset_and_the_value_is_nowhere(tmp_path: Path) -> None:
    first, second = "s3cret-value-one", "s3cret-value-two"

    async def body() -> None:
        async with fly_vendor(tmp_path) as vendor:
            host, state = Host(vendor.app), {}
            async with engine_on(host, state, ACME_KEY=first) as engine:
                await engine.up(APP_KIND, "app", APP)
                assert await engine.up(SECRETS_KIND, "s", SECRETS) == "create"
                outputs = engine.resources["s"].outputs
                assert isinstance(outputs["fingerprint"], Secret)
                assert isinstance(outputs["values"], Secret)
                assert first not in json.dumps(outputs, default=lambda value: value.value)
                assert await engine.up(SECRETS_KIND, "s", SECRETS) == "same"
            async with engine_on(host, state, ACME_KEY=second) as engine:
                diff = await engine.diff(engine.resources["s"], SECRETS)
                assert list(diff.detailedDiff) == ["values.API_KEY"]
                assert await engine.up(SECRETS_KIND, "s", SECRETS) == "update"
                assert engine.resources["s"].outputs["version"] == 2
            async with engine_on(host, state) as engine:  # an offline review: nothing can be resolved, nothing differs
                assert (await engine.diff(engine.resources["s"], SECRETS)).changes == 1
                await engine.up(SECRETS_KIND, "s", {**SECRETS, "values": {"OTHER": "a-literal-secret"}})
                assert sorted(vendor.apps["acme-1"].secrets) == ["OTHER"]

    run(body)


def test_a_secret_that_somebody_removed_at_fly_is_set_again(tmp_path: Path) -> None:
    async def body() -> None:
        async with fly_vendor(tmp_path) as vendor, engine_on(Host(vendor.app), ACME_KEY="v") as engine:
            await engine.up(APP_KIND, "app", APP)
            await engine.up(SECRETS_KIND, "s", SECRETS)
            vendor.apps["acme-1"].secrets.clear()
            await engine.refresh("s")
            assert await engine.up(SECRETS_KIND, "s", SECRETS) == "update"
            assert sorted(vendor.apps["acme-1"].secrets) == ["API_KEY"]

    run(body)


def test_a_reference_that_is_not_set_is_named_and_nothing_is_sent(tmp_path: Path) -> None:
    async def body() -> None:
        async with fly_vendor(tmp_path) as vendor, engine_on(Host(vendor.app)) as engine:
            await engine.up(APP_KIND, "app", APP)
            with pytest.raises(Failed, match="the secret API_KEY is env:ACME_KEY, but ACME_KEY is not set"):
                await engine.up(SECRETS_KIND, "s", SECRETS)

    run(body)


def test_a_literal_secret_is_in_no_message() -> None:
    async def body() -> None:
        async with engine_on(Host(None)) as engine:
            _, failures = await engine.check(SECRETS_KIND, "s", {"app": "a", "values": {"bad-name": "pl4nted-literal"}})
            assert "pl4nted-literal" not in str(failures)
            _, failures = await engine.check(SECRETS_KIND, "s", {"app": "a", "values": {"A": ""}})
            assert "must be a text" in failures["values"]

    run(body)


def test_references_resolve_from_environment_and_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "Pulumi.yaml").write_text("name: x\n")
    (tmp_path / "key.txt").write_text("abc\n")
    (tmp_path / "stacks").mkdir()
    monkeypatch.chdir(tmp_path / "stacks")
    assert resolve("A", "env:X", {"X": "1"}) == "1"
    assert resolve("A", "file:key.txt", {}) == "abc"
    assert resolve("A", "literal", {}) == "literal"
    for wrong in ("env:NOPE", "file:nope.txt", "file:stacks"):
        with pytest.raises(Refused, match="the secret A is"):
            resolve("A", wrong, {})


def test_a_fingerprint_tells_a_change_and_nothing_else() -> None:
    known = fingerprint("value")
    assert matches("value", known)
    assert not matches("Value", known)
    assert fingerprint("value") != known
    assert not matches("value", "not-hex$00")


def test_an_app_with_a_volume_in_it_is_not_deleted_because_fly_would_delete_the_data(tmp_path: Path) -> None:
    async def body() -> None:
        async with fly_vendor(tmp_path) as vendor, engine_on(Host(vendor.app)) as engine:
            await engine.up(APP_KIND, "app", APP)
            await engine.up(VOLUME_KIND, "v", VOLUME)
            with pytest.raises(Failed, match="would delete that data"):
                await engine.up(APP_KIND, "app", {**APP, "network": "elsewhere"})
            assert len(vendor.apps["acme-1"].volumes) == 1
            await engine.delete("v")
            await engine.delete("app")
            assert vendor.apps == {}

    run(body)

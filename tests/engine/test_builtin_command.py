"""The built-in `command:local:Command`, and the built-in providers as plugins of the real CLI."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path
from typing import Any

import pytest

from rowhouse import engine
from rowhouse.localcloud.cloud import LocalCloud
from tests.engine.support import Sandbox, has_cli, sandbox


@pytest.fixture
def box(tmp_path: Path) -> Sandbox:
    return sandbox(tmp_path / "box")


def program(say: str, **more: str) -> str:
    extra = "".join(f", {key}={value!r}" for key, value in more.items())
    return f"""
        from pulumi_command import local
        made = local.Command("c", create="echo {say} $WHO >> log; echo {say}", delete="echo bye >> log", dir={"{dir}"!r},
            environment={{"WHO": "ana"}}{extra})
        pulumi.export("said", made.stdout)
    """


def lines(box: Sandbox) -> list[str]:
    return (box.root / "log").read_text().splitlines()


def up(box: Sandbox, text: str) -> engine.Result:
    return box.up(text.replace("{dir}", str(box.root)))


def test_a_command_runs_when_it_is_created_changed_and_deleted(box: Sandbox) -> None:
    result = up(box, program("hello"))
    assert result.outputs == {"said": "hello"}
    assert up(box, program("hello")).summary == {"same": 2}
    assert up(box, program("again")).outputs == {"said": "again"}
    assert up(box, program("other", update="echo updated >> log")).ok
    assert box.destroy().ok
    assert lines(box) == ["hello ana", "again ana", "updated", "bye"]


def test_a_trigger_replaces(box: Sandbox) -> None:
    up(box, program("hello").replace("environment=", "triggers=[1], environment="))
    result = up(box, program("hello").replace("environment=", "triggers=[2], environment="))
    assert [step.op for step in result.steps if step.name == "c"] == ["create-replacement", "replace", "delete-replaced"]
    assert lines(box) == ["hello ana", "hello ana", "bye"]


def test_a_command_that_fails_is_told_with_what_it_said(box: Sandbox) -> None:
    result = box.up('from pulumi_command import local\nlocal.Command("c", create="echo out of disk >&2; exit 3")')
    assert [failure.message for failure in result.failures] == ["the command exited with 3: out of disk"]


CLOUDFLARE = """
    import pulumi_cloudflare as cf
    account, zone = "0" * 31 + "1", "0" * 31 + "2"
    tunnel = cf.ZeroTrustTunnelCloudflared("t", account_id=account, name="cell", config_src="cloudflare")
    cf.ZeroTrustTunnelCloudflaredConfig("tc", account_id=account, tunnel_id=tunnel.id,
        config={"ingresses": [{"hostname": "*.localhost", "service": "http://localhost:1"}, {"service": "http_status:404"}]})
    policy = cf.ZeroTrustAccessPolicy("p", account_id=account, name="members", decision="allow",
        includes=[{"email": {"email": "a@b.example"}}, {"email_domain": {"domain": "c.example"}}], session_duration="24h")
    app = cf.ZeroTrustAccessApplication("a", account_id=account, name="acme", domain="acme.localhost", type="self_hosted",
        session_duration="24h", policies=[{"id": policy.id, "precedence": 1}])
    cf.DnsRecord("d", zone_id=zone, name="acme.localhost", type="CNAME", ttl=1, proxied=True,
        content=Output.concat(tunnel.id, ".cfargotunnel.com"), comment="made by a test", opts=O(depends_on=[app]))
    token = cf.get_zero_trust_tunnel_cloudflared_token_output(account_id=account, tunnel_id=tunnel.id).token
    pulumi.export("token", Output.secret(token))
    pulumi.export("aud", app.aud)
"""


def test_cloudflare_types_live_a_whole_life_without_drifting(box: Sandbox) -> None:
    box.program(CLOUDFLARE)

    async def life() -> None:
        async with LocalCloud(box.root / "cf") as cloud:
            box.env.update(cloud.env)
            project, options = box.project, box.options()
            first = await engine.up(project, "dev", options)
            assert first.ok, first.failures
            assert len(first.outputs["aud"]) == 64
            assert (await engine.refresh(project, "dev", options)).ok
            again = await engine.preview(project, "dev", options)
            assert again.summary == {"same": 6}
            lost = box.root / ".rowhouse" / "state" / "box" / "dev"
            lost.rename(box.root / "lost")
            adopted = await engine.up(project, "dev", options)
            assert adopted.ok, adopted.failures
            assert adopted.outputs["aud"] == first.outputs["aud"], "nothing is made a second time"
            assert (await engine.destroy(project, "dev", options)).ok

    asyncio.run(life())


@pytest.mark.pulumi_cli
@pytest.mark.skipif(not has_cli(), reason="pulumi is not on PATH")
def test_the_cli_uses_the_built_in_cloudflare_provider_as_a_plugin(box: Sandbox) -> None:
    shims = box.root / "shims"
    shims.mkdir()
    (shims / "pulumi-resource-cloudflare").write_text(f'#!/bin/sh\nexec "{sys.executable}" -m rowhouse.engine.builtin.cloudflare "$@"\n')
    (shims / "pulumi-resource-cloudflare").chmod(0o755)
    box.env["PATH"] = f"{shims}{os.pathsep}{box.env['PATH']}"
    box.program(CLOUDFLARE)

    async def life() -> Any:
        async with LocalCloud(box.root / "cf") as cloud:
            box.env.update(cloud.env)
            where = ("--non-interactive", "--stack", "organization/box/dev")
            await asyncio.to_thread(box.cli_init)
            await asyncio.to_thread(box.cli, "up", "-y", "--skip-preview", *where)
            await asyncio.to_thread(box.cli, "preview", "--refresh", "--expect-no-changes", *where)
            await asyncio.to_thread(box.cli, "destroy", "-y", "--skip-preview", *where)

    asyncio.run(life())

"""Planted credentials and secrets are nowhere but where they belong: not in state, files, output, process arguments or the vendors' logs.

Vendors answer with errors that repeat the credential, because some do.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import os
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field

import httpx
import psutil
import pytest

from rowhouse.localcloud.kernel import Fault
from tests.end_to_end.hunting import forms, found, found_below
from tests.end_to_end.speaking import said
from tests.end_to_end.world import Ran, World

# Long enough to be met by no accident; with the characters that each vendor allows and that encodings change.
FLY = "fm2_plantedFlyToken+with/slashes=="
CLOUDFLARE = "plantedCloudflareToken-0123456789_abcdefgh"
STRIPE = "sk_test_plantedStripeKey0123456789"
PASSPHRASE = 'planted passphrase "with quotes" & more'
FROM_ENV = "planted app secret/from+the environment ü"
FROM_FILE = "planted app secret from a file: \\0/"
CREDENTIALS = {"FLY_API_TOKEN": FLY, "CLOUDFLARE_API_TOKEN": CLOUDFLARE, "STRIPE_API_KEY": STRIPE}
SECRETS = {**CREDENTIALS, "PULUMI_CONFIG_PASSPHRASE": PASSPHRASE, "API_KEY": FROM_ENV, "SIGNING_KEY": FROM_FILE}
SECRET_FILE = "secrets/signing-key"


@dataclass
class Heard:
    """What the outside could see of the runs."""

    output: list[tuple[str, str]] = field(default_factory=list)
    arguments: set[str] = field(default_factory=set)

    def keep(self, verb: str, ran: Ran) -> Ran:
        """Remember both streams of a run."""
        self.output += [(f"stdout of {verb}", ran.stdout), (f"stderr of {verb}", ran.stderr)]
        return ran


@contextlib.asynccontextmanager
async def watched(heard: Heard) -> AsyncIterator[None]:
    """Sample the arguments of every process below this one."""

    async def sample() -> None:
        while True:
            for process in psutil.Process(os.getpid()).children(recursive=True):
                with contextlib.suppress(psutil.Error):
                    heard.arguments.add(" ".join(process.cmdline()))
            await asyncio.sleep(0.05)

    task = asyncio.create_task(sample())
    try:
        yield
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


def planted(made: World) -> None:
    """Make the vendors take the planted credentials and no others, and give Acme two secrets."""
    made.cloud.fly.token = FLY
    made.cloud.cloudflare.add_token(CLOUDFLARE)
    made.cloud.stripe.front.api_keys = frozenset({STRIPE})
    made.extra_env |= {**CREDENTIALS, "PULUMI_CONFIG_PASSPHRASE": PASSPHRASE, "ACME_API_KEY": FROM_ENV}
    made.write(SECRET_FILE, FROM_FILE + "\n")
    acme = (made.project / "tenants/acme.yaml").read_text()
    made.write("tenants/acme.yaml", f"{acme}secrets: {{API_KEY: env:ACME_API_KEY, SIGNING_KEY: file:{SECRET_FILE}}}\n")


async def tunnel_tokens(made: World) -> dict[str, str]:
    """The tokens that open the cell's tunnels, and the secret inside of each."""
    tokens: dict[str, str] = {}
    async with httpx.AsyncClient(headers={"Authorization": f"Bearer {CLOUDFLARE}"}) as http:
        base = f"{made.cloud.env['CLOUDFLARE_BASE_URL']}/accounts/00000000000000000000000000000001/cfd_tunnel"
        for tunnel in (await http.get(base, params={"is_deleted": "false"})).json()["result"]:
            token = (await http.get(f"{base}/{tunnel['id']}/token")).json()["result"]
            tokens["tunnel token"] = token
            tokens["tunnel secret"] = json.loads(base64.b64decode(token))["s"]
    return tokens


def echo(vendor: str, text: str, *, method: str = "", path: str = "", status: int = 403, times: int = 1) -> Fault:
    """A vendor that repeats what it was given in its error."""
    said_back = f"refused: you sent Authorization: Bearer {text} (basic {base64.b64encode(text.encode()).decode()})"
    body = {
        "fly": {"error": said_back},
        "stripe": {"error": {"type": "invalid_request_error", "message": said_back}},
        "cloudflare": {"success": False, "errors": [{"code": 10000, "message": said_back}], "messages": [], "result": None},
    }[vendor]
    return Fault("error_before", vendor=vendor, method=method, path=path, status=status, times=times, body=body)  # type: ignore[arg-type]


VENDORS = {"fly": FLY, "cloudflare": CLOUDFLARE, "stripe": STRIPE}


def everywhere(made: World, secrets: dict[str, str], heard: Heard) -> list[str]:
    """Every place in which a secret was found: files, the object store, output, arguments, the vendors' own log and dump."""
    hits = found_below(secrets, made.project, leave_out=[made.project / SECRET_FILE])
    hits += found_below(secrets, made.cloud.directory / "store")
    for where, text in heard.output:
        hits += found(secrets, where, text)
    for line in sorted(heard.arguments):
        hits += found(secrets, f"the arguments of {line[:60]}", line)
    # The vendors' own log: what they answered with an error on purpose is told by the test itself, not by us.
    log = [{k: v for k, v in entry.items() if k != "response"} for entry in made.cloud.journal.dump()]
    hits += found(secrets, "the local cloud's log", json.dumps(log, ensure_ascii=False))
    return hits + found(secrets, "the vendors' dump", json.dumps(made.cloud.dump(), default=str, ensure_ascii=False))


def test_planted_secrets_are_nowhere(play: Callable[..., None]):
    async def scene(made: World) -> None:
        planted(made)
        heard = Heard()
        faults = made.cloud.faults

        async def step(verb: str, *args: str, code: int) -> None:
            ran = heard.keep(verb, await said(made, *args))
            assert ran.code == code, f"{verb}: exit {ran.code}: {ran.stdout} {ran.stderr}"
            faults.clear()

        async with watched(heard):
            for vendor, token in VENDORS.items():
                faults.add(echo(vendor, token, method="POST"))
            faults.add(echo("fly", FROM_ENV, path="/acme-main-[a-z0-9]+/secrets$"))
            await step("an apply with failures", "up", "--yes", code=1)
            faults.add(echo("fly", FROM_FILE, path="/acme-main-[a-z0-9]+/secrets$", status=422))
            heard.keep("an apply with failures as JSON", await made.up())
            faults.clear()
            await step("an apply", "up", "--yes", code=0)
            secrets = SECRETS | await tunnel_tokens(made)
            assert "tunnel token" in secrets

            await step("a preview", "preview", code=0)
            for vendor, token in VENDORS.items():
                faults.add(echo(vendor, token, method="GET", times=-1))
            await step("a refresh with failures", "refresh", code=1)
            faults.add(echo("fly", FLY, method="GET", status=401, times=-1))
            await step("a status with failures", "status", code=0)
            heard.keep("a status as JSON", await made.run("status"))
            faults.add(echo("fly", secrets["tunnel token"], path="/edge-[a-z0-9-]+/secrets$", times=-1))
            made.extra_env["ACME_API_KEY"] = FROM_ENV + " changed"
            await step("an apply of a changed secret", "up", "--yes", code=0)

            middle = everywhere(made, secrets, heard)
            for vendor, token in VENDORS.items():
                faults.add(echo(vendor, token, method="DELETE", times=-1))
            await step("a destroy with failures", "destroy", "--yes", "--delete-data", code=1)
            await step("a destroy", "destroy", "--yes", "--delete-data", code=0)
        assert middle == []
        assert everywhere(made, secrets, heard) == []
        # What was searched is what there is to search.
        assert any("rowhouse.provider" in line for line in heard.arguments)
        assert (made.project / ".rowhouse/state/rowhouse/main/checkpoint.json").stat().st_size > 0
        assert sum("refused: you sent" in text for _, text in heard.output) >= 4

    play(scene)


@pytest.mark.long
def test_an_interrupted_state_has_no_secret(play: Callable[..., None]):
    async def scene(made: World) -> None:
        planted(made)
        heard = Heard()
        async with watched(heard):
            process_fault = Fault("slow", vendor="fly", path="/machines$", value=5.0, times=-1)
            made.cloud.faults.add(process_fault)
            process = await made.start("up", "--yes")
            async with asyncio.timeout(30):
                while process_fault.hits == 0:
                    await asyncio.sleep(0.02)
            below = psutil.Process(process.pid).children(recursive=True)
            process.kill()
            out, err = await process.communicate()
            await asyncio.to_thread(psutil.wait_procs, below, timeout=10)
        heard.output += [("stdout", out.decode()), ("stderr", err.decode())]
        folder = made.project / ".rowhouse/state/rowhouse/main"
        assert b"begin" in (folder / "journal.jsonl").read_bytes()
        assert (folder / "lock").read_bytes()
        assert everywhere(made, SECRETS | await tunnel_tokens(made), heard) == []

    play(scene)


@pytest.mark.parametrize("secret", [FLY, CLOUDFLARE, STRIPE, PASSPHRASE, FROM_ENV, FROM_FILE])
def test_the_search_finds_what_is_planted(tmp_path, secret: str):
    """In every form and at every alignment, so that finding nothing means something."""
    raw = secret.encode()
    shapes = [raw, raw.hex().encode(), json.dumps(secret).encode()]
    shapes += [base64.b64encode(b"x" * before + raw + b"after") for before in range(7)]
    for number, shape in enumerate(shapes):
        (tmp_path / f"{number}.bin").write_bytes(b"before " + shape + b" after")
    assert found_below({"it": secret}, tmp_path) == sorted(f"it in {number}.bin" for number in range(len(shapes)))
    assert found({"it": secret}, "here", "nothing of the kind") == []
    assert all(len(form) > 12 for form in forms(secret))


def test_the_search_of_a_project_finds_a_token_in_its_state(play: Callable[..., None]):
    async def scene(made: World) -> None:
        planted(made)
        assert (ran := await made.up()).code == 0, ran.failed()
        checkpoint = made.project / ".rowhouse/state/rowhouse/main/checkpoint.json"
        document = checkpoint.read_text().replace('"managed-by"', json.dumps(base64.b64encode(b"a" + STRIPE.encode()).decode()), 1)
        checkpoint.write_text(document)
        assert everywhere(made, SECRETS, Heard()) == ["STRIPE_API_KEY in .rowhouse/state/rowhouse/main/checkpoint.json"]

    play(scene)

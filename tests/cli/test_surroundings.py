"""What a command refuses before anything starts."""

import json
import re
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from rowhouse.cli.app import app
from rowhouse.cli.guards import checked, refuse_vanished, stack_settings
from rowhouse.cli.surroundings import EnvironmentProblemError, find_root, surroundings
from rowhouse.spec import load_fleet
from rowhouse.spec.accounts import account_problems, is_loopback
from rowhouse.spec.settings import SETTINGS, setting_problems

ROOT = Path(__file__).resolve().parents[2]
TOKENS = {"FLY_API_TOKEN": "fm2_x", "CLOUDFLARE_API_TOKEN": "c" * 40, "STRIPE_API_KEY": "sk_test_x"}
LOOPBACK = {
    "FLY_FLAPS_BASE_URL": "http://127.0.0.1:1",
    "CLOUDFLARE_BASE_URL": "http://127.0.0.1:2/client/v4",
    "ROWHOUSE_STRIPE_BASE_URL": "http://localhost:3",
}


@pytest.fixture
def listening() -> Iterator[dict[str, str]]:
    """Base addresses at which somebody on this machine accepts connections."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield {name: f"http://127.0.0.1:{server.getsockname()[1]}" for name in LOOPBACK}


def project(folder: Path, **settings: str) -> Path:
    """A project of real accounts without any tenant; `settings` beside or instead of good ones, an empty one is left out."""
    made = {
        "zone": "example.com",
        "flyOrg": "acme",
        "accessTeam": "acme",
        "cloudflareAccountId": "9f" * 16,
        "cloudflareZoneId": "8e" * 16,
        "edgeImage": f"registry.fly.io/acme/edge@sha256:{'1' * 64}",
        "store": "s3://bucket/rowhouse",
        **settings,
    }
    for name in ("stacks", "tenants", "plans", "apps"):
        (folder / name).mkdir()
    (folder / "Pulumi.yaml").write_text("name: rowhouse\nruntime: python\n")
    lines = "".join(f"  account:{key}: {json.dumps(value)}\n" for key, value in made.items() if value)
    (folder / "stacks" / "Pulumi.main.yaml").write_text(f"config:\n{lines}")
    return folder


BUCKET = {"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b"}


def test_all_missing_tokens_are_named_in_one_error():
    with pytest.raises(EnvironmentProblemError) as error:
        surroundings(ROOT, {"FLY_API_TOKEN": "fm2_x", "STRIPE_API_KEY": " "}, engine="embedded")
    assert "2 credentials are missing" in str(error.value)
    assert "CLOUDFLARE_API_TOKEN" in str(error.value)
    assert "STRIPE_API_KEY" in str(error.value)
    assert "FLY_API_TOKEN:" not in str(error.value)


def test_a_local_cloud_that_does_not_run_is_said_at_once_and_how_to_start_it(listening: dict[str, str]):
    with socket.create_server(("127.0.0.1", 0)) as probe:
        free = f"http://127.0.0.1:{probe.getsockname()[1]}"
    with pytest.raises(EnvironmentProblemError) as error:
        surroundings(ROOT, {**TOKENS, **listening, "CLOUDFLARE_BASE_URL": free}, engine="embedded")
    assert str(error.value) == (
        f"The local cloud is not running (nothing answers at {free}); start it with `rowhouse localcloud` in another terminal."
    )


def test_the_embedded_engine_is_chosen_silently_on_loopback_only(listening: dict[str, str]):
    assert surroundings(ROOT, {**TOKENS, **listening, "PATH": ""}).engine == "embedded"
    with pytest.raises(EnvironmentProblemError, match="never chosen silently"):
        surroundings(ROOT, {**TOKENS, "PATH": ""})
    assert surroundings(ROOT, {**TOKENS, "PATH": ""}, engine="embedded").engine == "embedded"


def test_the_cli_is_chosen_where_it_is_on_path(tmp_path: Path):
    (tmp_path / "pulumi").write_text("#!/bin/sh\n")
    (tmp_path / "pulumi").chmod(0o755)
    assert surroundings(ROOT, {**TOKENS, "PATH": str(tmp_path)}).engine == "pulumi"
    with pytest.raises(EnvironmentProblemError, match="no `pulumi` on PATH"):
        surroundings(ROOT, {**TOKENS, "PATH": ""}, engine="pulumi")


@pytest.mark.parametrize("url", ["http://127.0.0.1:99999", "http://127.0.0.1:port", "http://[::1", "localhost:8080", "http://"])
def test_a_base_address_that_is_none_is_named(url: str):
    with pytest.raises(EnvironmentProblemError, match=r"FLY_FLAPS_BASE_URL is no address"):
        surroundings(ROOT, {**TOKENS, **LOOPBACK, "FLY_FLAPS_BASE_URL": url}, engine="embedded")


@pytest.mark.parametrize("left_out", sorted(LOOPBACK))
def test_a_mix_of_real_and_local_vendors_is_refused(left_out: str):
    mixed = {name: url for name, url in LOOPBACK.items() if name != left_out}
    with pytest.raises(EnvironmentProblemError, match=left_out):
        surroundings(ROOT, {**TOKENS, **mixed}, engine="embedded")


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("http://127.0.0.1:80", True),
        ("http://[::1]:80", True),
        ("http://acme.localhost:80", True),
        ("https://api.machines.dev", False),
        ("https://127.0.0.1.evil.example", False),
        ("https://localhost.evil.example", False),
        ("http://10.0.0.1", False),
    ],
)
def test_loopback_is_this_machine_and_nothing_that_only_looks_so(url: str, expected: bool):
    assert is_loopback(url) is expected


def test_a_folder_without_a_project_is_refused(tmp_path: Path):
    with pytest.raises(EnvironmentProblemError, match="no Rowhouse project here"):
        find_root(tmp_path)


def test_real_vendors_with_the_shipped_settings_are_refused_naming_each():
    with pytest.raises(EnvironmentProblemError) as error:
        checked(ROOT, TOKENS, engine="embedded")
    for key in ("zone", "flyOrg", "accessTeam", "cloudflareAccountId", "cloudflareZoneId", "edgeImage"):
        assert f"account:{key}" in str(error.value)
    assert "no real host can pull" in str(error.value)


def test_real_vendors_need_a_store_that_edge_machines_reach(tmp_path: Path):
    root = project(tmp_path, store="")
    with pytest.raises(EnvironmentProblemError, match="account:store is a local folder"):
        checked(root, TOKENS, engine="embedded")
    remote = {**TOKENS, "ROWHOUSE_STORE_URL": "s3://bucket/rowhouse"}
    with pytest.raises(EnvironmentProblemError, match="AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY: missing"):
        checked(root, remote, engine="embedded")
    with pytest.raises(EnvironmentProblemError, match="ROWHOUSE_STORE_URL: <account> in it stands for something of yours"):
        checked(root, {**remote, **BUCKET, "ROWHOUSE_STORE_URL": "s3://bucket?endpoint=https://<account>.example.com"}, engine="embedded")
    where, fleet = checked(root, {**remote, **BUCKET}, engine="embedded")
    assert (where.root, where.vendors, fleet.tenants) == (root, "real", ())


def test_everything_that_is_wrong_with_tokens_engine_settings_and_files_is_said_at_once(tmp_path: Path):
    root = project(tmp_path, flyOrg="", flyOrgg="acme", cloudflareZoneId="8e2f...", accessTeam="acme.cloudflareaccess.com")
    (root / "tenants" / "acme.yaml").write_text("plan: nowhere/pro\n")
    env = {**TOKENS, **BUCKET, "STRIPE_API_KEY": "pk_test_1", "FLY_API_TOKEN": "", "PATH": ""}
    with pytest.raises(EnvironmentProblemError) as error:
        checked(root, env)
    text = str(error.value)
    for part in (
        "1 credential is missing",
        "FLY_API_TOKEN: ",
        "engine: no `pulumi` on PATH",
        "unknown setting 'account:flyOrgg'. Did you mean 'flyOrg'?",
        "account:cloudflareZoneId: '8e2f...' does not fit. It must be 32 hexadecimal digits",
        "account:accessTeam: 'acme.cloudflareaccess.com' does not fit",
        "STRIPE_API_KEY is a publishable key",
        "tenants/acme.yaml:1:",
    ):
        assert part in text, part
    assert "pk_test_1" not in text


def test_a_run_with_wrong_settings_ends_with_2_before_an_engine_starts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    root = project(tmp_path, flyOrg="", flyOrgg="acme")
    monkeypatch.chdir(root)
    for verb in ("preview", "up", "refresh", "reconcile"):
        ran = CliRunner(env={**TOKENS, **BUCKET, **dict.fromkeys(LOOPBACK)}).invoke(
            app, [verb, *([] if verb == "reconcile" else ["--engine", "embedded"])]
        )
        assert (ran.exit_code, ran.stdout) == (2, ""), verb
        assert "stacks/Pulumi.main.yaml: unknown setting 'account:flyOrgg'. Did you mean 'flyOrg'?" in ran.stderr
    assert not (root / ".rowhouse").exists()


def test_who_has_no_credential_at_all_is_told_only_so():
    with pytest.raises(EnvironmentProblemError) as error:
        checked(ROOT, {"PATH": ""}, engine="embedded")
    assert "3 credentials are missing" in str(error.value)
    assert "account:" not in str(error.value)


@pytest.mark.parametrize("text", ["config: [", "just words", "config: 3", "\x00"])
def test_settings_that_cannot_be_read_are_one_plain_error(tmp_path: Path, text: str):
    (tmp_path / "stacks").mkdir()
    (tmp_path / "stacks" / "Pulumi.main.yaml").write_text(text)
    with pytest.raises(EnvironmentProblemError, match="cannot be read as a stack's settings"):
        stack_settings(tmp_path, "main")


def test_an_unknown_stack_names_those_there_are():
    with pytest.raises(EnvironmentProblemError, match="Stacks: main"):
        checked(ROOT, TOKENS, engine="embedded", stack="mian")


@pytest.mark.parametrize("key", ["sk_live_x", "rk_live_x"])
def test_a_live_key_with_example_catalogs_is_refused_even_on_loopback(key: str):
    fleet = load_fleet(ROOT)
    problems = account_problems("f", stack_settings(ROOT, "main"), fleet.tenants, fleet.catalogs, {**LOOPBACK, "STRIPE_API_KEY": key})
    assert len(problems) == 1
    assert "plans/aether.yaml" in problems[0]


def test_the_shipped_files_are_fine_on_loopback_with_a_test_key():
    fleet = load_fleet(ROOT)
    assert (
        account_problems("f", stack_settings(ROOT, "main"), fleet.tenants, fleet.catalogs, {**LOOPBACK, "STRIPE_API_KEY": "sk_test_live_"})
        == []
    )


def test_the_examples_of_the_readme_are_refused_until_they_are_replaced():
    readme = (ROOT / "README.md").read_text()
    block = re.search(r"```yaml\n( *config:.*?)```", readme, re.DOTALL)
    assert block is not None
    config = yaml.safe_load(block[1])["config"]
    settings = {key.removeprefix("account:"): value for key, value in config.items()}
    assert set(settings) == set(SETTINGS)
    wrong = "\n".join(setting_problems("f", settings))
    for key in ("cloudflareZoneId", "cloudflareAccountId", "edgeImage", "store"):
        assert f"f: account:{key}: " in wrong
    assert wrong.count("\n") == 3


def test_a_vanished_file_of_a_tenant_with_data_is_refused():
    prefix = "urn:pulumi:main::rowhouse::"
    tenant = f"{prefix}rowhouse:index:Tenant::gone"
    state = {
        "deployment": {
            "resources": [
                {"urn": tenant, "type": "rowhouse:index:Tenant", "parent": f"{prefix}pulumi:pulumi:Stack::rowhouse-main"},
                {
                    "urn": f"{prefix}rowhouse:index:Tenant$rowhouse:fly:Volume::gone-main-volume",
                    "type": "rowhouse:fly:Volume",
                    "parent": tenant,
                },
            ]
        }
    }
    with pytest.raises(EnvironmentProblemError, match=r"tenants/gone\.yaml"):
        refuse_vanished(load_fleet(ROOT), "main", state)
    refuse_vanished(load_fleet(ROOT), "main", {})


def test_an_instance_that_left_its_file_while_it_has_data_is_refused():
    prefix = "urn:pulumi:main::rowhouse::"
    tenant = f"{prefix}rowhouse:index:Tenant::acme"
    volumes = [f"{prefix}rowhouse:index:Tenant$rowhouse:fly:Volume::acme-{name}-volume" for name in ("main", "lab", "attic")]
    resources = [{"urn": tenant, "type": "rowhouse:index:Tenant", "parent": ""}]
    resources += [{"urn": urn, "type": "rowhouse:fly:Volume", "parent": tenant} for urn in volumes]
    with pytest.raises(EnvironmentProblemError, match=r"tenants/acme\.yaml: attic"):
        refuse_vanished(load_fleet(ROOT), "main", {"deployment": {"resources": resources}})
    refuse_vanished(load_fleet(ROOT), "main", {"deployment": {"resources": resources[:3]}})

"""What a command refuses before anything starts."""

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from rowhouse.cli.guards import check_accounts, refuse_vanished, stack_settings
from rowhouse.cli.surroundings import EnvironmentProblemError, Surroundings, find_root, surroundings
from rowhouse.spec import Fleet, load_fleet
from rowhouse.spec.accounts import account_problems, is_loopback

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


def real(**env: str) -> Surroundings:
    return Surroundings(root=ROOT, vendors="real", engine="embedded", env=env)


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
        check_accounts(load_fleet(ROOT), real(), "main")
    for key in ("zone", "flyOrg", "accessTeam", "cloudflareAccountId", "cloudflareZoneId", "edgeImage"):
        assert f"account:{key}" in str(error.value)


def test_real_vendors_need_a_store_that_edge_machines_reach(tmp_path: Path):
    (tmp_path / "stacks").mkdir()
    lines = [
        "zone: example.com",
        "flyOrg: acme",
        "accessTeam: acme",
        "cloudflareAccountId: 9f",
        "cloudflareZoneId: 8e",
        "edgeImage: registry.fly.io/e@sha256:1",
    ]
    file = tmp_path / "stacks" / "Pulumi.main.yaml"
    file.write_text("config:\n" + "".join(f"  account:{line}\n" for line in lines))
    nobody = Fleet((), (), ())
    where = Surroundings(root=tmp_path, vendors="real", engine="embedded", env={})
    with pytest.raises(EnvironmentProblemError, match="account:store is a local folder"):
        check_accounts(nobody, where, "main")
    file.write_text(file.read_text() + "  account:store: s3://bucket/rowhouse\n")
    with pytest.raises(EnvironmentProblemError, match="AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY: missing"):
        check_accounts(nobody, where, "main")
    credentials = {"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b"}
    check_accounts(nobody, Surroundings(root=tmp_path, vendors="real", engine="embedded", env=credentials), "main")
    with pytest.raises(EnvironmentProblemError, match="no real host can pull"):
        check_accounts(load_fleet(ROOT), Surroundings(root=tmp_path, vendors="real", engine="embedded", env=credentials), "main")


@pytest.mark.parametrize("text", ["config: [", "just words", "config: 3", "\x00"])
def test_settings_that_cannot_be_read_are_one_plain_error(tmp_path: Path, text: str):
    (tmp_path / "stacks").mkdir()
    (tmp_path / "stacks" / "Pulumi.main.yaml").write_text(text)
    with pytest.raises(EnvironmentProblemError, match="cannot be read as a stack's settings"):
        stack_settings(tmp_path, "main")


def test_an_unknown_stack_names_those_there_are():
    with pytest.raises(EnvironmentProblemError, match="Stacks: main"):
        check_accounts(load_fleet(ROOT), real(), "mian")


@pytest.mark.parametrize("key", ["sk_live_x", "rk_live_x"])
def test_a_live_key_with_example_catalogs_is_refused_even_on_loopback(key: str):
    fleet = load_fleet(ROOT)
    problems = account_problems("f", {}, fleet.tenants, fleet.catalogs, {**LOOPBACK, "STRIPE_API_KEY": key})
    assert len(problems) == 1
    assert "plans/aether.yaml" in problems[0]


def test_the_shipped_files_are_fine_on_loopback_with_a_test_key():
    fleet = load_fleet(ROOT)
    assert account_problems("f", {}, fleet.tenants, fleet.catalogs, {**LOOPBACK, "STRIPE_API_KEY": "sk_test_live_"}) == []


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

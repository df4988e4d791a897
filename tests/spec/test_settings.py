"""What a stack's settings must look like."""

import pytest

from rowhouse.spec.settings import SETTINGS, setting_problems, why_not_store

GOOD = {
    "zone": "example.com",
    "cloudflareZoneId": "8e" * 16,
    "cloudflareAccountId": "9f" * 16,
    "accessTeam": "acme",
    "flyOrg": "acme-labs",
    "edgeImage": f"registry.fly.io/acme-edge/edge@sha256:{'0' * 64}",
    "edgeRegion": "fra",
    "store": "s3://bucket/main?endpoint=https://abc.r2.cloudflarestorage.com",
}


def test_good_settings_have_no_problem_and_two_may_be_left_out():
    assert set(GOOD) == set(SETTINGS)
    assert setting_problems("f", GOOD) == []
    assert setting_problems("f", {key: value for key, value in GOOD.items() if key not in {"edgeRegion", "store"}}) == []


@pytest.mark.parametrize(
    ("key", "value", "told"),
    [
        ("zone", "https://example.com", "a domain in lower case"),
        ("zone", "<zone>", "a domain in lower case"),
        ("cloudflareZoneId", "8e2f...", "32 hexadecimal digits"),
        ("cloudflareAccountId", "9F" * 16, "32 hexadecimal digits"),
        ("cloudflareAccountId", 12, "in quotes"),
        ("accessTeam", "acme.cloudflareaccess.com", "Write 'acme'"),
        ("accessTeam", "https://acme.cloudflareaccess.com", "Write 'acme'"),
        ("flyOrg", "Acme Ltd", "short name"),
        ("edgeRegion", "nowhere", "fly has no region 'nowhere'"),
        ("edgeImage", "registry.fly.io/acme-edge/edge:latest", "by its digest"),
        ("edgeImage", "registry.fly.io/acme-edge/edge@sha256:...", "by its digest"),
        ("store", "s3://bucket?endpoint=https://<account>.r2.cloudflarestorage.com", "<account> in it"),
        ("store", "https://bucket", "no address of a store"),
        ("flyOrg", {"secure": "v1:x"}, "it is encrypted"),
    ],
)
def test_a_value_that_no_vendor_could_take_is_one_problem(key: str, value: object, told: str):
    (problem,) = setting_problems("stacks/Pulumi.main.yaml", {**GOOD, key: value})
    assert problem.startswith(f"stacks/Pulumi.main.yaml: account:{key}: ")
    assert told in problem


def test_a_misspelt_setting_is_one_problem_with_a_suggestion_and_a_missing_one_is_named():
    misspelt = {("flyOrgg" if key == "flyOrg" else key): value for key, value in GOOD.items() if key != "accessTeam"}
    unknown, missing = setting_problems("f", misspelt)
    assert unknown.startswith("f: unknown setting 'account:flyOrgg'. Did you mean 'flyOrg'? Settings: zone, ")
    assert missing.startswith("f: account:accessTeam is missing.")


def test_all_problems_are_told_at_once():
    assert len(setting_problems("f", dict.fromkeys(GOOD, "..."))) == len(GOOD)


@pytest.mark.parametrize(
    "url", ["s3://key:secret@bucket", "s3://bucket?endpont=https://x", "s3://bucket?endpoint=x", "s3:", "file:", "s3://b:x"]
)
def test_an_address_of_no_store_is_refused_without_repeating_it(url: str):
    why = why_not_store(url)
    assert why
    assert "secret" not in why

"""How changes are grouped, ordered and shown."""

import io

from rich.console import Console

from rowhouse.cli.render import print_outcome
from rowhouse.review.changes import Change, Failed, Outcome, difference, tenant_of

STACK = "urn:pulumi:main::rowhouse::pulumi:pulumi:Stack::rowhouse-main"
TENANT = "urn:pulumi:main::rowhouse::rowhouse:index:Tenant::acme"
HOST = "urn:pulumi:main::rowhouse::rowhouse:index:Tenant$rowhouse:index:FlyHost::acme-main"
MACHINE = "urn:pulumi:main::rowhouse::rowhouse:index:Tenant$rowhouse:index:FlyHost$rowhouse:fly:Machine::acme-main-machine"
VOLUME = MACHINE.replace("Machine", "Volume").replace("machine", "volume")
METER = "urn:pulumi:main::rowhouse::rowhouse:index:Catalog$rowhouse:stripe:Meter::hours"
PARENTS = {TENANT: STACK, HOST: TENANT, MACHINE: HOST, VOLUME: HOST}


def printed(outcome: Outcome, *, done: bool = False) -> list[str]:
    console = Console(width=200, record=True, file=io.StringIO())
    print_outcome(console, outcome, done=done)
    return console.export_text().splitlines()


def test_a_resource_belongs_to_the_tenant_above_it():
    assert tenant_of(MACHINE, PARENTS) == "acme"
    assert tenant_of(TENANT, PARENTS) == "acme"
    assert tenant_of(METER, PARENTS) == ""


def test_a_circle_of_parents_ends():
    assert tenant_of("urn:a::b::c::d", {"urn:a::b::c::d": "urn:a::b::c::e", "urn:a::b::c::e": "urn:a::b::c::d"}) == ""


def test_what_is_destroyed_stands_first():
    outcome = Outcome(
        changes=[
            Change("create", MACHINE, "rowhouse:fly:Machine", HOST),
            Change("delete", VOLUME, "rowhouse:fly:Volume", HOST),
        ],
        parents=PARENTS,
    )
    lines = printed(outcome)
    assert lines[0] == "acme"
    assert "delete" in lines[1]
    assert "create" in lines[2]
    assert lines[-1] == "preview: 1 to create, 1 to delete, 0 unchanged (0.0 s)"


def test_a_changed_property_shows_both_values():
    diff = difference(
        ["env.PORT", 'env["a-b"]', "list[1].x"],
        {},
        {"env": {"PORT": "1", "a-b": "2"}, "list": [{}, {"x": 1}]},
        {"env": {"PORT": "3"}, "list": []},
    )
    assert diff == (("env.PORT", "update", "1", "3"), ('env["a-b"]', "update", "2", None), ("list[1].x", "update", 1, None))
    lines = printed(
        Outcome(changes=[Change("update", MACHINE, "rowhouse:fly:Machine", HOST, (("memoryMb", "update", 256, 512),))], parents=PARENTS)
    )
    assert "      memoryMb: 256 -> 512" in lines


def test_a_replacement_told_in_three_steps_is_one_line():
    steps = [Change(op, MACHINE, "rowhouse:fly:Machine", HOST) for op in ("create-replacement", "replace", "delete-replaced")]
    assert printed(Outcome(changes=steps, parents=PARENTS))[-1] == "preview: 1 to replace, 0 unchanged (0.0 s)"


def test_failures_name_their_tenant_and_hostile_text_stays_text():
    outcome = Outcome(failures=[Failed(MACHINE, "[red]no[/red] capacity")], parents=PARENTS)
    lines = printed(outcome, done=True)
    assert lines[0] == "failed: acme: acme-main-machine: [red]no[/red] capacity"
    assert lines[-1] == "applied: no changes, 0 unchanged, 1 failed (0.0 s)"


def test_what_a_file_asks_in_vain_is_told_as_the_file_s_and_what_waits_for_it_in_one_line():
    waiting = [Failed(MACHINE, "skipped: it depends on ...", skipped=True), Failed(HOST, "skipped: it depends on ...", skipped=True)]
    refused = Failed(VOLUME, "tenants/acme.yaml:1:1: error instance.moved: no", in_files=True)
    assert printed(Outcome(failures=[*waiting, refused], parents=PARENTS)) == [
        "refused: tenants/acme.yaml:1:1: error instance.moved: no",
        "left alone: acme: acme-main-machine",
        "preview: no changes, 0 unchanged, 1 refused, 1 left alone (0.0 s)",
    ]


def test_kinds_read_as_words():
    kinds = {
        "cloudflare:index/zeroTrustTunnelCloudflaredConfig:ZeroTrustTunnelCloudflaredConfig": "tunnel config",
        "cloudflare:index/zeroTrustTunnelCloudflared:ZeroTrustTunnelCloudflared": "tunnel",
        "cloudflare:index/zeroTrustAccessApplication:ZeroTrustAccessApplication": "access application",
        "cloudflare:index/dnsRecord:DnsRecord": "dns record",
        "rowhouse:fly:Machine": "fly machine",
    }
    assert {type_: Change("create", MACHINE, type_, HOST).kind for type_ in kinds} == kinds


def test_the_document_carries_tenants_and_values():
    document = Outcome(
        changes=[Change("update", MACHINE, "rowhouse:fly:Machine", HOST, (("memoryMb", "update", 256, 512),))], parents=PARENTS
    ).document()
    assert document["changes"][0]["tenant"] == "acme"
    assert document["changes"][0]["diff"] == [{"path": "memoryMb", "kind": "update", "before": 256, "after": 512}]
    assert document["ok"] is True


def test_of_a_json_text_only_what_differs_within_is_shown():
    old = '{"plan":{"limits":{"hours":50},"meters":[{"name":"builds","price":"0.05"}]},"state":"active"}'
    new = '{"plan":{"limits":{"hours":50},"meters":[{"name":"runs"},{"name":"builds","price":"0.06"}]},"state":"offboarding"}'
    change = Change("update", MACHINE, "rowhouse:fly:Machine", HOST, (("terms", "update", old, new),))
    assert [line.strip() for line in printed(Outcome(changes=[change], parents=PARENTS))[2:-1]] == [
        "terms.plan.meters.builds.price: 0.05 -> 0.06",
        'terms.plan.meters.runs: {"name": "runs"} (new)',
        "terms.state: active -> offboarding",
    ]


def test_a_json_text_with_the_same_content_and_one_that_is_none_are_shown_as_they_are():
    for before, after in (('{"a": 1}', '{"a":1}'), ("{a}", "{b}"), ("[1]", "[2]")):
        change = Change("update", MACHINE, "rowhouse:fly:Machine", HOST, (("text", "update", before, after),))
        assert printed(Outcome(changes=[change], parents=PARENTS))[2].strip() == f"text: {before} -> {after}"


def test_what_fails_for_one_reason_is_told_once_with_every_name():
    why = "the plugin did not start\nTraceback: no module named x"
    failures = [Failed(MACHINE, why), Failed(VOLUME, "no capacity"), Failed(METER, why)]
    lines = printed(Outcome(failures=failures, parents=PARENTS))
    assert lines[:-1] == [
        "failed: hours, acme: acme-main-machine: the plugin did not start",
        "Traceback: no module named x",
        "failed: acme: acme-main-volume: no capacity",
    ]
    assert "3 failed" in lines[-1]


def named(count: int, tenant: str = "acme", **more: bool) -> list[Failed]:
    """Failures of so many machines of a tenant for one reason."""
    return [Failed(f"{MACHINE}-{tenant}-{number:02d}", "no plugin", **more) for number in range(count)]


def test_many_names_are_told_as_the_first_and_a_count():
    lines = printed(Outcome(failures=named(25), parents={**PARENTS, **{failure.urn: HOST for failure in named(25)}}))
    assert lines[0].endswith("acme: acme-main-machine-acme-09 and 15 more: no plugin")
    assert len(lines) == 2


def test_what_many_tenants_lost_is_one_line_with_a_count():
    other = TENANT.replace("acme", "fern")
    mine, theirs = named(6, skipped=True), named(6, "fern", skipped=True)
    parents = {**PARENTS, other: STACK, **{failure.urn: HOST for failure in mine}, **{failure.urn: other for failure in theirs}}
    lines = printed(Outcome(failures=[Failed(METER, "no plugin"), *mine, *theirs], parents=parents))
    assert lines[:-1] == ["failed: hours: no plugin", "left alone: 12 resources that depend on what failed, of 2 tenants"]
    few = printed(Outcome(failures=[*mine[:2], *theirs[:2]], parents=parents))
    assert [line.split(":")[1].strip() for line in few[:-1]] == ["acme", "fern"]


def test_a_reason_without_values_is_told_in_words():
    diff = (("initialization is taken up again", "update", None, None),)
    lines = printed(Outcome(changes=[Change("update", MACHINE, "rowhouse:fly:Machine", HOST, diff)], parents=PARENTS))
    assert lines[2] == "      initialization is taken up again"

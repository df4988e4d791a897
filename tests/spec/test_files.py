"""Wrong keys and values: each is named with its place, what is allowed, and what to do next."""

import time
from pathlib import Path

import pytest

from rowhouse.spec import check_fleet, read_fleet
from tests.spec.project import CATALOG, TENANT, only, problems_of, project


def tenant_problem(root: Path, text: str):
    return only(problems_of(root, tenants__acme=text))


def with_owner(text: str) -> str:
    return f"owner: {{email: ops@acme.example}}\nplan: aether/pro\n{text}"


def test_a_misspelt_key_is_named_with_the_right_one(tmp_path: Path):
    problem = tenant_problem(tmp_path, with_owner("instances:\n  main: {memmory_mb: 512}\n"))
    assert (problem.rule, problem.file, problem.line, problem.column) == ("spec.unknown-key", "tenants/acme.yaml", 4, 10)
    assert problem.message.startswith(
        "unknown key 'memmory_mb' in instances.main. Did you mean 'memory_mb'? Keys: cpu_kind, cpus, memory_mb"
    )


def test_a_misspelt_value_is_named_with_the_right_one(tmp_path: Path):
    problem = tenant_problem(tmp_path, with_owner("state: activ\n"))
    assert (problem.rule, problem.line, problem.column) == ("spec.value", 3, 8)
    assert (
        problem.message == "state: 'activ' is not allowed. Did you mean 'active'? Allowed: active, suspended, offboarding, purge. Pick one."
    )


@pytest.mark.parametrize(
    ("text", "line", "meant"),
    [
        ("owner: {email: ops@acme.example}\nplann: aether/pro\n", 2, "plan"),
        ("owner: {emial: ops@acme.example}\nplan: aether/pro\n", 1, "email"),
    ],
    ids=["at the top", "inside"],
)
def test_a_misspelt_required_key_is_one_mistake(tmp_path: Path, text: str, line: int, meant: str):
    problem = tenant_problem(tmp_path, text)
    assert (problem.rule, problem.line) == ("spec.unknown-key", line)
    assert f"Did you mean '{meant}'?" in problem.message


def test_a_required_key_that_nothing_was_meant_to_be_is_still_missing(tmp_path: Path):
    found = problems_of(tmp_path, tenants__acme="owner: {email: ops@acme.example}\nplann: aether/pro\nzzz: 1\nowner_: {}\n")
    assert [(problem.rule, problem.line) for problem in found] == [
        ("spec.unknown-key", 2),
        ("spec.unknown-key", 3),
        ("spec.unknown-key", 4),
    ]
    found = problems_of(tmp_path, tenants__acme="owner: {email: ops@acme.example}\nzzz: 1\n")
    assert [problem.rule for problem in found] == ["spec.missing-key", "spec.unknown-key"]


def test_a_missing_key_is_named_with_its_meaning(tmp_path: Path):
    problem = tenant_problem(tmp_path, "owner: {name: Acme}\nplan: aether/pro\n")
    assert (problem.rule, problem.line, problem.column) == ("spec.missing-key", 1, 1)
    assert problem.message == "key 'owner.email' is missing. Where invoices go; also the default member. Add it."


@pytest.mark.parametrize(
    ("text", "rule", "told"),
    [
        ("cell: 12\n", "spec.id", "this is a number, and text is wanted"),
        ("cell: true\n", "spec.id", "this is true or false, and text is wanted"),
        ("cell: Main\n", "spec.id", "upper-case"),
        ("cell: m\u0430in\n", "spec.id", "U+0430"),
        ("cell: [main]\n", "spec.id", "this is a list"),
        ("env: {PORT: 8080}\n", "spec.value", "this is a number"),
        ("env: {DEBUG: true}\n", "spec.value", "this is true or false"),
        ("env: {debug: x}\n", "spec.env-name", "upper-case"),
        ("env: {FLY_REGION: x}\n", "spec.env-name", "set by the host"),
        ("env: [A]\n", "spec.value", "a mapping of"),
        ('env: {A: "{owner.nam}"}\n', "spec.placeholder", "Did you mean 'owner.name'?"),
        ("members: ops@acme.example\n", "spec.value", "a list, one"),
        ("members: [not-an-address]\n", "spec.member", "is no member"),
        ("members: ['@acme']\n", "spec.member", "'@acme' is not `@` and a domain"),
        ("members: ['a@b@c.example']\n", "spec.member", "is no member"),
        ("members: ['\u0430na@acme.example']\n", "spec.member", "\\u0430"),
        ("instances: {Main: {}}\n", "spec.id", "upper-case"),
        ("instances: {main: {cpus: '2'}}\n", "spec.value", "a whole number, without quotes"),
        ("instances: {main: {cpus: 0}}\n", "spec.value", "1 or more"),
        ("instances: {main: {cpus: 1.5}}\n", "spec.value", "a whole number"),
        ("instances: {main: {cpus: true}}\n", "spec.value", "a whole number"),
        ("instances: {main: {host: fly.io}}\n", "spec.value", "Did you mean 'fly'?"),
        ("instances: {main: {hostname: a.b}}\n", "spec.id", "'.'"),
        ("instances: {main: {hostname: xn--acme}}\n", "spec.id", "double or a trailing dash"),
        ("instances: {main: 3}\n", "spec.value", "a mapping of"),
        ("secrets: {KEY: sk_test_1234567890}\n", "spec.secret-reference", "this is no reference to a secret"),
        ("secrets: {KEY: 'file:../../etc/shadow'}\n", "spec.secret-reference", "without `..`"),
        ("secrets: {KEY: 'file:a/../b'}\n", "spec.secret-reference", "without `..`"),
        ("secrets: {KEY: 'env:A B'}\n", "spec.secret-reference", "env:NAME"),
    ],
)
def test_a_wrong_value_is_refused_with_what_is_allowed(tmp_path: Path, text: str, rule: str, told: str):
    problem = tenant_problem(tmp_path, with_owner(text))
    assert problem.rule == rule
    assert told in problem.message
    assert problem.line == 3
    assert problem.message.endswith((".", "?"))


OPERATORS = [
    "STRIPE_API_KEY",
    "FLY_API_TOKEN",
    "fly_api_token",
    "PULUMI_CONFIG_PASSPHRASE",
    "AWS_SECRET_ACCESS_KEY",
    "GITHUB_TOKEN",
    "ROWHOUSE_X",
]


@pytest.mark.parametrize("name", OPERATORS)
def test_an_app_is_never_given_the_operators_own_credentials(tmp_path: Path, name: str):
    problem = tenant_problem(tmp_path, with_owner(f"secrets: {{KEY: 'env:{name}'}}\n"))
    assert problem.rule == "spec.secret-reference"
    assert "a credential of whoever runs Rowhouse" in problem.message


ELSEWHERE = [
    "/etc/shadow",
    "~/.aws/credentials",
    ".git/config",
    "a/.rowhouse/key",
    "./a",
    "//etc/passwd",
    "a//b",
    "/run/secrets/../x",
    "/run/secrets",
    "",
]


@pytest.mark.parametrize("path", ELSEWHERE)
def test_an_app_is_never_given_a_file_from_elsewhere(tmp_path: Path, path: str):
    assert tenant_problem(tmp_path, with_owner(f"secrets: {{KEY: 'file:{path}'}}\n")).rule == "spec.secret-reference"


@pytest.mark.parametrize("reference", ["env:ACME_API_KEY", "env:_x", "file:secrets/acme.key", "file:/run/secrets/acme/key"])
def test_references_below_the_project_or_in_the_hosts_secrets_are_fine(tmp_path: Path, reference: str):
    assert problems_of(tmp_path, tenants__acme=with_owner(f"secrets: {{KEY: '{reference}'}}\n")) == []


def test_a_file_of_nothing_but_mistakes_is_quick_and_short(tmp_path: Path):
    text = with_owner("".join(f"membrs{number}: 1\n" for number in range(15_000)))
    start = time.perf_counter()
    problems = problems_of(tmp_path, tenants__acme=text)
    assert time.perf_counter() - start < 5
    assert len(problems) == 100
    assert "14,900 more mistakes" in " ".join(problem.message for problem in problems)


@pytest.mark.parametrize(
    "line",
    [
        f"cell: {'a-' * 60_000}",
        f"plan: {'a-' * 60_000}/b",
        f"members: ['{'a.' * 60_000}@x']",
        f"owner: {{email: '{'a.' * 60_000}@x'}}",
        f"secrets: {{A: 'file:{'a/' * 60_000}'}}",
        f"env: {{A: '{'{' * 7_900}'}}",
        f"env: {{A: '{'a.' * 3_900}'}}",
        f"env: {{A: '{'://' * 2_600}'}}",
        f"env: {{A: '{'{{a' * 2_600}'}}",
        f"{'k' * 120_000}: 1",
        f"env: {{{'K' * 120_000}: x}}",
        f"instances: {{{'k' * 100}: {{region: {'x' * 120_000}}}}}",
        f"instances: {{main: {{region: {'x' * 190}}}}}",
    ],
    ids=lambda line: line[:30],
)
def test_no_value_makes_reading_slow(tmp_path: Path, line: str):
    start = time.perf_counter()
    rest = [base for base in TENANT.splitlines() if base.split(":")[0] != line.split(":", maxsplit=1)[0]]
    problems = problems_of(tmp_path, tenants__acme="\n".join([line, *rest]))
    assert time.perf_counter() - start < 2
    assert all(len(problem.message) < 1_000 for problem in problems)


@pytest.mark.parametrize(
    "email",
    ["ops", "ops@acme", "Ops <ops@acme.example>", "ops@acme..example", "a b@acme.example", "ops@\u0430cme.example", ".a@acme.example"],
)
def test_what_is_no_address_is_refused(tmp_path: Path, email: str):
    assert tenant_problem(tmp_path, f"owner: {{email: '{email}'}}\nplan: aether/pro\n").rule == "spec.email"


@pytest.mark.parametrize("name", ['""', '"  "', '"a\\nb"', f'"{"x" * 201}"'])
def test_a_name_that_is_no_short_line_is_refused(tmp_path: Path, name: str):
    assert tenant_problem(tmp_path, f"owner: {{name: {name}, email: ops@acme.example}}\nplan: aether/pro\n").rule == "spec.value"


def test_a_refused_secret_is_never_repeated(tmp_path: Path):
    text = with_owner("secrets: {KEY: hunter2-hunter2}\nenv: {API_TOKEN: hunter3-hunter3}\n")
    shown = "\n".join(map(str, problems_of(tmp_path, tenants__acme=text)))
    assert "hunter2" not in shown
    project(tmp_path, tenants__acme=with_owner("env: {API_TOKEN: hunter3-hunter3}\n"))
    shown += "\n".join(map(str, check_fleet(tmp_path)))
    assert "hunter3" not in shown
    assert "API_TOKEN" in shown


@pytest.mark.parametrize(
    ("old", "new", "rule", "told"),
    [
        ('price: "20.00"', "price: 20.00", "spec.money", 'Write "20.00"'),
        ('price: "20.00"', "price: 20", "spec.money", "in quotes"),
        ('price: "20.00"', 'price: "20"', "spec.money", '"20.00"'),
        ('price: "20.00"', 'price: "-1.00"', "spec.money", "does not fit"),
        ('price: "20.00"', 'price: "1e3"', "spec.money", "does not fit"),
        ('price: "20.00"', 'price: "NaN"', "spec.money", "does not fit"),
        ('price: "0.10"', 'price: "0.0000000000001"', "spec.money", "does not fit"),
        ("included: 200", 'included: "many"', "spec.quantity", "does not fit"),
        ("included: 200", "included: -1", "spec.quantity", "does not fit"),
        ("included: 200", "included: true", "spec.quantity", "decimal number"),
        ("instances: 3, cpus", "instances: 0, cpus", "spec.value", "`unlimited`"),
        ("demo: true", "demo: 'true'", "spec.value", "true or false"),
        ("demo: true", "currency: jpy", "spec.value", "Allowed: usd"),
        ("rounding: second", "rounding: seconds", "spec.value", "Did you mean 'second'?"),
        ("beyond: bill, ", "", "plan.meter", "it is not said what happens"),
        ("included: 200, beyond: bill", "included: unlimited, beyond: bill", "plan.meter", "nothing beyond them"),
        ("  running_hours: {kind", "  Running: {kind", "spec.id", "`running_hours`"),
    ],
)
def test_a_wrong_catalog_is_refused(tmp_path: Path, old: str, new: str, rule: str, told: str):
    assert CATALOG.count(old) >= 1
    problems = problems_of(tmp_path, plans__aether=CATALOG.replace(old, new))
    assert rule in {problem.rule for problem in problems}
    assert told in " ".join(problem.message for problem in problems)
    assert {problem.file for problem in problems} == {"plans/aether.yaml"}, "a broken catalog does not make its tenants wrong as well"


@pytest.mark.parametrize(
    ("line", "rule"),
    [
        ("image: registry.localhost/notebook:latest", "spec.image"),
        ("image: registry.localhost/notebook@sha256:abc", "spec.image"),
        ("image: registry.localhost/notebook", "spec.image"),
        ("port: 0", "spec.value"),
        ("port: 65536", "spec.value"),
        ("data_dir: data", "spec.path"),
        ("data_dir: /data/../etc", "spec.path"),
        ("health: {path: 'healthz'}", "spec.path"),
        ("health: {interval_s: 0}", "spec.value"),
    ],
)
def test_a_wrong_app_is_refused(tmp_path: Path, line: str, rule: str):
    from tests.support import IMAGE

    image = "" if line.startswith("image") else f"image: {IMAGE}\n"
    problems = problems_of(tmp_path, apps__notebook=f"title: Notebook\n{image}{line}\ncounters:\n  notes: {{description: A note.}}\n")
    assert [problem.rule for problem in problems] == [rule]


def test_all_mistakes_of_all_files_are_reported_at_once_in_order(tmp_path: Path):
    problems = problems_of(
        tmp_path,
        tenants__acme=with_owner("stat: active\ncell: 1\ninstances: {main: {region: fraa, cpus: x}}\n"),
        tenants__beta="plan: aether/pro\n",
        tenants__gamma="plan: &x aether/pro\nowner: {email: no}\nstat: 1\n",
        tenants__delta=TENANT.replace("pro", "prro"),
        apps__other="title: x\nimage: z\n",
    )
    assert [(problem.file, problem.line, problem.rule) for problem in problems] == [
        ("apps/other.yaml", 2, "spec.image"),
        ("tenants/acme.yaml", 3, "spec.unknown-key"),
        ("tenants/acme.yaml", 4, "spec.id"),
        ("tenants/acme.yaml", 5, "spec.value"),
        ("tenants/beta.yaml", 1, "spec.missing-key"),
        ("tenants/delta.yaml", 2, "plan.unknown"),
        ("tenants/gamma.yaml", 1, "yaml.alias"),
        ("tenants/gamma.yaml", 2, "yaml.ambiguous"),
        ("tenants/gamma.yaml", 3, "spec.unknown-key"),
    ]


def test_a_file_whose_yaml_is_wrong_is_in_no_fleet(tmp_path: Path):
    fleet, problems = read_fleet(project(tmp_path, tenants__acme=with_owner("state: active\nstate: purge\n")))
    assert [problem.rule for problem in problems] == ["yaml.duplicate-key"]
    assert fleet.tenants == ()


def test_a_misspelt_key_and_a_plan_and_an_app_that_do_not_exist_are_told_together(tmp_path: Path):
    problems = problems_of(tmp_path, tenants__acme="owner: {email: a@acme.example}\nplan: aether/prro\nmemebrs: []\napp: notebok\n")
    assert [(problem.rule, problem.line) for problem in problems] == [("plan.unknown", 2), ("spec.unknown-key", 3), ("app.unknown", 4)]


def test_a_plan_that_is_no_plan_at_all_is_one_mistake(tmp_path: Path):
    assert tenant_problem(tmp_path, "owner: {email: a@acme.example}\nplan: Aether Pro\n").rule == "spec.value"
    assert tenant_problem(tmp_path, "owner: {email: a@acme.example}\nplan: 3\n").rule == "spec.value"

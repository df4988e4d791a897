"""What a pull request's author and its reviewer read, from a scratch clone, by the real program."""

from __future__ import annotations

from pathlib import Path

import pytest
from markdown_it import MarkdownIt

from rowhouse.errors import RowhouseError
from rowhouse.review.review import Review, review_range
from rowhouse.spec.guardrails import Guardrails
from tests.review.scratch import Scratch, git
from tests.spec.test_stack_file import BOMB

pytestmark = pytest.mark.usefixtures("warm")

HTML = MarkdownIt("gfm-like", {"linkify": False, "html": True})


def judge(scratch: Scratch, head: str, *, labels: frozenset[str] = frozenset()) -> Review:
    return review_range(scratch.root, scratch.base, head, labels=labels)


def rules(review: Review) -> set[str]:
    return {one.rule for one in review.objections if one.is_mandatory} | {p.rule for p in review.problems if p.severity == "error"}


def sections(review: Review) -> dict[str, str]:
    parts = review.markdown().split("\n#### ")
    return {part.partition("\n")[0]: part.partition("\n")[2] for part in parts[1:]}


# -- what is well ------------------------------------------------------------------------------------------------------------------------


def test_a_new_tenant_is_told_with_what_it_is_made_of(scratch: Scratch):
    scratch.write("tenants/fir.yaml", "owner: {email: f@fir.example}\nplan: aether/pro\n")
    review = judge(scratch, scratch.commit())
    assert review.blocked == ()
    assert review.tenants == ("fir",)
    assert review.cells == ("main",)
    text = sections(review)
    assert text["Destroyed or interrupted"].strip() == "Nothing."
    assert "`fir` (`tenants/fir.yaml`)" in text["Changes"]
    assert "fly machine" in text["Changes"]
    assert "Shared by all tenants" not in text


def test_a_comment_changes_nobody(scratch: Scratch):
    scratch.edit("tenants/acme.yaml", "# The first of them.", "# The very first.")
    review = judge(scratch, scratch.commit())
    assert (review.tenants, review.cells, review.blocked, review.told) == ((), (), (), [])
    assert review.markdown().startswith("### Rowhouse: no tenant")


def test_an_image_interrupts_those_that_run_it_and_says_so_first(scratch: Scratch):
    scratch.edit("apps/aether.yaml", "sha256:9955", "sha256:8855")
    review = judge(scratch, scratch.commit())
    assert review.tenants == ("birch", "cedar", "dale")
    assert review.interrupted == ["birch", "dale"], "cedar is suspended: nobody is there to be interrupted"
    text = review.markdown()
    assert text.index("Destroyed or interrupted") < text.index("#### Changes")
    assert "the machine restarts" in sections(review)["Destroyed or interrupted"]
    assert "@sha256:9955d796…` → `registry.localhost/notebook@sha256:8855d796…" in text


def test_tenants_that_change_alike_are_one_line(scratch: Scratch):
    for number in range(60):
        scratch.write(f"tenants/many-{number:02}.yaml", f"owner: {{email: a@m{number}.example}}\nplan: aether/pro\n")
    scratch.base = scratch.commit()
    scratch.edit("apps/aether.yaml", "sha256:9955", "sha256:8855")
    review = judge(scratch, scratch.commit(), labels=frozenset({"interrupts-many"}))
    assert "**61 tenants** (`birch`, `many-00`, `many-01`, `many-02`, `many-03` and 56 more)" in sections(review)["Changes"]
    assert len(review.tenants) == 63
    assert review.blocked == ()


def test_more_interruptions_than_allowed_need_a_label(scratch: Scratch):
    for number in range(Guardrails().interrupted):
        scratch.write(f"tenants/many-{number:02}.yaml", f"owner: {{email: a@m{number}.example}}\nplan: aether/pro\n")
    scratch.base = scratch.commit()
    scratch.edit("apps/aether.yaml", "sha256:9955", "sha256:8855")
    head = scratch.commit()
    refused = judge(scratch, head)
    assert rules(refused) == {"review.interrupted"}
    assert "`interrupts-many`" in refused.markdown()
    assert judge(scratch, head, labels=frozenset({"interrupts-many"})).blocked == ()


def test_the_same_change_has_the_same_digest_and_another_has_another(scratch: Scratch):
    scratch.edit("tenants/birch.yaml", "Birch", "Birch Two")
    head = scratch.commit()
    first, again = judge(scratch, head), judge(scratch, head)
    assert (first.digest, first.digests) == (again.digest, again.digests)
    assert set(first.digests) == {"birch"}
    scratch.edit("tenants/birch.yaml", "Birch Two", "Birch Three")
    other = judge(scratch, scratch.commit())
    assert other.digests["birch"] != first.digests["birch"]


# -- what is not -------------------------------------------------------------------------------------------------------------------------


def test_a_renamed_tenant_is_told_that_ids_are_for_ever(scratch: Scratch):
    (scratch.root / "tenants/birch.yaml").rename(scratch.root / "tenants/birch-trees.yaml")
    review = judge(scratch, scratch.commit())
    assert rules(review) == {"review.id-for-ever"}
    assert "tenants/birch-trees.yaml looks like the same tenant" in review.blocked[0]


@pytest.mark.parametrize(("slug", "state"), [("birch", "active"), ("cedar", "suspended")])
def test_a_file_that_goes_while_the_tenant_is_there_is_refused(scratch: Scratch, slug: str, state: str):
    scratch.remove(f"tenants/{slug}.yaml")
    review = judge(scratch, scratch.commit())
    assert rules(review) == {"review.leaves-in-two-steps"}
    assert f"is gone while the tenant is {state} and has data" in review.blocked[0]
    assert "**destroyed**, with machines, volumes and gates: no file is left" in sections(review)["Destroyed or interrupted"]


def test_a_tenant_that_moves_to_another_cell_is_refused(scratch: Scratch):
    scratch.edit("tenants/birch.yaml", "plan:", "cell: second\nplan:")
    scratch.write("stacks/Pulumi.second.yaml", (scratch.root / "stacks/Pulumi.main.yaml").read_bytes())
    review = judge(scratch, scratch.commit())
    assert rules(review) == {"review.stays-in-cell"}
    assert review.cells == ("main", "second")


def test_a_cell_without_a_stack_file_is_refused(scratch: Scratch):
    scratch.write("tenants/fir.yaml", "owner: {email: f@fir.example}\nplan: aether/pro\ncell: nowhere\n")
    assert "review.stack-kept" in rules(judge(scratch, scratch.commit()))


@pytest.mark.long
def test_an_instance_that_goes_is_refused_and_its_volume_named_as_destroyed(scratch: Scratch):
    scratch.edit("tenants/acme.yaml", "  lab: {memory_mb: 256, volume_gb: 1}\n", "")
    review = judge(scratch, scratch.commit())
    assert "review.instance-kept" in rules(review)
    assert "instance lab is gone" in review.markdown()


def test_a_volume_that_moves_or_shrinks_is_refused_with_its_line(scratch: Scratch):
    scratch.edit("tenants/acme.yaml", "volume_gb: 10", "volume_gb: 5, region: ams")
    review = judge(scratch, scratch.commit())
    assert rules(review) == {"review.volume-kept"}
    assert {one.message.partition(" ")[0] for one in review.objections} == {"tenants/acme.yaml:8:"}
    assert len(review.objections) == 2


def test_files_that_are_wrong_are_listed_and_nothing_is_rendered(scratch: Scratch):
    scratch.edit("tenants/birch.yaml", "aether/pro", "aether/prow")
    scratch.write("tenants/BIRCH.yaml", "owner: {email: b@birch.example}\nplan: aether/pro\n")
    (scratch.root / "tenants/link.yaml").symlink_to("/etc/hostname")
    scratch.write("tenants/huge.yaml", b"#" * 50_000_000)
    review = judge(scratch, scratch.commit())
    assert {"plan.unknown", "file.twin", "file.kind", "file.size"} <= rules(review)
    assert review.told == []
    text = review.markdown()
    assert "Did you mean 'pro'?" in text
    assert "symbolic link" in text
    assert len(text) < 60_000


@pytest.mark.parametrize("name", ["main", "new"])
@pytest.mark.parametrize(
    ("text", "rule", "line"),
    [
        (BOMB, "yaml.alias", 1),
        ("config:\n  account:zone: " + "[" * 50_000, "yaml.depth", 2),
        ("config:\n  account:zone: !!binary aGk=\n", "yaml.tag", 2),
        ("config:\n  account:zone: 2026-13-45\n", "yaml.ambiguous", 2),
        ("#" * 300_000, "file.size", 1),
    ],
)
def test_a_stack_file_that_is_hostile_is_an_error_with_its_line_and_nothing_is_rendered(
    scratch: Scratch, name: str, text: str, rule: str, line: int
):
    scratch.write(f"stacks/Pulumi.{name}.yaml", text)
    scratch.edit("tenants/birch.yaml", "plan:", "state: suspended\nplan:")
    review = judge(scratch, scratch.commit())
    assert (review.problems[0].file, review.problems[0].line, review.problems[0].rule) == (f"stacks/Pulumi.{name}.yaml", line, rule)
    assert rules(review) == {one.rule for one in review.problems}
    assert (review.told, review.shared, review.money) == ([], {}, None)
    assert f"stacks/Pulumi.{name}.yaml:{line}" in review.markdown().replace("\\", "")


def test_a_change_that_mends_a_stack_file_which_was_merged_with_an_alias_is_reviewed(scratch: Scratch):
    file = scratch.root / "stacks/Pulumi.main.yaml"
    text = file.read_text()
    file.write_text(text.replace("account:zone: localhost", "account:zone: &zone localhost") + "  mine:zone: *zone\n")
    scratch.base = scratch.commit()
    file.write_text(text)
    review = judge(scratch, scratch.commit())
    assert review.blocked == ()


@pytest.mark.parametrize("more", ["secretsprovider: [x]\n", "secretsprovider: awskms://key\n"])
def test_a_stack_file_whose_secrets_nobody_here_opens_is_refused_in_words(scratch: Scratch, more: str):
    scratch.write("stacks/Pulumi.main.yaml", (scratch.root / "stacks/Pulumi.main.yaml").read_text() + more)
    with pytest.raises(RowhouseError, match=r"main"):
        judge(scratch, scratch.commit())


def test_a_stack_file_as_pulumi_writes_it_is_no_error(scratch: Scratch):
    scratch.write(
        "stacks/Pulumi.main.yaml",
        (scratch.root / "stacks/Pulumi.main.yaml").read_text() + '  mine:limits: {deep: {deeper: [1, "2"]}}\n  mine:on: yes\n',
    )
    assert judge(scratch, scratch.commit()).blocked == ()


def test_two_thousand_changed_files_are_judged_in_groups(scratch: Scratch):
    for number in range(2000):
        scratch.write(
            f"tenants/many-{number:04}.yaml", f"owner: {{email: a@m{number}.example}}\nplan: aether/free\ncell: c{number // 40}\n"
        )
    for cell in range(50):
        scratch.write(f"stacks/Pulumi.c{cell}.yaml", (scratch.root / "stacks/Pulumi.main.yaml").read_bytes())
    scratch.base = scratch.commit()
    for number in range(2000):
        scratch.edit(f"tenants/many-{number:04}.yaml", "aether/free", "aether/pro")
    review = judge(scratch, scratch.commit())
    assert len(review.tenants) == 2000
    assert len(review.told) == 1
    assert len(review.cells) == 50
    assert "**2,000 tenants**" in review.markdown()
    assert len(review.markdown()) < 10_000


def test_code_of_a_change_does_not_run(scratch: Scratch, tmp_path: Path):
    trap = tmp_path / "sprung"
    evil = f"import pathlib\npathlib.Path({str(trap)!r}).touch()\n"
    for path in (
        "stacks/__main__.py",
        "components/tenant.py",
        "rowhouse/__init__.py",
        "policies/__init__.py",
        "sitecustomize.py",
        "conftest.py",
    ):
        scratch.write(path, evil)
    scratch.write("tenants/sitecustomize.py", evil)
    scratch.write(
        "Pulumi.yaml", f"name: evil\nruntime: python\nmain: stacks/\nplugins: {{providers: [{{name: rowhouse, path: {tmp_path}}}]}}\n"
    )
    scratch.write("stacks/Pulumi.main.yaml", (scratch.root / "stacks/Pulumi.main.yaml").read_text() + "  pulumi:template: x\n")
    scratch.edit("tenants/birch.yaml", "Birch", "Birch Two")
    git(scratch.root, "rm", "-q", "--cached", "-r", "tenants")
    head = scratch.commit()
    git(scratch.root, "checkout", "-q", scratch.base)  # as in a workflow: the base's code lies there, the head only in the objects
    review = judge(scratch, head)
    assert not trap.exists()
    assert "file.name" in rules(review), "a program among the tenants is no tenant"
    assert "review.program" in {one.rule for one in review.objections}


@pytest.mark.long
def test_a_review_without_a_warm_parent_makes_its_own(scratch: Scratch, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("ROWHOUSE_NURSERY")
    scratch.edit("tenants/birch.yaml", "Birch", "Birch Two")
    assert judge(scratch, scratch.commit()).tenants == ("birch",)


def test_no_variable_of_the_reviewer_reaches_the_program(scratch: Scratch, monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    told = tmp_path / "told"
    scratch.edit(
        "stacks/__main__.py", "import asyncio", f"import json\nopen({str(told)!r}, 'w').write(json.dumps(dict(os.environ)))\nimport asyncio"
    )
    scratch.base = scratch.commit()
    scratch.edit("tenants/birch.yaml", "Birch", "Birch Two")
    for name in ("FLY_API_TOKEN", "CLOUDFLARE_API_TOKEN", "STRIPE_API_KEY", "GITHUB_TOKEN", "AWS_SECRET_ACCESS_KEY", "PULUMI_ACCESS_TOKEN"):
        monkeypatch.setenv(name, f"sekret-{name}")
    review = judge(scratch, scratch.commit())
    assert review.blocked == ()
    assert told.exists(), "a program that does not tell proves nothing"
    assert "sekret" not in told.read_text()
    assert "sekret" not in review.markdown()


HOSTILE = [
    "**bold** <img src=x onerror=alert(1)> @everyone #1 `x` | cell |",
    "</details><script>alert(1)</script>",
    "[click](javascript:alert(1)) ![x](http://evil.example/x.png)",
    "$(touch /tmp/x) `id` ; rm -rf / && echo ${{ secrets.X }}",
    "http://evil.example www.evil.example a@b.example",
    "# not a heading",
    "| a | b |",
]


@pytest.mark.parametrize("text", [*HOSTILE[:1], *(pytest.param(text, marks=pytest.mark.long) for text in HOSTILE[1:])])
def test_words_of_a_file_stay_words(scratch: Scratch, text: str):
    quoted = text.replace("\\", "\\\\").replace('"', '\\"')
    scratch.edit("tenants/birch.yaml", "name: Birch", f'name: "{quoted}"')
    review = judge(scratch, scratch.commit())
    html = HTML.render(review.markdown())
    for tag in ("<img", "<script", "<a ", "</details><script", "<details"):
        assert tag not in html, f"{tag} came out of {text!r}"
    shown = "".join(HTML.render(line) for line in review.markdown().splitlines() if "displayName" in line or "name" in line)
    assert "onerror" not in shown or "&lt;img" in shown


@pytest.mark.long
def test_a_branch_with_a_hostile_name_is_only_a_name(scratch: Scratch):
    name = "x;touch${IFS}sprung;`id`"
    scratch.edit("tenants/birch.yaml", "Birch", "Birch Two")
    commit = scratch.commit()
    git(scratch.root, "update-ref", f"refs/heads/{name}", commit)
    review = judge(scratch, name)
    assert review.head == commit
    assert not (scratch.root / "sprung").exists()
    assert not Path("sprung").exists()


@pytest.mark.long
def test_the_limits_before_the_change_are_those_it_is_held_against(scratch: Scratch):
    scratch.edit("policies/settings.yaml", "interrupted: 25", "interrupted: 0")
    scratch.base = scratch.commit()
    scratch.edit("policies/settings.yaml", "interrupted: 0", "interrupted: 99")
    scratch.edit("apps/aether.yaml", "sha256:9955", "sha256:8855")
    review = judge(scratch, scratch.commit())
    assert rules(review) == {"review.interrupted"}
    assert "review.own-limits" in {one.rule for one in review.objections}

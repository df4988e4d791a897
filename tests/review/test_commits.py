"""Commits are read as data, whatever stands in them."""

import os
import subprocess
import textwrap
from pathlib import Path

import pytest

from rowhouse.cli.reviewing import house_selection
from rowhouse.errors import RowhouseError
from rowhouse.review.commits import Commits, CommitsError
from rowhouse.spec.load import read_fleet
from tests.review.scratch import TENANTS, Scratch, git

ACME = {"acme": "owner: {email: a@acme.example}\nplan: aether/pro\n"}


@pytest.fixture
def scratch(tmp_path: Path) -> Scratch:
    return Scratch(tmp_path / "clone", ACME, program=False)


def problems(scratch: Scratch, commit: str) -> list[tuple[str, str]]:
    return [(p.file, p.rule) for p in read_fleet(scratch.root, read=Commits(scratch.root).reader(commit))[1] if p.severity == "error"]


def test_a_commit_says_the_same_as_its_files_on_disk(scratch: Scratch):
    fleet, found = read_fleet(scratch.root, read=Commits(scratch.root).reader("HEAD"))
    on_disk, there = read_fleet(scratch.root)
    assert (fleet.tenants, fleet.catalogs, fleet.apps, found) == (on_disk.tenants, on_disk.catalogs, on_disk.apps, there)


def test_what_is_not_committed_is_not_read(scratch: Scratch):
    scratch.write("tenants/later.yaml", ACME["acme"])
    assert [tenant.id for tenant in scratch.fleet("HEAD").tenants] == ["acme"]


def test_a_link_is_refused_and_not_followed(scratch: Scratch):
    (scratch.root / "tenants/spy.yaml").symlink_to("/etc/passwd")
    commit = scratch.commit()
    assert problems(scratch, commit) == [("tenants/spy.yaml", "file.kind")]
    assert [one.is_link for one in Commits(scratch.root).changed(scratch.base, commit)] == [True]


def test_a_submodule_in_a_tenants_place_is_refused(scratch: Scratch):
    git(scratch.root, "update-index", "--add", "--cacheinfo", f"160000,{scratch.base},tenants/sub.yaml")
    git(scratch.root, "commit", "-q", "-m", "a submodule")
    assert problems(scratch, "HEAD") == [("tenants/sub.yaml", "file.kind")]


def test_a_folder_in_a_tenants_place_is_refused(scratch: Scratch):
    scratch.write("tenants/deep.yaml/inner.yaml", ACME["acme"])
    assert problems(scratch, scratch.commit()) == [("tenants/deep.yaml", "file.kind")]


def test_fifty_megabytes_are_refused_without_being_read(scratch: Scratch, monkeypatch: pytest.MonkeyPatch):
    scratch.write("tenants/huge.yaml", b"# " + b"x" * 50_000_000)
    commit = scratch.commit()
    read: list[int] = []
    run = subprocess.run

    def watched(*args, **kwargs):
        ended = run(*args, **kwargs)
        read.append(len(ended.stdout))
        return ended

    monkeypatch.setattr(subprocess, "run", watched)
    assert problems(scratch, commit) == [("tenants/huge.yaml", "file.size")]
    assert max(read) < 1_000_000


def test_two_names_that_differ_in_case_alone_are_refused(scratch: Scratch):
    blob = git(scratch.root, "hash-object", "-w", "--stdin", given=ACME["acme"])
    git(scratch.root, "update-index", "--add", "--cacheinfo", f"100644,{blob},tenants/Acme.yaml")
    git(scratch.root, "commit", "-q", "-m", "a twin")
    assert ("tenants/acme.yaml", "file.twin") in problems(scratch, "HEAD")


@pytest.mark.parametrize(
    "name", ["tenants/a\nb.yaml", "tenants/$(touch x).yaml", "tenants/\u202eevil.yaml", "tenants/`id`.yaml", "tenants/--all"]
)
def test_a_hostile_file_name_is_told_escaped(scratch: Scratch, name: str):
    blob = git(scratch.root, "hash-object", "-w", "--stdin", given=ACME["acme"])
    git(scratch.root, "update-index", "--add", "-z", "--index-info", given=f"100644 {blob}\t{name}\0")
    git(scratch.root, "commit", "-q", "-m", "a name")
    (file, rule), *others = problems(scratch, "HEAD")
    assert (rule, others) == ("file.name", [])
    assert file.isprintable()
    assert file.isascii()
    assert [one.path for one in Commits(scratch.root).changed(scratch.base, "HEAD")] == [name]


def test_a_name_that_is_no_text_is_a_path_all_the_same(scratch: Scratch):
    blob = git(scratch.root, "hash-object", "-w", "--stdin", given=ACME["acme"])
    env = {**os.environ, "GIT_CONFIG_GLOBAL": os.devnull}
    subprocess.run(
        ["git", "update-index", "--add", "-z", "--index-info"],
        cwd=scratch.root,
        input=f"100644 {blob}\ttenants/".encode() + b"\xff\xfe.yaml\0",
        env=env,
        check=True,
    )
    git(scratch.root, "commit", "-q", "-m", "bytes")
    (changed,) = Commits(scratch.root).changed(scratch.base, "HEAD")
    assert os.fsencode(changed.path) == b"tenants/\xff\xfe.yaml"
    assert [rule for _, rule in problems(scratch, "HEAD")] == ["file.name"]


def test_a_rename_is_a_deletion_and_an_addition(scratch: Scratch):
    (scratch.root / "tenants/acme.yaml").rename(scratch.root / "tenants/zebra.yaml")
    found = Commits(scratch.root).changed(scratch.base, scratch.commit())
    assert [(one.path, one.status) for one in found] == [("tenants/acme.yaml", "D"), ("tenants/zebra.yaml", "A")]


def test_ranges_have_two_and_three_dots(scratch: Scratch):
    git(scratch.root, "checkout", "-q", "-b", "branch")
    head = scratch.commit("on the branch")
    git(scratch.root, "checkout", "-q", "main")
    newer = scratch.commit("on main")
    commits = Commits(scratch.root)
    assert commits.range_of("main..branch") == (newer, head)
    assert commits.range_of("main...branch") == (scratch.base, head)
    assert commits.range_of("branch..") == (head, newer)


@pytest.mark.parametrize(
    "text", ["main", "--all..HEAD", "-x..HEAD", "nope..HEAD", "HEAD..$(touch x)", "a\nb..HEAD", "HEAD^{tree}..HEAD", "x" * 5000 + "..HEAD"]
)
def test_what_is_no_range_is_refused_in_words(scratch: Scratch, text: str):
    with pytest.raises(CommitsError, match=r"Write|Give|Fetch") as refused:
        Commits(scratch.root).range_of(text)
    assert str(refused.value).isprintable()
    assert len(str(refused.value)) < 300


def test_histories_without_a_common_commit_are_said_to_be_so(scratch: Scratch):
    git(scratch.root, "checkout", "-q", "--orphan", "other")
    scratch.commit("another root")
    with pytest.raises(CommitsError, match="have no commit in common here"):
        Commits(scratch.root).range_of("main...other")


def test_hooks_filters_and_configuration_of_a_clone_do_not_run(scratch: Scratch, tmp_path: Path):
    trap = tmp_path / "sprung"
    for key in ("core.fsmonitor", "diff.external", "filter.trap.smudge", "filter.trap.clean", "textconv.x"):
        git(scratch.root, "config", key, f"touch {trap}")
    git(scratch.root, "config", "diff.trap.textconv", f"touch {trap};cat")
    (scratch.root / ".gitattributes").write_text("*.yaml diff=trap\n")
    blob = git(scratch.root, "hash-object", "-w", "--stdin", given="*.yaml filter=trap diff=trap\n")
    git(scratch.root, "update-index", "--add", "--cacheinfo", f"100644,{blob},.gitattributes")
    git(scratch.root, "commit", "-q", "-m", "a trap")
    trap.unlink(missing_ok=True)
    commits = Commits(scratch.root)
    assert [one.path for one in commits.changed(scratch.base, "HEAD")] == [".gitattributes"]
    assert read_fleet(scratch.root, read=commits.reader("HEAD"))[0].tenants
    assert not trap.exists()


def test_an_object_that_was_never_fetched_is_said_to_be_missing(scratch: Scratch):
    scratch.edit("tenants/acme.yaml", "a@acme", "z@acme")
    commit = scratch.commit()
    blob = git(scratch.root, "rev-parse", "HEAD:tenants/acme.yaml")
    (scratch.root / ".git/objects" / blob[:2] / blob[2:]).unlink()
    with pytest.raises(CommitsError, match="Fetch the whole range"):
        Commits(scratch.root).reader(commit)


def heavy(scratch: Scratch, content: bytes, files: int) -> str:
    """A commit with many tenants' files that are one another's copies: one object, and yet as much to read as it looks."""
    blob = git(scratch.root, "hash-object", "-w", "--stdin", given=content.decode())
    tree = git(scratch.root, "mktree", given="".join(f"100644 blob {blob}\tt{n}.yaml\n" for n in range(files)))
    kept = [line for line in git(scratch.root, "ls-tree", "HEAD").splitlines() if not line.endswith("\ttenants")]
    top = git(scratch.root, "mktree", given="\n".join([*kept, f"040000 tree {tree}\ttenants"]) + "\n")
    return git(scratch.root, "commit-tree", top, "-p", "HEAD", "-m", "heavy")


@pytest.mark.parametrize(
    ("content", "files", "why"),
    [
        (b"# " + b"x" * 250_000, 300, r"come to 7\d MiB; at most 64 MiB are read of a commit"),
        (b"a: 1\n", 100_001, "leaves 100,0.. data files; at most 100,000"),
        (b"members: [" + b"a," * 12_500 + b"]", 9, "more than 100,000 values together"),
        (b"members: [" + b"*a," * 20_000 + b"]", 6, "more than 100,000 values together"),
    ],
    ids=["bytes", "files", "values", "refused values"],
)
def test_what_is_small_one_by_one_and_large_together_is_refused(
    scratch: Scratch, content: bytes, files: int, why: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("rowhouse.review.sides._VALUES_MOST", 100_000)
    with pytest.raises(RowhouseError, match=why):
        house_selection(scratch.root, scratch.base, heavy(scratch, content, files))


def test_ten_thousand_ordinary_files_are_far_below_every_bound(scratch: Scratch):
    text = TENANTS["acme"] + "\n".join(f"# {'a note of somebody ' * 4}" for _ in range(20))
    head = heavy(scratch, textwrap.dedent(text).encode(), 10_000)
    commits = Commits(scratch.root)
    files = commits.kept(head, "tenants")
    assert sum(map(len, commits.contents(files).values())) * len(files) < 32 << 20
    assert len(commits.reader(head)("tenants")[0]) == 10_000

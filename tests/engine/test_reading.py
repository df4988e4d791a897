"""What is read before a run: project, configuration, names, paths, wishes; and where plugins are found."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pulumi.runtime.proto import alias_pb2, resource_pb2

from rowhouse.engine import config, paths, plugins, urns
from rowhouse.engine.client import Diff
from rowhouse.engine.errors import EngineError, PluginError, ProjectError, Unsupported
from rowhouse.engine.goals import goal_from, seconds
from rowhouse.engine.project import load_project
from rowhouse.engine.providers import default_name
from rowhouse.engine.secrets import SecretsManager
from rowhouse.engine.urns import Alias
from rowhouse.wire.values import Secret

# -- the project ------------------------------------------------------------------------------------------------------------------------


def project_at(root: Path, text: str) -> Any:
    (root / "Pulumi.yaml").write_text(text)
    return load_project(root)


def test_a_project_tells_where_everything_is(tmp_path: Path) -> None:
    (tmp_path / "stacks").mkdir()
    (tmp_path / "plug").mkdir()
    found = project_at(
        tmp_path,
        "name: p\nruntime: {name: python}\nmain: stacks/\nstackConfigDir: stacks\nplugins: {providers: [{name: x, path: plug}]}\n",
    )
    assert (found.name, found.program, found.program_dir, found.config_dir) == ("p", ".", tmp_path / "stacks", tmp_path / "stacks")
    assert found.plugins == {"x": tmp_path / "plug"}


def test_a_main_that_is_a_file_runs_in_its_folder(tmp_path: Path) -> None:
    (tmp_path / "infra").mkdir()
    (tmp_path / "infra" / "go.py").touch()
    found = project_at(tmp_path, "name: p\nruntime: python\nmain: infra/go.py\n")
    assert (found.program, found.program_dir) == ("go.py", tmp_path / "infra")


@pytest.mark.parametrize(
    ("text", "error", "why"),
    [
        ("runtime: python\n", ProjectError, "'name' is missing"),
        ("name: [\n", ProjectError, "not YAML"),
        ("name: p\nruntime: nodejs\n", Unsupported, "the runtime 'nodejs'"),
        ("name: p\nruntime: python\nmain: absent\n", ProjectError, "'main' names absent"),
        ("name: p\nruntime: python\nplugins: {providers: [{name: x}]}\n", ProjectError, "lacks 'name' or 'path'"),
        ("name: p\nruntime: python\nplugins: {providers: [{name: x, path: nowhere}]}\n", ProjectError, "not a folder"),
    ],
)
def test_a_project_file_that_is_wrong_says_how(tmp_path: Path, text: str, error: type[Exception], why: str) -> None:
    with pytest.raises(error, match=why):
        project_at(tmp_path, text)


def test_without_a_project_file_the_error_says_where_to_run(tmp_path: Path) -> None:
    with pytest.raises(ProjectError, match="run in a Pulumi project's folder"):
        load_project(tmp_path)


def test_stack_values_win_over_the_projects_defaults_and_all_are_text(tmp_path: Path) -> None:
    found = project_at(tmp_path, "name: p\nruntime: python\nconfig: {a: 1, b: {default: two}, c: {value: x}}\n")
    (tmp_path / "Pulumi.dev.yaml").write_text("config: {p:a: 7, flag: false, cloud:region: fra, cloud:list: [1, {k: v}]}\n")
    values = config.resolve(found, config.read_stack_file(found, "dev"), SecretsManager("p"))
    assert values.values == {
        "p:a": "7",
        "p:b": "two",
        "p:c": "x",
        "p:flag": "false",
        "cloud:region": "fra",
        "cloud:list": '[1,{"k":"v"}]',
    }
    assert values.of_package("cloud") == {"region": "fra", "list": '[1,{"k":"v"}]'}
    assert values.secret_keys == ()


def test_a_structured_secret_makes_its_whole_key_secret(tmp_path: Path) -> None:
    found = project_at(tmp_path, "name: p\nruntime: python\n")
    keys = SecretsManager("p")
    (tmp_path / "Pulumi.dev.yaml").write_text(f"config: {{cloud:auth: {{user: u, word: {{secure: '{keys.encrypt('w', 'config')}'}}}}}}\n")
    values = config.resolve(found, config.read_stack_file(found, "dev"), keys)
    assert values.secret_keys == ("cloud:auth",)
    assert values.of_package("cloud") == {"auth": Secret('{"user":"u","word":"w"}')}
    assert "word" not in repr(values)


def test_an_absent_stack_file_is_empty_and_a_cloud_key_service_is_refused(tmp_path: Path) -> None:
    found = project_at(tmp_path, "name: p\nruntime: python\n")
    assert config.read_stack_file(found, "dev").values == {}
    (tmp_path / "Pulumi.dev.yaml").write_text("secretsprovider: awskms://key\n")
    with pytest.raises(Unsupported, match="awskms"):
        config.read_stack_file(found, "dev")


LEVELS = [f"a{n}: &a{n} [{','.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 9)]


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("\n".join(["a0: &a0 [x,x,x,x,x,x,x,x,x,x]", *LEVELS, "config: {p:a: *a8}"]), "aliases"),
        (f"a: &a {'x' * 100_000}\nconfig: {{p:a: [{'*a,' * 1000}]}}", "aliases"),
        ("config: {p:a: &a [*a]}", "aliases"),
        ("config: {p:a: " + "[" * 5000 + "]" * 5000 + "}", "cannot be read"),
        ("config: {p:a: 2026-13-45}", "cannot be read"),
        ("config: 5", "names with values"),
        ("secretsprovider: [x]", "secrets provider"),
    ],
)
def test_a_stack_file_that_would_explode_is_refused(tmp_path: Path, text: str, why: str) -> None:
    found = project_at(tmp_path, "name: p\nruntime: python\n")
    (tmp_path / "Pulumi.dev.yaml").write_text(text)
    with pytest.raises(EngineError, match=why):
        config.read_stack_file(found, "dev")


def test_an_alias_that_stands_for_little_and_a_date_in_a_list_are_values_like_others(tmp_path: Path) -> None:
    found = project_at(tmp_path, "name: p\nruntime: python\n")
    (tmp_path / "Pulumi.dev.yaml").write_text("config: {cloud:a: &a [1, 2026-11-01], cloud:b: *a, 5: x}\n")
    values = config.resolve(found, config.read_stack_file(found, "dev"), None).values
    assert values == {"cloud:a": '[1,"2026-11-01"]', "cloud:b": '[1,"2026-11-01"]', "p:5": "x"}


# -- names ------------------------------------------------------------------------------------------------------------------------------

STACK = urns.stack_urn("dev", "p")


def test_the_stack_is_no_part_of_its_childrens_types() -> None:
    group = urns.make("dev", "p", STACK, "a:b:Group", "g")
    assert group == "urn:pulumi:dev::p::a:b:Group::g"
    assert urns.make("dev", "p", group, "c:d:E", "x::y") == "urn:pulumi:dev::p::a:b:Group$c:d:E::x::y"
    assert urns.name_of("urn:pulumi:dev::p::a:b:Group$c:d:E::x::y") == "x::y"
    assert urns.type_of("urn:pulumi:dev::p::a:b:Group$c:d:E::x::y") == "c:d:E"


@given(st.text(min_size=1).filter(lambda name: "::" not in name), st.from_regex(r"[a-z]+(:[a-z/]+){0,2}", fullmatch=True))
@settings(max_examples=40, deadline=None)
def test_a_name_comes_out_of_a_urn_as_it_went_in(name: str, kind: str) -> None:
    made = urns.make("s", "p", "", kind, name)
    assert (urns.name_of(made), urns.type_of(made)) == (name, kind)


def test_an_alias_says_only_what_differs() -> None:
    group = urns.make("dev", "p", STACK, "a:b:G", "g")

    def known(*aliases: Alias, parent: str = group, was: dict[str, str] | None = None) -> list[str]:
        return urns.alias_urns("dev", "p", parent, "t:t:T", "g-x", list(aliases), was or {})

    assert known(Alias(name="old")) == ["urn:pulumi:dev::p::a:b:G$t:t:T::old"]
    assert known(Alias(kind="u:u:U")) == ["urn:pulumi:dev::p::a:b:G$u:u:U::g-x"]
    assert known(Alias(no_parent=True)) == ["urn:pulumi:dev::p::t:t:T::g-x"]
    assert known(Alias(parent=STACK)) == ["urn:pulumi:dev::p::t:t:T::g-x"]
    assert known(Alias(stack="other", project="q")) == ["urn:pulumi:other::q::a:b:G$t:t:T::g-x"]
    assert known(Alias(urn="urn:x")) == ["urn:x"]
    assert known() == []
    renamed = {group: urns.make("dev", "p", STACK, "a:b:G", "before")}
    assert known(was=renamed) == ["urn:pulumi:dev::p::a:b:G$t:t:T::before-x"]


@pytest.mark.parametrize(("version", "name"), [("", "default"), ("6.23.1", "default_6_23_1"), ("v1.0.0-beta.2", "default_1_0_0_beta_2")])
def test_default_providers_are_named_as_the_cli_names_them(version: str, name: str) -> None:
    assert default_name(version) == name


# -- paths ------------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("a", ["a"]),
        ("env.PORT", ["env", "PORT"]),
        ("mounts[0].path", ["mounts", 0, "path"]),
        ('env["a b"]', ["env", "a b"]),
        ("ports[*].to", ["ports", "*", "to"]),
        ("*", ["*"]),
    ],
)
def test_a_path_is_read(text: str, parts: list[Any]) -> None:
    assert paths.parse(text) == parts


def test_a_path_that_is_none_is_refused() -> None:
    with pytest.raises(ValueError, match="position 2"):
        paths.parse("a[")


@pytest.mark.parametrize(
    ("new", "old", "ignored", "kept"),
    [
        ({"a": 2, "b": 2}, {"a": 1, "b": 1}, "a", {"a": 1, "b": 2}),
        ({"a": 2}, {}, "a", {}),
        ({}, {"a": 1}, "a", {"a": 1}),
        ({"m": {"x": 2, "y": 2}}, {"m": {"x": 1, "y": 1}}, "m.x", {"m": {"x": 1, "y": 2}}),
        ({"l": [{"x": 2}, {"x": 3}]}, {"l": [{"x": 1}, {"x": 1}]}, "l[*].x", {"l": [{"x": 1}, {"x": 1}]}),
        ({"l": [2, 3]}, {"l": [1]}, "l[0]", {"l": [1, 3]}),
        ({"s": Secret({"x": 2})}, {"s": Secret({"x": 1})}, "s.x", {"s": Secret({"x": 1})}),
        ({"a": 2}, {"a": 1}, "a[", {"a": 2}),
    ],
)
def test_an_ignored_path_keeps_its_old_value(new: Any, old: Any, ignored: str, kept: Any) -> None:
    before = repr(new)
    assert paths.keep_old(new, old, [ignored]) == kept
    assert repr(new) == before, "what the program said is not changed in place"


def test_a_difference_can_be_made_to_replace() -> None:
    def of(path: str, *patterns: str) -> list[str]:
        diff = Diff(changed=True, detailed={path: {"kind": "update", "inputDiff": True}})
        return paths.force_replacement(diff, list(patterns), init_errors=False).replaces

    assert of("a.b[0]", "a") == ["a"]
    assert of("a.b[0]", "a.*") == ["a"]
    assert of("a.b[0]", "a.c") == []
    assert of("a", "*") == ["a"]
    assert paths.force_replacement(Diff(changed=False), ["#initerror"], init_errors=True).replaces == ["#initerror"]
    assert paths.force_replacement(Diff(changed=True, keys=["k"]), ["k"], init_errors=False).replaces == ["k"]


# -- wishes -----------------------------------------------------------------------------------------------------------------------------

request: Any = resource_pb2.RegisterResourceRequest


def test_a_wish_is_read_with_its_options(tmp_path: Path) -> None:
    asked = request(type="a:b:C", name="n", custom=True, protect=True, deletedWith="urn:h", ignoreChanges=["x"], importId="i")
    asked.customTimeouts.create = "1h30m"
    asked.propertyDependencies["p"].urns.append("urn:d")
    asked.aliases.append(alias_pb2.Alias(spec=alias_pb2.Alias.Spec(name="old", noParent=True)))
    asked.sourcePosition.uri = f"file://{tmp_path}/stacks/my%20file.py"
    asked.sourcePosition.line = 7
    goal = goal_from(asked, tmp_path)
    assert (goal.protect, goal.deleted_with, goal.ignore_changes, goal.import_id) == (True, "urn:h", ["x"], "i")
    assert goal.custom_timeouts == {"create": 5400.0}
    assert goal.needs() == {"urn:h", "urn:d"}
    assert goal.aliases == [Alias(name="old", no_parent=True)]
    assert goal.source_position == "project:///stacks/my file.py#7", "no path of this machine gets into the state"
    assert goal.delete_before_replace is None
    assert goal_from(request(type="a:b:C", deleteBeforeReplaceDefined=True), tmp_path).delete_before_replace is False


@pytest.mark.parametrize(
    ("fields", "name"),
    [
        ({"remote": True}, "remote components"),
        ({"packageRef": "r"}, "parameterized packages"),
        ({"replace_with": ["u"]}, "replace_with"),
        ({"type": "pulumi:pulumi:StackReference"}, "pulumi:pulumi:StackReference"),
    ],
)
def test_a_wish_it_cannot_fulfil_is_refused_by_name(fields: dict[str, Any], name: str, tmp_path: Path) -> None:
    with pytest.raises(Unsupported, match=name):
        goal_from(request(**{"type": "a:b:C", "name": "n", **fields}), tmp_path)


@pytest.mark.parametrize(("text", "value"), [("90s", 90), ("5m", 300), ("1h30m", 5400), ("1.5s", 1.5), ("200ms", 0.2)])
def test_durations_are_seconds(text: str, value: float) -> None:
    assert seconds(text) == pytest.approx(value)


@pytest.mark.parametrize("text", ["", "5", "m5", "5m!"])
def test_a_duration_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(EngineError, match="is not a duration"):
        seconds(text)


# -- plugins ----------------------------------------------------------------------------------------------------------------------------


def executable(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("#!/bin/sh\n")
    path.chmod(0o755)
    return path


def test_a_plugin_is_looked_for_in_the_project_then_on_path_then_in_the_cache(tmp_path: Path) -> None:
    name = "pulumi-resource-x"
    cached = executable(tmp_path / "home" / "plugins" / "resource-x-v1.0.0" / name)
    newer = executable(tmp_path / "home" / "plugins" / "resource-x-v2.0.0" / name)
    env = {"PATH": str(tmp_path / "bin"), "PULUMI_HOME": str(tmp_path / "home")}
    project: Any = SimpleNamespace(plugins={})
    assert plugins.find("x", "1.0.0", project, env) == cached
    assert plugins.find("x", "9.9.9", project, env) == newer
    assert plugins.find("y", "", project, env) is None
    ambient = executable(tmp_path / "bin" / name)
    assert plugins.find("x", "1.0.0", project, env) == ambient
    assert plugins.find("x", "1.0.0", project, {**env, "PULUMI_IGNORE_AMBIENT_PLUGINS": "true"}) == cached
    project.plugins["x"] = tmp_path / "own"
    (tmp_path / "own").mkdir()
    with pytest.raises(PluginError, match="holds no executable pulumi-resource-x"):
        plugins.find("x", "", project, env)
    assert plugins.find("x", "", SimpleNamespace(plugins={"x": executable(tmp_path / "own" / name).parent}), env) == tmp_path / "own" / name  # type: ignore[arg-type]

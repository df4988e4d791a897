"""The quote command: what it prints, what it cuts off, and everything that it refuses, told at once."""

import json
import os
import re
import subprocess
import sys

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rowhouse.spec import times
from rowhouse.usage.quote import document_of, quote
from rowhouse.usage.quote_file import MAX_BYTES, RULES, UsageFileError, read_use
from tests.usage.quoting import Quoter
from tests.usage.rating_support import ROOT, plan_of


@pytest.fixture
def ask(tmp_path, monkeypatch) -> Quoter:
    return Quoter(tmp_path, monkeypatch)


def complaints(answer) -> list[tuple[str, str]]:
    """Path and rule of each error that was told, in order; standard output stays empty."""
    assert (answer.code, answer.out) == (2, "")
    told = [line.split(": ") for line in answer.err.splitlines()[1:]]
    return [("" if " " in parts[2] else parts[2], parts[1].removeprefix("error ")) for parts in told]


def line(document, meter: str):
    [found] = [each for each in document["lines"] if each["meter"] == meter]
    return found


# --- what it prints


def test_the_document_is_that_of_the_contract(ask):
    answer = ask(
        "aether/pro", {"running": [["2026-11-01T00:00:00Z", "2026-11-09T20:30:00Z"]], "storage_gb": [["2026-10-01T00:00:00Z", "12.0"]]}
    )
    assert answer.document == {
        "plan": "aether/pro",
        "period": "2026-11",
        "currency": "usd",
        "lines": [
            {"meter": "base", "quantity": "1", "unit": "month", "included": None, "amount": "20.00"},
            {"meter": "builds", "quantity": "0", "unit": "build", "included": None, "amount": "0.00"},
            {"meter": "running_hours", "quantity": "212.5", "unit": "hour", "included": "200", "amount": "1.25"},
            {"meter": "storage_gb", "quantity": "12", "unit": "GB-month", "included": "10", "amount": "1.00"},
        ],
        "refused": {},
        "credits_left": {},
        "total": "22.25",
    }


def test_no_use_costs_the_base(ask):
    assert ask("aether/team", {}).document["total"] == "50.00"


def test_large_numbers_have_no_exponent(ask):
    document = ask("llamasketch/free", {"counters": {"generations": [["2026-11-01T00:00:00Z", 1_000_000_000_000]]}}).document
    assert (line(document, "generations")["quantity"], document["refused"]) == ("1000000000000", {"generations": "999999999980"})


def test_people_read_a_table_with_what_is_beyond_and_what_is_left(ask):
    use = {
        "counters": {"generations": [["2026-11-05T00:00:00Z", 2600]]},
        "purchases": [{"pack": "credits-500", "at": "2026-11-01T00:00:00Z"}],
    }
    shown = ask.told("llamasketch/starter", use)
    assert ("100 refused" in shown.out, "credits left: 0 generations" in shown.out, "13.00 USD" in shown.out) == (True, True, True)
    assert "100 % of what is included is reached" in shown.err


# --- what lies outside the period


def test_a_run_over_midnight_of_the_months_last_day_is_split(ask):
    use = {"running": [["2026-11-30T22:00:00Z", "2026-12-01T03:00:00Z"]]}
    totals = [ask("ai-diy-roadmap/hourly", use, period=period).document["total"] for period in ("2026-10", "2026-11", "2026-12")]
    assert totals == ["0.00", "10.00", "15.00"]


def test_an_hour_of_a_run_over_midnight_is_active_in_both_months(ask):
    use = {"running": [["2026-11-30T23:59:00Z", "2026-12-01T00:01:00Z"]]}
    assert [ask("ai-diy/standard", use, period=period).document["total"] for period in ("2026-11", "2026-12")] == ["6.00", "6.00"]


def test_logins_activity_and_counts_outside_the_period_are_cut_off(ask):
    outside = ["2026-10-31T23:59:59.999Z", "2026-12-01T00:00:00Z"]
    use = {"logins": outside, "activity": outside, "counters": {"sprints": [[time, 5] for time in outside]}}
    document = ask("ai-diy/standard", use).document
    assert [line(document, meter)["quantity"] for meter in ("running_hours", "sprints")] == ["0", "0"]


def test_logins_and_activity_make_hours_active_once(ask):
    use = {
        "running": [["2026-11-03T08:10:00Z", "2026-11-03T08:20:00Z"]],
        "logins": ["2026-11-03T08:59:59Z", "2026-11-03T09:00:00Z"],
        "activity": ["2026-11-03T09:30:00Z", "2026-11-04T08:00:00Z"],
    }
    assert line(ask("ai-diy/standard", use).document, "running_hours")["quantity"] == "3"


def test_what_was_stored_before_the_period_is_stored_in_it(ask):
    use = {"storage_gb": [["2026-10-15T00:00:00Z", 8], ["2026-11-16T00:00:00Z", "16"], ["2026-12-24T00:00:00Z", 99]]}
    assert line(ask("aether/pro", use).document, "storage_gb")["quantity"] == "12"


def test_storage_is_the_mean_over_the_months_own_hours(ask):
    use = {"storage_gb": [["2028-02-01T00:00:00Z", 29], ["2028-02-02T00:00:00Z", 0]]}
    assert line(ask("aether/pro", use, period="2028-02").document, "storage_gb")["quantity"] == "1"


def test_runs_beside_each_other_are_of_several_instances_and_add_up(ask):
    run = ["2026-11-03T08:00:00Z", "2026-11-03T10:00:00Z"]
    assert line(ask("my-jarvis/usage", {"running": [run, run]}).document, "running_hours")["quantity"] == "4"


def test_rounding_is_of_the_total_and_not_of_each_run(ask):
    runs = [[f"2026-11-03T{hour:02}:00:00Z", f"2026-11-03T{hour:02}:00:01Z"] for hour in range(24)]
    assert line(ask("ai-diy-roadmap/hourly", {"running": runs}).document, "running_hours")["quantity"] == "0.016666667"


def test_parts_of_a_second_add_up_and_a_started_one_is_not_billed(ask):
    runs = [[f"2026-11-03T{hour:02}:00:00Z", f"2026-11-03T{hour:02}:00:00.700Z"] for hour in range(3)]
    assert line(ask("my-jarvis/usage", {"running": runs}).document, "running_hours")["quantity"] == "0.000555556"  # 2 s of 2.1 s


def test_a_pack_bought_before_the_period_is_not_in_its_bill_and_its_credits_are_there(ask):
    use = {
        "counters": {"generations": [["2026-11-03T08:00:00Z", 2100]]},
        "purchases": [{"pack": "credits-500", "at": "2026-10-03T08:00:00Z"}],
    }
    document = ask("llamasketch/starter", use).document
    assert (document["total"], document["credits_left"]) == ("8.00", {"generations": "400"})


def test_a_request_that_failed_completes_nothing_and_costs_nothing(ask):
    """Counts are of completions: a job that failed has none, so 2,001 jobs with one failed are 2,000."""
    jobs = [["2026-11-03T08:00:00Z", 1]] * 2000 + [["2026-11-03T09:00:00Z", 0]]
    assert ask("llamasketch/starter", {"counters": {"generations": jobs}}).document["refused"] == {}


def test_order_and_zone_of_times_change_nothing(ask):
    forth = {"running": [["2026-11-03T08:00:00Z", "2026-11-03T10:00:00Z"], ["2026-11-04T08:00:00Z", "2026-11-04T09:00:00Z"]]}
    back = {"running": [["2026-11-04T09:00:00+01:00", "2026-11-04T10:00:00+01:00"], ["2026-11-03T08:00:00Z", "2026-11-03T10:00:00Z"]]}
    assert ask("my-jarvis/usage", forth).document == ask("my-jarvis/usage", back).document


# --- what it refuses

NAIVE, EARLY, LATE = "2026-11-01T00:00:00", "2026-11-02T00:00:00Z", "2026-11-03T00:00:00Z"
WRONG = [
    ({"running": [[NAIVE, LATE]]}, "running[0][0]", "quote.time"),
    ({"running": [[LATE, EARLY]]}, "running[0][1]", "quote.order"),
    ({"running": [[EARLY]]}, "running[0]", "quote.shape"),
    ({"running": {"a": 1}}, "running", "quote.shape"),
    ({"running": None}, "running", "quote.shape"),
    ({"logins": [NAIVE]}, "logins[0]", "quote.time"),
    ({"logins": ["2026-11-31T00:00:00Z"]}, "logins[0]", "quote.time"),
    ({"logins": ["2026-11-01T23:59:60Z"]}, "logins[0]", "quote.time"),
    ({"logins": ["0001-01-01T00:00:00+23:00"]}, "logins[0]", "quote.time"),
    ({"activity": [1_762_000_000]}, "activity[0]", "quote.time"),
    ({"counters": {"generations": [[EARLY, -1]]}}, "counters.generations[0][1]", "quote.count"),
    ({"counters": {"generations": [[EARLY, 1.5]]}}, "counters.generations[0][1]", "quote.count"),
    ({"counters": {"generations": [[EARLY, True]]}}, "counters.generations[0][1]", "quote.count"),
    ({"counters": {"generations": [[EARLY, "5"]]}}, "counters.generations[0][1]", "quote.count"),
    ({"counters": {"generations": [[EARLY, 10**13]]}}, "counters.generations[0][1]", "quote.count"),
    ({"counters": {"images": []}}, "counters.images", "quote.counter"),
    ({"counters": []}, "counters", "quote.shape"),
    ({"storage_gb": [[EARLY, -1]]}, "storage_gb[0][1]", "quote.gb"),
    ({"storage_gb": [[EARLY, "1.0000000001"]]}, "storage_gb[0][1]", "quote.gb"),
    ({"storage_gb": [[EARLY, "NaN"]]}, "storage_gb[0][1]", "quote.gb"),
    ({"volume_gb": [[EARLY, 1], [EARLY, 2]]}, "volume_gb", "quote.shape"),
    ({"purchases": [{"pack": "credits-50", "at": EARLY}]}, "purchases[0].pack", "quote.pack"),
    ({"purchases": [{"pack": ["credits-500"], "at": EARLY}]}, "purchases[0].pack", "quote.pack"),
    ({"purchases": [{"pack": "credits-500"}]}, "purchases[0]", "quote.shape"),
    ({"purchases": [{"pack": "credits-500", "at": EARLY, "price": 0}]}, "purchases[0].price", "quote.key"),
    ({"runing": []}, "runing", "quote.key"),
    ('{"logins": [], "logins": []}', "logins", "quote.twice"),
    ([], "", "quote.shape"),
    ("", "", "quote.json"),
    ('{"running": [}', "", "quote.json"),
    ('{"storage_gb": [["2026-11-02T00:00:00Z", NaN]]}', "", "quote.json"),
    ('{"storage_gb": [["2026-11-02T00:00:00Z", 1e99999999999999999999]]}', "", "quote.json"),
    ('{"storage_gb": [["2026-11-02T00:00:00Z", 1e-999999999]]}', "storage_gb[0][1]", "quote.gb"),
    ('{"counters": {"generations": [["2026-11-02T00:00:00Z", ' + "9" * 5000 + "]]}}", "", "quote.json"),
    ("[" * 200_000, "", "quote.json"),
    (b"\xff\xfe{}", "", "quote.file"),
    (b'{"logins": ["\\ud800"]}', "logins[0]", "quote.time"),
]


@pytest.mark.parametrize(("use", "path", "rule"), WRONG, ids=[f"{rule} {path}" for _, path, rule in WRONG])
def test_each_mistake_is_told_with_its_place_and_rule(ask, use, path, rule):
    assert complaints(ask("llamasketch/starter", use)) == [(path, rule)]


def test_every_rule_but_the_files_size_has_a_mistake_that_fires_it():
    assert {rule for _, _, rule in WRONG} == set(RULES) - {"quote.size"}


def test_all_mistakes_are_told_at_once_in_the_order_of_the_file(ask):
    text = """{
  "logins": ["soon", "2026-11-01T00:00:00Z"],
  "runing": [],
  "counters": {"images": [["2026-11-01T00:00:00Z", -1]]},
  "logins": [7]
}"""
    answer = ask("llamasketch/starter", text)
    assert complaints(answer) == [
        ("runing", "quote.key"),
        ("counters.images", "quote.counter"),
        ("counters.images[0][1]", "quote.count"),
        ("logins", "quote.twice"),
        ("logins[0]", "quote.time"),
    ]
    places = [line.split(": ")[0].rsplit(":", 2)[1:] for line in answer.err.splitlines()[1:]]
    assert places == [["3", "3"], ["4", "16"], ["4", "52"], ["5", "3"], ["5", "14"]]
    assert answer.err.startswith("5 errors in the file of use; nothing was computed.")


def test_a_misspelt_word_gets_a_guess(ask):
    err = ask("llamasketch/starter", {"runing": [], "counters": {"generation": []}}).err
    assert ("Did you mean 'running'?" in err, "Did you mean 'generations'?" in err) == (True, True)


def test_a_million_mistakes_are_counted_and_fifty_told(ask):
    err = ask("llamasketch/starter", '{"logins": [' + ",".join("0" * 100_000) + "]}").err
    assert (err.startswith("100,000 errors"), len(err.splitlines()), err.splitlines()[-1]) == (True, 52, "... and 99,950 more")


def test_control_characters_of_a_file_do_not_reach_the_terminal(ask):
    err = ask("llamasketch/starter", {"\x1b[2Jrunning\u202e": [], "logins": ["\x1b]0;x\x07"]}).err
    assert err.isprintable() or all(char.isprintable() or char == "\n" for char in err)


def test_a_file_that_is_too_large_is_not_read(ask):
    file = ask.folder / "large.json"
    with file.open("wb") as stream:
        stream.truncate(50 * 1024 * 1024)
    assert complaints(ask("llamasketch/starter", file)) == [("", "quote.size")]


def test_a_file_that_grows_while_it_is_read_is_refused_too(ask, monkeypatch):
    file = ask.folder / "growing.json"
    file.write_bytes(b" " * (MAX_BYTES + 1))
    true_size = os.fstat

    def small(descriptor: int) -> os.stat_result:
        status = true_size(descriptor)
        return os.stat_result((*status[:6], 1, *status[7:10]))

    monkeypatch.setattr(os, "fstat", small)
    with pytest.raises(UsageFileError, match=r"quote\.size"):
        read_use(file, counters=(), packs=())


def test_a_folder_a_pipe_and_a_missing_file_are_refused_at_once(ask):
    pipe = ask.folder / "pipe"
    os.mkfifo(pipe)
    for file in (ask.folder, pipe, ask.folder / "none.json"):
        assert complaints(ask("llamasketch/starter", file)) == [("", "quote.file")]


@pytest.mark.parametrize("period", ["2026-13", "2026", "11-2026", "2026-11-01", "0000-01", "9999-12", ""])
def test_a_period_that_is_no_month_is_refused(ask, period):
    answer = ask("llamasketch/starter", {}, period=period)
    assert (answer.code, answer.out, "is not a month" in answer.err) == (2, "", True)


def test_an_unknown_plan_gets_a_guess(ask):
    answer = ask("aether/por", {})
    assert (answer.code, answer.out, "Did you mean 'aether/pro'?" in answer.err) == (2, "", True)


def test_a_mistake_in_a_tenants_file_does_not_stop_a_quote_and_one_in_a_catalog_does(ask, tmp_path, monkeypatch):
    root = tmp_path / "project"
    for folder in ("tenants", "plans", "apps"):
        (root / folder).mkdir(parents=True)
    (root / "Pulumi.yaml").touch()
    for name in ("plans/my-jarvis.yaml", "apps/jarvis.yaml"):
        (root / name).write_text((ROOT / name).read_text())
    (root / "tenants/broken.yaml").write_text("owner: 3\n")
    monkeypatch.chdir(root)
    assert ask("my-jarvis/fixed", {}).document["total"] == "20.00"
    (root / "plans/my-jarvis.yaml").write_text("title: 3\n")
    assert (ask("my-jarvis/fixed", {}).code, "plans/my-jarvis.yaml" in ask("my-jarvis/fixed", {}).err) == (2, True)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.sampled_from([EARLY, LATE, "credits-500", "generations"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(max_size=5) | st.sampled_from(["pack", "at", "generations"]), inner, max_size=3)
    ),
    max_leaves=12,
)
FILES = st.dictionaries(
    st.sampled_from(["running", "logins", "activity", "counters", "storage_gb", "volume_gb", "purchases"]) | st.text(max_size=5),
    JSON,
    max_size=4,
)


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(FILES | JSON)
def test_any_json_is_a_quote_or_a_list_of_mistakes(tmp_path, document):
    file = tmp_path / "any.json"
    file.write_text(json.dumps(document))
    held = plan_of("llamasketch/starter")
    try:
        use = read_use(file, counters=["generations"], packs=["credits-500"])
    except UsageFileError as error:
        problems = error.problems
        str(error).encode()
    else:
        problems = ()
        assert document_of(quote(held, times.month("2026-11"), use), held, "2026-11")["lines"]
    assert all(problem.line >= 1 and problem.column >= 1 for problem in problems)


# --- what the documents promise


def test_the_documents_example_is_real_output(ask):
    [block] = re.findall(r"```json\n(.*?)```", (ROOT / "docs/rating.md").read_text(), re.DOTALL)
    answer = ask("aether/free", {"running": [["2026-11-01T00:00:00Z", "2026-11-03T03:30:00Z"]]})
    assert answer.document == json.loads(block)


def test_every_key_of_a_file_is_documented(ask):
    told = re.findall(r"^\| `(\w+)` \| `[\[{]", (ROOT / "docs/rating.md").read_text(), re.MULTILINE)
    [allowed] = re.findall(r"Allowed: (.*)\. Rename", ask("aether/free", {"colour": []}).err)
    assert allowed.split(", ") == told


def test_a_quote_of_the_shell_is_that_of_this_process(ask):
    use = {"running": [["2026-11-01T00:00:00Z", "2026-11-01T13:20:00Z"]]}
    here = ask("ai-diy-roadmap/hourly", use)
    command = ["quote", "ai-diy-roadmap/hourly", "--period", "2026-11", "--usage", str(ask.folder / "use.json"), "--json"]
    ran = subprocess.run(
        [sys.executable, "-m", "rowhouse.cli", *command], cwd=ROOT, capture_output=True, text=True, check=False, timeout=60
    )
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, here.out, "")
    assert here.document["total"] == "66.67"

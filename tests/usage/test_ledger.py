"""The ledger only grows: one winner for each window, nothing lost wherever it is killed, readers that fail closed."""

from __future__ import annotations

import contextlib
import json
import os
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest

from rowhouse.usage.entries import Entry, LedgerError
from rowhouse.usage.ledger import Ledger
from rowhouse.usage.segments import decode, head_key, window_of
from rowhouse.vendors.store import Store, StoreError, open_store
from rowhouse.vendors.store_s3 import S3Store
from tests.usage.stores import HOUR, START, FaultyStore, Killed, MemoryStore, filled, poll, rows
from tests.vendors.test_store import s3_that, says


@pytest.fixture(scope="module")
def moto_endpoint() -> Iterator[str]:
    """An S3 stand-in; unthreaded, because the threaded one lets two conditional creates win."""
    moto_server = pytest.importorskip("moto.server")
    from werkzeug.serving import make_server

    server = make_server("127.0.0.1", 0, moto_server.DomainDispatcherApplication(moto_server.create_backend_app), threaded=False)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join(5)
    server.server_close()


@pytest.fixture(params=["memory", "file", "s3"])
def store(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    if request.param == "memory":
        return MemoryStore()
    if request.param == "file":
        return open_store((tmp_path / "store").as_uri())
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAPLANTED0000000000")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "planted-secret-access-key-000000000000")
    bucket = f"bucket-{os.urandom(6).hex()}"
    made = S3Store(bucket, "cell/main", endpoint=request.getfixturevalue("moto_endpoint"), region="eu-west-1")
    made._client.create_bucket(Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})
    return made


class TestEveryStore:
    def test_what_was_appended_is_read_in_order_and_as_a_table(self, store: Store):
        ledger = filled(store, 4, sources=("fly", "pass"))
        read = list(Ledger(store, "main").read("fly"))
        assert [entry.tenant for entry in read] == ["t-0", "u-0", "t-1", "u-1", "t-2", "u-2", "t-3", "u-3"]
        assert rows(ledger) == rows(Ledger(store, "main"))
        assert len(rows(ledger)) == 16
        assert json.loads(rows(ledger)[0][-1]) == {"region": "fra"}
        assert ledger.verify() == []

    def test_the_second_of_one_window_leaves_nothing(self, store: Store):
        at = START + 5 * HOUR
        first = Ledger(store, "main").append("fly", window_of(at, 3600), [poll(at, "first")])
        second = Ledger(store, "main").append("fly", window_of(at + 1000, 3600), [poll(at, "second")])
        assert (first.written, second.written, second.reason, second.key) == (True, False, "taken", first.key)
        assert [entry.tenant for entry in Ledger(store, "main").read()] == ["first"]

    def test_a_pass_that_comes_after_a_later_one_leaves_nothing(self, store: Store):
        ledger = filled(store, 2)
        late = ledger.append("fly", window_of(START, 3600), [poll(START)])
        assert (late.written, late.reason) == (False, "late")
        assert ledger.verify() == []

    def test_of_many_passes_at_once_one_leaves_its_segment(self, store: Store):
        at = START + HOUR

        def run(number: int) -> bool:
            return Ledger(store, "main").append("fly", window_of(at, 3600), [poll(at, f"pass-{number}")]).written

        with ThreadPoolExecutor(4) as pool:
            assert sum(pool.map(run, range(6))) == 1
        assert len(list(Ledger(store, "main").read())) == 1
        assert Ledger(store, "main").verify() == []

    def test_appends_of_many_windows_and_memories_at_once_are_one_chain(self, store: Store):
        def run(number: int) -> bool:
            return Ledger(store, "main").remember("account", START, [Entry("correction", START + number, data={"reason": "test"})]).written

        with ThreadPoolExecutor(4) as pool:
            assert all(pool.map(run, range(8)))
        assert sorted(entry.at - START for entry in Ledger(store, "main").read("account")) == list(range(8))
        assert Ledger(store, "main").verify() == []

    def test_the_same_memory_twice_is_one_segment_even_with_another_in_between(self, store: Store):
        ledger = Ledger(store, "main")
        one, other = [Entry("plan", START, "acme")], [Entry("plan", START, "fern")]
        first = ledger.remember("account", START, one)
        ledger.remember("account", START, other)
        assert Ledger(store, "main").remember("account", START + HOUR, one) == first
        assert len(list(ledger.read("account"))) == 2

    def test_the_chain_goes_on_over_months_and_a_month_is_read_alone(self, store: Store):
        ledger = filled(store, 10)
        november = list(ledger.read("fly", ["2026-11"]))
        december = list(ledger.read("fly", since="2026-12"))
        assert (len(november), len(december)) == (12, 8)
        assert november + december == list(ledger.read())
        assert len(rows(ledger, since="2026-12")) == 8
        assert len(rows(ledger, months=["2026-11"])) == 12
        assert rows(ledger, months=["2027-01"]) == []


def test_cells_and_sources_do_not_touch_each_other():
    store = MemoryStore()
    at = window_of(START, 3600)
    for cell in ("main", "eu"):
        for source in ("fly", "gateway"):
            assert Ledger(store, cell).append(source, at, [poll(START, cell)]).written
    assert {entry.tenant for entry in Ledger(store, "eu").read()} == {"eu"}
    assert sorted(Ledger(store, "eu").heads()) == ["fly", "gateway"]


@pytest.mark.parametrize("wrong", ["", "2026", "20261301T000000Z", "20261101T000000Z-xyz", "../x", "20261101T000000"])
def test_a_window_that_is_none_is_refused(wrong: str):
    with pytest.raises(LedgerError, match="window"):
        Ledger(MemoryStore(), "main").append("fly", wrong, [])


def test_a_source_that_is_none_is_refused():
    with pytest.raises(LedgerError, match="stripe"):
        Ledger(MemoryStore(), "main").append("stripe", window_of(START, 3600), [])


def test_a_segment_is_readable_with_common_tools():
    import gzip

    store = MemoryStore()
    filled(store, 2)
    data = store.objects["ledger/main/fly/2026-11/20261128T120000Z.jsonl.gz"]
    header, *lines = [json.loads(line) for line in gzip.decompress(data).decode().splitlines()]
    assert (header["cell"], header["source"], header["after"], header["n"]) == ("main", "fly", "20261128T000000Z", 2)
    assert [line["kind"] for line in lines] == ["machine", "machine"]


FAULTS = ("killed before", "killed after", "refused", "lost")


@pytest.mark.parametrize("fault", FAULTS)
def test_wherever_an_append_goes_wrong_the_next_one_goes_on_and_nothing_is_doubled(fault: str):
    number = 0
    while True:
        objects: dict[str, bytes] = {}
        broken = FaultyStore(objects, number, fault)
        done = 0
        with contextlib.suppress(Killed, StoreError):
            done = sum(
                Ledger(broken, "main").append("fly", window_of(START + n * HOUR, 3600), [poll(START, f"t-{n}")]).written for n in range(3)
            )
        whole = MemoryStore()
        whole.objects = objects
        # The pass is run again from its start, as a scheduler does.
        for n in range(3):
            Ledger(whole, "main").append("fly", window_of(START + n * HOUR, 3600), [poll(START, f"t-{n}")])
        assert [entry.tenant for entry in Ledger(whole, "main").read()] == ["t-0", "t-1", "t-2"]
        assert Ledger(whole, "main").verify() == []
        if broken.count < number:
            assert done == 3
            break
        number += 1
    assert number > 8


@pytest.mark.parametrize("fault", FAULTS)
def test_wherever_an_append_is_killed_a_reader_sees_all_of_it_or_nothing(fault: str):
    for number in range(12):
        broken = FaultyStore({}, number, fault)
        recorded = 0
        try:
            for n in range(3):
                Ledger(broken, "main").append("fly", window_of(START + n * HOUR, 3600), [poll(START, f"t-{n}"), poll(START, f"u-{n}")])
                recorded = n + 1
        except (Killed, StoreError):
            pass
        whole = MemoryStore()
        whole.objects = dict(broken.objects)
        read = [entry.tenant for entry in Ledger(whole, "main").read()]
        assert len(read) // 2 in {recorded, recorded + 1}
        assert read == [f"{kind}-{n}" for n in range(len(read) // 2) for kind in "tu"]
        assert len(rows(Ledger(whole, "main"))) == len(read)


def test_a_put_whose_answer_was_lost_is_recognised_as_ours():
    store = MemoryStore()
    ledger = filled(store, 1)
    at = START + 29 * 24 * HOUR
    for number in range(6):
        broken = FaultyStore(dict(store.objects), number, "lost")
        try:
            appended = Ledger(broken, "main").append("fly", window_of(at, 3600), [poll(at)])
        except StoreError:
            assert "put" not in broken.calls[-1]  # a look that got no answer; a write that happened is not called a failure
        else:
            assert appended.written
            assert [call.split()[0] for call in broken.calls].count("put") <= 2
    assert ledger.verify() == []


def test_an_s3_that_answers_500_to_a_write_that_it_made_is_looked_at_again(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAPLANTED0000000000")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "planted-secret-access-key-000000000000")
    objects: dict[str, bytes] = {}
    puts: list[str] = []

    def answer(handler: BaseHTTPRequestHandler) -> None:
        key = handler.path.split("?")[0].removeprefix("/bucket/p/")
        if "list-type" in handler.path:
            says(200, "", b"<ListBucketResult><IsTruncated>false</IsTruncated></ListBucketResult>", {"Content-Type": "application/xml"})(
                handler
            )
        elif handler.command == "PUT":
            puts.append(key)
            objects[key] = bodies.pop()
            says(500, "InternalError")(handler)
        elif key in objects:
            says(200, "", objects[key], {"ETag": '"e"'})(handler)
        else:
            says(404, "NoSuchKey")(handler)

    bodies: list[bytes] = []
    with s3_that(answer) as store:
        sent = store._client.put_object

        def noted(**kwargs):
            bodies.append(kwargs["Body"])
            return sent(**kwargs)

        monkeypatch.setattr(store._client, "put_object", noted)
        appended = Ledger(store, "main").append("fly", window_of(START, 3600), [poll(START)])
    assert appended.written
    assert puts == [head_key("main", "fly"), appended.key]


@pytest.mark.parametrize(
    ("status", "code"), [(412, "PreconditionFailed"), (500, "InternalError"), (503, "SlowDown"), (403, "AccessDenied")]
)
def test_an_s3_that_only_refuses_is_an_error_and_never_a_success(status: int, code: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAPLANTED0000000000")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "planted-secret-access-key-000000000000")

    def answer(handler: BaseHTTPRequestHandler) -> None:
        if handler.command == "PUT":
            says(status, code)(handler)
        elif "list-type" in handler.path:
            says(200, "", b"<ListBucketResult><IsTruncated>false</IsTruncated></ListBucketResult>", {"Content-Type": "application/xml"})(
                handler
            )
        else:
            says(404, "NoSuchKey")(handler)

    monkeypatch.setattr("rowhouse.usage.ledger._ATTEMPTS", 2)
    with s3_that(answer) as store, pytest.raises((StoreError, LedgerError)):
        Ledger(store, "main").append("fly", window_of(START, 3600), [poll(START)])


class TestReadersFailClosed:
    """A ledger that cannot be read as a whole is no ledger: an amount too small would look like the truth."""

    @pytest.mark.parametrize("number", range(6))
    def test_a_missing_segment_is_named(self, number: int):
        store = MemoryStore()
        filled(store, 7)
        key = sorted(key for key in store.objects if "head" not in key)[number]
        del store.objects[key]
        for use in (lambda: list(Ledger(store, "main").read("fly")), lambda: rows(Ledger(store, "main"))):
            with pytest.raises(LedgerError) as caught:
                use()
            assert key in str(caught.value)

    def test_a_missing_last_segment_is_read_from_the_head(self):
        store = MemoryStore()
        filled(store, 3)
        del store.objects[max(key for key in store.objects if "head" not in key)]
        assert len(list(Ledger(store, "main").read())) == 6
        assert len(rows(Ledger(store, "main"))) == 6

    def test_the_last_segment_of_a_month_is_missed_by_who_reads_the_next_month_only(self):
        store = MemoryStore()
        ledger = filled(store, 8)
        key = max(key for key in store.objects if "/2026-11/" in key)
        del store.objects[key]
        with pytest.raises(LedgerError, match=key):
            list(ledger.read("fly", ["2026-12"]))

    def test_a_changed_byte_is_named_whatever_it_does_to_the_text(self):
        store = MemoryStore()
        filled(store, 5)
        keys = sorted(key for key in store.objects if "head" not in key)
        for key in keys:
            whole = store.objects[key]
            store.objects[key] = whole[:60] + bytes([whole[60] ^ 4]) + whole[61:]
            with pytest.raises(LedgerError, match=key):
                rows(Ledger(store, "main"))
            store.objects[key] = whole

    def test_a_head_that_cannot_be_read_stops_appends_too(self):
        store = MemoryStore()
        ledger = filled(store, 2)
        store.objects[head_key("main", "fly")] = b"scribble"
        for use in (lambda: list(ledger.read()), lambda: ledger.append("fly", "20270101T000000Z", [])):
            with pytest.raises(LedgerError, match=r"fly/head\.jsonl\.gz"):
                use()

    def test_a_missing_head_does_not_begin_a_second_chain(self):
        store = MemoryStore()
        ledger = filled(store, 2)
        del store.objects[head_key("main", "fly")]
        for use in (lambda: list(ledger.read()), lambda: ledger.append("fly", "20270101T000000Z", [])):
            with pytest.raises(LedgerError, match=r"fly/head\.jsonl\.gz is missing"):
                use()

    def test_a_foreign_object_among_the_segments_is_named(self):
        store = MemoryStore()
        ledger = filled(store, 1)
        store.objects["ledger/main/fly/2026-11/notes.txt"] = b"hello"
        with pytest.raises(LedgerError, match=r"notes\.txt"):
            list(ledger.read())

    def test_a_line_that_is_no_entry_is_named_with_its_number(self):
        from rowhouse.usage.segments import Header, encode

        store = MemoryStore()
        data = encode(Header("main", "fly", "20261101T000000Z", "", "", 1), ['{"kind":"pass"}'])
        store.objects["ledger/main/fly/2026-11/20261101T000000Z.jsonl.gz"] = data
        store.objects[head_key("main", "fly")] = data
        with pytest.raises(LedgerError, match=r"20261101T000000Z\.jsonl\.gz, line 2"):
            list(Ledger(store, "main").read())


def test_a_full_disk_is_told_and_loses_nothing(tmp_path: Path):
    """The file size limit of this process stands for the disk's end: a write beyond it fails in the same place."""
    import resource
    import signal

    store = open_store((tmp_path / "store").as_uri())
    ledger = filled(store, 2)
    at = START + 60 * 24 * HOUR
    many = [poll(at, f"t-{os.urandom(8).hex()}") for _ in range(2000)]
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, hard))
    try:
        with pytest.raises(StoreError, match="space"):
            ledger.append("fly", window_of(at, 3600), many)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, before)
    assert len(list(Ledger(store, "main").read())) == 4
    assert ledger.append("fly", window_of(at, 3600), many).written
    assert len(list(Ledger(store, "main").read())) == 2004
    assert ledger.verify() == []


def test_the_same_entries_are_the_same_bytes():
    one, other = MemoryStore(), MemoryStore()
    filled(one, 3)
    filled(other, 3)
    assert one.objects == other.objects
    for key, data in one.objects.items():
        assert decode(key, data).sha256

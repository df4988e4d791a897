"""One contract over every object store, and what only a misbehaving S3 server shows."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from rowhouse.vendors.store import Conflict, Store, StoreError, default_store_url, open_store
from rowhouse.vendors.store_s3 import S3Store

SECRET = "planted-secret-access-key-000000000000"


@pytest.fixture(autouse=True)
def _credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAPLANTED0000000000")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")


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


@pytest.fixture(params=["file", "s3"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    if request.param == "file":
        return open_store((tmp_path / "store").as_uri())
    endpoint = request.getfixturevalue("moto_endpoint")
    bucket = f"bucket-{os.urandom(6).hex()}"
    made = S3Store(bucket, "cell/main", endpoint=endpoint, region="eu-west-1")
    made._client.create_bucket(Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})
    return made


class TestEveryStore:
    def test_nothing_is_none(self, store: Store) -> None:
        assert store.get("routes/acme.example.json") is None

    def test_what_was_put_is_got_with_the_same_etag(self, store: Store) -> None:
        etag = store.put("routes/acme.json", b"\x00one")
        blob = store.get("routes/acme.json")
        assert blob is not None
        assert (blob.data, blob.etag) == (b"\x00one", etag)

    def test_a_put_replaces_the_whole_object_and_changes_its_etag(self, store: Store) -> None:
        first = store.put("a", b"a long first version")
        second = store.put("a", b"short")
        assert first != second
        blob = store.get("a")
        assert blob is not None
        assert blob.data == b"short"

    def test_creating_only_if_absent_loses_when_present(self, store: Store) -> None:
        store.put("a", b"1", if_none_match=True)
        with pytest.raises(Conflict):
            store.put("a", b"2", if_none_match=True)
        blob = store.get("a")
        assert blob is not None
        assert blob.data == b"1"

    def test_replacing_only_if_unchanged_loses_when_changed(self, store: Store) -> None:
        seen = store.put("a", b"1")
        newer = store.put("a", b"2", if_match=seen)
        with pytest.raises(Conflict):
            store.put("a", b"3", if_match=seen)
        assert store.put("a", b"4", if_match=newer) != newer

    def test_replacing_only_if_unchanged_loses_when_absent(self, store: Store) -> None:
        with pytest.raises(Conflict):
            store.put("a", b"1", if_match="0" * 32)

    def test_deleting_twice_is_success(self, store: Store) -> None:
        store.put("a/b", b"1")
        store.delete("a/b")
        store.delete("a/b")
        store.delete("never/was")
        assert store.get("a/b") is None

    def test_a_list_is_sorted_and_holds_only_its_prefix(self, store: Store) -> None:
        etags = {key: store.put(key, key.encode()) for key in ("routes/b", "routes/a", "routes-old/c", "holds/t/main", "routes/sub/d")}
        assert store.list("routes/") == [(key, etags[key]) for key in ("routes/a", "routes/b", "routes/sub/d")]
        assert [key for key, _ in store.list("routes")] == ["routes-old/c", "routes/a", "routes/b", "routes/sub/d"]
        assert [key for key, _ in store.list("")] == sorted(etags)
        assert store.list("none/") == []

    def test_a_list_follows_changes_and_deletions(self, store: Store) -> None:
        store.put("routes/a", b"1")
        store.put("routes/b", b"1")
        store.list("routes/")
        changed = store.put("routes/a", b"2")
        store.delete("routes/b")
        assert store.list("routes/") == [("routes/a", changed)]

    def test_of_many_creators_exactly_one_wins(self, store: Store) -> None:
        def create(number: int) -> bool:
            try:
                store.put("lock", str(number).encode(), if_none_match=True)
            except Conflict:
                return False
            return True

        with ThreadPoolExecutor(4) as pool:
            assert sum(pool.map(create, range(8))) == 1

    def test_of_many_replacers_of_one_version_exactly_one_wins(self, store: Store) -> None:
        seen = store.put("counter", b"0")

        def replace(number: int) -> bool:
            try:
                store.put("counter", f"by {number}".encode(), if_match=seen)
            except Conflict:
                return False
            return True

        with ThreadPoolExecutor(4) as pool:
            assert sum(pool.map(replace, range(8))) == 1

    @pytest.mark.parametrize(
        "key", ["", "/etc/passwd", "../x", "a/../b", "a//b", "a/", "a/.", ".tmp/x", "a\nb", "a\x00b", "a\\b", "k" * 1100, "a/" + "s" * 256]
    )
    def test_a_key_that_could_leave_its_place_is_refused(self, store: Store, key: str) -> None:
        with pytest.raises(StoreError):
            store.get(key)
        with pytest.raises(StoreError):
            store.put(key, b"x")
        with pytest.raises(StoreError):
            store.delete(key)


class TestFileStore:
    def test_a_failed_write_leaves_the_old_object_and_no_litter(self, tmp_path: Path) -> None:
        store = open_store(tmp_path.as_uri())
        store.put("a/b", b"old")
        with pytest.raises(StoreError, match="could not write"):
            store.put("a", b"a folder stands here")
        assert list((tmp_path / ".tmp").iterdir()) == []
        assert [key for key, _ in store.list("")] == ["a/b"]

    def test_a_half_written_temporary_file_is_never_listed(self, tmp_path: Path) -> None:
        store = open_store(tmp_path.as_uri())
        store.put("a", b"1")
        (tmp_path / ".tmp" / "left-by-a-crash").write_bytes(b"half")
        assert [key for key, _ in store.list("")] == ["a"]

    def test_links_do_not_lead_out_of_the_folder(self, tmp_path: Path) -> None:
        outside = tmp_path / "outside"
        outside.mkdir()
        (outside / "secret").write_text("x")
        (tmp_path / "store").mkdir()
        (tmp_path / "store" / "link").symlink_to(outside)
        assert open_store((tmp_path / "store").as_uri()).list("") == []


class TestUrls:
    @pytest.mark.parametrize(
        "url", ["", "store", "http://host/x", "file://host/x", "file:///", "s3:///x", "s3://b/p?region=x&colour=y", "file:///a?b=c"]
    )
    def test_an_unusable_url_is_refused(self, url: str) -> None:
        with pytest.raises(StoreError):
            open_store(url)

    def test_a_url_with_a_password_is_refused_without_showing_it(self) -> None:
        with pytest.raises(StoreError) as caught:
            open_store(f"s3://key:{SECRET}@bucket/prefix")
        assert SECRET not in str(caught.value)

    def test_the_default_is_the_nearest_project(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        (tmp_path / "Pulumi.yaml").write_text("name: x\n")
        (tmp_path / "deep" / "er").mkdir(parents=True)
        monkeypatch.chdir(tmp_path / "deep" / "er")
        monkeypatch.delenv("ROWHOUSE_STORE_URL", raising=False)
        assert default_store_url() == (tmp_path / ".rowhouse" / "store").as_uri()
        monkeypatch.setenv("ROWHOUSE_STORE_URL", "s3://elsewhere/x")
        assert default_store_url() == "s3://elsewhere/x"


Answer = Callable[[BaseHTTPRequestHandler], None]


@contextmanager
def s3_that(answer: Answer, attempts: int = 1) -> Iterator[S3Store]:
    """A store before a server that does one thing, whatever it is asked."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_any(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            answer(self)

        do_GET = do_PUT = do_DELETE = do_HEAD = do_any  # noqa: N815

        def log_message(self, *_args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    made = S3Store("bucket", "p", endpoint=f"http://127.0.0.1:{server.server_port}", read_timeout_s=0.3, attempts=attempts)
    try:
        yield made
    finally:
        made._client.close()
        server.shutdown()
        thread.join(5)
        server.server_close()


def says(status: int, code: str, body: bytes | None = None, headers: dict[str, str] | None = None) -> Answer:
    def answer(handler: BaseHTTPRequestHandler) -> None:
        data = f"<Error><Code>{code}</Code><Message>signed with {SECRET}</Message></Error>".encode() if body is None else body
        handler.send_response(status)
        for name, value in (headers or {}).items():
            handler.send_header(name, value)
        handler.send_header("Content-Length", str(len(data)))
        handler.end_headers()
        handler.wfile.write(data)

    return answer


class TestMisbehavingS3:
    @pytest.mark.parametrize(("status", "code"), [(412, "PreconditionFailed"), (409, "ConditionalRequestConflict")])
    def test_both_ways_of_losing_a_condition_are_a_conflict(self, status: int, code: str) -> None:
        with s3_that(says(status, code)) as store, pytest.raises(Conflict):
            store.put("a", b"1", if_none_match=True)

    def test_another_409_is_not_a_lost_condition(self) -> None:
        with s3_that(says(409, "OperationAborted")) as store, pytest.raises(StoreError) as caught:
            store.put("a", b"1", if_none_match=True)
        assert not isinstance(caught.value, Conflict)

    @pytest.mark.parametrize("status", [403, 500, 503])
    def test_a_refusal_is_an_error_that_shows_no_credential(self, status: int) -> None:
        with s3_that(says(status, "Whatever")) as store:
            for verb in (lambda: store.get("a"), lambda: store.put("a", b"1"), lambda: store.delete("a"), lambda: store.list("a")):
                with pytest.raises(StoreError) as caught:
                    verb()
                text = f"{caught.value!r} {caught.value.__cause__!r}"
                assert str(status) in text
                assert SECRET not in text
                assert "AKIA" not in text

    def test_a_missing_bucket_is_an_error_not_an_absent_object(self) -> None:
        with s3_that(says(404, "NoSuchBucket")) as store, pytest.raises(StoreError, match="NoSuchBucket"):
            store.get("a")

    def test_a_hanging_server_is_given_up(self) -> None:
        release = threading.Event()
        with s3_that(lambda _handler: release.wait(5) and None) as store:
            with pytest.raises(StoreError, match="Timeout"):
                store.get("a")
            release.set()

    def test_a_refused_connection_is_an_error(self) -> None:
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            store = S3Store("bucket", endpoint=f"http://127.0.0.1:{taken.getsockname()[1]}", attempts=1)
            with pytest.raises(StoreError, match="EndpointConnectionError"):
                store.list("")

    def test_a_create_whose_answer_was_lost_is_recognised_as_ours(self) -> None:
        asked: list[str] = []

        def answer(handler: BaseHTTPRequestHandler) -> None:
            asked.append(handler.command)
            if asked == ["PUT"]:
                says(500, "InternalError")(handler)
            elif handler.command == "PUT":
                says(412, "PreconditionFailed")(handler)
            else:
                says(200, "", b"mine", {"ETag": '"e1"'})(handler)

        with s3_that(answer, attempts=2) as store:
            assert store.put("a", b"mine", if_none_match=True) == "e1"
        assert asked == ["PUT", "PUT", "GET"]

    def test_pages_of_a_list_are_followed(self) -> None:
        def answer(handler: BaseHTTPRequestHandler) -> None:
            second = "continuation-token=next" in handler.path
            key, more = (
                ("p/b", "<IsTruncated>false</IsTruncated>")
                if second
                else ("p/a", "<IsTruncated>true</IsTruncated><NextContinuationToken>next</NextContinuationToken>")
            )
            xml = f"<ListBucketResult>{more}<Contents><Key>{key}</Key><ETag>&quot;{key[-1]}&quot;</ETag></Contents></ListBucketResult>"
            says(200, "", xml.encode(), {"Content-Type": "application/xml"})(handler)

        with s3_that(answer) as store:
            assert store.list("") == [("a", "a"), ("b", "b")]

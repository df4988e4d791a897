"""A notebook: the sample application of a tenant's instance, in one file and with nothing but Python's own library.

It keeps notes in SQLite below DATA_DIR, shows who the gateway says is asking (X-Rowhouse-User), sends new notes to every
open page over a WebSocket and counts its own use. It does not authenticate anybody: the gate before it does.
"""

import base64
import contextlib
import hashlib
import html
import json
import os
import signal
import sqlite3
import struct
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import BinaryIO
from urllib.parse import parse_qs, urlsplit

Query = dict[str, list[str]]
MAX_NOTE = 4000  # characters
MAX_BODY = 1 << 20  # bytes of a form
MAX_MESSAGE = 1 << 20  # bytes of a WebSocket message
PAGE_NOTES = 200
IDEAS = (
    "Ask three customers what they would miss.",
    "Write down what was decided, not what was said.",
    "What would make this half as long?",
    "Name one thing to stop doing this week.",
)


class Notes:
    """Notes and counters in one SQLite file."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._lock = threading.Lock()
        self._db = sqlite3.connect(folder / "notebook.db", check_same_thread=False, isolation_level=None)
        self._db.execute("PRAGMA journal_mode=WAL")
        self._db.execute("PRAGMA synchronous=NORMAL")
        self._db.execute("CREATE TABLE IF NOT EXISTS notes (id INTEGER PRIMARY KEY, at REAL, author TEXT, text TEXT)")
        self._db.execute("CREATE TABLE IF NOT EXISTS counters (name TEXT PRIMARY KEY, n INTEGER NOT NULL)")

    def add(self, author: str, text: str) -> dict:
        """Keep a note and return it."""
        now = time.time()
        with self._lock:
            row = self._db.execute("INSERT INTO notes (at, author, text) VALUES (?, ?, ?)", (now, author, text))
            return {"id": row.lastrowid, "at": now, "author": author, "text": text}

    def newest(self) -> list[dict]:
        """The last notes, newest first."""
        with self._lock:
            rows = self._db.execute("SELECT id, at, author, text FROM notes ORDER BY id DESC LIMIT ?", (PAGE_NOTES,)).fetchall()
        return [dict(zip(("id", "at", "author", "text"), row, strict=True)) for row in rows]

    def count(self, name: str) -> None:
        """Add one to a counter."""
        with self._lock:
            self._db.execute("INSERT INTO counters VALUES (?, 1) ON CONFLICT (name) DO UPDATE SET n = n + 1", (name,))

    def counters(self) -> dict[str, int]:
        """What has been used since the data directory was made."""
        with self._lock:
            found = dict(self._db.execute("SELECT name, n FROM counters").fetchall())
            notes = self._db.execute("SELECT count(*) FROM notes").fetchone()[0]
        return {"requests": found.get("requests", 0), "notes": notes, "generations": found.get("generations", 0)}

    def close(self) -> None:
        """Write everything down."""
        with self._lock:
            self._db.close()


class Protocol(Exception):  # noqa: N818
    """The other side broke the WebSocket protocol; carries the close code."""

    def __init__(self, code: int) -> None:
        super().__init__(str(code))
        self.code = code


class WebSocket:
    """One connection after its handshake (RFC 6455)."""

    TEXT, BINARY, CLOSE, PING, PONG = 1, 2, 8, 9, 10

    def __init__(self, reader: BinaryIO, writer: BinaryIO) -> None:
        self._reader, self._writer, self._lock = reader, writer, threading.Lock()

    def send(self, text: str) -> None:
        """Send one text message."""
        self._frame(self.TEXT, text.encode())

    def messages(self) -> Iterator[tuple[int, bytes]]:
        """Give (opcode, payload) of each whole message until the other side closes.

        Raises: Protocol for a broken frame; OSError when the connection is gone.
        """
        kind, parts = 0, bytearray()
        while True:
            final, opcode, payload = self._read()
            if opcode == self.CLOSE:
                self._frame(self.CLOSE, payload[:2])
                return
            if opcode == self.PING:
                self._frame(self.PONG, payload)
                continue
            if opcode == self.PONG:
                continue
            if opcode not in (0, self.TEXT, self.BINARY) or (opcode == 0) != bool(kind):
                raise Protocol(1002)
            kind = kind or opcode
            parts += payload
            if len(parts) > MAX_MESSAGE:
                raise Protocol(1009)
            if final:
                message, opcode, kind, parts = bytes(parts), kind, 0, bytearray()
                yield opcode, message

    def close(self, code: int) -> None:
        """Say why this side ends."""
        self._frame(self.CLOSE, struct.pack("!H", code))

    def _read(self) -> tuple[bool, int, bytes]:
        first, second = self._exactly(2)
        final, opcode, length = bool(first & 0x80), first & 0x0F, second & 0x7F
        if first & 0x70 or not second & 0x80 or (opcode >= 8 and (length > 125 or not final)):
            raise Protocol(1002)
        if length == 126:
            length = struct.unpack("!H", self._exactly(2))[0]
        elif length == 127:
            length = struct.unpack("!Q", self._exactly(8))[0]
        if length > MAX_MESSAGE:
            raise Protocol(1009)
        mask, data = self._exactly(4), self._exactly(length)
        key = (mask * (length // 4 + 1))[:length]
        plain = int.from_bytes(data, "big") ^ int.from_bytes(key, "big")
        return final, opcode, plain.to_bytes(length, "big")

    def _exactly(self, count: int) -> bytes:
        data = self._reader.read(count)
        if len(data) != count:
            raise ConnectionResetError("closed in the middle of a frame")
        return data

    def _frame(self, opcode: int, payload: bytes) -> None:
        size = len(payload)
        head = bytes([0x80 | opcode])
        if size < 126:
            head += bytes([size])
        elif size < 1 << 16:
            head += struct.pack("!BH", 126, size)
        else:
            head += struct.pack("!BQ", 127, size)
        with self._lock:
            self._writer.write(head + payload)


class Room:
    """Every open page."""

    def __init__(self) -> None:
        self._members: set[WebSocket] = set()
        self._lock = threading.Lock()

    def join(self, member: WebSocket) -> None:
        with self._lock:
            self._members.add(member)

    def leave(self, member: WebSocket) -> None:
        with self._lock:
            self._members.discard(member)

    def tell(self, message: dict) -> None:
        """Send to all; a page that has gone is dropped."""
        with self._lock:
            members = list(self._members)
        for member in members:
            try:
                member.send(json.dumps(message))
            except OSError:
                self.leave(member)


class Handler(BaseHTTPRequestHandler):
    """One connection."""

    protocol_version = "HTTP/1.1"
    server_version = "notebook"
    disable_nagle_algorithm = True
    notes: Notes
    room: Room
    chaos = False

    def do_GET(self) -> None:
        url = urlsplit(self.path)
        if url.path == "/healthz":
            return self._text(200, "ok\n")
        if url.path == "/.app/counters":
            return self._json(self.notes.counters())
        self.notes.count("requests")
        routes = {"/": self._page, "/notes": self._list, "/ws": self._websocket, "/big": self._big, "/whoami": self._whoami}
        if self.chaos:
            routes |= {"/crash": self._crash, "/eat": self._eat}
        if url.path not in routes:
            return self._text(404, "There is no such page.\n")
        return routes[url.path](parse_qs(url.query))

    def do_POST(self) -> None:
        body = self._body()
        if body is None:
            return None
        self.notes.count("requests")
        path = urlsplit(self.path).path
        if path == "/crash" and self.chaos:  # a POST, unlike a GET, is sent once by whoever stands in front
            return self._crash({})
        if path == "/generate":
            self.notes.count("generations")
            text = IDEAS[self.notes.counters()["generations"] % len(IDEAS)]
        elif path == "/notes":
            text = self._note_of(body)
        else:
            return self._text(404, "There is no such page.\n")
        if not text or len(text) > MAX_NOTE:
            return self._text(400, f"A note has 1 to {MAX_NOTE} characters.\n")
        note = self.notes.add(self._user(), text)
        self.room.tell({"type": "note"} | note)
        if "application/json" in self.headers.get("Accept", ""):
            return self._json(note, 201)
        return self._answer(303, b"", "text/plain", {"Location": "/"})

    def _note_of(self, body: bytes) -> str:
        try:
            if "json" in self.headers.get("Content-Type", ""):
                return str(json.loads(body)["text"]).strip()
            return parse_qs(body.decode()).get("text", [""])[0].strip()
        except (ValueError, KeyError, TypeError):
            return ""

    def _user(self) -> str:
        return self.headers.get("X-Rowhouse-User", "") or "somebody"

    def _body(self) -> bytes | None:
        if "chunked" in self.headers.get("Transfer-Encoding", "").lower():
            body = bytearray()
            while (size := int(self.rfile.readline().split(b";")[0], 16)) and len(body) + size <= MAX_BODY:
                body += self.rfile.read(size)
                self.rfile.readline()
            if size:
                return self._too_large()
            while self.rfile.readline().strip():
                pass
            return bytes(body)
        size = int(self.headers.get("Content-Length") or 0)
        return self._too_large() if size > MAX_BODY else self.rfile.read(size)

    def _too_large(self) -> None:
        self.close_connection = True
        self._text(413, f"At most {MAX_BODY} bytes.\n")

    # Pages

    def _page(self, _query: Query) -> None:
        rows = "".join(
            f"<li><p>{html.escape(note['text'])}</p><small>{html.escape(note['author'])}, "
            f"{time.strftime('%Y-%m-%d %H:%M', time.gmtime(note['at']))}</small></li>"
            for note in self.notes.newest()
        )
        title = html.escape(os.environ.get("USER_NAME") or os.environ.get("FLY_APP_NAME") or "Notebook")
        page = PAGE.replace("{title}", title).replace("{user}", html.escape(self._user())).replace("{notes}", rows)
        self._answer(200, page.encode(), "text/html; charset=utf-8")

    def _list(self, _query: Query) -> None:
        self._json(self.notes.newest())

    def _whoami(self, _query: Query) -> None:
        self._json({"user": self.headers.get("X-Rowhouse-User"), "headers": {key.lower(): value for key, value in self.headers.items()}})

    def _big(self, query: Query) -> None:
        megabytes = max(0, min(100_000, int(query.get("mb", ["1"])[0])))
        self.send_response(200)
        self.send_header("Content-Type", "application/octet-stream")
        self.send_header("Content-Length", str(megabytes << 20))
        self.end_headers()
        block = bytes(range(256)) * 256  # 64 KiB
        for _ in range(megabytes * 16):
            self.wfile.write(block)

    def _websocket(self, _query: Query) -> None:
        key = self.headers.get("Sec-WebSocket-Key", "")
        if "websocket" not in self.headers.get("Upgrade", "").lower() or len(key) != 24:
            return self._answer(426, b"This address speaks WebSocket.\n", "text/plain", {"Upgrade": "websocket"})
        if self.headers.get("Sec-WebSocket-Version") != "13":
            return self._answer(426, b"Version 13 only.\n", "text/plain", {"Sec-WebSocket-Version": "13"})
        accept = base64.b64encode(hashlib.sha1((key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11").encode()).digest()).decode()  # noqa: S324
        self.send_response(101)
        self.send_header("Upgrade", "websocket")
        self.send_header("Connection", "Upgrade")
        self.send_header("Sec-WebSocket-Accept", accept)
        self.end_headers()
        self.close_connection = True
        socket = WebSocket(self.rfile, self.wfile)
        self.room.join(socket)
        try:
            for opcode, message in socket.messages():
                if opcode != WebSocket.TEXT:
                    raise Protocol(1003)
                socket.send(message.decode())
        except Protocol as broken:
            socket.close(broken.code)
        except UnicodeDecodeError:
            socket.close(1007)
        finally:
            self.room.leave(socket)
        return None

    # Trouble, on request

    def _crash(self, query: Query) -> None:
        os._exit(int(query.get("code", ["1"])[0]))

    def _eat(self, query: Query) -> None:
        self.server.eaten = b"x" * (int(query.get("mb", ["1"])[0]) << 20)
        self._text(200, "eaten\n")

    # Answers

    def _json(self, value: object, status: int = 200) -> None:
        self._answer(status, json.dumps(value).encode(), "application/json")

    def _text(self, status: int, text: str) -> None:
        self._answer(status, text.encode(), "text/plain; charset=utf-8")

    def _answer(self, status: int, body: bytes, kind: str, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in {"Content-Type": kind, "Content-Length": str(len(body)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, form: str, *values: object) -> None:
        if not self.path.startswith("/healthz"):
            sys.stderr.write(f"{form % values}\n")

    def handle(self) -> None:
        with contextlib.suppress(ConnectionError, TimeoutError):  # the other side left: nothing to answer
            super().handle()


PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}: notebook</title>
<link rel="icon" href="data:,">
<style>
  :root { color-scheme: light dark; --ink: light-dark(#1f2328, #e7e4dd); --quiet: light-dark(#6b6f76, #9c988f);
          --paper: light-dark(#f7f5f0, #181715); --card: light-dark(#fffefb, #211f1c); --line: light-dark(#e2ddd2, #37332d);
          --accent: light-dark(#8a3b12, #f0a472); --on: light-dark(#fff, #211f1c); }
  * { box-sizing: border-box; }
  body { margin: 0; background: var(--paper); color: var(--ink); font: 16px/1.55 system-ui, sans-serif; }
  main { max-width: 42rem; margin: 0 auto; padding: 2.5rem 1.25rem 4rem; }
  header { display: flex; flex-wrap: wrap; justify-content: space-between; align-items: baseline; gap: .25rem 1rem; }
  h1 { font: 600 1.6rem/1.2 Georgia, serif; margin: 0; }
  header span, small { color: var(--quiet); font-size: .85rem; }
  form { display: flex; flex-wrap: wrap; gap: .5rem; margin: 1.25rem 0; }
  textarea { flex: 1 1 100%; min-height: 5rem; padding: .75rem; font: inherit; color: inherit; background: var(--card);
             border: 1px solid var(--line); border-radius: 8px; resize: vertical; }
  button { font: inherit; padding: .45rem 1rem; border-radius: 8px; border: 1px solid var(--accent); background: var(--accent);
           color: var(--on); cursor: pointer; }
  button.quiet { background: none; color: var(--accent); }
  :focus-visible { outline: 2px solid var(--accent); outline-offset: 2px; }
  #trouble { margin: 0 0 1.25rem; color: var(--accent); overflow-wrap: anywhere; }
  ul { list-style: none; margin: 0; padding: 0; display: grid; gap: .6rem; }
  li { background: var(--card); border: 1px solid var(--line); border-radius: 8px; padding: .75rem 1rem; }
  li p { margin: 0 0 .25rem; white-space: pre-wrap; overflow-wrap: anywhere; }
  ul:empty::after { content: "No notes yet. The first one appears here, on every open page at once."; color: var(--quiet); }
</style>
</head>
<body>
<main>
  <header><h1>{title}</h1><span>{user} <span id="live">offline</span></span></header>
  <form method="post" action="/notes">
    <textarea name="text" required maxlength="4000" aria-label="New note" placeholder="Write a note"></textarea>
    <button>Add note</button><button class="quiet" formaction="/generate" formnovalidate>Suggest one</button>
  </form>
  <p id="trouble" role="alert" hidden></p>
  <ul id="notes">{notes}</ul>
</main>
<script>
  const list = document.getElementById("notes"), live = document.getElementById("live"), trouble = document.getElementById("trouble");
  function show(note) {
    const item = document.createElement("li"), text = document.createElement("p"), by = document.createElement("small");
    text.textContent = note.text;
    by.textContent = note.author + ", " + new Date(note.at * 1000).toISOString().slice(0, 16).replace("T", " ");
    item.append(text, by); list.prepend(item);
  }
  function connect(wait) {
    const socket = new WebSocket(location.href.replace(/^http/, "ws").replace(/[?#].*/, "") + "ws");
    socket.onopen = () => { live.textContent = "live"; wait = 500; };
    socket.onmessage = (event) => { const it = JSON.parse(event.data); if (it.type === "note") show(it); };
    socket.onclose = () => { live.textContent = "offline"; setTimeout(() => connect(Math.min(wait * 2, 15000)), wait); };
  }
  connect(500);
  document.querySelector("form").addEventListener("submit", async (event) => {
    event.preventDefault();
    // The attributes, not the properties: a button's `formAction` is the page's own address where it has no such attribute.
    const form = event.target, submitter = event.submitter;
    const action = (submitter && submitter.getAttribute("formaction")) || form.getAttribute("action");
    let answer = null;
    try {
      answer = await fetch(action, { method: "POST", body: new URLSearchParams(new FormData(form)),
        headers: { Accept: "application/json" } });
    } catch { /* no answer: said below */ }
    const ok = Boolean(answer && answer.ok);
    trouble.hidden = ok;
    if (!ok) {
      trouble.textContent = answer ? "Not saved (" + answer.status + "). " + (await answer.text()).slice(0, 200)
        : "Not saved: no answer. Your text is still here; reload the page to log in again, or try once more.";
      return;
    }
    if (action === "/notes") form.reset();
    if (live.textContent !== "live") show(await answer.json());
  });
</script>
</body>
</html>
"""


class Server(ThreadingHTTPServer):
    """Threads end with the process; the queue holds a burst."""

    daemon_threads = True
    request_queue_size = 128

    def handle_error(self, _request: object, _address: object) -> None:
        sys.stderr.write(f"{sys.exc_info()[1]!r}\n")


def main() -> None:
    """Serve until SIGTERM or SIGINT."""
    Handler.notes = Notes(Path(os.environ.get("DATA_DIR", "data")))
    Handler.room = Room()
    Handler.chaos = os.environ.get("NOTEBOOK_CHAOS") == "1"
    server = Server((os.environ.get("HOST", "0.0.0.0"), int(os.environ.get("PORT", "8080"))), Handler)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: threading.Thread(target=server.shutdown).start())
    server.serve_forever(poll_interval=0.05)
    server.server_close()
    Handler.notes.close()


if __name__ == "__main__":
    main()

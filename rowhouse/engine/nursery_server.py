"""The warm parent: a process that has imported what programs import and forks one child a run.

Started as a file, `python -P nursery_server.py SOCKET MODULE...`; stands alone, like `program.py`, which it loads from beside itself. One
thread and no gRPC channel, or a fork would not be safe. Protocol: a client connects, sends 8 bytes of length and a JSON document, and
with it three descriptors (nothing to read, standard output, standard error); it gets `{"pid": N}` and at the end `{"exit": N}`, a line
each. A client that hangs up has its child killed. Ends when standard input ends.
"""

from __future__ import annotations

import array
import contextlib
import gc
import importlib
import importlib.util
import json
import os
import select
import signal
import socket
import sys
from pathlib import Path
from typing import Any


def _load_program() -> Any:
    path = Path(__file__).resolve().with_name("program.py")
    spec = importlib.util.spec_from_file_location("_rowhouse_program", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["_rowhouse_program"] = module
    spec.loader.exec_module(module)
    return module


def _receive(connection: socket.socket) -> tuple[dict[str, Any], list[int]]:
    """One request with its descriptors."""
    descriptors = array.array("i")
    data, ancillary, _, _ = connection.recvmsg(1 << 16, socket.CMSG_SPACE(3 * descriptors.itemsize))
    for level, kind, payload in ancillary:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            descriptors.frombytes(payload[: len(payload) - len(payload) % descriptors.itemsize])
    if len(data) < 8:
        raise ConnectionError("a request without a length")
    wanted = 8 + int.from_bytes(data[:8], "big")
    while len(data) < wanted:
        piece = connection.recv(1 << 16)
        if not piece:
            raise ConnectionError("half a request")
        data += piece
    return json.loads(data[8:wanted]), list(descriptors)


class Server:
    """Forks children for clients until standard input ends."""

    def __init__(self, path: str) -> None:
        self._program = _load_program()
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        with contextlib.suppress(FileNotFoundError):
            Path(path).unlink()
        self._listener.bind(path)
        Path(path).chmod(0o600)
        self._listener.listen(64)
        self._path = path
        self._children: dict[int, socket.socket] = {}
        self._wake, self._woken = socket.socketpair()
        self._woken.setblocking(False)
        self._wake.setblocking(False)

    def serve(self) -> None:
        """Work until standard input ends."""
        signal.set_wakeup_fd(self._wake.fileno(), warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        print("ready", flush=True)  # noqa: T201  # the starter waits for it
        try:
            while True:
                clients = {connection.fileno(): pid for pid, connection in self._children.items()}
                listener, woken = self._listener.fileno(), self._woken.fileno()
                readable: list[int] = select.select([0, listener, woken, *clients], [], [])[0]
                if 0 in readable and not os.read(0, 1 << 12):
                    return
                if woken in readable:
                    with contextlib.suppress(BlockingIOError):
                        self._woken.recv(1 << 12)
                    self._reap()
                if listener in readable:
                    self._accept()
                for number in readable:
                    if number in clients and clients[number] in self._children:
                        self._hung_up(clients[number])
        finally:
            for pid in self._children:
                os.kill(pid, signal.SIGKILL)
            with contextlib.suppress(FileNotFoundError):
                Path(self._path).unlink()

    def _accept(self) -> None:
        connection, _ = self._listener.accept()
        connection.settimeout(5)
        try:
            settings, descriptors = _receive(connection)
        except (OSError, ValueError):
            connection.close()
            return
        pid = os.fork()
        if pid == 0:
            self._child(settings, descriptors)
        for descriptor in descriptors:
            os.close(descriptor)
        self._children[pid] = connection
        self._tell(connection, {"pid": pid})

    def _child(self, settings: dict[str, Any], descriptors: list[int]) -> None:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        for target, descriptor in enumerate(descriptors[:3]):
            os.dup2(descriptor, target)
            os.close(descriptor)
        self._listener.close()
        for connection in self._children.values():
            connection.close()
        os.environ.clear()
        os.environ.update(settings["env"])
        self._program.finish(settings)

    def _reap(self) -> None:
        for pid in list(self._children):
            done, status = os.waitpid(pid, os.WNOHANG)
            if done:
                connection = self._children.pop(pid)
                self._tell(connection, {"exit": os.waitstatus_to_exitcode(status)})
                connection.close()

    def _hung_up(self, pid: int) -> None:
        connection = self._children.pop(pid)
        connection.close()
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)

    @staticmethod
    def _tell(connection: socket.socket, message: dict[str, Any]) -> None:
        with contextlib.suppress(OSError):
            connection.sendall(json.dumps(message).encode() + b"\n")


def main() -> None:
    """Import the modules named on the command line, then serve."""
    for name in sys.argv[2:]:
        with contextlib.suppress(ImportError):
            importlib.import_module(name)
    gc.collect()
    gc.freeze()  # children share the pages of what is imported instead of copying them at their first collection
    Server(sys.argv[1]).serve()


if __name__ == "__main__":
    main()

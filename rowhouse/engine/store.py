"""The state of one stack in memory and on disk: a checkpoint and the journal of what happened since.

Does: load, record each step before and after it, compact at the end, import and export Pulumi's document. A resource is kept under its URN;
one that was replaced and waits for its deletion under `URN#n`. Does not: decide what happens.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from rowhouse.engine import checkpoint, journal
from rowhouse.engine.errors import StateError
from rowhouse.engine.secrets import SecretsManager, find_passphrase
from rowhouse.engine.state import State, from_document, to_document

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from rowhouse.engine.project import Project

Document = dict[str, Any]


@dataclass(frozen=True)
class Pending:
    """An operation whose end was never recorded: its effect may have happened."""

    kind: str
    """As Pulumi names it: creating, updating, deleting, reading, importing."""
    state: State


def folder_of(project: Project, stack: str) -> Path:
    """Where the state of a stack lives."""
    return project.root / ".rowhouse" / "state" / project.name / stack


class StackStore:
    """The state of one stack. Made by `load`; `open_journal` before the first `begin`, `commit` or `close`."""

    def __init__(self, folder: Path, secrets: SecretsManager, serial: int) -> None:
        self.folder = folder
        self.secrets = secrets
        self.resources: dict[str, State] = {}
        self.pending: dict[str, Pending] = {}
        """By URN."""
        self._serial = serial
        self._replayed: list[journal.Entry] = []
        self._journal: journal.Journal | None = None
        self._numbers = itertools.count(1)
        self.known_salt: str | None = None
        """The salt the secrets manager was made with; None: it makes one."""
        self._has_salt = False
        self._salt_on_disk = False
        self.checkpoint_bytes = 0
        self.journal_bytes = 0
        """Bytes the journal wrote."""

    @classmethod
    def load(cls, project: Project, stack: str, env: Mapping[str, str], stack_salt: str | None = None) -> StackStore:
        """Read the state of a stack; an absent one is empty. `stack_salt` is the stack file's, used while the state has none of its own.

        Raises: StateError, PassphraseError, ProjectError.
        """
        folder = folder_of(project, stack)
        loaded = checkpoint.read(folder / "checkpoint.json")
        deployment = loaded["deployment"]
        salt = ((deployment.get("secrets_providers") or {}).get("state") or {}).get("salt")
        entries = journal.read(folder / "journal.jsonl", loaded.get("serial", 0))
        for entry in entries:
            salt = salt or entry.get("salt")
        secrets = cls.manager(project, env, salt or stack_salt)
        store = cls(folder, secrets, loaded.get("serial", 0))
        store.known_salt = salt or stack_salt
        store._has_salt = store._salt_on_disk = salt is not None  # its own class method
        store._fill(deployment, entries)
        store._replayed = entries
        return store

    @classmethod
    def in_memory(cls, folder: Path, resources: Iterable[State]) -> StackStore:
        """A state that is on no disk and was never written down, for looking ahead from it; it seals nothing."""
        store = cls(folder, SecretsManager(""), 0)
        store.resources = {state.urn: state for state in resources}
        return store

    @staticmethod
    def manager(project: Project, env: Mapping[str, str], salt: str | None) -> SecretsManager:
        """The secrets manager of a project with some salt. Raises: ProjectError."""
        return SecretsManager(find_passphrase(project.root / ".rowhouse", env), salt)

    def _fill(self, deployment: Document, entries: list[journal.Entry]) -> None:
        documents: dict[str, Document] = {}
        for resource in deployment.get("resources") or []:
            documents[self.spare_key(resource["urn"]) if resource.get("delete") else resource["urn"]] = resource
        pending: dict[str, Document] = {}
        for operation in deployment.get("pending_operations") or []:
            pending[operation["resource"]["urn"]] = operation
        for entry in entries:
            if "begin" in entry:
                pending[entry["begin"]["resource"]["urn"]] = entry["begin"]
            for urn in entry.get("end", ()):
                pending.pop(urn, None)
            for key in entry.get("drop", ()):
                documents.pop(key, None)
            documents.update(entry.get("set", {}))
        for key, document in documents.items():
            self.resources[key] = from_document(document, partial(self.secrets.decrypt, scope=document["urn"]))
            if "#" in key:
                taken = int(key.rpartition("#")[2])
                self._numbers = itertools.count(max(taken + 1, next(self._numbers)))
        for urn, operation in pending.items():
            state = from_document(operation["resource"], partial(self.secrets.decrypt, scope=urn))
            self.pending[urn] = Pending(operation["type"], state)

    def spare_key(self, urn: str) -> str:
        """A key for a replaced resource that waits for its deletion."""
        return f"{urn}#{next(self._numbers)}"

    def live(self, urn: str) -> State | None:
        """The resource of a URN, replaced ones left out."""
        return self.resources.get(urn)

    def seal(self, urn: str, text: str) -> str:
        """Encrypt a secret of a resource."""
        self._has_salt = True
        return self.secrets.encrypt(text, urn)

    def document_of(self, state: State) -> Document:
        """The state as it goes to disk, secrets encrypted."""
        return to_document(state, lambda text: self.seal(state.urn, text))

    # -- changes -------------------------------------------------------------------------------------------------------------------

    def open_journal(self) -> None:
        """Get ready to record; nothing is written before the first entry."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self._journal = journal.Journal(self.folder / "journal.jsonl", self._serial, self._replayed)

    async def begin(self, kind: str, state: State) -> None:
        """Record that an operation is about to be asked of a provider; durable when this returns."""
        self.pending[state.urn] = Pending(kind, state)
        await self._append({"begin": {"type": kind, "resource": self.document_of(state)}})

    async def commit(
        self, *, put: Iterable[tuple[str, State]] = (), drop: Iterable[str] = (), end: Iterable[str] = (), keep: bool = False
    ) -> None:
        """Record the outcome of an operation; durable when this returns.

        `put` sets resources by key, `drop` removes keys, `end` names URNs whose pending operation is over. `keep` leaves an operation
        pending that was begun: its effect is unknown.
        """
        put, drop, end = list(put), list(drop), [] if keep else [urn for urn in end if urn in self.pending]
        for key in drop:
            self.resources.pop(key, None)
        for key, state in put:
            self.resources[key] = state
        for urn in end:
            self.pending.pop(urn, None)
        entry: journal.Entry = {}
        if put:
            entry["set"] = {key: self.document_of(state) for key, state in put}
        if drop:
            entry["drop"] = drop
        if end:
            entry["end"] = end
        if entry:
            await self._append(entry)

    async def _append(self, entry: journal.Entry) -> None:
        assert self._journal is not None, "open_journal comes first"
        if self._has_salt and not self._salt_on_disk:
            # The first entry with a ciphertext carries the salt: until a checkpoint is written the journal is all there is.
            entry["salt"] = self.secrets.salt
            self._salt_on_disk = True
        await self._journal.append(entry)

    async def close(self) -> None:
        """End the journal and, when anything was recorded, fold it into a new checkpoint."""
        if self._journal is None:
            return
        changed = self._journal.entries_written > 0 or bool(self._replayed)
        await self._journal.close()
        self.journal_bytes = self._journal.bytes_written
        self._journal = None
        if changed:
            self.compact()

    def compact(self) -> None:
        """Write the checkpoint; the journal before it is void from then on."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self._serial += 1
        self._salt_on_disk = self._has_salt
        parts = checkpoint.document([], self._pending_documents(), self.secrets.salt if self._has_salt else None)
        parts = {"version": 3, "serial": self._serial, "deployment": parts["deployment"]}
        ordered = checkpoint.ordered(self.resources.values())
        path = self.folder / "checkpoint.json"
        try:
            self.checkpoint_bytes = checkpoint.write(path, parts, map(self.document_of, ordered))
        except OSError as error:
            raise StateError(f"{path} cannot be written ({error.strerror}); the journal beside it keeps everything") from error
        (self.folder / "journal.jsonl").unlink(missing_ok=True)
        self._replayed = []

    def _pending_documents(self) -> list[Document]:
        return [{"resource": self.document_of(item.state), "type": item.kind} for item in self.pending.values()]

    # -- Pulumi's document ---------------------------------------------------------------------------------------------------------

    def export(self) -> Document:
        """The document of `pulumi stack export`."""
        resources = [self.document_of(state) for state in checkpoint.ordered(self.resources.values())]
        pending = self._pending_documents()
        return checkpoint.document(resources, pending, self.secrets.salt if self._has_salt else None)

    def replace_with(self, document: Document) -> None:
        """Take over another deployment, made with the same passphrase. Raises: StateError, PassphraseError."""
        checkpoint.check(document, "the imported document")
        deployment = document["deployment"]
        salt = ((deployment.get("secrets_providers") or {}).get("state") or {}).get("salt")
        if salt is not None:
            # Taking their salt keeps every ciphertext as it is.
            self.secrets = SecretsManager(self.secrets.passphrase, salt)
            self._has_salt = True
        self.resources, self.pending = {}, {}
        self._fill(deployment, [])
        self.compact()

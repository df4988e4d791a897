"""DNS records of the one zone: conflicts as Cloudflare sees them, filters, and batches that happen whole or not at all."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from rowhouse.localcloud.cloudflare_reply import ApiError, Json, Listing, dns_invalid, paged
from rowhouse.localcloud.cloudflare_state import State, hex_id

__all__ = ["TYPES", "DnsRecords", "fqdn"]

TYPES = frozenset(
    "A AAAA CAA CERT CNAME DNSKEY DS HTTPS LOC MX NAPTR NS OPENPGPKEY PTR SMIMEA SRV SSHFP SVCB TLSA TXT URI".split()  # noqa: SIM905
)
_FILTERS = frozenset({"name", "type", "content", "comment", "tag", "proxied", "search"})
_PROXIABLE = frozenset({"A", "AAAA", "CNAME"})
_HOSTNAME = re.compile(r"^(?=.{1,253}$)([a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?\.)*[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?$")
# A real zone cannot name a port; here a loopback address with one stands for a server on the public internet.
_LOOPBACK = re.compile(r"^(127\.0\.0\.\d{1,3}|localhost):\d{1,5}$")
_SERVER_SIDE = frozenset({"id", "created_on", "modified_on", "proxiable", "meta", "zone_id", "zone_name"})


def fqdn(name: str, zone: str) -> str:
    """The full name of a record in a zone: lower case, without a trailing dot; `@` is the zone itself."""
    text = name.strip().rstrip(".").lower()
    if text in {"@", zone}:
        return zone
    return text if text.endswith(f".{zone}") else f"{text}.{zone}"


class DnsRecords:
    """The zone's records."""

    def __init__(self, state: State) -> None:
        """Serve the records on the state's shelf."""
        self.state = state

    def create(self, body: Any) -> Json:
        """Add a record. Raises: ApiError when it is invalid or collides."""
        record = self._checked(_mapping(body))
        limit = self.state.switches.dns_records
        if limit is not None and len(self.state.dns) >= limit:
            raise ApiError(400, 81045, "Record quota exceeded.")
        self._refuse_conflict(record, but="")
        now = self.state.stamp()
        full = {"id": hex_id(), **self._defaults(record), **record, "created_on": now, "modified_on": now}
        return self.state.dns.put(full["id"], full)

    def read(self, key: str, *, stale: bool = False) -> Json:
        """One record. Raises: ApiError when it is not there."""
        record = self.state.dns.get(key, stale=stale)
        if record is None:
            # Cloudflare's code for it is known from third parties only (81044).
            raise ApiError(404, 81044, "Record does not exist.")
        return record

    def replace(self, key: str, body: Any) -> Json:
        """Put a record in the place of another, keeping its id."""
        return self._change(key, self._checked(_mapping(body)))

    def merge(self, key: str, body: Any) -> Json:
        """Change some fields of a record."""
        old = self.read(key)
        wanted = {k: v for k, v in _mapping(body).items() if k not in _SERVER_SIDE}
        return self._change(key, self._checked({**{k: v for k, v in old.items() if k not in _SERVER_SIDE}, **wanted}))

    def delete(self, key: str) -> Json:
        """Remove a record; a second time it is an error."""
        self.read(key)
        self.state.dns.drop(key)
        return {"id": key}

    def batch(self, body: Any) -> Json:
        """Deletes, patches, puts and posts, in this order; the first error undoes all."""
        given = _mapping(body)
        parts = {name: given.get(name) or [] for name in ("deletes", "patches", "puts", "posts")}
        limit = self.state.switches.dns_batch
        if limit is not None and sum(map(len, parts.values())) > limit:
            raise ApiError(400, 1004, f"DNS Validation Error: a batch holds at most {limit} changes")
        verbs: dict[str, Callable[[Json], Json]] = {
            "deletes": self._deleted,
            "patches": lambda item: self.merge(str(item.get("id")), item),
            "puts": lambda item: self.replace(str(item.get("id")), item),
            "posts": self.create,
        }
        before = self.state.dns.snapshot()
        try:
            return {name: [verbs[name](_mapping(item)) for item in items] for name, items in parts.items()}
        except ApiError:
            self.state.dns.restore(before)
            raise

    def listing(self, query: Mapping[str, str], *, stale: bool = False) -> Listing:
        """Records that match the filters, in order, one page of them."""
        tests = list(_tests(query))
        together = any if query.get("match") == "any" else all
        found = [record for record in self.state.dns.all(stale=stale) if not tests or together(test(record) for test in tests)]
        order = query.get("order", "")
        if order in {"type", "name", "content", "ttl", "proxied"}:
            found.sort(key=lambda record: str(record.get(order)), reverse=query.get("direction") == "desc")
        return paged(found, query, per_page=100)

    def _deleted(self, item: Json) -> Json:
        record = self.read(str(item.get("id")))
        self.state.dns.drop(record["id"])
        return record

    def _change(self, key: str, wanted: Json) -> Json:
        old = self.read(key)
        self._refuse_conflict(wanted, but=key)
        full = {"id": key, **self._defaults(wanted), **wanted, "created_on": old["created_on"], "modified_on": self.state.stamp()}
        return self.state.dns.put(key, full)

    def _checked(self, body: Json) -> Json:
        record = {k: v for k, v in body.items() if k not in _SERVER_SIDE}
        kind, name, content = str(record.get("type", "")).upper(), record.get("name"), record.get("content")
        if kind not in TYPES:
            raise dns_invalid(9004, "DNS record type is invalid.")
        if not isinstance(name, str) or not name.strip():
            raise dns_invalid(9000, "DNS name is invalid.")
        record["type"], record["name"] = kind, fqdn(name, self.state.zone_name)
        if not _HOSTNAME.match(record["name"].removeprefix("*.")):
            raise dns_invalid(9000, "DNS name is invalid.")
        if not isinstance(content, str) or not content:
            if not isinstance(record.get("data"), dict):
                raise dns_invalid(9002, "DNS record content is missing.")
            content = " ".join(str(value) for value in record["data"].values())
        record["content"] = self._content(kind, content)
        proxied, ttl = record.setdefault("proxied", False), record.setdefault("ttl", 1)
        if proxied and kind not in _PROXIABLE:
            raise dns_invalid(9041, "Invalid proxied mode. Record cannot be proxied")
        if isinstance(ttl, bool) or not isinstance(ttl, int | float) or (ttl != 1 and not 30 <= ttl <= 86400):
            raise dns_invalid(9021, "Invalid TTL. Must be between 60 and 86400 seconds, or 1 for Automatic.")
        if proxied and ttl != 1:
            raise dns_invalid(9021, "Invalid TTL. A proxied record must have TTL 1 (Automatic).")
        if kind == "MX" and record.get("priority") is None:
            raise dns_invalid(9101, "priority is a required field.")
        return record

    @staticmethod
    def _content(kind: str, content: str) -> str:
        if kind in {"A", "AAAA"}:
            try:
                address = ipaddress.ip_address(content)
            except ValueError:
                address = None
            if address is None or address.version != (4 if kind == "A" else 6):
                raise dns_invalid(9005, f"Content for {kind} record is invalid. Must be a valid IPv{4 if kind == 'A' else 6} address")
            return str(address)
        if kind == "CNAME":
            target = content.strip().rstrip(".").lower()
            if not _HOSTNAME.match(target) and not _LOOPBACK.match(target):
                raise dns_invalid(9007, "Content for CNAME record is invalid.")
            return target
        return content

    def _refuse_conflict(self, record: Json, *, but: str) -> None:
        """Cloudflare's collision rules; which of the last two codes it picks is not documented."""
        there = [other for other in self.state.dns if other["name"] == record["name"] and other["id"] != but]
        kinds = {other["type"] for other in there}
        if record["type"] == "CNAME" and kinds & _PROXIABLE:
            raise ApiError(400, 81053, "An A, AAAA, or CNAME record with that host already exists.")
        if record["type"] != "CNAME" and "CNAME" in kinds:
            raise ApiError(400, 81054, "A CNAME record with that host already exists.")
        for other in there:
            if other["type"] == record["type"] and other["content"] == record["content"]:
                if all(other.get(key) == record.get(key) for key in ("ttl", "proxied", "priority")):
                    raise ApiError(400, 81058, "An identical record already exists.")
                raise ApiError(400, 81057, "The record already exists.")

    @staticmethod
    def _defaults(record: Json) -> Json:
        return {"proxiable": record["type"] in _PROXIABLE, "settings": {}, "meta": {}, "comment": None, "tags": []}


def _mapping(body: Any) -> Json:
    if not isinstance(body, dict):
        raise dns_invalid(9207, "Request body is invalid.")
    return body


def _tests(query: Mapping[str, str]) -> list[Callable[[Json], bool]]:
    return [partial(_passes, *key.partition(".")[::2], wanted) for key, wanted in query.items() if key.partition(".")[0] in _FILTERS]


def _passes(name: str, operator: str, wanted: str, record: Json) -> bool:
    if name == "tag":
        return _tagged(record.get("tags") or [], operator, wanted)
    if name == "proxied":
        return bool(record.get("proxied")) == (wanted.lower() == "true")
    if name == "search":
        return any(wanted.lower() in str(record.get(field) or "").lower() for field in ("name", "type", "content", "comment"))
    return _matches(record.get(name), operator, wanted)


def _matches(value: Any, operator: str, wanted: str) -> bool:
    text, wanted = str(value or "").lower(), wanted.lower()
    return {
        "": text == wanted,
        "exact": text == wanted,
        "contains": wanted in text,
        "startswith": text.startswith(wanted),
        "endswith": text.endswith(wanted),
        "present": bool(text),
        "absent": not text,
    }.get(operator, False)


def _tagged(tags: list[str], operator: str, wanted: str) -> bool:
    names = {tag.partition(":")[0].lower() for tag in tags}
    if operator in {"present", "absent"}:
        return (wanted.lower() in names) == (operator == "present")
    return any(_matches(tag, operator, wanted) for tag in tags)

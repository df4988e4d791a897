"""Identifiers in Fly's shapes: 14-hex machine ids, ULIDs that sort by time, addresses of the private network."""

from __future__ import annotations

import secrets

from rowhouse.localcloud.clock import Clock

__all__ = ["Ids", "ulid"]

_CROCKFORD = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_LOWER = "0123456789abcdefghijklmnopqrstuvwxyz"


def ulid(milliseconds: int, entropy: int) -> str:
    """26 characters: 48 bits of time, 80 bits of entropy."""
    number = (milliseconds << 80) | entropy
    return "".join(_CROCKFORD[(number >> shift) & 31] for shift in range(125, -1, -5))


class Ids:
    """Makes identifiers; ULIDs always grow, even within one millisecond."""

    def __init__(self, clock: Clock) -> None:
        """Take the time of ULIDs from `clock`."""
        self._clock = clock
        self._last = (0, 0)
        self._networks: dict[str, int] = {}
        self._count = 0

    def machine(self) -> str:
        """14 hexadecimal digits."""
        return secrets.token_hex(7)

    def volume(self) -> str:
        """`vol_` and 16 characters."""
        return "vol_" + "".join(secrets.choice(_LOWER) for _ in range(16))

    def snapshot(self) -> str:
        """`vs_` and 18 characters."""
        return "vs_" + "".join(secrets.choice(_LOWER) for _ in range(18))

    def app(self) -> str:
        """16 characters, as an app's id."""
        return "".join(secrets.choice(_LOWER) for _ in range(16))

    def number(self) -> int:
        """The next internal number."""
        self._count += 1
        return 1_000_000 + self._count

    def ulid(self) -> str:
        """A ULID of the virtual time, later than every one before."""
        milliseconds = int(self._clock.timestamp() * 1000)
        last_ms, last_entropy = self._last
        if milliseconds <= last_ms:
            self._last = (last_ms, last_entropy + 1)
        else:
            self._last = (milliseconds, secrets.randbits(79))
        return ulid(*self._last)

    def private_ip(self, network: str) -> str:
        """A machine's address on its network."""
        a, b, c = (secrets.randbelow(0xFFFF) + 1 for _ in range(3))
        return f"fdaa:0:{self._network(network):x}:a7b:{a:x}:{b:x}:{c:x}:2"

    def flycast(self, network: str) -> str:
        """A Flycast address on a network."""
        self._count += 1
        return f"fdaa:0:{self._network(network):x}:0:1::{self._count + 1:x}"

    def _network(self, network: str) -> int:
        return self._networks.setdefault(network, 0x1000 + len(self._networks))

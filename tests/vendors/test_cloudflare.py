"""The sweep's view of Cloudflare: what its errors tell, and what they must not."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Callable
from urllib.parse import quote

import httpx
import pytest

from rowhouse.vendors.cloudflare import Cloudflare
from rowhouse.vendors.http import VendorError

TOKEN = "cf/planted+9b1e==" + "x" * 23
FORMS: dict[str, Callable[[str], str]] = {
    "plain": str,
    "base64": lambda token: base64.b64encode(token.encode()).decode(),
    "base64 of its header": lambda token: base64.b64encode(f"Bearer {token}".encode()).decode(),
    "for an address": lambda token: quote(token, safe=""),
    "hexadecimal": lambda token: token.encode().hex(),
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("verb", ["list", "delete"])
def test_an_error_that_repeats_the_token_does_not_tell_it(verb: str, form: str) -> None:
    said = FORMS[form](TOKEN)

    def answer(_request: httpx.Request) -> httpx.Response:
        return httpx.Response(400, headers={"cf-ray": said}, json={"errors": [{"code": said, "message": f"Invalid header: {said}"}]})

    async def run() -> None:
        cloudflare = Cloudflare(TOKEN, transport=httpx.MockTransport(answer))
        try:
            await getattr(cloudflare, verb)("accounts/a/access/policies")
        finally:
            await cloudflare.close()

    with pytest.raises(VendorError, match="Invalid header") as raised:
        asyncio.run(run())
    error = raised.value
    told = " ".join((str(error), repr(error), error.code, error.message, error.request_id))
    assert "[secret]" in told
    assert said[8:-8] not in told

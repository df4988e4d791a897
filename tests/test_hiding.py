"""No form of a secret is left in a message."""

import base64
import json
from urllib.parse import quote

from hypothesis import given
from hypothesis import strategies as st

from rowhouse.hiding import hidden

SECRETS = st.text(st.characters(exclude_categories=["Cs"]), min_size=12, max_size=60).filter(lambda text: len(text.strip()) >= 12)


@given(SECRETS, st.binary(max_size=7), st.binary(max_size=7))
def test_every_form_is_hidden(secret: str, before: bytes, after: bytes):
    raw = secret.encode()
    told = [secret, quote(secret), quote(secret, safe=""), raw.hex(), json.dumps(secret)[1:-1]]
    for form in told:
        assert form not in hidden(f"refused: '{form}' is wrong", [secret])
    for encode in (base64.b64encode, base64.urlsafe_b64encode):
        whole = encode(before + raw + after).decode()
        # Every group of three bytes that is the secret's alone takes four characters; they start at the first whole group.
        first = -(-len(before) // 3)
        groups = whole[4 * first : 4 * ((len(before) + len(raw)) // 3)]
        assert groups not in hidden(whole, [secret])


def test_the_longest_goes_first():
    assert hidden("token-abcdef-long", ["token-abcdef", "token-abcdef-long"]) == "[secret]"


def test_nothing_to_hide_hides_nothing():
    assert hidden("ordinary words", ["", "another secret"]) == "ordinary words"

"""The account that a key belongs to."""

from __future__ import annotations

from rowhouse.localcloud.stripe_state import Json, State

__all__ = ["account_object"]


def account_object(state: State) -> Json:
    """GET /v1/account, as much of it as says whose key this is."""
    return {
        "id": state.account_id,
        "object": "account",
        "business_type": None,
        "capabilities": {"card_payments": "active", "transfers": "active"},
        "charges_enabled": True,
        "controller": {"type": "account"},
        "country": "US",
        "created": 1234567890,
        "default_currency": "usd",
        "details_submitted": True,
        "email": "billing@rowhouse.example",
        "metadata": {},
        "payouts_enabled": True,
        "settings": {
            "branding": {"icon": None, "logo": None, "primary_color": None, "secondary_color": None},
            "dashboard": {"display_name": "Rowhouse local cloud", "timezone": "Etc/UTC"},
        },
        "type": "standard",
    }

"""Hypothesis strategies that more than one room's tests draw from."""

import string

from hypothesis import strategies as st

from rowhouse.spec.slug import is_slug

__all__ = ["env_names", "hostnames", "meter_names", "odd_texts", "pulumi_names", "slugs"]

_LOWER = string.ascii_lowercase
_ALNUM = _LOWER + string.digits


def slugs(max_size: int = 39) -> st.SearchStrategy[str]:
    """Valid ids of tenants, instances, plans, catalogs and cells, the long and dashed ones included."""
    words = st.lists(st.text(_ALNUM, min_size=1, max_size=20), max_size=3)
    return st.builds(
        lambda first, rest: "-".join([first, *rest])[:max_size].rstrip("-"), st.text(_LOWER, min_size=1, max_size=20), words
    ).filter(is_slug)


def meter_names() -> st.SearchStrategy[str]:
    """Valid names of meters: words joined by underscores."""
    return (
        st.lists(st.text(_ALNUM, min_size=1, max_size=10), min_size=1, max_size=4)
        .map("_".join)
        .map(lambda text: ("m" + text)[:39].rstrip("_"))
    )


def pulumi_names() -> st.SearchStrategy[str]:
    """Names that Pulumi takes for projects and stacks: letters, digits, dots, dashes and underscores, any case."""
    return st.one_of(slugs(), st.text(string.ascii_letters + string.digits + "._-", min_size=1, max_size=100))


def hostnames() -> st.SearchStrategy[str]:
    """Full hostnames one level below a zone."""
    return st.tuples(slugs(), st.sampled_from(["localhost", "example.com", "rooms.acme.example"])).map(".".join)


def env_names() -> st.SearchStrategy[str]:
    """Names of an app's variables."""
    return st.from_regex(r"[A-Z][A-Z0-9_]{0,20}", fullmatch=True).filter(lambda name: not name.startswith(("FLY_", "ROWHOUSE_")))


def odd_texts() -> st.SearchStrategy[str]:
    """Text of every kind that a person or an attacker may write: controls, look-alikes, reordering marks, long."""
    return st.one_of(
        st.text(max_size=80),
        st.text(st.sampled_from("a\u04100O\u043e\u0435l1I-_./\\:\u202e\u200b\x00\x1b\n \t{}*&!<>%@"), max_size=60),
        st.text(_ALNUM + "-", max_size=60),
    )

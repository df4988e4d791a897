"""The gateway's own pages."""

from rowhouse.edge.pages import Page, Pages


def test_a_page_declares_that_it_has_no_icon_and_its_own_policy_allows_just_that():
    headers, body = Pages().render(Page(403, "forbidden", "No", "Not yours."), [(b"accept", b"text/html")])
    assert b'<link rel="icon" href="data:,">' in body
    policy = dict(headers)[b"content-security-policy"]
    assert policy.startswith(b"default-src 'none'; img-src data:;")

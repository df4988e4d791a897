"""The rules, grouped by subject; each is a pure function over what an engine would register. See docs/policies.md."""

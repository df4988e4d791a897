"""The Pulumi resource plugin for the vendors that have none: package `rowhouse`, modules `fly`, `stripe`, `edge`.

Does: one module a resource; each create adopts its own earlier attempt, each delete of nothing succeeds. Does not: hold credentials
in inputs or state; they come from the environment of this process.
"""

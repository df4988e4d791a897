"""Pulumi's wire: values, property rules and the provider kit.

Does: turns protocol messages into plain Python and back (`values`), checks and compares properties from a table (`fields`),
serves resources over gRPC (`kit`). Does not: know any vendor, nor anything else of Rowhouse, so that the plugin and the
embedded engine can both stand on it.
"""

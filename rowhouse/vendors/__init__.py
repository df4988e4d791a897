"""One typed client a vendor, and the object store: the only modules that open a socket to a vendor.

Does: addresses, credentials from the environment, rate limits, retries where repeating is safe, errors with the vendor's request id.
Does not: decide what should exist; that is the provider's and the passes' business.
"""

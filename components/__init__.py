"""What a tenant is made of: Pulumi component resources, each a few lines over the providers' own classes.

Nothing here reads the environment, a file or a clock; `stacks/` does, once, and hands typed values down.
"""

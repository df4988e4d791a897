"""What a Pulumi program imports to ask for our resources; hand-kept, because a generated SDK would need the CLI.

Modules: `fly`, `billing` (Stripe), `edge`. They import Pulumi alone.
"""

"""Every rule that a tenant, plan or app file can break, by its stable id. The table in tenants/README.md is printed from here.

A Problem whose rule is not listed here cannot be made, so a rule without a sentence does not exist.
"""

from __future__ import annotations

from typing import Final

__all__ = ["RULES"]

RULES: Final[dict[str, str]] = {
    # What a file is
    "file.missing-folder": "The folders tenants/, plans/ and apps/ exist.",
    "file.name": "A file is named `<id>.yaml`; the id has lower-case ASCII letters, digits and single dashes, at most 39 characters.",
    "file.kind": "A file is a regular file, not a link, folder or device, so that what is reviewed is what is read.",
    "file.twin": "No two file names differ only in the case of their letters.",
    "file.size": "A file has at most 256 KiB.",
    "file.unreadable": "A file can be opened and read.",
    "file.encoding": "A file is valid UTF-8.",
    "file.characters": "A file holds no control characters and no characters that reorder or hide text.",
    # What its YAML is
    "yaml.syntax": "The YAML can be parsed.",
    "yaml.empty": "A file is one mapping of keys to values.",
    "yaml.documents": "A file holds one YAML document, without directives.",
    "yaml.alias": "No anchors, aliases and merge keys: each file says what it says where it says it.",
    "yaml.tag": "No tags: a value is text, a number, true, false, null, a list or a mapping.",
    "yaml.duplicate-key": "A key stands once in its mapping.",
    "yaml.key": "A key is plain text.",
    "yaml.ambiguous": "A value that YAML readers read differently (no, on, 1e3, 010, 2026-11-01, 12:30) is put in quotes.",
    "yaml.depth": "Values are nested at most 12 deep and a file holds at most 20,000 of them.",
    # What its keys and values are
    "spec.unknown-key": "Every key is one that Rowhouse knows.",
    "spec.missing-key": "Every required key is there.",
    "spec.value": "Every value has the kind and lies in the range that its key allows.",
    "spec.id": "An id has lower-case ASCII letters, digits and single dashes, a letter first, at most 39 characters.",
    "spec.email": "An e-mail address is a plain ASCII one, without a display name.",
    "spec.member": "A member is an e-mail address or `@domain`.",
    "spec.image": "An image is named by its digest, `name@sha256:<64 hexadecimal digits>`, so that it cannot change under a tenant.",
    "spec.money": 'Money is a decimal number in quotes, such as "20.00".',
    "spec.quantity": "A quantity is a whole number or a decimal number in quotes.",
    "spec.secret-reference": "A secret is a reference, `env:NAME` or `file:PATH`, never the value, and never a credential or file "
    "of the operator.",
    "spec.env-name": "A variable's name has upper-case letters, digits and underscores, and does not start with FLY_ or ROWHOUSE_.",
    "spec.placeholder": "A variable's value uses only placeholders that exist.",
    "spec.path": "A path is absolute and has no `..`.",
    # What files say about each other
    "plan.unknown": "A tenant's plan exists in plans/.",
    "app.unknown": "An app that a tenant or catalog names exists in apps/.",
    "plan.meter": "A plan prices only meters that its catalog defines, in a way that can be billed.",
    "plan.pack": "A credit pack belongs to a counter of its catalog, and a plan draws credits only where a pack exists.",
    "plan.counter": "A counter meter counts an activity counter that the catalog's app declares.",
    "plan.size": "A plan's own size fits its host and its limits.",
    "tenant.instances": "A tenant has at least one instance and no more than its plan allows.",
    "tenant.secret-in-env": "No value that looks like a credential stands in plain text.",
    "tenant.name-clash": "A variable is either in env or in secrets.",
    "tenant.members": "A gate lets in at least one member, at most 1,000, and never a whole public mail provider.",
    "tenant.purge": "A tenant's data is not purged before backups exist.",
    "tenant.reserved": "A tenant's id is not a word by which Rowhouse names what all tenants share.",
    "tenant.lookalike": "Two tenants' ids do not read alike.",
    "instance.region": "An instance's region is one of its host's.",
    "instance.size": "An instance's processors and memory are a size that its host sells and its plan allows.",
    "instance.volume": "An instance's volume fits its host and its plan.",
    "instance.moved": "An instance stays in the region where its volume is.",
    "instance.shrunk": "An instance's volume only grows.",
    "instance.suspend": "An instance that suspends when idle has at most 2 GB of memory (Fly).",
    "hostname.taken": "No two instances have the same hostname.",
    "hostname.reserved": "A hostname is not one that the operator or the mail of the zone needs.",
    "hostname.length": "A hostname with its zone has at most 63 characters (Cloudflare Access).",
    "cell.ceiling": "A cell stays below the vendors' ceilings.",
    "cell.resources": "A cell has about 450 resources at most.",
}

"""The embedded engine: runs a Pulumi program where the Pulumi CLI is absent.

Does: preview, up, refresh, destroy and import of Python programs, speaking the CLI's protocols to the unchanged program and to unchanged
plugins; keeps its state in Pulumi's own form. Does not: other languages, cloud backends, plugin downloads, policy packs by path,
targets, transforms, hooks; each is refused by name. Why: design decision 2; a demo, a test or an offline review needs no second program.

Parts, in the order in which a run passes through them: `project`, `config`, `secrets` and `store` (what there is), `launcher` and
`program` (the program's process), `monitor` and `goals` (what it asks), `planner`, `steps`, `replacement`, `removal`, `refresh`,
`recovery` (what that means), `policies` (who may say no), `providers`, `plugins`, `client` and `builtin` (who does it), `journal`,
`checkpoint` and `locks` (what is remembered), `report`.
"""

from rowhouse.engine.errors import (
    EngineError,
    Locked,
    PassphraseError,
    PluginError,
    ProjectError,
    ProviderError,
    StateError,
    Unsupported,
)
from rowhouse.engine.nursery import Nursery
from rowhouse.engine.options import Options
from rowhouse.engine.policies import Analyzer, PolicyResource, PolicyViolation
from rowhouse.engine.project import Project, load_project
from rowhouse.engine.report import Diagnostic, Event, Failure, OnEvent, Plan, Progress, Result, StepEnded, StepReport, StepStarted
from rowhouse.engine.runs import FORESEEN, destroy, export_stack, foresee, import_, import_stack, preview, refresh, stack_outputs, up
from rowhouse.engine.state import State
from rowhouse.wire.values import UNKNOWN

__all__ = [
    "FORESEEN",
    "UNKNOWN",
    "Analyzer",
    "Diagnostic",
    "EngineError",
    "Event",
    "Failure",
    "Locked",
    "Nursery",
    "OnEvent",
    "Options",
    "PassphraseError",
    "Plan",
    "PluginError",
    "PolicyResource",
    "PolicyViolation",
    "Progress",
    "Project",
    "ProjectError",
    "ProviderError",
    "Result",
    "State",
    "StateError",
    "StepEnded",
    "StepReport",
    "StepStarted",
    "Unsupported",
    "destroy",
    "export_stack",
    "foresee",
    "import_",
    "import_stack",
    "load_project",
    "preview",
    "refresh",
    "stack_outputs",
    "up",
]

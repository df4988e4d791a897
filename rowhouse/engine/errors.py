"""What the embedded engine refuses or cannot do.

    EngineError
      ProjectError       Pulumi.yaml or a stack's configuration cannot be used
      Unsupported        an option or feature that only the Pulumi CLI has
      Locked             another engine works on the same stack
      StateError         the stored state cannot be read
      PassphraseError    the secrets of the state cannot be opened with this passphrase
      PluginError        a provider plugin is absent or does not start
      ProviderError      a provider answered with an error
        InitFailed       ... but the object exists and is kept

Not a child of `rowhouse.errors`: the engine stands alone, so that it can be used without the rest of Rowhouse.
"""

from __future__ import annotations

from typing import Any


class EngineError(Exception):
    """Something the embedded engine cannot do; the message says what to do next."""


class ProjectError(EngineError):
    """A project or stack file is missing or wrong."""


class Unsupported(EngineError):  # noqa: N818  # reads as what it says: "raise Unsupported(...)"
    """An option that the embedded engine does not have; the Pulumi CLI does."""

    def __init__(self, what: str) -> None:
        super().__init__(f"the embedded engine does not support {what}; leave it out or use the Pulumi CLI (--engine pulumi)")
        self.what = what


class Locked(EngineError):  # noqa: N818
    """The stack is being changed by another engine."""


class StateError(EngineError):
    """The state on disk is damaged or of an unknown version."""


class PassphraseError(EngineError):
    """The passphrase does not open the state's secrets."""


class PluginError(EngineError):
    """A provider plugin is absent or did not start."""


class ProviderError(EngineError):
    """A provider refused a request.

    `uncertain` says that the effect may have happened (the process died, the connection broke, time ran out): the operation then stays
    pending in the state and is repeated at the next run.
    """

    def __init__(self, message: str, *, uncertain: bool = False) -> None:
        super().__init__(message)
        self.uncertain = uncertain


class InitFailed(ProviderError):  # noqa: N818
    """The object exists but is not ready; what is known of it is kept in the state."""

    def __init__(self, message: str, object_id: str, outputs: dict[str, Any], inputs: dict[str, Any] | None, reasons: list[str]) -> None:
        super().__init__(message)
        self.object_id = object_id
        self.outputs = outputs
        self.inputs = inputs
        self.reasons = reasons or [message]

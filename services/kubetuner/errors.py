"""What can go wrong, once for all rooms; the command line, gRPC and the controller each translate from here.

KubeTunerError
├── InputError        the user's input is wrong: exit 2, INVALID_ARGUMENT, never retried
│   ├── SpecError     ... a field of the TrainingRun
│   └── DataError     ... a picture, a caption file, a model folder
├── ArtifactError     an object of the store is missing or damaged: exit 1, retried
├── TrainingError     the training itself cannot go on (loss is not finite): exit 1
└── Interrupted       somebody asked to stop and the state is saved: exit 130 or 143
"""

from __future__ import annotations


class KubeTunerError(Exception):
    """Base of all errors that are explained to the user in one line."""


class InputError(KubeTunerError):
    """The user's input is wrong, and the message says where, what was given and the cure."""


class SpecError(InputError):
    """A field of the run is wrong.

    `path` is the field's path in the CR (`spec.datasets[0].cropAspect`), `problem` what is wrong with it and how to cure it.
    """

    def __init__(self, path: str, problem: str) -> None:
        super().__init__(f"{path}: {problem}" if path else problem)
        self.path = path
        self.problem = problem


class SpecErrors(InputError):
    """Several fields are wrong; one line each."""

    def __init__(self, errors: list[SpecError]) -> None:
        super().__init__("\n".join(str(error) for error in errors))
        self.errors = errors


class DataError(InputError):
    """A picture, a caption or a model file cannot be used; names it and the cure."""


class ArtifactError(KubeTunerError):
    """An object of the store is missing, cut short or changed; names its key."""


class TrainingError(KubeTunerError):
    """The training cannot go on; names the step and the samples."""


class Interrupted(KubeTunerError):
    """The run was asked to stop; everything up to here is saved."""

"""The errors a user can mend.

Each message is one clear sentence: what was wrong, where, and what would be right. The command line prints it
and ends with exit code 2; in Python it is an ordinary exception.
"""


class UserError(Exception):
    """Something the user asked for cannot be done as asked; the message says how to mend it."""


class ConfigError(UserError):
    """Options that contradict each other, the data, or the checkpoint."""


class DataError(UserError):
    """Data that is missing, damaged, or not what it was said to be."""


class CheckpointError(UserError):
    """A checkpoint that cannot be read, or that belongs to something else."""


class RunFolderError(UserError):
    """A run's folder that is missing, incomplete, or cannot be written."""


class TrainingError(UserError):
    """Training that cannot go on, such as a loss that is no longer finite."""


class Notice(UserWarning):
    """Something the user should know of work that goes on; the command line prints it as a sentence of its own."""


class Stopped(SystemExit):
    """What was asked to stop by a signal, and has; `code` is 128 and the signal's number, as a shell would say it.

    Args:
        number: The signal's.
    """

    def __init__(self, number: int) -> None:
        super().__init__(128 + number)


class EndedByFirst(Exception):
    """The first process of a run has ended it, for a reason that it tells of; this one only follows."""

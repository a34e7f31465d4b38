"""The kinds of trouble that are nobody's bug."""


class UserError(Exception):
    """A mistake in the sheet, the configuration or a command line.

    The message is one line: what is wrong, where, and what is allowed. It is
    shown without a traceback and the program exits with 2.
    """


class TrainingError(UserError):
    """A training that came to nothing.

    Parameters
    ----------
    reason : str
        Too few labels, a loss that is no longer finite, no agreement with any label.
    advice : str
        What could be done about it; follows the reason in the message.
    """

    def __init__(self, reason: str, advice: str = ""):
        super().__init__(reason + advice)
        self.reason = reason


class BadFieldError(Exception):
    """A field whose image cannot be decoded or used.

    The message is the reason that the tables show. The field is recorded as
    ``rejected`` and the other fields go on.
    """

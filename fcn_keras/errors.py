"""The one exception that bad input raises."""


class InputError(ValueError):
    """Bad input: a file, argument or option that can't be used as given.

    The message is one line that names the file or argument, the value found, and the fix. The
    command-line programs print it after ``error:`` and exit with status 2.
    """

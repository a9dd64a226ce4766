"""What goes wrong with an export, said so that a person can mend it."""

from pipeline.core.errors import DnntuneError


class ExportError(DnntuneError):
    """An export cannot be written, is incomplete or changed, or does not take what it is given; names the file."""

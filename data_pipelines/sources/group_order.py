"""Says where the order of reading wastes most of what is read of rows in groups."""

import logging

_LOG = logging.getLogger(__name__)
# After so many readings it is judged whether each serves one sample only.
_JUDGED_AT = 256


class GroupOrder:
    """Counts how many samples the reading of a group serves, and says once that it is but one.

    Args:
      name: of the source.
      rows: that a group holds, on average.
    """

    def __init__(self, name: str, rows: float) -> None:
        self._name, self._rows = name, rows
        self._asked = self._readings = 0

    def asked(self) -> None:
        """A sample was asked for."""
        self._asked += 1

    def read(self) -> None:
        """A group was read."""
        self._readings += 1
        wasted = self._asked < 2 * self._readings and self._rows > 2
        if self._readings == _JUDGED_AT and wasted:
            _LOG.warning(
                "%s: row groups hold %d rows, and each is read for one sample; let the order keep "
                "neighbours together, or write smaller groups or tars",
                self._name,
                self._rows,
            )

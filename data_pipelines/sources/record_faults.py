"""Why a record of an ArrayRecord file cannot be read, by what the library says of it."""

import re

from data_pipelines.faults import Reject

# Its C++ part raises one class for all; a call of the system that failed is named first, as in
# "pread() failed: Input/output error".
_OF_SYSTEM = re.compile(r"\w+\(\) failed: ")


def fault_of(error: Exception, place: str) -> Reject:
    """The reject of a record that could not be read: "read failed" where another try may help.

    Args:
      error: as the library raised it.
      place: of the record.
    """
    passes = isinstance(error, OSError) or _OF_SYSTEM.match(str(error)) is not None
    return Reject("read failed" if passes else "shard damaged", f"{place}: {error}")

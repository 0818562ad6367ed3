"""3,786 emoji drawn by two vendors, in the package: `materialize()` unpacks them as tars.

The README beside this file says what they are, under which licences, and how they were made.
"""

from data_pipelines.emoji.tars import materialize

__all__ = ["materialize"]

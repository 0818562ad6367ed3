"""Where image-text pairs come from: `open_source` and what it returns.

A spec names one or several places, joined by commas:

  a.tar                  a WebDataset tar
  dir/*.tar              all that match, in the order of their names
  shard-{0000..0012}.tar a numbered range
  dir/                   a folder: with a table (captions.csv, .tsv or .jsonl, or metadata.csv or
                         .jsonl), with tars at any depth, or with pictures at any depth
  dir/table.csv          a table of another name
  cat.jpg, dir/*.jpg     pictures
  -                      what comes by the standard input: a picture, or a path a line
  emoji:noto             an embedded data set

Captions: KEY.txt is one, whatever its lines; KEY.captions holds several, one a line. `lines:` in
front of a spec reads KEY.txt, too, one a line.
"""

from data_pipelines.sources.base import Sample, Source
from data_pipelines.sources.concat import ConcatSource
from data_pipelines.sources.folder import FolderSource
from data_pipelines.sources.labels import LabelCaptions, LabelSource, label_name, label_names
from data_pipelines.sources.noise import ShuffledCaptions
from data_pipelines.sources.opening import open_source, tars_of
from data_pipelines.sources.pictures import PictureSource
from data_pipelines.sources.tar import TarSource
from data_pipelines.sources.tar_index import TarIndex, scan
from data_pipelines.sources.tar_sidecar import build_index, index_path, load_index

__all__ = [
    "ConcatSource",
    "FolderSource",
    "LabelCaptions",
    "LabelSource",
    "PictureSource",
    "Sample",
    "ShuffledCaptions",
    "Source",
    "TarIndex",
    "TarSource",
    "build_index",
    "index_path",
    "label_name",
    "label_names",
    "load_index",
    "open_source",
    "scan",
    "tars_of",
]

"""Where image-text pairs come from; `data_pipelines.opening.open_source` opens them by name."""

from data_pipelines.sources.base import Sample, Source
from data_pipelines.sources.concat import ConcatSource
from data_pipelines.sources.folder import FolderSource
from data_pipelines.sources.labels import LabelSource
from data_pipelines.sources.noise import ShuffledCaptions
from data_pipelines.sources.pictures import PictureSource
from data_pipelines.sources.tar import TarSource
from data_pipelines.sources.tar_build import build_indexes
from data_pipelines.sources.tar_indexes import index_path, load_index
from data_pipelines.sources.tar_scan import scan

__all__ = [
    "ConcatSource",
    "FolderSource",
    "LabelSource",
    "PictureSource",
    "Sample",
    "ShuffledCaptions",
    "Source",
    "TarSource",
    "build_indexes",
    "index_path",
    "load_index",
    "scan",
]

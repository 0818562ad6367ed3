"""Two small models as open_clip folders, for the benchmarks' own programs and for ours."""

import pytest

from tests.sweep_peers.small_models import clip_folder, siglip_folder


@pytest.fixture(scope="session")
def clip(tmp_path_factory):
    """A model like CLIP, its parameters random."""
    return clip_folder(tmp_path_factory.mktemp("models") / "clip")


@pytest.fixture(scope="session")
def siglip(tmp_path_factory):
    """A model like SigLIP: another tokenizer, no causal mask, squashed pictures, a bias."""
    return siglip_folder(tmp_path_factory.mktemp("models") / "siglip")

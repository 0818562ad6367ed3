"""Small models with random parameters, as folders that open_clip and vlp both open."""

import open_clip
import transformers

from tests.peers.shrunk import make, save, small
from tests.peers.tokenizing import sentencepiece_model

LENGTH, SIZE = 20, 32


def clip_folder(folder, *, seed=0):
    """ViT-B-32 made small, with CLIP's tokenizer."""
    config = small(open_clip.get_model_config("ViT-B-32"))
    config["vision_cfg"] |= dict(image_size=SIZE)
    config["text_cfg"] |= dict(vocab_size=49408, context_length=LENGTH)
    save(make(config, seed=seed), config, folder)
    return folder


def siglip_folder(folder, *, seed=1):
    """The text tower, tokenizer and preprocessing of SigLIP, and a sigmoid's bias.

    The pictures go through open_clip's own vision transformer: timm knows no small SigLIP.
    """
    config = small(open_clip.get_model_config("ViT-B-16-SigLIP"))
    named = small(open_clip.get_model_config("ViT-B-32"))
    config["vision_cfg"] = named["vision_cfg"] | dict(image_size=SIZE)
    config["embed_dim"] = config["text_cfg"]["width"]
    config["text_cfg"] |= dict(vocab_size=2000, context_length=LENGTH)
    folder.mkdir(parents=True)
    (folder / "spiece.model").write_bytes(sentencepiece_model())
    made = transformers.T5Tokenizer.from_pretrained(folder, extra_ids=0, pad_token="</s>")
    given = dict(mean=[0.5] * 3, std=[0.5] * 3, interpolation="bicubic", resize_mode="squash")
    save(make(config, seed=seed), config, folder, preprocess=given)
    made.save_pretrained(folder)
    return folder

"""Checkpoints of ALBEF's authors, under the names that their code gives to tensors."""

from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

import vlp
from vlp.interop.load import load_run

NUMBERS = Path(__file__).parents[1] / "authors" / "albef_pretrain.npz"


def tensors():
    arrays = np.load(NUMBERS, allow_pickle=False)
    return {k.removeprefix("state/"): v for k, v in arrays.items() if k.startswith("state/")}


def saved(folder, state):
    path = folder / "model.safetensors"
    save_file({name: np.array(value, order="C") for name, value in state.items()}, path)
    return path


def test_a_pretraining_checkpoint_is_read_without_its_teacher_and_queues(tmp_path):
    state = tensors()
    run = load_run(f"albef:{saved(tmp_path, state)}", tokenizer="none")
    kwargs = run.card["model"]
    assert (kwargs["image"]["image_size"], kwargs["text"]["depth"]) == (32, 2)
    assert (kwargs["fusion"]["depth"], kwargs["embed_dim"]) == (2, 16)
    model = run.model
    np.testing.assert_array_equal(
        model.fusion.blocks.cross.query.kernel[...][1],
        state["text_encoder.bert.encoder.layer.3.crossattention.self.query.weight"].T,
    )
    np.testing.assert_allclose(np.exp(model.log_scale[...]), 1 / state["temp"], rtol=1e-6)
    image = model.encode_image(np.zeros((2, 32, 32, 3), np.uint8))
    text = np.array([[2, 9, 3, 0], [2, 8, 7, 3]], np.int32)
    assert model.match(image, model.encode_text(text), text).shape == (2, 2)
    assert model.predict_tokens(image, text).shape == (2, 4, 50)


def test_a_fine_tuned_checkpoint_is_refused(tmp_path):
    """Retrieval's has a plain BERT and no head for masked words."""
    renamed = {name.replace(".bert.", "."): array for name, array in tensors().items()}
    path = saved(tmp_path, renamed)
    with pytest.raises(ValueError, match="must hold a pretraining checkpoint of ALBEF, which has"):
        vlp.load(f"albef:{path}", tokenizer="none")


def test_a_missing_tensor_is_named(tmp_path):
    state = tensors()
    del state["itm_head.bias"]
    with pytest.raises(ValueError, match="are missing, such as itm_head.bias"):
        vlp.load(f"albef:{saved(tmp_path, state)}", tokenizer="none")


def test_a_pickle_is_refused_with_the_remedy(tmp_path):
    (tmp_path / "ALBEF.pth").write_bytes(b"")
    with pytest.raises(ValueError, match="--allow-pickle-weights"):
        vlp.load(f"albef:{tmp_path / 'ALBEF.pth'}", tokenizer="none")

"""The READMEs of exports, run as they are written, and what they have to print."""

import re
import subprocess
import sys

import jax
import numpy as np
from PIL import Image

from vlp.interop.samples import EXAMPLE, EXAMPLE_TEXTS

# For a process without vlp: whatever asks for it is told that there is none.
WITHOUT_VLP = "import sys\nsys.modules.update(vlp=None, flax=None, data_pipelines=None)\n"


def code(folder, language="python"):
    """The README's block of code in a language."""
    text = (folder / "README.md").read_text()
    return re.search(rf"```{language}\n(.*?)```", text, re.DOTALL)[1]


def printed(folder, *, before=WITHOUT_VLP):
    """The numbers that the README's Python prints in a fresh interpreter, in the folder."""
    ran = subprocess.run(
        [sys.executable, "-c", before + code(folder)], cwd=folder, capture_output=True, text=True
    )
    assert ran.returncode == 0, ran.stderr[-3000:]
    return numbers(ran.stdout)


def numbers(text):
    """Every number with a point."""
    return np.asarray([float(found) for found in re.findall(r"-?\d+\.\d*(?:e[-+]\d+)?", text)])


def expected(run, folder, shown="cosines", *, towers="both"):
    """What our model says of the folder's picture and the README's texts."""
    if towers == "text":
        return np.ravel(run.model.encode_text(run.tokenize(EXAMPLE_TEXTS)).embedding)
    zimg = run.model.encode_image(run.preprocess(Image.open(folder / EXAMPLE))).embedding
    if towers == "image":
        return np.ravel(zimg)
    ztxt = run.model.encode_text(run.tokenize(EXAMPLE_TEXTS)).embedding
    if shown == "cosines":
        return np.ravel(zimg @ ztxt.T)
    activation = {"softmax": jax.nn.softmax, "sigmoid": jax.nn.sigmoid}[shown]
    return np.ravel(activation(run.model.logits(zimg, ztxt)))

"""What preprocessing takes beside the pixels it gives, in a process of its own."""

import subprocess
import sys

import pytest
from PIL import Image

from tests.odd_images import saved

SIDE = 3072
# The high-water mark of this program alone: getrusage begins with that of its parent.
PEAK = """
import re, sys
from data_pipelines.images import ImagePreprocess

def peak():
    return int(re.search("VmHWM:\\s*(\\d+) kB", open("/proc/self/status").read())[1])

preprocess = ImagePreprocess(32)
preprocess(sys.argv[1])
before = peak()
preprocess(sys.argv[2])
print(peak() - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="counts memory as Linux does")
@pytest.mark.parametrize(
    ("kind", "mode"), [("PNG", "RGB"), ("PNG", "RGBA"), ("PNG", "1"), ("JPEG", "RGB")]
)
def test_a_large_picture_takes_little_more_than_twice_its_pixels(kind, mode, tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    image = Image.new(mode, (SIDE, SIDE))
    if mode == "RGBA":
        image.putalpha(90)
    for name, picture in (("small", image.crop((0, 0, 9, 9))), ("large", image)):
        (tmp_path / name).write_bytes(saved(picture, kind, exif=exif))
    arguments = [str(tmp_path / "small"), str(tmp_path / "large")]
    done = subprocess.run(
        [sys.executable, "-c", PEAK, *arguments], capture_output=True, text=True, check=True
    )
    assert 1 <= int(done.stdout) * 1024 / (SIDE**2 * 4) <= 2.2

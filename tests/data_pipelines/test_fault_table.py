"""What becomes of bad data, row by row, as training meets them.

Of ten samples in a tar one has a fault. It is used, or counted under its reason as a row of weight
0; whichever it is, the nine others are the same to the bit, all come in the same order, and time
and memory are bounded. `TABLE` names the tests that show more of a row.
"""

import dataclasses
import re
import sys
import time
from collections.abc import Callable
from pathlib import Path

import faulty
import numpy as np
import pytest
from data_makers import write_tar
from faulty import LINES, PHOTO

from data_pipelines.augment import Augment
from data_pipelines.faults import REASONS
from data_pipelines.fields import Pictures, Texts
from data_pipelines.loader import make_loader
from data_pipelines.photo_augment import PhotoAugment
from data_pipelines.sources import TarSource
from data_pipelines.text import train_sentencepiece
from data_pipelines.tokens import clip_tokenizer
from tests.odd_images import saved

COUNT, BAD = 10, 3
SECONDS, MEGABYTES = 8.0, 200
TOKENIZER, CLIP = train_sentencepiece(LINES[:500], vocab_size=400), clip_tokenizer()
FIELDS = {
    "text": Texts(TOKENIZER, length=16, pad_id=TOKENIZER.pad_id),
    "clip": Texts(CLIP, length=16, pad_id=CLIP.pad_id),
    "photo": Pictures(PhotoAugment(16, crop=(0.5, 1.0)), size=16),
    "drawing": Pictures(Augment(16), size=16),
}
USED = ""
CUT = ("image truncated", "image damaged")


@dataclasses.dataclass(frozen=True)
class Fault:
    """A row of the table: what is wrong, the bad member's bytes, and why the sample is rejected."""

    row: str
    what: str
    image: Callable[[], bytes] | bytes | None = None
    text: Callable[[], bytes] | bytes | None = None
    reason: str | tuple[str, ...] = USED

    def __str__(self):
        return f"{self.row} {self.what}"


def image(row, what, data, reason=USED):
    return Fault(row, what, image=data, reason=reason)


def text(row, what, data, reason=USED):
    return Fault(row, what, text=data, reason=reason)


FAULTS = [
    *(
        image("I1", f"{kind} cut at {share}", lambda k=kind, s=share: faulty.cut(k, s), CUT)
        for kind in ("JPEG", "PNG", "WEBP", "AVIF")
        for share in (0.1, 0.5, 0.99)
    ),
    image("I2", "nothing", b"", "image empty"),
    image("I2", "HTML", b"<!DOCTYPE html><html>404</html>", "image not recognised"),
    image("I2", "noise", lambda: b"\x01" + faulty.noise(4000), "image not recognised"),
    image("I2", "WebP called .png", lambda: saved(PHOTO, "WEBP")),
    image("I2", "gzip called .png", b"\x1f\x8b\x08" + bytes(99), "image not recognised"),
    *(
        image("I3", f"{make.__name__} of {side}", lambda m=make, s=side: m(s, s), "image too large")
        for make in (faulty.png_of, faulty.bmp_of, faulty.tiff_of, faulty.jpeg_2000_of)
        for side in (20_000, 60_000)
    ),
    image("I3", "GIF of 65535", lambda: faulty.gif_of(65535, 65535), "image too large"),
    image("I3", "PNG of more pixels than it says", lambda: faulty.png_of(40, 30, pixels=2 * 10**8)),
    *(
        image("I3", f"200 MB in {kind.decode()}", lambda k=kind, b=begin: faulty.with_bomb(k, b))
        for kind, begin in ((b"zTXt", b"a\0\0"), (b"iCCP", b"a\0\0"), (b"iTXt", b"a\0\1\0\0\0"))
    ),
    image("I3", "JPEG of 300 scans", lambda: faulty.of_scans(300), "image too large"),
    image("I4", "EXIF of noise", lambda: faulty.with_segment(b"Exif\0\0" + faulty.noise(3000))),
    image("I4", "20 MB of EXIF", faulty.many_exif_blocks),
    *(image("I4", f"EXIF {value}", lambda v=value: faulty.turned(v)) for value in (1, 3, 6, 8)),
    *(
        image("I5", name, lambda n=name: faulty.mode(n))
        for name in ("CMYK", "I;16", "LA", "P", "1", "RGBA")
    ),
    image("I5", "YCCK", faulty.ycck),
    image("I5", "P with a transparent colour", faulty.with_transparent_colour),
    *(image("I5", n, lambda n=n: faulty.mode(n), "image mode unsupported") for n in "IF"),
    *(
        image("I6", f"{kind} of 60 pictures", lambda k=kind: faulty.film(k, 60))
        for kind in ("GIF", "WEBP", "PNG")
    ),
    *(
        image("I7", f"{width} x {height}", lambda w=width, h=height: faulty.of_size(w, h))
        for width, height in ((1, 1), (1, 30_000), (30_000, 1), (7, 5))
    ),
    text("I8", "nothing", b"", "caption empty"),
    text("I8", "blanks", b" \t\r\n\xc2\xa0", "caption empty"),
    text("I8", "NUL", b"a\0cat", "caption with NUL (utf-16?)"),
    text("I8", "emoji", "👩‍👩‍👧🏳️‍🌈".encode()),
    text("I9", "Latin-1", b"caf\xe9", "caption not utf-8"),
    text("I9", "a byte order mark", b"\xef\xbb\xbfa cat"),
    text("I9", "UTF-16", "a cat".encode("utf-16"), "caption not utf-8"),
    text("I9", "half a surrogate", b"a \xed\xa0\x80 cat", "caption not utf-8"),
    text("I9", "right to left, joined, decomposed", "שָׁלוֹם \u200d e\u0301 \u202e".encode()),
    text("I10", "50 MB", lambda: b"a" * 50_000_000, "caption too long"),
    text("I10", "a million words", lambda: b"cat " * 1_000_000, "caption too long"),
    text("I10", "64 KB without a space", b"a" * 65_536),
    text("I10", "64 KB of words", lambda: faulty.words(65_536)),
    text("I10", "64 KB of marks", "e\u0301".encode() * 21_845),
    text("I11", "the names of special tokens", b"a <|endoftext|> <pad> </s> <|startoftext|> cat"),
    *(text("I16", f"JSON as a caption {n}", data) for n, data in enumerate((b"[" * 9000, b"NaN"))),
]  # fmt: skip

# What other tests show of each row: the files below tests/, and their tests.
TABLE = """
I1
  data_pipelines/test_decode.py
    test_a_truncated_file_is_rejected
    test_flipped_bytes_give_pixels_or_a_reason_and_nothing_else
I2
  data_pipelines/test_odd_files.py
    test_what_is_not_read_is_named
I3
  data_pipelines/test_decode.py
    test_a_huge_jpeg_is_refused_by_its_header
    test_a_huge_webp_is_refused_by_its_header
    test_the_pixel_limit_is_inclusive
  data_pipelines/test_decode_memory.py
    test_a_large_picture_takes_little_more_than_twice_its_pixels
I4
  data_pipelines/test_decode.py
    test_orientation_is_applied
    test_a_damaged_exif_block_says_nothing
  data_pipelines/test_same_pixels.py
    test_damaged_exif_never_warns_and_never_costs_the_image
I5
  data_pipelines/test_decode.py
    test_sixteen_bits_keep_their_high_byte
    test_cmyk_is_converted
    test_a_palette_keeps_its_transparency
    test_alpha_stays_beside_the_colours
    test_grey_and_one_bit_become_rgb
I6
  data_pipelines/test_decode.py
    test_an_animation_gives_its_first_frame
I7
  data_pipelines/test_decode.py
    test_thin_images_are_read
  data_pipelines/test_preprocess.py
    test_extreme_shapes_stay_small
I8
  data_pipelines/test_captions.py
    test_a_bad_caption_is_rejected_with_its_reason
  data_pipelines/test_tar_source.py
    test_an_incomplete_sample_is_counted_and_rejected_with_its_reason
I9
  data_pipelines/test_captions.py
    test_a_good_caption_keeps_its_words
  data_pipelines/test_members.py
    test_utf_16_without_its_mark_is_no_text_and_no_class
I10
  data_pipelines/test_tokenizers.py
    test_the_longest_caption_is_encoded_in_bounded_time
  data_pipelines/test_tar_source.py
    test_a_caption_that_is_too_long_is_not_read
I11
  data_pipelines/test_captions.py
    test_names_of_special_tokens_in_a_caption_are_plain_text
  data_pipelines/test_tokenizers.py
    test_clip_takes_the_name_of_a_special_token_where_it_stands_alone
I12
  data_pipelines/test_tar_faults.py
    test_of_a_tar_that_is_cut_the_whole_samples_before_are_used
    test_every_cut_before_the_end_marker_is_noticed
  data_pipelines/test_tar_source.py
    test_what_is_no_tar_is_refused
  data_pipelines/test_packed_tars.py
    test_of_a_damaged_one_what_comes_before_is_used
    test_a_bomb_takes_no_more_room_than_a_hundred_times_its_size
I13
  data_pipelines/test_tar_faults.py
    test_two_images_for_one_key_cost_that_sample
  data_pipelines/test_tar_source.py
    test_keys_end_at_the_first_dot_of_the_base_name
    test_members_of_a_sample_may_lie_apart
  data_pipelines/test_fault_tars.py
    test_a_key_in_two_tars_is_two_samples_that_lack_something
I14
  data_pipelines/test_tar_source.py
    test_links_devices_and_outward_paths_are_never_followed
  data_pipelines/test_tar_faults.py
    test_what_cannot_be_walked_ends_the_tar_and_costs_the_sample_before
  data_pipelines/test_fault_tars.py
    test_a_size_that_lies_costs_no_time_no_memory_and_no_sample_before
I15
  data_pipelines/test_fault_tars.py
    test_members_that_would_run_code_are_counted_and_never_opened
  test_no_code_from_data.py
    test_nothing_that_is_read_can_be_run
I16
  data_pipelines/test_members.py
    test_json_costs_nothing_but_itself
    test_numbers_that_are_none_become_none
  data_pipelines/test_fault_tars.py
    test_json_in_a_sample_is_read_in_bounded_time
I17
  data_pipelines/test_tar_faults.py
    test_a_tar_that_is_gone_keeps_its_places
    test_a_tar_that_changes_while_it_is_read_is_rejected_from_there_on
    test_a_file_that_cannot_be_read_is_no_end_of_the_run
  data_pipelines/test_files_by_address.py
    test_a_store_that_hangs_is_an_error
    test_a_store_that_fails_costs_its_samples_for_a_while
  data_pipelines/test_loader_workers.py
    test_a_thread_that_stops_ends_the_stream_and_its_sample_is_named
  remote/test_data_in_stores.py
    test_a_web_server_that_fails_again_and_again_loses_nothing
I18
  data_pipelines/test_tar_index.py
    test_another_tar_of_the_same_size_and_time_is_found_when_it_is_read
    test_a_damaged_index_is_refused_with_the_remedy
    test_a_tar_that_was_written_since_is_read_and_said
I19
  test_no_code_from_data.py
    test_nothing_that_is_read_can_be_run
  cli/test_refusals.py
    test_a_wrong_setting_is_refused_before_anything_is_trained
  data_pipelines/test_folder_source.py
    test_paths_stay_inside_the_folder
I20
  interop/test_bad_weights.py
    test_a_header_that_lies_is_refused
    test_a_pickle_is_refused_with_the_remedy
    test_numbers_that_are_not_finite_are_named
    test_a_truncated_file_is_refused
    test_a_shape_that_does_not_fit_names_the_tensor_and_both_shapes
I21
  data_pipelines/test_loader.py
    test_a_batch_without_one_good_sample_is_a_batch_and_an_epoch_without_one_an_error
    test_fewer_samples_than_a_batch_wrap_around
  data_pipelines/test_tar_faults.py
    test_a_tar_without_a_usable_sample_is_empty_among_others_and_refused_alone
  data_pipelines/test_fault_tars.py
    test_fewer_samples_than_hosts_wrap_around
    test_a_tar_of_bad_samples_alone_costs_these
I22
  losses/test_degenerate.py
    test_pairs_that_repeat_give_finite_losses_and_gradients
  losses/test_positives.py
    test_the_softmax_is_the_mean_over_positives_of_the_negative_log_probability
I23
  losses/test_degenerate.py
    test_vectors_of_zeros_give_finite_losses_and_gradients
"""


def members(fault=None):
    """Ten pairs, of which one has the fault's picture or caption."""
    found = []
    for number in range(COUNT):
        image, text = saved(PHOTO.rotate(9 * number), "JPEG"), LINES[number].encode()
        if fault is not None and number == BAD:
            image, text = (
                own if given is None else given() if callable(given) else given
                for own, given in ((image, fault.image), (text, fault.text))
            )
        found += [(f"{number:04d}.jpg", image), (f"{number:04d}.txt", text)]
    return found


def loader(path, **values):
    how = dict(fields=FIELDS, global_batch_size=COUNT, seed=7, num_threads=0, max_reject_share=0.5)
    return make_loader(TarSource(path), **(how | values))


def memory(name):
    """Bytes: VmRSS is what this process has now, VmHWM what it had at most since `forget_peak`."""
    status = Path("/proc/self/status").read_text()
    return 1024 * int(re.search(rf"{name}:\s*(\d+) kB", status)[1])


def forget_peak():
    Path("/proc/self/clear_refs").write_text("5")


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    return next(loader(write_tar(tmp_path_factory.mktemp("good") / "a.tar", members())))


@pytest.mark.parametrize("fault", FAULTS, ids=str)
def test_a_fault_costs_its_own_sample_at_most(fault, good, tmp_path):
    path = write_tar(tmp_path / "a.tar", members(fault))
    reading = loader(path)
    if on_linux := sys.platform == "linux":
        forget_peak()
        before = memory("VmRSS")
    began = time.process_time()
    batch = next(reading)
    assert time.process_time() - began < SECONDS
    if on_linux:
        assert memory("VmHWM") - before < MEGABYTES * 2**20

    np.testing.assert_array_equal(batch["id"], good["id"])
    hit = batch["id"] == BAD
    for name in FIELDS:
        np.testing.assert_array_equal(batch[name][~hit], good[name][~hit], err_msg=name)
    (code,) = batch["reject"][hit].tolist()
    assert (batch["reject"][~hit] == 0).all() and (batch["weight"][~hit] == 1).all()
    reasons = fault.reason if isinstance(fault.reason, tuple) else (fault.reason,)
    assert (REASONS[code - 1] if code else USED) in reasons
    assert batch["weight"][hit].tolist() == [0.0 if code else 1.0]
    if code:
        assert reading.rejects == {REASONS[code - 1]: 1}
        assert not any(batch[name][hit].any() for name in ("photo", "drawing"))
    else:
        assert reading.rejects == {}
    assert reading.seen == COUNT


def test_every_row_has_a_test_and_every_test_that_is_named_is_there():
    rows, text = [], ""
    for word in TABLE.split():
        if re.fullmatch(r"I\d+", word):
            rows.append(word)
        elif word.endswith(".py"):
            text = (Path(__file__).parents[1] / word).read_text()
        else:
            assert f"def {word}(" in text, word
    assert rows == [f"I{number}" for number in range(1, 24)]
    assert {fault.row for fault in FAULTS} <= {*rows}

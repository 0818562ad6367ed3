"""Rates of products by their shape: XLA's table read back, and what a plan makes of it."""

import dataclasses
import json
from pathlib import Path

import pytest

import vlp.planning.products as products
from vlp.planning.estimate import estimate
from vlp.planning.hardware import CHIPS
from vlp.planning.hlo import parse
from vlp.planning.products import Product, measured_rate

TABLE = json.loads(Path(products.__file__).with_name("products.json").read_text())


def product(batch=1, m=4096, n=4096, k=1024, dtype="bf16"):
    return Product(dtype, 2.0 * batch * m * n * k, batch, m, n, k)


@pytest.mark.parametrize(
    ("chip", "rows", "shape", "tflops"),
    # As they stand in XLA's own file.
    [
        ("h100", "bf16", (1, 4096, 4096, 1024), 685.2),
        ("h200", "bf16", (1, 1024, 1024, 1024), 252.8),
        ("h100", "f32", (1, 4096, 4096, 4096), 403.1),
        ("b200", "bf16", (4, 4096, 4096, 4096), 1670.5),
    ],
)
def test_a_measured_shape_has_its_measured_rate(chip, rows, shape, tflops):
    rate = measured_rate(product(*shape, dtype=rows), CHIPS[chip])
    assert rate == pytest.approx(tflops * 1e12, rel=1e-4)


def test_between_measured_shapes_the_rate_is_between_theirs():
    sides, rates = TABLE["sides"], TABLE["tflops"]["sm_90"]["bf16"][0]
    at = {side: place for place, side in enumerate(sides)}
    around = [rates[at[m]][at[4096]][at[1024]] for m in (512, 1024)]
    assert min(around) < measured_rate(product(m=768), CHIPS["h100"]) / 1e12 < max(around)


def test_beyond_the_largest_shape_the_rate_stays():
    large, larger = (measured_rate(product(m=m), CHIPS["h100"]) for m in (4096, 131072))
    assert large == larger > 0


@pytest.mark.parametrize(
    ("chip", "shape"), [("h100", dict(k=64)), ("h100", dict(batch=192)), ("a100", {}), ("v5e", {})]
)
def test_what_was_not_measured_has_no_rate(chip, shape):
    assert measured_rate(product(**shape), CHIPS[chip]) == 0.0


DOT = """HloModule dot

ENTRY %main (a: bf16[4096,1024], b: bf16[1024,4096]) -> bf16[4096,4096] {
  %a = bf16[4096,1024]{1,0} parameter(0)
  %b = bf16[1024,4096]{1,0} parameter(1)
  ROOT %dot = bf16[4096,4096]{1,0} dot(%a, %b), lhs_contracting_dims={1}, rhs_contracting_dims={0}
}
"""
BATCHED = """HloModule batched

ENTRY %main (a: bf16[8,64,32], b: bf16[8,32,16]) -> bf16[8,64,16] {
  %a = bf16[8,64,32]{2,1,0} parameter(0)
  %b = bf16[8,32,16]{2,1,0} parameter(1)
  ROOT %call = bf16[8,64,16]{2,1,0} custom-call(%a, %b), custom_call_target="__cublas$gemm", \
backend_config={"gemm_backend_config":{"dot_dimension_numbers":{"lhs_contracting_dimensions":["2"],\
"rhs_contracting_dimensions":["1"],"lhs_batch_dimensions":["0"],"rhs_batch_dimensions":["0"]}}}
}
"""


def test_an_estimate_tells_what_a_product_takes_at_the_rate_of_its_shape():
    spent = estimate(parse(DOT), chip=CHIPS["h100"], exchanges=[])
    flops = 2 * 4096 * 1024 * 4096
    assert spent.flops == {"bf16": flops} and spent.measured_flops == flops
    assert spent.measured_seconds == pytest.approx(flops / 685.2e12, rel=1e-4)
    assert spent.seconds != spent.measured_seconds


def test_a_chip_without_measurements_has_its_roofline_alone():
    spent = estimate(parse(DOT), chip=CHIPS["a100"], exchanges=[])
    assert spent.seconds > 0 and spent.measured_seconds == 0


def test_products_of_a_library_tell_their_shape_too():
    from vlp.planning.cost import cost

    program = parse(BATCHED)
    computation = program.computations["main"]
    (found,) = cost(program, computation, computation.root).products
    assert dataclasses.astuple(found) == ("bf16", 2.0 * 8 * 64 * 16 * 32, 8, 64, 16, 32)


CUDNN = """HloModule attention

ENTRY %main (q: bf16[2,256,4,64], k: bf16[2,128,4,64]) -> (bf16[2,4,256,64], f32[2,4,256]) {
  %q = bf16[2,256,4,64]{3,2,1,0} parameter(0)
  %k = bf16[2,128,4,64]{3,2,1,0} parameter(1)
  ROOT %call = (bf16[2,4,256,64]{3,1,2,0}, f32[2,4,256]{2,1,0}) custom-call(%q, %k, %k), \
custom_call_target="__cudnn$fmhaSoftmaxTIMES", backend_config={"cudnn_fmha_backend_config": \
{"fmha_scale": 0.125, "intermediate_tensor_shape": {"element_type": "BF16", "dimensions": \
["2", "4", "256", "128"], "tuple_shapes": []}}}
}
"""
SPLASH = """HloModule attention

ENTRY %main (m: s8[1,4,4], q: bf16[2,4,256,64], k: bf16[2,4,128,64]) -> bf16[2,4,256,64] {
  %m = s8[1,4,4]{2,1,0} parameter(0)
  %q = bf16[2,4,256,64]{3,2,1,0} parameter(1)
  %k = bf16[2,4,128,64]{3,2,1,0} parameter(2)
  %splash_mha_TIMES.1 = bf16[2,4,256,64]{3,2,1,0} custom-call(%m, %q, %k, %k), \
custom_call_target="tpu_custom_call", frontend_attributes={kernel_metadata={
  "block": "128"
}
}, metadata={op_name="jit(f)/splash" stack_frame_id=4}
  ROOT %after = bf16[2,4,256,64]{3,2,1,0} negate(%splash_mha_TIMES.1)
}
"""


@pytest.mark.parametrize(
    ("text", "name", "times"),
    [
        (CUDNN, "", 2),
        (CUDNN, "Backward", 5),
        (SPLASH, "fwd_residuals", 2),
        (SPLASH, "dkv_no_residuals", 4),
        (SPLASH, "dq_no_residuals", 3),
    ],
)
def test_attention_in_one_kernel_has_the_flops_of_its_products(text, name, times):
    program = parse(text.replace("TIMES", name))
    of_logits = 2 * 2 * 4 * 256 * 128 * 64
    for chip in ("h100", "v5e"):
        spent = estimate(program, chip=CHIPS[chip], exchanges=[])
        assert spent.flops == {"bf16": times * of_logits}
        assert spent.compiler == (0 if chip == "h100" else pytest.approx(spent.compute, rel=0.9))


def test_an_instruction_whose_attributes_have_several_lines_is_read_whole():
    (computation,) = parse(SPLASH.replace("TIMES", "fwd")).computations.values()
    assert [each.opcode for each in computation] == [*["parameter"] * 3, "custom-call", "negate"]
    kernel = computation.instructions["splash_mha_fwd.1"]
    assert kernel.attribute(r"stack_frame_id=(\d+)") == "4" and computation.root.name == "after"

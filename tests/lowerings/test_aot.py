"""The ahead-of-time bench: what it reads in compiled programs. Mostly text is read."""

import dataclasses
import functools
import json
import re

import jax
import jax.numpy as jnp
import pytest
from flax import linen as nn

import benchmarks.aot.__main__
import jconvt.linen
from benchmarks.aot import compiling, gpu_tables, hlo, matching, page, tpu_tables
from benchmarks.aot.bench import Batch, batches
from benchmarks.aot.compiling import Compiler
from benchmarks.aot.forms import FORMS, LAYOUTS, Form
from benchmarks.aot.kept import Kept
from benchmarks.aot.maps import MAPS
from benchmarks.aot.options import Options
from benchmarks.aot.reading import Reading, read
from benchmarks.aot.report import as_result, read_result
from benchmarks.aot.targets import TARGETS
from benchmarks.layers import Layer, zoo

LAYERS = {layer.name: layer for layer in zoo()}

GPU = """\
HloModule jit_program, is_scheduled=true

FileNames
1 "program.py"

%fused (param_0: f32[2,8,4,4]) -> f32[2,8,9,9] {
  %param_0 = f32[2,8,4,4]{3,2,1,0} parameter(0)
  %zero = f32[] constant(0)
  ROOT %pad.1 = f32[2,8,9,9]{3,2,1,0} pad(%param_0, %zero), padding=0_0_0x0_0_0x1_1_1x1_1_1
}

%triton (param_1: f32[16,8], param_2: f32[8,4]) -> f32[16,4] {
  %param_1 = f32[16,8]{1,0} parameter(0)
  %param_2 = f32[8,4]{1,0} parameter(1)
  ROOT %dot.1 = f32[16,4]{1,0} dot(%param_1, %param_2), lhs_contracting_dims={1}, rhs_contracting_dims={0}
}

ENTRY %main (x: f32[2,8,4,4], w: f32[8,8,4,4]) -> f32[2,8,6,6] {
  %x = f32[2,8,4,4]{3,2,1,0} parameter(0)
  %w = f32[8,8,4,4]{3,2,1,0} parameter(1)
  %fusion = f32[2,8,9,9]{3,2,1,0} fusion(%x), kind=kLoop, calls=%fused
  %pad.2 = f32[2,8,5,4]{3,2,1,0} pad(%x, %c), padding=0_0x0_0x0_1x0_-1
  %cudnn-conv = (f32[2,8,6,6]{3,2,1,0}, u8[0]{0}) custom-call(%fusion, %w), window={size=4x4}, dim_labels=bf01_oi01->bf01, custom_call_target="__cudnn$convForward", backend_config={"algo_id":"-1"}
  %cudnn-conv.1 = (f32[8,8,4,4]{3,2,1,0}, u8[0]{0}) custom-call(%x, %x), window={size=4x4 stride=2x2}, custom_call_target="__cudnn$convBackwardFilter"
  %gemm = (f32[16,4]{1,0}, s8[64]{0}) custom-call(%a, %b), custom_call_target="__cublas$gemm"
  %triton_gemm = f32[16,4]{1,0} fusion(%a, %b), kind=kCustom, calls=%triton, backend_config={"kind":"__triton_nested_gemm_fusion"}
  ROOT %get-tuple-element = f32[2,8,6,6]{3,2,1,0} get-tuple-element(%cudnn-conv), index=0
}
"""  # noqa: E501

TPU = """\
%fused (p: bf16[16,128,16,16]) -> bf16[16,64,32,32] {
  %p = bf16[16,128,16,16]{1,3,2,0:T(8,128)(2,1)} parameter(0)
  ROOT %conv = bf16[16,64,32,32]{1,0,3,2:T(8,128)(2,1)} convolution(%p, %p.1), window={size=4x4 pad=2_2x2_2 lhs_dilate=2x2 rhs_reversal=1x1}, dim_labels=bf01_io01->bf01
}

%plain (p: bf16[8,8]) -> bf16[8,8] {
  ROOT %dot = bf16[8,8]{1,0} convolution(%p.2, %p.3), dim_labels=bf_io->bf, backend_config={"window_config":{"estimated_cycles":"7"}}
}

ENTRY %main.1 (x.1: bf16[16,128,16,16]) -> bf16[16,64,32,32] {
  %copy-start = (bf16[8]{0:T(256)(128)(2,1)S(1)}, bf16[8]{0:T(256)}, u32[]{:S(2)}) copy-start(%w.1), backend_config={"flag_configs":[]}
  %fusion = bf16[16,64,32,32]{1,0,3,2:T(8,128)(2,1)S(1)} fusion(%x.1), kind=kOutput, calls=%fused, backend_config={"window_config":{"estimated_cycles":"36700","iteration_bounds":["1"]}}
  %reshape = bf16[8,8]{1,0:T(8,128)(2,1)} reshape(%fusion.1), backend_config={"flag_configs":[]}
  %while = (s32[], bf16[8,8]{1,0}) while(%tuple), condition=%less, body=%plain
  ROOT %copy.2 = bf16[16,64,32,32]{1,3,2,0:T(8,128)(2,1)} copy(%fusion), backend_config={"window_config":{"estimated_cycles":"30242"}}
}
"""  # noqa: E501


def reading(calls=None, **others):
    """A reading in which all else is zero."""
    zeros = dict.fromkeys((f.name for f in dataclasses.fields(Reading)[1:]), 0)
    return Reading(calls=calls or {}, **(zeros | others))


def batch(target, readings):
    rows = {row: LAYERS[row] for cells in readings.values() for row in cells}
    choices = {row: dict.fromkeys(readings, "phases") for row in rows}
    return Batch(
        target=TARGETS[target],
        dtype="float32",
        layout="first",
        layers=rows,
        readings=readings,
        choices=choices,
    )


# Text ---------------------------------------------------------------------------------


def test_instructions_of_all_computations_are_found():
    found = list(hlo.instructions(GPU))
    assert [i.opcode for i in found if not i.in_entry] == [
        *("parameter", "constant", "pad"),
        *("parameter", "parameter", "dot"),
    ]
    assert [i.opcode for i in found if i.in_entry] == [
        *("parameter", "parameter", "fusion", "pad"),
        *("custom-call", "custom-call", "custom-call", "fusion", "get-tuple-element"),
    ]


@pytest.mark.parametrize(
    ("type", "opcode", "size"),
    [
        ("f32[]", "constant", 4),
        ("bf16[16,64,3]{2,1,0:T(8,128)(2,1)S(1)}", "copy", 2 * 16 * 64 * 3),
        ("(f32[2,3]{1,0}, u8[0]{0})", "custom-call", 24),
        ("(bf16[8]{0:T(256)(128)(2,1)S(1)}, u32[]{:S(2)})", "copy-start", 16),
        ("((f32[4]{0}), /*index=1*/s32[])", "while", 16),
        ("token[]", "after-all", 0),
    ],
)
def test_types_are_told_from_opcodes(type, opcode, size):
    (found,) = hlo.instructions(f"  ROOT %name.1-2 = {type} {opcode}(%a, %b), rest=1")
    assert (found.type, found.opcode, found.bytes) == (type, opcode, size)
    assert found.rest == "%a, %b), rest=1"


def test_what_is_no_instruction_is_passed_over():
    text = 'FileNames\n1 "a = b c(d)"\n\n%region (a: f32[]) -> f32[] {\n}\n'
    assert list(hlo.instructions(text)) == []


# Readings -----------------------------------------------------------------------------


def test_a_gpu_program_is_read():
    assert read(GPU, 5) == reading(
        {"convBackwardFilter": 1, "convForward": 1, "gemm": 2},
        inflated_bytes=2 * 8 * 9 * 9 * 4,
        temporary_bytes=5,
    )


def test_a_tpu_program_is_read():
    assert read(TPU, 0) == reading(
        {"convolution": 2},
        dilated=1,
        loops=1,
        cycles=66942,
        copy_cycles=30242,
        unestimated_bytes=2 * 8 * 128,  # in tiles of (8, 128)
    )


@pytest.mark.parametrize(
    ("padding", "inflated"),
    [("0_0x1_1", False), ("0_0_0x1_-1_0", False), ("0_0_0x-1_0_1", True)],
)
def test_only_zeros_between_elements_inflate(padding, inflated):
    text = f"  %pad = f32[4]{{0}} pad(%x, %zero), padding={padding}, metadata={{}}"
    assert read(text, 0).inflated_bytes == (16 if inflated else 0)


@pytest.mark.parametrize(
    ("window", "dilated"),
    [
        ("size=4x4 lhs_dilate=2x2", 1),
        ("size=4x4 lhs_dilate=1x2", 1),
        ("size=4 lhs_dilate=1", 0),
        ("size=4x4 rhs_dilate=2x2", 0),
    ],
)
def test_a_dilated_input_is_noticed(window, dilated):
    text = f"  %c = f32[4]{{0}} convolution(%x, %w), window={{{window}}}"
    assert read(text, 0).dilated == dilated


def test_a_reading_is_kept_for_program_and_compiler(tmp_path):
    file = tmp_path / "build" / "kept.jsonl"
    found = reading({"gemm": 1}, cycles=7)
    first = Kept(file, {"libtpu": "1"})
    assert first.get("program") is None
    first.add("program", found)
    with file.open("a") as half:
        half.write('["interrupted", {"ca')
    assert Kept(file, {"libtpu": "1"}).get("program") == found
    assert Kept(file, {"libtpu": "1"}).get("another") is None
    assert Kept(file, {"libtpu": "2"}).get("program") is None


def test_what_is_kept_is_not_compiled_again(tmp_path, monkeypatch):
    file = tmp_path / "kept.jsonl"
    argument = jax.ShapeDtypeStruct((3,), jnp.float32)
    first = Compiler(Kept(file, {}))(jnp.sin, [argument])
    monkeypatch.setattr(compiling, "read", None)
    assert Compiler(Kept(file, {}))(jnp.sin, [argument]) == first
    assert Compiler(Kept(file, {}), only_kept=True)(jnp.cos, [argument]) is None
    with pytest.raises(TypeError):
        Compiler(Kept(file, {}))(jnp.cos, [argument])


# What is made of them -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("calls", "others", "map_name", "verdicts"),
    [
        ({"convBackwardInput": 1}, {}, "forward", (True, False)),
        ({"convBackwardInput": 1}, {"inflated_bytes": 8}, "forward", (False, False)),
        ({"convBackwardInput": 1, "gemm": 1}, {}, "forward", (False, False)),
        ({"convBackwardInput": 4}, {}, "forward", (False, False)),
        ({"convForward": 1}, {}, "input-gradient", (True, False)),
        ({"convForward": 1}, {}, "weight-gradient", (False, False)),
        ({"gemm": 1}, {}, "weight-gradient", (False, True)),
        ({"gemm": 3}, {}, "training", (False, True)),
        ({}, {}, "forward", (False, False)),
    ],
)
def test_wanted_calls(calls, others, map_name, verdicts):
    found = reading(calls, **others)
    both = (matching.matches(found, map_name), matching.is_gemm(found, map_name))
    assert both == verdicts


def test_every_map_has_wanted_calls():
    assert set(matching.WANTED) == set(MAPS)


def test_calls_in_short():
    calls = {"convBiasActivationForward": 1, "convForward": 2, "gemm": 1}
    assert matching.short(calls) == "3 fprop + gemm"
    assert matching.short({}) == "no call"


def test_gpu_tables():
    dgrad, gemm = {"convBackwardInput": 1}, {"gemm": 1}
    text = "\n".join(
        gpu_tables.tables(
            batch(
                "gpu",
                {
                    "forward": {
                        "dcgan-up": {
                            "auto": reading(dgrad, temporary_bytes=2**20),
                            "native": reading(dgrad, inflated_bytes=2**21),
                        },
                        "unet-up": {"auto": reading(gemm)},
                        "grouped-8": {"auto": reading(dgrad, inflated_bytes=2**20)},
                    }
                },
            )
        )
    )
    for line in (
        "| Forward | 1 + 1 of 2 | 0 + 0 of 1 |",  # the wanted calls
        "| Forward | 1 of 3 | 1 of 1 |",  # zeros
        "| Forward | grouped-8 | phases | dgrad (0.0), zeros 1.0 |",  # auto's exception
        "| dcgan-up | phases | dgrad (1.0) | dgrad (0.0), zeros 2.0 |",
        "| unet-up | phases | gemm (0.0) |  |",
    ):
        assert line in text


def test_tpu_tables():
    cycles = {"auto": 1100, "native": 2000, "phases": 1000, "gather": 4000}
    text = "\n".join(
        tpu_tables.tables(
            batch(
                "tpu",
                {
                    "forward": {
                        "dcgan-up": {f: reading(cycles=n) for f, n in cycles.items()},
                        "unet-up": {
                            "auto": reading(cycles=1000, unestimated_bytes=3 * 2**20),
                            "native": reading(cycles=500),
                            "phases": reading(cycles=1000),
                            "gather": reading(cycles=1, loops=1),
                        },
                    }
                },
            )
        )
    )
    for line in (
        "| Forward | best lowering | 2 | 1.05 | 1.10 | dcgan-up |",
        "| Forward | native | 2 | 1.05 | 2.00 | unet-up |",
        "| Forward | best of all | 2 | 1.48 | 2.00 | unet-up |",
        "| Forward | dcgan-up | phases | phases | 1.10 | 0.0 | 0.0 |",  # auto is behind
        "| Forward | unet-up | phases | native | 2.00 | 3.0 | 0.0 |",
        "| dcgan-up | phases | phases | 0.0 | 0.0 | 2.0 | 0.55 | 0.50 | 2.00 |",
        "| unet-up | phases | native | 3.0 | 0.0 | 0.5 | 2.00 | 2.00 |  |",
    ):
        assert line in text


def test_the_page_has_the_committed_readings():
    text = page.PAGE.read_text()
    assert page.filled(text) == text
    assert set(page.TABLES) <= set(re.findall(r"<!-- table: ([\w-]+) -->", text))


# Programs -----------------------------------------------------------------------------


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("map_name", MAPS)
@pytest.mark.parametrize("row", ["dcgan-up", "grouped-8", "nnunet-3d"])
def test_all_forms_are_of_the_same_program(row, map_name, layout):
    layer = LAYERS[row]
    form = Form(layer=layer, layout=layout, dtype="bfloat16", platform="tpu")
    here = jax.sharding.SingleDeviceSharding(jax.devices()[0])
    arguments = form.arguments(here)
    tasks = {name: MAPS[map_name](form.forward(name)) for name in form.serving()}
    shapes = {name: jax.eval_shape(task, *arguments) for name, task in tasks.items()}
    assert {"auto", "native", "phases"} <= set(shapes) <= set(FORMS)
    g, x, w, b = (jax.ShapeDtypeStruct(a.shape, a.dtype) for a in arguments)
    expected = {
        "forward": g,
        "input-gradient": x,
        "weight-gradient": w,
        "training": (g, (x, w, b)),
    }
    assert all(found == expected[map_name] for found in shapes.values())


def place_of(target):
    if missing := TARGETS[target].missing():
        pytest.skip(f"not installed: {', '.join(missing)}; `make test-aot` installs it")
    return TARGETS[target].place()


def layer(batch, channels, size, k, s, padding=0, groups=1):
    """A layer that is not in the zoo."""
    rank = len(size)
    return Layer(
        name="other",
        batch=batch,
        in_channels=channels[0],
        out_channels=channels[1],
        spatial=size,
        kernel_size=(k,) * rank,
        stride=(s,) * rank,
        padding=(padding,) * rank,
        output_padding=(0,) * rank,
        groups=groups,
        dilation=(1,) * rank,
        source="",
    )


@pytest.fixture
def compiled(tmp_path):
    """Map -> form -> reading of a layer, behind the options and the batch."""

    def run(target, layer, dtype, layout, forms):
        place = place_of(target)
        options = Options(
            target=target,
            rows=(layer,),
            forms=forms,
            dtypes=(dtype,),
            layouts=(layout,),
            kept=tmp_path / "kept.jsonl",
        )
        (found,) = batches(options, place)
        assert found.failures == {}
        cells = {name: rows[layer] for name, rows in found.readings.items()}
        return options, found, cells

    return run


@pytest.mark.parametrize(
    ("row", "dtype", "layout"),
    [
        ("dcgan-up", "float32", "first"),
        ("dcgan-up", "bfloat16", "last"),
        ("dcgan-up", "float16", "first"),
        ("hifigan-3", "float32", "last"),
        ("jax-31662-3d", "bfloat16", "first"),
    ],
)
def test_on_a_gpu_all_maps_are_cudnns_own(row, dtype, layout, compiled):
    *_, cells = compiled("gpu", row, dtype, layout, ("auto", "gather"))
    for map_name, readings in cells.items():
        assert matching.matches(readings["auto"], map_name), map_name
        assert not matching.matches(readings["gather"], map_name), map_name  # canary


@pytest.mark.parametrize("map_name", [name for name in MAPS if name != "training"])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
def test_on_a_gpu_vmap_over_the_input_keeps_the_call(dtype, map_name, tmp_path):
    place = place_of("gpu")
    layer = LAYERS["dcgan-rgb"]
    form = Form(layer=layer, layout="first", dtype=dtype, platform="cuda")
    g, x, w, b = form.arguments(place)
    g, x = (
        jax.ShapeDtypeStruct((3, *a.shape), a.dtype, sharding=place) for a in (g, x)
    )
    forward = form.forward("auto")

    def mapped(x, w, b):
        return jax.vmap(lambda x: forward(x, w, b))(x)

    compiler = Compiler(Kept(tmp_path / "kept.jsonl", {}))
    found = compiler(MAPS[map_name](mapped), (g, x, w, b))
    assert matching.matches(found, map_name)


@pytest.mark.parametrize(
    ("row", "dtype", "layout"),
    [
        ("grouped-8", "float32", "first"),
        ("dilated", "bfloat16", "last"),
        ("stylegan2-up", "float16", "first"),
        ("depthwise-1d", "float32", "last"),
    ],
)
def test_on_a_gpu_groups_and_dilation_inflate_nothing(row, dtype, layout, compiled):
    *_, cells = compiled("gpu", row, dtype, layout, ("auto", "native"))
    for readings in cells.values():
        assert readings["auto"].inflated_bytes == readings["auto"].dilated == 0
    assert cells["forward"]["native"].inflated_bytes > 0  # canary


@pytest.mark.parametrize("map_name", [name for name in MAPS if name != "training"])
@pytest.mark.parametrize("groups", [1, 4])
@pytest.mark.parametrize(("s", "d", "padding"), [(1, 2, 2), (1, 3, 5), (2, 3, 2)])
def test_on_a_gpu_no_dilated_kernel_is_written_with_zeros(
    s, d, padding, groups, map_name, tmp_path
):
    place = place_of("gpu")
    other = layer(2, (32, 16), (24, 24), 3, s, padding, groups)
    other = dataclasses.replace(
        other, dilation=(d, d), output_padding=(min(1, d - 1), 0)
    )
    form = Form(layer=other, layout="first", dtype="float32", platform="cuda")
    compiler = Compiler(Kept(tmp_path / "kept.jsonl", {}))
    task = MAPS[map_name](form.forward("auto"))
    found = compiler(task, form.arguments(place))
    assert found.inflated_bytes == found.dilated == 0


# Input, weight, dtype, options; the images of a mapped input stand first.
ODD_LAYERS = {
    "output_padding": (
        *((4, 32, 9, 11), (32, 24, 3, 3), "float32"),
        {"stride": (2, 3), "padding": 1, "output_padding": (1, 2)},
    ),
    "uneven_crop": (
        *((2, 16, 12, 10), (16, 32, 5, 4), "bfloat16"),
        {"stride": 2, "padding": [(0, 2), (3, 0)]},
    ),
    "more_cropped_than_kernel": (
        *((2, 16, 12, 10), (16, 32, 3, 3), "float32"),
        {"stride": 2, "padding": 4},
    ),
    "kernel_below_stride": (
        *((4, 32, 10, 10), (32, 16, 2, 2), "float16"),
        {"stride": 3},
    ),
    "signal": ((3, 16, 50), (16, 8, 7), "bfloat16", {"stride": 3, "padding": 2}),
    "volume": (
        *((2, 8, 6, 7, 9), (8, 12, 3, 2, 4), "float32"),
        {"stride": (1, 2, 3), "padding": (1, 0, 2)},
    ),
    "without_batch": ((16, 20, 20), (16, 8, 4, 4), "float32", {"stride": 2}),
    "channels_last": (
        *((2, 14, 10, 24), (3, 5, 24, 40), "bfloat16"),
        {"stride": 2, "dimension_numbers": ("NHWC", "HWIO", "NHWC")},
    ),
    "same": ((2, 8, 15, 15), (8, 3, 5, 5), "float32", {"stride": 2, "padding": "SAME"}),
    "mapped": ((3, 2, 8, 15, 15), (8, 16, 4, 4), "float16", {"stride": 2}),
    "mapped_signal": ((3, 2, 8, 70), (8, 16, 9), "float32", {"stride": 4}),
    "groups": (
        *((2, 24, 13, 13), (24, 5, 3, 3), "float32"),
        {"stride": 2, "padding": 1, "output_padding": 1, "groups": 3},
    ),
    "groups_of_a_dilated_signal": (
        *((1, 20, 64), (20, 16, 6), "bfloat16"),
        {"padding": 7, "output_padding": 2, "dilation": 3, "groups": 4},
    ),
    "one_axis_dilated": (
        *((1, 32, 20, 20), (32, 3, 7, 6), "float16"),
        {"stride": (3, 1), "padding": (1, 5), "dilation": (1, 3)},
    ),
    "dilation_prime_to_stride": (
        *((4, 32, 64), (32, 3, 5), "float32"),
        {"stride": 3, "padding": 4, "dilation": 2},
    ),
    "depthwise_volume": (
        *((2, 6, 5, 6, 7), (6, 2, 3, 3, 3), "float32"),
        {"stride": 2, "groups": 6},
    ),
    "mapped_groups": (
        *((3, 2, 96, 9, 9), (96, 4, 3, 6), "float32"),
        {"stride": (1, 4), "padding": (2, 7), "dilation": (2, 3), "groups": 4},
    ),
}


@pytest.mark.parametrize("layer", ODD_LAYERS)
def test_on_a_gpu_layers_of_odd_geometry_are_no_exception(layer, tmp_path):
    place = place_of("gpu")
    x, w, dtype, options = ODD_LAYERS[layer]
    forward = functools.partial(jconvt.conv_transpose, **options)
    if layer.startswith("mapped"):
        forward = jax.vmap(forward, in_axes=(0, None, None))
    channels_last = "dimension_numbers" in options
    b = w[-1] if channels_last else w[1] * options.get("groups", 1)
    y = jax.eval_shape(forward, *(jax.ShapeDtypeStruct(s, dtype) for s in (x, w, (b,))))
    arguments = [
        jax.ShapeDtypeStruct(shape, dtype, sharding=place)
        for shape in (y.shape, x, w, (b,))
    ]
    compiler = Compiler(Kept(tmp_path / "kept.jsonl", {}))
    found = compiler(MAPS["training"](forward), arguments)
    assert found.inflated_bytes == found.dilated == 0
    if "groups" not in options and "dilation" not in options:
        assert matching.matches(found, "training")


def test_on_a_gpu_flaxs_layer_becomes_cudnns_by_the_import(tmp_path):
    """Its kernel runs the other way: XLA must not cancel the two reversals."""
    place = place_of("gpu")
    compiler = Compiler(Kept(tmp_path / "kept.jsonl", {}))
    arguments = [
        jax.ShapeDtypeStruct(shape, jnp.float32, sharding=place)
        for shape in ((16, 32, 32, 64), (16, 16, 16, 128), (4, 4, 128, 64), (64,))
    ]

    def reading(package, map_name):
        layer = package.ConvTranspose(64, (4, 4), 2)

        def forward(x, kernel, bias):
            return layer.apply({"params": {"kernel": kernel, "bias": bias}}, x)

        return compiler(MAPS[map_name](forward), arguments)

    for map_name in MAPS:
        assert matching.matches(reading(jconvt.linen, map_name), map_name), map_name
    assert not matching.matches(reading(nn, "forward"), "forward")  # canary


@pytest.mark.parametrize(
    ("other", "over_native"),
    [
        pytest.param(layer(1, (128, 96), (40, 40), 4, 2, 1), 0.8, id="one_image"),
        pytest.param(layer(2, (64, 64), (24, 24), 2, 2), 0.8, id="two_images"),
        pytest.param(layer(8, (64, 32), (24, 24), 4, 2, 1), 1.05, id="eight_images"),
        pytest.param(layer(1, (256, 64), (600,), 16, 8, 4), 0.5, id="signal"),
        pytest.param(layer(1, (64, 64), (48, 48), 4, 2, 1, 8), 0.8, id="groups"),
        pytest.param(layer(4, (32, 64), (24, 24), 4, 2, 1), 1.05, id="four_images"),
        pytest.param(layer(1, (128, 64), (41, 40), 3, 2, 1), 1.05, id="uneven"),
    ],
)
def test_on_a_tpu_no_known_formulation_is_far_ahead(other, over_native, tmp_path):
    place = place_of("tpu")
    form = Form(layer=other, layout="first", dtype="bfloat16", platform="tpu")
    compiler = Compiler(Kept(tmp_path / "kept.jsonl", {}))
    cycles = {
        name: compiler(
            MAPS["forward"](form.forward(name)), form.arguments(place)
        ).cycles
        for name in form.serving() - {"winograd", "gather"}  # slow to compile, and far
    }
    assert cycles["auto"] <= 1.5 * min(cycles.values())
    assert cycles["auto"] <= over_native * cycles["native"]


def test_a_tpus_compiler_makes_estimates(compiled):
    *_, cells = compiled("tpu", "dcgan-up", "bfloat16", "first", ("auto", "native"))
    assert set(cells) == set(MAPS)
    for readings in cells.values():
        assert all(0 < r.copy_cycles < r.cycles for r in readings.values())


@pytest.mark.parametrize("target", TARGETS)
def test_a_result_says_with_what_it_was_compiled(target, tmp_path, compiled):
    options, batch, _ = compiled(target, "dcgan-head", "float32", "first", ("auto",))
    files = as_result(batch, options).write(tmp_path)
    text, data = files[0].read_text(), json.loads(files[1].read_text())
    assert set(data["readings"]) == set(MAPS)
    assert read_result(files[1]) == batch
    for package, version in TARGETS[target].versions().items():
        assert data["environment"][package] == version
        assert f"{package} {version}" in text


# The command line ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("", "the following arguments are required: --target"),
        ("--target abacus", "argument --target: invalid choice: 'abacus'"),
        ("--target gpu --rows abacus", "--rows: 'abacus' is none of dcgan-head"),
        ("--target gpu --maps abacus", "--maps: 'abacus' is none of forward"),
        ("--target gpu --lowerings abacus", "'abacus' is none of auto, native"),
        ("--target gpu --dtype float64", "'float64' is none of"),
        ("--target tpu --dtype float16", "TPU v5e does not compute in float16"),
        ("--target gpu --layouts abacus", "--layouts: 'abacus' is none of first, last"),
    ],
)
def test_an_error_says_what_there_is(capsys, arguments, message):
    with pytest.raises(SystemExit) as exit:
        benchmarks.aot.__main__.main(arguments.split())
    assert exit.value.code == 2
    assert message in capsys.readouterr().err


def test_only_a_whole_result_replaces_the_last_one():
    every = tuple(LAYERS)
    assert Options(target="gpu", rows=every).whole
    assert not Options(target="gpu", rows=every[1:]).whole
    assert not Options(target="gpu", rows=every, maps=("forward",)).whole
    assert not Options(target="gpu", rows=every, forms=("auto",)).whole

"""`python -m jconvt shape|explain`: the same answers as the functions, at a shell."""

import json
import subprocess
import sys

import pytest

import jconvt
from jconvt.__main__ import main


def shell(capsys, *arguments):
    """What `main` prints for `arguments`, without the last newline."""
    assert main(arguments) == 0
    captured = capsys.readouterr()
    assert captured.err == ""
    return captured.out.removesuffix("\n")


def refused(capsys, *arguments):
    """The one line on stderr with which `main` refuses `arguments`."""
    try:
        status = main(arguments)
    except SystemExit as exit:
        status = exit.code
    captured = capsys.readouterr()
    assert (status, captured.out) == (2, "")
    assert captured.err.count("\n") == 1
    return captured.err


def as_text(shape):
    return ",".join(map(str, shape))


@pytest.mark.parametrize(
    ("input_shape", "weight_shape", "words", "options"),
    [
        ((1, 64, 16, 16), (64, 32, 4, 4), "", {}),
        (
            (1, 64, 16, 16),
            (64, 32, 4, 4),
            "--stride 2 --padding 1",
            {"stride": 2, "padding": 1},
        ),
        (
            (2, 8, 9),
            (8, 4, 5),
            "--stride 3 --output-padding 2 --dilation 2 --groups 4",
            {"stride": 3, "output_padding": 2, "dilation": 2, "groups": 4},
        ),
        (
            (1, 4, 5, 6),
            (4, 2, 3, 3),
            "--stride 2,3 --padding 1,0 --output-size 10,18",
            {"stride": (2, 3), "padding": (1, 0), "output_size": (10, 18)},
        ),
        (
            (1, 4, 5, 6),
            (4, 2, 3, 3),
            "--padding=-1:2,0:1",
            {"padding": ((-1, 2), (0, 1))},
        ),
        ((1, 4, 5, 6), (4, 2, 3, 3), "--padding 2,0:1", {"padding": (2, (0, 1))}),
        (
            (1, 4, 9),
            (4, 2, 5),
            "--stride 2 --padding same_lower",
            {"stride": 2, "padding": "SAME_LOWER"},
        ),
        (
            (1, 5, 6, 4),
            (4, 2, 3, 3),
            "--data-format NHWC",
            {"data_format": "NHWC"},
        ),
        (
            (1, 5, 6, 4),
            (3, 3, 4, 2),
            "--dimension-numbers NHWC,HWIO,NCHW",
            {"dimension_numbers": ("NHWC", "HWIO", "NCHW")},
        ),
        ((2, 3), (3, 4), "", {}),
    ],
)
def test_shape_is_output_shape(capsys, input_shape, weight_shape, words, options):
    expected = jconvt.output_shape(input_shape, weight_shape, **options)
    arguments = ("shape", as_text(input_shape), as_text(weight_shape), *words.split())
    assert shell(capsys, *arguments) == as_text(expected)
    assert json.loads(shell(capsys, *arguments, "--json")) == {
        "output_shape": list(expected)
    }


def test_explain_is_the_explanation(capsys):
    explanation = jconvt.explain(
        (8, 256, 32), (256, 128, 16), dtype="bfloat16", platform="tpu", stride=8
    )
    other = jconvt.explain((8, 256, 32), (256, 128, 16), stride=8, lowering="phases")
    arguments = ("explain", "8,256,32", "256,128,16", "--stride", "8")
    assert shell(capsys, *arguments, "--lowering", "phases") == str(other)
    arguments += ("--dtype", "bfloat16", "--platform", "tpu")
    assert shell(capsys, *arguments) == str(explanation)
    found = json.loads(shell(capsys, *arguments, "--json"))
    assert tuple(found["output_shape"]) == explanation.output_shape
    assert found["forward"] == explanation.forward
    assert len(found["candidates"]) == len(explanation.candidates)


@pytest.mark.parametrize("command", ["shape", "explain"])
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("1,64,16 63,8,3", "channels"),
        ("1,64,16 64,8,3 --stride 0", "`stride` must be at least 1; got 0"),
        ("1,64,16 64,8,3 --stride 2,2", "`stride` must hold 1 ints"),
        ("1,64,16 64,8,3 --padding WRAP", "got 'WRAP'"),
        ("1,64,16 64,8,3 --padding=1:2:3", "(low, high) pair; got (1, 2, 3)"),
        ("1,64,16 64,8,3 --output-padding 1", "`output_padding` must be smaller"),
        ("1,64,16 64,8,3 --output-size 99", "`output_size`"),
        ("1,64,16 64,8,3 --data-format NHWC", "`data_format` must be 'NCW' or 'NWC'"),
        ("1,64,16 64,8,3 --stride two", "argument --stride: invalid ints value: 'two'"),
        ("1,64,16 64;8;3", "argument weight_shape: invalid shape value: '64;8;3'"),
        ("1,64,16 64,8,3 --padding 1:x", "invalid padding value: '1:x'"),
        ("1,64,16", "the following arguments are required: weight_shape"),
    ],
)
def test_an_error_is_one_clear_line(capsys, command, arguments, message):
    assert message in refused(capsys, command, *arguments.split())


@pytest.mark.parametrize("option", ["dtype", "platform", "lowering"])
def test_explain_refuses_an_unknown_name(capsys, option):
    error = refused(capsys, "explain", "1,4,9", "4,2,5", f"--{option}", "abacus")
    assert f"`{option}`" in error
    assert "'abacus'" in error


def test_no_command_is_one_clear_line(capsys):
    assert "required: COMMAND" in refused(capsys)


def test_the_module_runs_at_a_shell():
    command = [sys.executable, "-m", "jconvt"]
    run = subprocess.run(
        [*command, "shape", "1,64,16,16", "64,32,4,4", "--stride", "2"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert run.stdout == "1,32,34,34\n"
    failed = subprocess.run([*command, "shape", "1", "x"], capture_output=True)
    assert failed.returncode == 2
    version = subprocess.run([*command, "--version"], capture_output=True, text=True)
    assert version.stdout == f"{jconvt.__version__}\n"

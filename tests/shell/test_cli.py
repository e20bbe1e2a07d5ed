"""`python -m jconvt`: the answers of the functions, at a shell, and one-line errors."""

import dataclasses
import io
import json
import re
import subprocess
import sys

import pytest

import cases
import jconvt
import oracles
from jconvt.__main__ import COMMANDS, main
from jconvt._shell import operation, tables
from jconvt._shell.command import make_parser
from jconvt._shell.tables import Table
from shells import at_a_shell


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


def words(text):
    return text.split()


def as_text(shape):
    return ",".join(map(str, shape))


# Shape --------------------------------------------------------------------------------

WRITTEN = {
    "nothing": ((1, 64, 16, 16), (64, 32, 4, 4), "", {}),
    "ints": (
        (1, 64, 16, 16),
        (64, 32, 4, 4),
        "--stride 2 --padding 1",
        {"stride": 2, "padding": 1},
    ),
    "one axis": (
        (2, 8, 9),
        (8, 4, 5),
        "--stride 3 --output-padding 2 --dilation 2 --groups 4",
        {"stride": 3, "output_padding": 2, "dilation": 2, "groups": 4},
    ),
    "an int for each axis": (
        (1, 4, 5, 6),
        (4, 2, 3, 3),
        "--stride 2,3 --padding 1,0 --output-size 10,18",
        {"stride": (2, 3), "padding": (1, 0), "output_size": (10, 18)},
    ),
    "pairs": (
        (1, 4, 5, 6),
        (4, 2, 3, 3),
        "--padding=-1:2,0:1",
        {"padding": ((-1, 2), (0, 1))},
    ),
    "an int and a pair": (
        (1, 4, 5, 6),
        (4, 2, 3, 3),
        "--padding 2,0:1",
        {"padding": (2, (0, 1))},
    ),
    "a pair alone": ((1, 4, 5), (4, 2, 3), "--padding 0:1", {"padding": ((0, 1),)}),
    "a name": (
        (1, 4, 9),
        (4, 2, 5),
        "--stride 2 --padding same_lower",
        {"stride": 2, "padding": "SAME_LOWER"},
    ),
    "a data format": (
        (1, 5, 6, 4),
        (4, 2, 3, 3),
        "--data-format NHWC",
        {"data_format": "NHWC"},
    ),
    "dimension numbers": (
        (1, 5, 6, 4),
        (3, 3, 4, 2),
        "--dimension-numbers NHWC,HWIO,NCHW",
        {"dimension_numbers": ("NHWC", "HWIO", "NCHW")},
    ),
    "no space": ((2, 3), (3, 4), "", {}),
    "no batch": ((3, 5), (3, 4, 2), "", {}),
}


@pytest.mark.parametrize("name", WRITTEN)
def test_shape_is_output_shape(capsys, name):
    input_shape, weight_shape, text, options = WRITTEN[name]
    expected = jconvt.output_shape(input_shape, weight_shape, **options)
    arguments = ("shape", as_text(input_shape), as_text(weight_shape), *words(text))
    assert shell(capsys, *arguments).splitlines()[0] == as_text(expected)
    found = json.loads(shell(capsys, *arguments, "--json"))
    assert found["output_shape"] == list(expected)
    assert len(found["axes"]) == len(weight_shape) - 2


@pytest.mark.parametrize(
    ("input_shape", "weight_shape"),
    [
        ("(1, 64, 16, 16)", "[64, 32, 4, 4]"),
        ("1 64 16 16", "64 32 4 4"),
        (" 1  64\t16 16 ", "(64 32 4 4)"),
        ("1x64x16x16", "64X32X4X4"),
        ("1 x 64 , 16,16,", "64, 32 4x4"),
    ],
)
def test_numbers_stay_apart_however_a_shape_is_written(
    capsys, input_shape, weight_shape
):
    found = shell(capsys, "shape", input_shape, weight_shape, "--json")
    assert found == shell(capsys, "shape", "1,64,16,16", "64,32,4,4", "--json")


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        (("--stride", "2 1"), "--stride=2,1"),
        (("--stride", "(2, 1)"), "--stride=2,1"),
        (("--dilation", "2x1"), "--dilation=2,1"),
        (("--padding", "1 0"), "--padding=1,0"),
        (("--padding", "0:1 1:2"), "--padding=0:1,1:2"),
        (("--want", "17 19"), "--want=17,19"),
        (
            ("--dimension-numbers", "NCHW OIHW NCHW"),
            "--dimension-numbers=NCHW,OIHW,NCHW",
        ),
    ],
)
def test_numbers_of_an_option_stay_apart(capsys, written, meant):
    shapes = ("1,32,16,16", "32,32,4,4")
    found = shell(capsys, "shape", *shapes, *written, "--json")
    assert found == shell(capsys, "shape", *shapes, meant, "--json")


def test_one_number_in_brackets_is_a_tuple(capsys):
    """Which a layer with two axes refuses, as the functions do."""
    arguments = ("shape", "1,4,5,5", "4,2,3,3", "--stride")
    assert shell(capsys, *arguments, "2") != shell(capsys, *arguments, "1")
    assert "got 1: (2,)" in refused(capsys, *arguments, "(2,)")


def options_of(case):
    """A case's options as they are written."""
    written = []
    for name, value in case.options.items():
        if isinstance(value, tuple):
            value = ",".join(
                ":".join(map(str, v)) if isinstance(v, tuple) else str(v) for v in value
            )
        written.append(f"--{name.replace('_', '-')}={value}")
    return written


@pytest.mark.parametrize("case", cases.CORE, ids=str)
def test_the_numbers_of_the_geometry(capsys, case):
    arguments = ("shape", as_text(case.input_shape), as_text(case.weight_shape))
    found = json.loads(shell(capsys, *arguments, *options_of(case), "--json"))
    stride, dilation = map(case.each, (case.stride, case.dilation))
    spans = oracles.extent(case.kernel, dilation)
    full = oracles.full_size(case.space, case.kernel, stride, dilation)
    for i, axis in enumerate(found["axes"]):
        low, high = case.crop[i]
        assert axis == {
            "axis": "DHW"[3 - case.rank :][i] if case.rank <= 3 else str(i),
            "input": case.space[i],
            "kernel_size": case.kernel[i],
            "stride": stride[i],
            "dilation": dilation[i],
            "extent": spans[i],
            "wrap": [0, 0],
            "full": full[i],
            "crop": [low, high],
            "output": case.output_shape[2 + i],
            "lax_padding": [spans[i] - 1 - low, spans[i] - 1 - high],
            "taps": taps(case.kernel[i], stride[i], dilation[i], low),
        }


def taps(kernel, stride, dilation, low):
    """Taps that reach the outputs r, r + stride, ... in the middle, counted."""
    return [
        sum((r + low - t * dilation) % stride == 0 for t in range(kernel))
        for r in range(stride)
    ]


def test_the_table_of_a_shape(capsys):
    text = shell(capsys, *words("shape 1,64,7,9 64,32,3,4 --stride 2 --padding 1:0,1"))
    assert text.splitlines()[:14] == [
        "1,32,14,18",
        "",
        "axis        H    W  meaning",
        "input       7    9  elements of the input",
        "kernel      3    4  taps",
        "stride      2    2  output elements between input elements",
        "dilation    1    1  output elements between taps",
        "extent      3    4  from the first tap to the last: dilation*(kernel - 1) + 1",
        "full       15   20  before the crop: (input - 1)*stride + extent",
        "crop      1:0  1:1  elements removed at low:high, appended where negative",
        "output     14   18  full - low - high",
        "lax       1:2  2:2  the same crop as lax and Flax write it: extent - 1 - crop",
        "taps      1-2    2  input elements that reach an output, away from the border",
        "",
    ]


@pytest.mark.parametrize(
    ("text", "note"),
    [
        ("1,4,5 4,2,3 --stride 2", "Along W some outputs have more taps"),
        ("1,4,5 4,2,2 --stride 3", "Along W some outputs have no tap: bias alone."),
        ("1,4,5 4,2,4 --stride 2", None),
        ("1,4,5 4,2,4 --stride 2 --padding CIRCULAR", None),
    ],
)
def test_notes_on_the_taps(capsys, text, note):
    printed = shell(capsys, "shape", *words(text))
    assert "Along" not in printed if note is None else note in printed


def test_periodic_elements_are_told(capsys):
    text = shell(capsys, *words("shape 1,4,5 4,2,4 --stride 2 --padding CIRCULAR"))
    assert re.search(r"^wrap +1:1 ", text, re.MULTILINE)


# The inverse question -----------------------------------------------------------------


def wished(capsys, *arguments):
    return json.loads(shell(capsys, "shape", *arguments, "--json"))["ways"]


@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize("dilation", [1, 2, 3])
@pytest.mark.parametrize("kernel", [1, 2, 4])
def test_a_wish_is_granted_where_any_options_grant_it(capsys, kernel, stride, dilation):
    n, e = 4, dilation * (kernel - 1) + 1
    for size in range((n - 1) * stride + e + 5):
        ways = wished(
            capsys,
            *(f"1,2,{n}", f"2,3,{kernel}", "--want", str(size)),
            *("--stride", str(stride), "--dilation", str(dilation)),
        )
        options = {"stride": stride, "dilation": dilation}
        for way in ways:
            shape = jconvt.output_shape((1, 2, n), (2, 3, kernel), **options, **way)
            assert shape == (1, 3, size), way
        of_pytorch = [
            (p, a)
            for p in range(2 * e + n * stride)
            for a in range(max(stride, dilation))
            if (n - 1) * stride + e - 2 * p + a == size
        ]
        found = [w for w in ways if isinstance(w["padding"], int)]
        assert bool(found) == bool(of_pytorch)
        if found:
            least = min(of_pytorch, key=lambda pair: pair[1])
            assert (found[0]["padding"], found[0].get("output_padding", 0)) == least


def test_a_wish_for_each_axis(capsys):
    text = shell(capsys, *words("shape 1,64,7,9 64,32,3,4 --stride 2 --want 14,18"))
    assert text.splitlines()[:4] == [
        "an output of 14,18 is given by",
        "",
        "options                           for",
        "padding=1, output_padding=(1, 0)  PyTorch's functions and layers, and all "
        "others",
    ]


def test_a_wish_that_pytorch_cannot_say(capsys):
    text = shell(capsys, *words("shape 1,4,5 4,2,3 --want 9"))
    assert "padding=((0, -2),)" in text
    assert "PyTorch's options cannot: they give full - 2*padding" in text


def test_a_wish_of_a_layer_without_space(capsys):
    ways = wished(capsys, "2,3", "3,4", "--want", "1")
    assert ways[-1] == {"padding": []}
    for way in ways:
        assert jconvt.output_shape((2, 3), (3, 4), **way) == (2, 4)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("--want 9 --padding 1", "--want asks for the padding, so `padding` must not"),
        ("--want 9 --output-padding 1 --stride 2", "so `output_padding` must not"),
        ("--want 9 --output-size 9", "so `output_size` must not be given; got 9."),
        ("--want 9,9", "`want` must hold 1 ints, one for each spatial axis; got 2"),
        ("--want=-9", "`want` must be at least 0; got -9"),
        ("--want nine", "argument --want: must be an int, or ints with commas"),
    ],
)
def test_a_wish_that_is_refused(capsys, text, message):
    assert message in refused(capsys, "shape", "1,4,5", "4,2,3", *words(text))


# Explain ------------------------------------------------------------------------------


def test_explain_is_the_explanation(capsys):
    explanation = jconvt.explain(
        (8, 256, 32), (256, 128, 16), dtype="bfloat16", platform="tpu", stride=8
    )
    arguments = ("explain", "8,256,32", "256,128,16", "--stride", "8")
    arguments += ("--dtype", "bfloat16", "--platform", "tpu", "--json")
    found = json.loads(shell(capsys, *arguments))
    assert found == json.loads(json.dumps(dataclasses.asdict(explanation)))


@pytest.mark.parametrize("platform", ["cpu", "cuda"])
def test_explain_marks_what_was_chosen(capsys, platform):
    shapes = (8, 256, 32), (256, 128, 16)
    found = jconvt.explain(*shapes, platform=platform, stride=8)
    text = shell(
        capsys,
        *("explain", *map(as_text, shapes), "--stride", "8", "--platform", platform),
    )
    assert text.startswith(
        "(8, 256, 32) with weight (256, 128, 16) -> (8, 128, 264), float32 on "
        f"{platform}\nuseful multiply-adds of each map: 134,217,728\nchosen by: "
    )
    for line in str(found).splitlines():
        refusal = line.partition("cannot serve: ")[2]
        assert refusal in text
    heads = re.findall(r"^    (\w.*?) +work  +moved( +ms)?  how$", text, re.MULTILINE)
    assert [head for head, _ in heads] == [
        "forward",
        "input gradient",
        "weight gradient",
    ]
    assert all(bool(ms) == (platform == "cpu") for _, ms in heads)
    chosen = [found.forward, found.input_gradient, found.weight_gradient]
    assert re.findall(r"^->  (\w+)", text, re.MULTILINE) == chosen


def test_explain_of_a_named_lowering(capsys):
    text = shell(capsys, *words("explain 1,4,9 4,2,5 --lowering phases --platform cpu"))
    assert "chosen by: lowering='phases'" in text
    assert re.findall(r"^->  (\w+)", text, re.MULTILINE) == ["phases"] * 3


READ = {
    "phases": "phases",
    "forward=gather": jconvt.Lowerings(forward="gather"),
    "forward=gather, weight-gradient = role_swapped": jconvt.Lowerings(
        forward="gather", weight_gradient="role_swapped"
    ),
    "input_gradient=gather/features first, blocks early,forward=auto": (
        jconvt.Lowerings(input_gradient="gather/features first, blocks early")
    ),
}


@pytest.mark.parametrize("text", READ)
def test_a_lowering_is_read(text):
    assert operation.lowering(text) == READ[text]


def test_explain_of_a_lowering_for_each_map(capsys):
    text = shell(
        capsys,
        *words("explain 1,4,9 4,2,5 --platform cpu --lowering"),
        "forward=gather,input_gradient=phases,weight_gradient=role_swapped",
    )
    chosen = ["gather", "phases", "role_swapped"]
    assert re.findall(r"^->  (\w+)", text, re.MULTILINE) == chosen


def test_explain_of_nothing(capsys):
    text = shell(capsys, *words("explain 0,4,9 4,2,5 --platform cpu"))
    assert "chosen by: nothing to compute" in text
    assert "->  " not in text


@pytest.mark.parametrize("option", ["dtype", "platform", "lowering", "padding"])
def test_explain_refuses_an_unknown_name(capsys, option):
    error = refused(capsys, "explain", "1,4,9", "4,2,5", f"--{option}", "zzz")
    assert f"`{option}`" in error
    assert error.endswith("got 'zzz'.\n")


# Errors -------------------------------------------------------------------------------


@pytest.mark.parametrize("text", ["forward=gather,forward=phases", "output=gather"])
def test_a_map_is_named_once_and_by_its_name(capsys, text):
    error = refused(capsys, "explain", "1,4,9", "4,2,5", "--lowering", text)
    assert (
        "argument --lowering: must be a name, or a name for each of forward, " in error
    )
    assert f"got {text!r}." in error


@pytest.mark.parametrize("command", ["shape", "explain", "bench"])
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
        (
            "1,64,16 64,8,3 --stride two",
            "argument --stride: must be an int, or ints with commas between, such as 2 "
            "or 2,1; got 'two'",
        ),
        (
            "1,64,16 64;8;3",
            "argument WEIGHT: must be ints with commas between, such as 1,64,16,16; "
            "got '64;8;3'",
        ),
        ("1,64,16 64,8,3 --padding 1:x", "must be ints, (low, high) pairs or a name"),
        (
            "1,64,16 64,8,3 --padding -1:2",
            "expected one argument (what begins with a minus sign follows an =: "
            "--padding=-1:2)",
        ),
        ("1,64,16", "the following arguments are required: WEIGHT (see --help)"),
        ("1,64,16 64,8,3 --padding -1", "`padding` must be at least 0; got -1"),
        ("1,64,16 64", "`weight` must have at least the axes C_in and C_out/groups"),
        ("1,64,16 64,8,3 --groups two", "argument --groups: invalid int value"),
        ("1,64,16 64,8,3 --stride 2x", "argument --stride: must be an int, or ints"),
        ("1,64,16 ,", "argument WEIGHT: must be ints with commas between"),
        (
            "1 64 16 64 8 3",
            "unrecognized arguments: 16 64 8 3 (a shape is one argument, such as "
            "1,64,16,16)",
        ),
        ("1,64,16 64,8,3 4,4", "unrecognized arguments: 4,4\n"),
        ("1,64,16 64,8,3 --abacus", "unrecognized arguments: --abacus\n"),
    ],
)
def test_an_error_is_one_clear_line(capsys, command, arguments, message):
    assert message in refused(capsys, command, *arguments.split())


@pytest.mark.parametrize(
    ("arguments", "hint"),
    [
        ("shpae 1,4,9 4,2,5", "'demo'). Did you mean 'shape'?"),
        ("shape 1,4,9 4,2,5 --paddng 1", "--paddng 1. Did you mean '--padding'?"),
        ("explain 1,4,9 4,2,5 --pltform=tpu", "Did you mean '--platform'?"),
        ("doctor --jsn", "--jsn. Did you mean '--json'?"),
        ("explain 1,4,9 4,2,5 --dtype fp16", "got 'fp16'. Did you mean 'float16'?"),
        ("bench 1,4,9 4,2,5 --dtype bf16", "got 'bf16'. Did you mean 'bfloat16'?"),
        ("explain 1,4,9 4,2,5 --dtype c64", "Did you mean 'complex64'?"),
        ("explain 1,4,9 4,2,5 --platform gup", "Did you mean 'gpu'?"),
        ("explain 1,4,9 4,2,5 --platform tup", "Did you mean 'tpu'?"),
        ("explain 1,4,9 4,2,5 --lowering winogard", "Did you mean 'winograd'?"),
        ("explain 1,4,9 4,2,5 --lowering forwad=phases", "Did you mean 'forward'?"),
        ("explain 1,4,9 4,2,5 --lowering forward=phase", "Did you mean 'phases'?"),
        ("bench 1,4,9 4,2,5 --contenders auto,phase", "Did you mean 'phases'?"),
        ("bench 1,4,9 4,2,5 --contenders natve", "Did you mean 'native'?"),
        ("shape 1,4,9 4,2,5 --padding smae", "got 'smae'. Did you mean 'SAME'?"),
        ("shape 1,4,9 4,2,5 --data-format NWH", "got 'NWH'. Did you mean 'NWC'?"),
        ("shape 1,4,9 4,2,5 --data-format NHWC", "got 'NHWC'. Did you mean 'NWC'?"),
        # An error about something else has no hint.
        ("explain 1,4,9 4,2,5 --stride 0", "at least 1; got 0."),
    ],
)
def test_an_error_says_what_was_meant(capsys, arguments, hint):
    assert refused(capsys, *words(arguments)).endswith(f"{hint}\n")


def test_no_command_is_one_clear_line(capsys):
    assert "required: COMMAND (see --help)" in refused(capsys)


# Help ---------------------------------------------------------------------------------

EXAMPLES = [(c.name, arguments) for c in COMMANDS for _, arguments in c.examples]


@pytest.mark.parametrize(("command", "arguments"), EXAMPLES)
def test_an_example_of_the_help(capsys, command, arguments):
    """What is quick is run; of the rest the arguments are read."""
    parsed = make_parser(COMMANDS, "").parse_args([command, *words(arguments)])
    assert parsed.run.__module__.startswith("jconvt.")
    if command in ("shape", "explain"):
        assert shell(capsys, command, *words(arguments))


@pytest.mark.parametrize("command", [c.name for c in COMMANDS])
def test_help_teaches_by_example(capsys, command):
    with pytest.raises(SystemExit) as exit:
        main([command, "--help"])
    assert exit.value.code == 0
    text = capsys.readouterr().out
    shown = [arguments for name, arguments in EXAMPLES if name == command]
    for arguments in shown:
        assert f"    python -m jconvt {command} {arguments}".rstrip() in text


# Terminals ----------------------------------------------------------------------------

TABLE = Table(
    headings=("name", "ms", "how"),
    rows=(("gather", "1.50", "features first"), ("phases", "12.25", "")),
    words=frozenset({"name", "how"}),
    picked=frozenset({0}),
)


def test_a_plain_table():
    assert tables.plain(TABLE) == (
        "name       ms  how\ngather   1.50  features first\nphases  12.25"
    )


class Terminal(io.StringIO):
    def isatty(self):
        return True


def shown_on_a_terminal(monkeypatch, **environment):
    """What `show` writes to a terminal, with Rich."""
    pytest.importorskip("rich")
    for name in ("NO_COLOR", "FORCE_COLOR", "TTY_COMPATIBLE", "TERM"):
        monkeypatch.delenv(name, raising=False)
    for name, value in ({"TERM": "xterm", "COLUMNS": "80"} | environment).items():
        monkeypatch.setenv(name, value)
    terminal = Terminal()
    monkeypatch.setattr(sys, "stdout", terminal)
    tables.show("a title", TABLE)
    return terminal.getvalue()


def test_a_terminal_shows_what_was_picked(monkeypatch):
    text = shown_on_a_terminal(monkeypatch)
    (line,) = (line for line in text.splitlines() if "gather" in line)
    assert "\x1b[1;32m" in line
    (line,) = (line for line in text.splitlines() if "phases" in line)
    assert "\x1b" not in line


def test_a_terminal_without_colour(monkeypatch):
    text = shown_on_a_terminal(monkeypatch, NO_COLOR="1")
    assert "gather" in text
    assert not re.search(r"\x1b\[[0-9;]*3[0-9]", text)


def test_a_dumb_terminal_gets_plain_text(monkeypatch):
    text = shown_on_a_terminal(monkeypatch, TERM="dumb")
    assert text == f"a title\n\n{tables.plain(TABLE)}\n"


def test_a_terminal_without_rich_gets_plain_text(monkeypatch):
    monkeypatch.setitem(sys.modules, "rich", None)
    terminal = Terminal()
    monkeypatch.setattr(sys, "stdout", terminal)
    monkeypatch.setenv("TERM", "xterm")
    tables.show(TABLE)
    assert terminal.getvalue() == f"{tables.plain(TABLE)}\n"


@pytest.mark.parametrize("columns", [30, 40, 200])
def test_no_terminal_is_so_narrow_that_a_number_is_lost(monkeypatch, columns):
    text = shown_on_a_terminal(monkeypatch, COLUMNS=str(columns), NO_COLOR="1")
    lines = [re.sub(r"\x1b\[[0-9;]*m", "", line) for line in text.splitlines()]
    assert max(map(len, lines)) <= columns
    for cell in ("gather", "1.50", "phases", "12.25", "features", "first"):
        assert cell in "\n".join(lines)


def test_a_pipe_gets_plain_text(capsys):
    tables.show(TABLE)
    assert capsys.readouterr().out == f"{tables.plain(TABLE)}\n"


# A shell ------------------------------------------------------------------------------


def test_a_shape_starts_no_backend():
    """With a platform that there is not, JAX fails as soon as it starts one."""
    layer = words("1,64,16,16 64,32,4,4 --stride 2")
    run = at_a_shell("shape", *layer, JAX_PLATFORMS="nowhere")
    assert run.returncode == 0, run.stderr
    assert run.stdout.startswith("1,32,34,34\n")
    failed = at_a_shell("explain", *layer, JAX_PLATFORMS="nowhere")
    assert failed.returncode == 2
    assert failed.stderr.startswith("jconvt: Unable to initialize backend 'nowhere'")
    assert failed.stderr.count("\n") == 1


def test_the_version_and_the_status():
    version = at_a_shell("--version")
    assert version.stdout == f"{jconvt.__version__}\n"
    assert at_a_shell("shape", "1", "x").returncode == 2


def test_a_reader_that_has_seen_enough():
    """As `| head -1`: no traceback about the pipe."""
    command = [sys.executable, "-m", "jconvt", "shape", "1,4,9", "4,2,5", "--json"]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as run:
        run.stdout.close()
        assert run.stderr.read() == ""
    assert run.returncode == 1


def test_an_interrupt_is_no_traceback(capsys, monkeypatch):
    def interrupted(*arguments, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr(jconvt, "explain", interrupted)
    assert main(["explain", "1,4,9", "4,2,5"]) == 130
    assert capsys.readouterr().err == ""

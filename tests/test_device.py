"""The profiles that ship, and what a machine says of itself, from recorded text."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from edgefuse.device import (
    Device,
    assumed,
    device_names,
    host_of,
    is_machine_of,
    jetson_profile,
    load_device,
    meaning,
    read_device,
)
from edgefuse.errors import RecipeError, UsageError
from edgefuse.jetpack import Jetson, jetpack_of, jetpacks, l4t_release, this_jetson
from edgefuse.machine import environment
from edgefuse.resources import shipped_names

JETSONS = (
    "jetson-orin-nano-4gb",
    "jetson-orin-nano-8gb",
    "jetson-orin-nx-8gb",
    "jetson-orin-nx-16gb",
    "jetson-agx-orin-32gb",
    "jetson-agx-orin-64gb",
    "jetson-xavier-nx",
    "jetson-thor-t4000",
    "jetson-thor-t5000",
)
ORINS = tuple(name for name in JETSONS if "orin" in name)
GPUS = (*JETSONS, "rtx-desktop", "rtx-laptop", "nvidia-gpu")
INTELS = (
    *("intel-n100", "intel-n97", "atom-x6000e", "intel-core-12th", "intel-core-13th", "intel-core-14th"),
    *("intel-core-ultra-1", "intel-core-ultra-2", "intel-xeon-d", "intel-xeon-6-soc"),
)
PROFILES = (*GPUS, *INTELS, "intel-cpu", "arm-cpu")
RTX_CAPABILITIES = ("7.5", "8.0", "8.6", "8.9", "12.0", "12.1")  # of TensorRT-RTX 1.7, measured


def profiles() -> list[Device]:
    return [read_device(path) for path in shipped_names("devices", "*.toml").values()]


def test_every_profile_ships_and_nothing_else_is_taken_for_one() -> None:
    assert set(device_names()) == {*PROFILES, "host"}


def test_no_name_or_alias_is_claimed_twice() -> None:
    claimed = [name for profile in profiles() for name in (profile.name, *profile.aliases)]
    assert sorted(claimed) == sorted({*claimed}) and "host" not in claimed


@pytest.mark.parametrize("name", PROFILES)
def test_a_profile_is_called_like_its_file_and_is_short_enough_for_the_list(name: str) -> None:
    device = load_device(name)
    assert device.name == name and device.alias == "" and 0 < len(device.description) <= 56


@pytest.mark.parametrize("name", PROFILES)
def test_every_figure_and_limit_says_where_it_is_from(name: str) -> None:
    """A place that can be looked up, a derivation, or the word "unverified"; and no marketing sum."""
    device = load_device(name)
    places = r"unverified|derived: |\b[\w-]+\.(com|net|de|org)\b|nvpmodel_\w+\.conf|data sheet|Intel's product page"
    for key, figure in device.figures.items():
        assert re.search(places, figure.source) or figure.source == "the module's name", key
        assert "sparse" not in figure.unit and key != "tops"
    assert all(device.limit_sources) and len(device.limit_sources) == len(device.limits)
    assert all(text.endswith(".") for text in device.limits) and device.sources + device.limits


RECALLED = {
    "jetson-orin-nano-8gb": ("gpu_clock_ghz", "int8_tops_dense", "fp16_tflops_dense"),
    "jetson-orin-nx-8gb": ("bandwidth_gb_s",),
    "jetson-agx-orin-32gb": ("gpu_clock_ghz", "bandwidth_gb_s", "int8_tops_dense"),
    "jetson-agx-orin-64gb": ("sms", "gpu_clock_ghz", "bandwidth_gb_s", "cores", "int8_tops_dense"),
    "jetson-xavier-nx": ("sms", "bandwidth_gb_s", "int8_tops_dense", "fp16_tflops_dense", "power_modes_w"),
    "jetson-thor-t5000": ("gpu_clock_ghz", "memory_gb", "bandwidth_gb_s"),
    "jetson-thor-t4000": ("sms", "memory_gb", "bandwidth_gb_s", "int8_tops_dense", "power_modes_w"),
    "atom-x6000e": ("isa", "power_w"),
    "intel-core-12th": ("cores", "threads", "bandwidth_gb_s", "power_w", "isa"),
    "intel-core-ultra-1": ("bandwidth_gb_s", "isa"),
    "intel-core-ultra-2": ("cores", "threads", "bandwidth_gb_s", "power_w", "isa"),
    "intel-xeon-d": ("cores", "bandwidth_gb_s", "power_w", "isa"),
    "intel-xeon-6-soc": ("cores", "power_w", "isa"),
}


@pytest.mark.parametrize("name", RECALLED)
def test_what_nobody_read_is_marked_unverified(name: str) -> None:
    figures = load_device(name).figures
    assert [key for key in RECALLED[name] if "unverified" not in figures[key].source] == []


@pytest.mark.parametrize("name", ORINS)
def test_an_orins_dense_int8_rate_follows_from_its_sms_and_clock(name: str) -> None:
    """4.096 T operations a second, SM and GHz: 4 tensor cores of 512 multiply-adds a cycle. FP16 is half of it."""
    figures = load_device(name).figures
    sms, clock, int8, fp16 = (
        float(figures[key].value) for key in ("sms", "gpu_clock_ghz", "int8_tops_dense", "fp16_tflops_dense")
    )
    assert int8 == pytest.approx(sms * 4.096 * clock, abs=0.05) and fp16 == pytest.approx(sms * 2.048 * clock, abs=0.05)


@pytest.mark.parametrize("name", GPUS)
def test_a_gpu_profile_says_what_a_compile_elsewhere_needs(name: str) -> None:
    device = load_device(name)
    assert device.backend == "tensorrt" and {"float", "fp16", "int8"} <= set(device.precisions)
    assert device.check_capability in ((None,) if name == "jetson-xavier-nx" else RTX_CAPABILITIES)
    assert (device.tensorrt is not None) == (name in JETSONS) and device.workspace_mib >= 512


@pytest.mark.parametrize("name", ORINS)
def test_an_orin_is_assumed_to_run_jetpack_6_2(name: str) -> None:
    device = load_device(name)
    assert (device.compute_capability, device.check_capability, device.tensorrt) == ("8.7", "8.6", "10.3.0")
    assert assumed(device) == "assumes JetPack 6.2 (TensorRT 10.3.0, CUDA 12.6, Python 3.10)"
    limits = " ".join(device.limits)
    assert "FP8" in limits and "TensorRT 11" in limits and "DLA" in limits


def test_a_profile_without_jetpack_assumes_nothing() -> None:
    assert assumed(load_device("intel-n100")) == assumed(load_device("nvidia-gpu")) == ""


def test_limits_warn_of_what_will_not_work() -> None:
    assert "BF16, FP8 and FP4" in " ".join(load_device("jetson-thor").limits)
    assert "trtexec" in " ".join(load_device("jetson-xavier-nx").limits)
    assert "no AVX" in " ".join(load_device("atom-x6000e").limits)


@pytest.mark.parametrize(
    ("alias", "name"),
    [
        ("jetson", "jetson-orin-nano-8gb"),
        ("jetson-orin-nano", "jetson-orin-nano-8gb"),
        ("jetson-orin-nx", "jetson-orin-nx-16gb"),
        ("jetson-agx-orin", "jetson-agx-orin-64gb"),
        ("jetson-thor", "jetson-thor-t5000"),
    ],
)
def test_an_alias_is_stated(alias: str, name: str) -> None:
    device = load_device(alias)
    assert (device.name, device.alias) == (name, alias)
    assert meaning(device) == f"{alias} means {name}, the family's default" and meaning(load_device(name)) == ""


def test_a_typo_names_the_nearest_target_or_alias() -> None:
    with pytest.raises(UsageError, match="jetsn") as error:
        load_device("jetsn")
    assert error.value.hint == "Did you mean 'jetson'?"


# --- reading a file ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('precisions = ["int9"]', "no precision 'int9'"),
        ("aliases = [1]", "expected a list of strings"),
        ('jetpack = "6.9"', "no JetPack '6.9'"),
        ('[[limits]]\ntext = "No."', "lacks its text or its source"),
        ("[figures.sms]\nvalue = 8", "and its source"),
        ('[figures.sms]\nvalue = true\nsource = "x"', "expected a number or text"),
        ('[figures.sms]\nvalue = 8\nsource = "x"\nunits = "GB"', "unknown key 'units'"),
        ('figures = {sms = 8}', "expected a table"),
        ('family = "nobody"', "cannot read the file"),
        ('flops = 8', "unknown key 'flops'"),
    ],
)  # fmt: skip
def test_a_profile_that_is_wrong_is_refused(tmp_path: Path, text: str, says: str) -> None:
    (tmp_path / "mine.toml").write_text(text)
    with pytest.raises(RecipeError, match=re.escape(says)):
        read_device(tmp_path / "mine.toml")


def test_a_profile_wins_over_its_family_and_limits_add_up(tmp_path: Path) -> None:
    (tmp_path / "families").mkdir()
    limit = '[[limits]]\ntext = "{0}."\nsource = "{0}"\n'
    (tmp_path / "families" / "f.toml").write_text(
        'backend = "tensorrt"\narch = ["aarch64"]\nworkspace_mib = 7\n' + limit.format("family")
    )
    (tmp_path / "mine.toml").write_text('family = "f"\nworkspace_mib = 9\n' + limit.format("own"))
    device = read_device(tmp_path / "mine.toml")
    assert (device.name, device.backend, device.arch, device.workspace_mib) == ("mine", "tensorrt", ("aarch64",), 9)
    assert device.limits == ("family.", "own.")


# --- this machine -----------------------------------------------------------------------------------------------------

CPU_NAMES = {
    "Intel(R) N100": "intel-n100",
    "Intel(R) N97": "intel-n97",
    "Intel Atom(R) x6425E Processor @ 2.00GHz": "atom-x6000e",
    "12th Gen Intel(R) Core(TM) i5-1240P": "intel-core-12th",
    "12th Gen Intel(R) Core(TM) i9-12900K": "intel-core-12th",
    "13th Gen Intel(R) Core(TM) i7-1360P": "intel-core-13th",
    "Intel(R) Core(TM) i7-14700K": "intel-core-14th",
    "Intel(R) Core(TM) Ultra 7 155H": "intel-core-ultra-1",
    "Intel(R) Core(TM) Ultra 7 258V": "intel-core-ultra-2",
    "Intel(R) Core(TM) Ultra 9 285K": "intel-core-ultra-2",
    "Intel(R) Xeon(R) D-1718T CPU @ 2.60GHz": "intel-xeon-d",
    "Intel(R) Xeon(R) Platinum 8480+": None,
    "Intel(R) Core(TM) i7-1165G7 @ 2.80GHz": None,
    "AMD EPYC 7B13": None,
}


@pytest.mark.parametrize("cpu", CPU_NAMES)
def test_a_cpu_is_its_own_profile_and_no_other(cpu: str) -> None:
    fitting = [name for name in INTELS if is_machine_of(load_device(name), {"arch": "x86_64", "cpu": cpu})]
    assert fitting == ([CPU_NAMES[cpu]] if CPU_NAMES[cpu] else [])
    assert is_machine_of(load_device("intel-cpu"), {"arch": "x86_64", "cpu": cpu})
    assert not is_machine_of(load_device("arm-cpu"), {"arch": "x86_64", "cpu": cpu})


BOARDS = [
    ("NVIDIA Jetson Orin Nano Developer Kit", 7.4, "jetson-orin-nano-8gb"),
    ("NVIDIA Jetson Orin Nano Engineering Reference Developer Kit Super", 7.4, "jetson-orin-nano-8gb"),
    ("NVIDIA Jetson Orin Nano", 3.3, "jetson-orin-nano-4gb"),
    ("NVIDIA Jetson Orin NX Engineering Reference Developer Kit", 15.3, "jetson-orin-nx-16gb"),
    ("NVIDIA Jetson Orin NX Engineering Reference Developer Kit Super", 7.4, "jetson-orin-nx-8gb"),
    ("NVIDIA Jetson AGX Orin Developer Kit", 61.4, "jetson-agx-orin-64gb"),
    ("NVIDIA Jetson AGX Orin", 29.8, "jetson-agx-orin-32gb"),
    ("NVIDIA Jetson Xavier NX Developer Kit", 6.8, "jetson-xavier-nx"),
    ("NVIDIA Jetson AGX Thor Developer Kit", 122.8, "jetson-thor-t5000"),
]


@pytest.mark.parametrize(("model", "memory", "name"), BOARDS)
def test_a_boards_device_tree_and_memory_name_its_profile(model: str, memory: float, name: str) -> None:
    found = jetson_profile(model, memory)
    assert found is not None and found.name == name and is_machine_of(found, {"arch": "aarch64", "cpu": model})


def test_an_unknown_board_has_no_profile_and_more_memory_than_any_module_is_the_largest() -> None:
    assert jetson_profile("NVIDIA Jetson Nano Developer Kit", 3.9) is None
    assert (found := jetson_profile("NVIDIA Jetson AGX Orin", 100.0)) and found.name == "jetson-agx-orin-64gb"


RELEASE = (
    "# R36 (release), REVISION: 4.3, GCID: 38968081, BOARD: generic, EABI: aarch64, DATE: Wed Jan  8 01:49:37 2025\n"
    "# KERNEL_VARIANT: oot\n"
)


@pytest.mark.parametrize(
    ("l4t", "jetpack"),
    [
        ("35.4.1", "5.1"),
        ("36.3.0", "6.0"),
        ("36.4.0", "6.1"),
        ("36.4.2", "6.1"),
        ("36.4.3", "6.2"),
        ("36.4.7", "6.2"),
        ("36.5.0", "6.2"),
        ("38.2.0", "7.0"),
        ("38.4.0", "7.1"),
        ("39.2.0", "7.2"),
        ("32.7.1", None),
        ("36.6.0", None),
        ("", None),
    ],
)
def test_an_l4t_release_names_its_jetpack_or_none(l4t: str, jetpack: str | None) -> None:
    found = jetpack_of(l4t)
    assert (found.jetpack if found else None) == jetpack


def test_the_jetpack_table_says_where_each_row_is_from() -> None:
    assert all(row.source and row.rule and row.boards and row.tensorrt for row in jetpacks())
    assert len({row.jetpack for row in jetpacks()}) == len(jetpacks())
    board = load_device("jetson-agx-orin").match
    assert [row.jetpack for row in jetpacks() if row.fits(board)] == ["5.1", "6.0", "6.1", "6.2", "7.2", "7.2.2"]
    assert not any(row.fits(load_device("intel-n100").match) for row in jetpacks())


def test_a_jetson_is_known_by_its_device_tree_or_by_its_release_file(tmp_path: Path) -> None:
    model, release, nothing = tmp_path / "model", tmp_path / "nv_tegra_release", tmp_path / "nothing"
    model.write_bytes(b"NVIDIA Jetson Orin Nano Developer Kit\0")
    release.write_text(RELEASE)
    board = "NVIDIA Jetson Orin Nano Developer Kit"
    assert l4t_release(RELEASE) == "36.4.3" and l4t_release("# a text") == ""
    assert this_jetson(model, release) == Jetson(board, "36.4.3")
    assert this_jetson(model, nothing) == Jetson(board, "")
    assert this_jetson(nothing, release) == Jetson("a Jetson", "36.4.3")
    model.write_bytes(b"Raspberry Pi 5 Model B Rev 1.0\0")
    assert this_jetson(model, nothing) is None and this_jetson(nothing, nothing) is None


MACHINE = {"arch": "aarch64", "cpu": "CPU", "memory_gib": 7.4}


def test_host_on_a_jetson_is_its_profile_with_the_jetpack_that_was_found() -> None:
    host = host_of({**MACHINE, "board": "NVIDIA Jetson Orin Nano Developer Kit", "l4t": "36.4.0"})
    assert (host.name, host.backend, host.compute_capability) == ("host", "tensorrt", "8.7")
    assert host.tensorrt == "10.3.0" and assumed(host).startswith("has JetPack 6.1") and host.aliases == ()
    assert "Orin Nano Developer Kit" in host.description
    hidden = host_of({**MACHINE, "board": "NVIDIA Jetson Orin Nano Developer Kit", "l4t": ""})
    assert hidden.jetpack is hidden.tensorrt is None, "what was not found is not assumed"


def test_host_on_an_unknown_board_is_the_cpu_and_says_so() -> None:
    host = host_of({**MACHINE, "board": "ACME Carrier", "l4t": "36.4.3"})
    assert (host.name, host.backend) == ("host", "openvino") and "ACME Carrier" in host.description


def test_host_elsewhere_is_the_generic_cpu() -> None:
    host = host_of(environment())
    assert (host.name, host.backend, host.jetpack) == ("host", "openvino", None) and is_machine_of(host, environment())


def test_the_environment_names_the_board_only_on_a_jetson(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edgefuse.machine.this_jetson", lambda: None)
    assert {"board", "l4t", "jetpack"}.isdisjoint(environment())
    monkeypatch.setattr("edgefuse.machine.this_jetson", lambda: Jetson("NVIDIA Jetson Orin Nano", "36.4.3"))
    found = environment()
    assert (found["board"], found["l4t"], found["jetpack"]) == ("NVIDIA Jetson Orin Nano", "36.4.3", "6.2")


def test_the_environment_names_nvidias_libraries_where_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edgefuse.machine.installed_version", {"tensorrt": "10.3.0", "cuda-bindings": "12.9"}.get)
    assert environment()["packages"] == {"tensorrt": "10.3.0", "cuda-bindings": "12.9"}

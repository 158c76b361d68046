"""Names of Arm's processors, from what Linux shows on such machines."""

from __future__ import annotations

import pytest

from edgefuse.arm_cpus import arm_cpu_name
from edgefuse.machine import name_in_cpuinfo


def core(number: int, part: str, implementer: str = "0x41", name: str = "") -> str:
    """One processor's lines as the arm64 kernel writes them (arch/arm64/kernel/cpuinfo.c)."""
    model = f"model name\t: {name}\n" if name else ""
    return (
        f"processor\t: {number}\n{model}BogoMIPS\t: 62.50\nFeatures\t: fp asimd crc32 cpuid\n"
        f"CPU implementer\t: {implementer}\nCPU architecture: 8\nCPU variant\t: 0x0\n"
        f"CPU part\t: {part}\nCPU revision\t: 1\n\n"
    )


@pytest.mark.parametrize(
    ("cpuinfo", "name"),
    [
        (core(0, "0xd0b") + core(1, "0xd0b"), "Cortex-A76"),
        (core(0, "0xd05") + core(1, "0xd0b"), "Cortex-A55 + Cortex-A76"),
        (core(0, "0x004", "0x4e"), "NVIDIA Carmel"),
        (core(0, "0xd42", name="ARMv8 Processor rev 1 (v8l)"), "Cortex-A78AE"),
        (core(0, "0xabc", "0x7f"), "Arm part 0xabc of implementer 0x7f"),
        (
            core(0, "0xd08") + "Revision\t: c03114\nModel\t\t: Raspberry Pi 4 Model B Rev 1.4\n",
            "Raspberry Pi 4 Model B Rev 1.4, Cortex-A72",
        ),
    ],
)
def test_an_arm_machine_is_called_by_its_cores(cpuinfo: str, name: str) -> None:
    assert arm_cpu_name(cpuinfo) == name == name_in_cpuinfo(cpuinfo)


def test_a_machine_that_is_not_arms_keeps_the_name_that_it_tells() -> None:
    intel = "processor\t: 0\nvendor_id\t: GenuineIntel\nmodel\t\t: 190\nmodel name\t: Intel(R) N100\n\n"
    assert arm_cpu_name(intel) == "" and name_in_cpuinfo(intel) == "Intel(R) N100"
    assert name_in_cpuinfo("processor\t: 0\nisa\t\t: rv64imafdc\n") == ""

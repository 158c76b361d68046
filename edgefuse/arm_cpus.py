"""The names of Arm's processors, of which Linux tells numbers alone. Standard library only.

Source of the numbers: util-linux's ``sys-utils/lscpu-arm.c``.
"""

from __future__ import annotations

import re

NAMES = {
    (0x41, 0xD03): "Cortex-A53",
    (0x41, 0xD04): "Cortex-A35",
    (0x41, 0xD05): "Cortex-A55",
    (0x41, 0xD06): "Cortex-A65",
    (0x41, 0xD07): "Cortex-A57",
    (0x41, 0xD08): "Cortex-A72",
    (0x41, 0xD09): "Cortex-A73",
    (0x41, 0xD0A): "Cortex-A75",
    (0x41, 0xD0B): "Cortex-A76",
    (0x41, 0xD0C): "Neoverse-N1",
    (0x41, 0xD0D): "Cortex-A77",
    (0x41, 0xD0E): "Cortex-A76AE",
    (0x41, 0xD40): "Neoverse-V1",
    (0x41, 0xD41): "Cortex-A78",
    (0x41, 0xD42): "Cortex-A78AE",
    (0x41, 0xD43): "Cortex-A65AE",
    (0x41, 0xD44): "Cortex-X1",
    (0x41, 0xD46): "Cortex-A510",
    (0x41, 0xD47): "Cortex-A710",
    (0x41, 0xD48): "Cortex-X2",
    (0x41, 0xD49): "Neoverse-N2",
    (0x41, 0xD4A): "Neoverse-E1",
    (0x41, 0xD4B): "Cortex-A78C",
    (0x41, 0xD4C): "Cortex-X1C",
    (0x41, 0xD4D): "Cortex-A715",
    (0x41, 0xD4E): "Cortex-X3",
    (0x41, 0xD4F): "Neoverse-V2",
    (0x41, 0xD80): "Cortex-A520",
    (0x41, 0xD81): "Cortex-A720",
    (0x41, 0xD82): "Cortex-X4",
    (0x41, 0xD83): "Neoverse-V3AE",
    (0x41, 0xD84): "Neoverse-V3",
    (0x41, 0xD85): "Cortex-X925",
    (0x41, 0xD87): "Cortex-A725",
    (0x41, 0xD88): "Cortex-A520AE",
    (0x41, 0xD89): "Cortex-A720AE",
    (0x41, 0xD8E): "Neoverse-N3",
    (0x4E, 0x003): "NVIDIA Denver 2",
    (0x4E, 0x004): "NVIDIA Carmel",
}
"""Implementer and part to the core's name."""


def arm_cpu_name(cpuinfo: str) -> str:
    """What ``/proc/cpuinfo`` of an Arm machine says, such as "Cortex-A55 + Cortex-A76", behind the board's name where
    it tells that too; "" where it numbers no part."""
    told = re.findall(r"^CPU implementer\s*:\s*(\w+)$.*?^CPU part\s*:\s*(\w+)$", cpuinfo, re.MULTILINE | re.DOTALL)
    cores = " + ".join(dict.fromkeys(_core(int(implementer, 16), int(part, 16)) for implementer, part in told))
    board = re.search(r"^Model\s*:\s*(.+)$", cpuinfo, re.MULTILINE)  # Raspberry Pi's kernels
    return f"{board[1].strip()}, {cores}" if board and cores else cores


def _core(implementer: int, part: int) -> str:
    return NAMES.get((implementer, part), f"Arm part {part:#05x} of implementer {implementer:#04x}")

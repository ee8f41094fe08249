"""A process that is told so keeps the memory of a large array that it frees."""

import platform
import subprocess
import sys

import pytest

PROGRAM = """
import resource, sys
import torch
from ae_lightning.cli.fit.freed_memory import keep_freed_memory

def faults_of_a_pass():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    torch.ones(16 << 20)  # 64 MiB, freed at once
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

if sys.argv[1] == "keep":
    assert keep_freed_memory()
for _ in range(40):  # memory is new at first, and an array may not fit what the one before left
    faults_of_a_pass()
print(faults_of_a_pass())
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the C library is not glibc")
def test_an_array_gets_the_memory_of_the_one_before():
    def faults(how: str) -> int:
        found = subprocess.run([sys.executable, "-c", PROGRAM, how], capture_output=True, text=True, check=True)
        return int(found.stdout)

    assert faults("keep") < 100
    assert faults("not") > 10 * faults("keep") + 30  # at the least one for each page of 2 MiB

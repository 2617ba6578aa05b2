#!/usr/bin/env python3
"""Runs one command per JSON line of standard input under limits, and says how each went.

Each line is a list of arguments. Each answer is {"status", "signal", "seconds", "peak_mib", "stdout", "stderr"}; texts are cut at 4000
characters. Limits: 120 s of CPU time and 8 GiB of address space; without a network where the machine lets us (unshare -n).
"""
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time

offline = []
if shutil.which("unshare") and subprocess.run(["unshare", "-rn", "true"], capture_output=True).returncode == 0:
    offline = ["unshare", "-rn"]


def limits():
    resource.setrlimit(resource.RLIMIT_CPU, (120, 120))
    resource.setrlimit(resource.RLIMIT_AS, (8 << 30, 8 << 30))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


for line in sys.stdin:
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        started = time.monotonic()
        process = subprocess.Popen(offline + json.loads(line), stdin=subprocess.DEVNULL, stdout=out, stderr=err, preexec_fn=limits)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = code = os.waitstatus_to_exitcode(status)
        texts = []
        for file in (out, err):
            file.seek(0)
            texts.append(file.read(4000).decode(errors="replace"))
    answer = {
        "status": code if code >= 0 else None,
        "signal": -code if code < 0 else None,
        "seconds": round(time.monotonic() - started, 3),
        "peak_mib": usage.ru_maxrss // 1024,
        "offline": bool(offline),
        "stdout": texts[0],
        "stderr": texts[1],
    }
    print(json.dumps(answer), flush=True)

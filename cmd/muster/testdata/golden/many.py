"""Runs the published client's script once for each line of JSON, its arguments, and answers what it printed.

Each is a process of its own, as from a shell. It is forked from this one, which has loaded the client's modules already.
"""

import json
import os
import runpy
import sys

import comodit_client.dispatch

script = sys.argv[1]
for line in sys.stdin:
    reads, writes = os.pipe()
    pid = os.fork()
    if pid == 0:
        asked, answers = os.pipe()
        os.write(answers, b"A\n")  # to where it asks: all
        os.close(answers)
        os.dup2(asked, 0)
        os.dup2(writes, 1)
        os.dup2(writes, 2)
        os.close(reads)
        os.close(writes)
        sys.stdin = os.fdopen(0)
        sys.argv = [script] + json.loads(line)
        runpy.run_path(script, run_name="__main__")
        sys.exit(0)
    os.close(writes)
    with os.fdopen(reads, "rb") as pipe:
        printed = pipe.read()
    os.waitpid(pid, 0)
    print(json.dumps(printed.decode(errors="replace")), flush=True)

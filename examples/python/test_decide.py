"""Runs the example against a real service."""

import os
import re
import signal
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
TARGET = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
BINARY = os.environ.get("SERVICE_BINARY", str(TARGET / "debug" / "rapport"))
STOP_TIMEOUT_SECONDS = 30
RUN_TIMEOUT_SECONDS = 120


class Example(unittest.TestCase):
    def setUp(self):
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        any_port = "127.0.0.1:0"
        command = [BINARY, "serve", "--listen", any_port, "--private-listen", any_port, "--log-level", "warn"]
        command += ["--rules", str(ROOT / "rules"), "--data-dir", directory.name + "/data"]
        self.service = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        self.addCleanup(self.stop)
        line = self.service.stdout.readline()
        self.address = re.search(r"listening on (\S+)", line)[1]

    def stop(self):
        self.service.send_signal(signal.SIGTERM)
        try:
            self.service.wait(STOP_TIMEOUT_SECONDS)
        except subprocess.TimeoutExpired:
            self.service.kill()
        self.service.stdout.close()

    def test_it_decides_records_and_responds(self):
        command = [sys.executable, str(HERE / "decide.py"), "--address", self.address, "--customer", "python-1"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=RUN_TIMEOUT_SECONDS)
        self.assertEqual(done.returncode, 0, done.stderr)
        lines = done.stdout.splitlines()
        self.assertEqual(lines[0], "recorded: RECORD_STATUS_RECORDED")
        best = next(line for line in lines if line.startswith("decided: 1 "))
        offer = best.split()[2].rstrip(":")
        self.assertIn(f"declined: {offer} ", done.stdout)
        following = [line.split()[2].rstrip(":") for line in lines if line.startswith("next: ")]
        self.assertNotIn(offer, following)
        self.assertIn(f"history: {offer} call_centre OUTCOME_TYPE_DECLINE", lines)


if __name__ == "__main__":
    unittest.main()

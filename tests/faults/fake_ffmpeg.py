"""An ffmpeg that misbehaves: a script in its place, which knows the real one."""

from __future__ import annotations

import json
import stat
import sys
from pathlib import Path

from vidtag_cli.video.ffmpeg import find_ffmpeg

BEHAVIOURS = (
    "sleeps", "stalls", "stalls quietly", "dies", "stops early", "garbage pixels", "garbage bytes", "garbage times",
    "extra pictures", "endless pictures", "status", "chatters", "slow", "closes and stays",
)  # fmt: skip
"""What it does when it is asked to decode; to ``-version`` it answers as the real one."""

STALLING = frozenset({"sleeps", "stalls", "stalls quietly", "endless pictures", "closes and stays"})
"""After these nothing ends by itself."""

SCRIPT = """#!{python} -IS
import os, random, re, signal, subprocess, sys, time

REAL, BEHAVIOUR, AFTER, SEED = {settings}
if "-version" in sys.argv:
    os.execv(REAL, [REAL, *sys.argv[1:]])
for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
    signal.signal(number, signal.SIG_IGN)
fds = [int(text) for text in re.findall(r"pipe[\\\\]*:(\\d+)", " ".join(sys.argv)) if int(text) > 1]
rng = random.Random(SEED)


def stall():
    while True:
        time.sleep(1)


def put(data):
    while data:
        data = data[os.write(1, data):]


def real(**options):
    return subprocess.Popen([REAL, *sys.argv[1:]], pass_fds=sorted(set(fds)), stdout=subprocess.PIPE, **options)


if BEHAVIOUR == "sleeps":
    stall()
elif BEHAVIOUR == "closes and stays":
    for fd in (1, *fds):
        try:
            os.close(fd)
        except OSError:
            pass
    stall()
elif BEHAVIOUR == "status":
    sys.stderr.write("Error opening input: Input/output error\\n")
    sys.exit(SEED % 255 + 1)
elif BEHAVIOUR == "garbage bytes":
    put(rng.randbytes(AFTER))
    sys.exit(0)
elif BEHAVIOUR == "endless pictures":
    while True:
        put(bytes(65536))
elif BEHAVIOUR == "garbage times":
    os.write(fds[0], rng.randbytes(200) + b"\\n")
    put(rng.randbytes(AFTER))
    sys.exit(0)
elif BEHAVIOUR == "chatters":
    for line in range(200000):
        os.write(2, b"[h264 @ 0x1] \\x1b[31mdamaged \\xff block %d\\n" % (line % 7))

child = real()
count = 0
while chunk := child.stdout.read1(4096):
    if BEHAVIOUR == "garbage pixels":
        chunk = rng.randbytes(len(chunk))
    if BEHAVIOUR == "slow":
        time.sleep(0.01)
    put(chunk)
    count += len(chunk)
    if count >= AFTER and BEHAVIOUR in ("stalls", "stalls quietly", "dies", "stops early"):
        child.kill()
        child.wait()
        if BEHAVIOUR.startswith("stalls"):
            stall()
        if BEHAVIOUR == "dies":
            os.kill(os.getpid(), signal.SIGKILL)
        sys.exit(0)
if BEHAVIOUR == "extra pictures":
    put(bytes(AFTER))
sys.exit(child.wait())
"""


def write_fake_ffmpeg(path: Path, behaviour: str, after_bytes: int, seed: int) -> Path:
    """Return the path of an ffmpeg that misbehaves once it has delivered so many bytes of pictures."""
    settings = (str(find_ffmpeg().path), behaviour, after_bytes, seed)
    path.write_text(SCRIPT.replace("{python}", sys.executable).replace("{settings}", json.dumps(settings)))
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path

"""Stands for the process of a version: what its folder holds says how it behaves."""

import os
import time
from pathlib import Path

from helpers.costs.channel import Channel

channel = Channel()
folder = Path(channel.receive()["folder"])
if (folder / "aborts").exists():
    os.abort()
if (folder / "hangs").exists():
    time.sleep(600)
if (folder / "no_words").exists():
    os.write(channel._replies, b"no JSON\n")
if (folder / "damaged").exists() or not folder.is_dir():
    channel.reply({"error": f"{folder.name} is damaged"})
channel.reply({"signatures": {"serving_default": folder.name}})
while True:
    body = channel.receive()["body"]
    if body == "crash":
        os.abort()
    time.sleep(0.5 if body == "slow" else 0)
    channel.reply({"status": 200, "content": folder.name})

"""Ray on the two hosts: start it, deploy a config file, ask for its state, kill parts of it."""

from __future__ import annotations

import copy
import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import urllib3
import yaml

from tools.scale.namespaces import ADDRESSES, PROCESS_TREE, SecondHost, network_of

CONFIG = Path(__file__).with_name("deploy") / "ray_serve.yaml"
PORTS = {"Ray": 6379, "its dashboard": 8265, "the model": 8000}
DASHBOARD = f"http://127.0.0.1:{PORTS['its dashboard']}/api/serve/applications/"
APPLICATION, DEPLOYMENT = "digits", "predictor"
POLL_S = 0.2
OBJECT_STORE_BYTES = 80_000_000  # the least that Ray takes; requests do not go through it
AUTOSCALING = {
    "min_replicas": 1, "max_replicas": 4, "target_ongoing_requests": 2,
    "upscale_delay_s": 1, "downscale_delay_s": 4, "metrics_interval_s": 0.5,
    "look_back_period_s": 2,
}  # fmt: skip


class ClusterError(RuntimeError):
    """The engine does not do what it was asked for: what, and where its log is."""


class Cluster:
    """A Ray cluster of this host and a second one.

    Args:
        binaries: the folder of Python in Ray's environment, without a space in its path.
        root: of this repository, from where Ray imports the application.
        folder: with the model files; it gets Ray's own files, too.
    """

    def __init__(self, binaries: Path, root: Path, folder: Path) -> None:
        # Not the program `ray`: its first line names a Python by the path where it was installed.
        self._ray = [str(binaries / "python"), "-m", "ray.scripts.scripts"]
        self._folder = folder
        self._log = folder / "ray.log"
        self._http = urllib3.PoolManager(retries=False, timeout=20.0)
        self._environment = {
            **os.environ,
            "PATH": f"{binaries}{os.pathsep}{os.environ['PATH']}",
            "PYTHONPATH": str(root),
            "RAY_USAGE_STATS_ENABLED": "0",
            # By default a proxy hands requests to replicas of its own host alone, as long as these
            # have room. Here one address stands for both hosts, so all replicas take their share.
            "RAY_SERVE_PROXY_PREFER_LOCAL_NODE_ROUTING": "0",
        }
        self.config = self._read_config()

    def _read_config(self) -> dict[str, Any]:
        config = yaml.safe_load(CONFIG.read_text(encoding="utf-8"))
        config["applications"][0]["args"]["folder"] = str(self._folder / APPLICATION)
        return config

    def start(self) -> None:
        """Start Ray on both hosts and wait until it takes orders."""
        options = ["--head", "--port", str(PORTS["Ray"]), "--dashboard-host", "127.0.0.1",
                   "--dashboard-port", str(PORTS["its dashboard"])]  # fmt: skip
        command = self._start_command(0, options)
        with self._log.open("ab") as output:
            self._head = subprocess.Popen(
                [*PROCESS_TREE, *command], stdin=subprocess.DEVNULL, stdout=output, stderr=output,
                env=self._environment,
            )  # fmt: skip
        self.wait_until(lambda: self._is_listening(), "Ray has not started", 60.0)
        self.start_second_host()

    def _start_command(self, host: int, options: list[str]) -> list[str]:
        return [*self._ray, "start", "--block", *options, "--node-ip-address", ADDRESSES[host],
                "--num-cpus", "4", "--object-store-memory", str(OBJECT_STORE_BYTES),
                "--temp-dir", str(self._folder / f"ray-{host + 1}"), "--disable-usage-stats",
                "--include-log-monitor", "false"]  # fmt: skip

    def start_second_host(self) -> None:
        """Start the second host, or start it again after `kill_host`."""
        options = ["--address", f"{ADDRESSES[0]}:{PORTS['Ray']}"]
        command = self._start_command(1, options)
        folder = self._folder / "ray-2"
        self.second = SecondHost(command, folder, self._log, self._environment)

    def _is_listening(self) -> bool:
        if self._head.poll() is not None:
            code = self._head.returncode
            raise ClusterError(f"Ray has ended with exit code {code}{self._log_tail()}")
        with suppress(urllib3.exceptions.HTTPError):
            return self._http.request("GET", DASHBOARD).status == 200
        return False

    def deploy(self, version: int, autoscaling: bool = False) -> None:
        """Hand the config file to the cluster, as ``serve deploy`` does.

        Raises:
            ClusterError: it is refused; the message is the engine's.
        """
        config = copy.deepcopy(self.config)
        (application,) = config["applications"]
        application["args"]["version"] = version
        if autoscaling:
            (deployment,) = application["deployments"]
            del deployment["num_replicas"]
            deployment["autoscaling_config"] = AUTOSCALING
        reply = self._http.request("PUT", DASHBOARD, json=config)
        if reply.status != 200:
            raise ClusterError(f"the config file was refused: {reply.data[:500].decode()}")

    def replicas(self) -> list[Mapping[str, Any]]:
        """List the replicas that run.

        Raises:
            ClusterError: the deployment has failed.
        """
        state = self._http.request("GET", DASHBOARD).json()
        application = state["applications"].get(APPLICATION, {})
        if application.get("status") == "DEPLOY_FAILED":
            raise ClusterError(f"the deployment failed: {application['message'][-500:]}")
        deployment = application.get("deployments", {}).get(DEPLOYMENT, {})
        found = deployment.get("replicas", [])
        return [each for each in found if each["state"] == "RUNNING"]

    def replica_names(self) -> set[str]:
        """Return the engine's names of the replicas that run."""
        return {each["replica_id"] for each in self.replicas()}

    def hosts(self) -> set[str]:
        """Return the addresses of the hosts on which replicas run."""
        return {each["node_ip"] for each in self.replicas()}

    def is_whole(self) -> bool:
        """Tell whether the deployment is as the config file wants it, on both hosts."""
        state = self._http.request("GET", DASHBOARD).json()
        application = state["applications"].get(APPLICATION, {})
        running = self.replicas()
        (wanted,) = self.config["applications"][0]["deployments"]
        return (
            application.get("status") == "RUNNING"
            and len(running) == wanted["num_replicas"]
            and self.hosts() == set(ADDRESSES)
        )

    def wait_until(
        self, condition: Callable[[], bool], otherwise: str, timeout_s: float = 60.0
    ) -> float:
        """Wait for a condition and return the seconds that it took.

        Raises:
            ClusterError: the time is over.
        """
        start = time.monotonic()
        while not condition():
            if time.monotonic() - start > timeout_s:
                raise ClusterError(f"{otherwise} after {timeout_s:g} s{self._log_tail()}")
            time.sleep(POLL_S)
        return time.monotonic() - start

    def kill_replica(self) -> None:
        """Send SIGKILL to a replica of the second host."""
        network = network_of(self.second.process.pid)
        process = next(
            each for each in processes("ray::ServeReplica") if network_of(each) == network
        )
        os.kill(process, signal.SIGKILL)

    def silence_host(self) -> None:
        """Cut the second host off: it goes on, and nobody hears of it."""
        self.second.unplug()

    def kill_host(self) -> None:
        """End all processes of the second host at once."""
        self.second.kill()

    def stop(self) -> None:
        """End Ray on both hosts."""
        self.second.kill()
        self._head.kill()
        self._head.wait()

    def _log_tail(self) -> str:
        lines = self._log.read_text(errors="replace").splitlines()[-3:]
        return "; the log ends with: " + " / ".join(lines) if lines else ""


def processes(title: str) -> list[int]:
    """Return the ids of processes whose title begins so, in both hosts."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):  # it has ended since
            if path.read_bytes().startswith(title.encode()):
                found.append(int(path.parent.name))
    return found

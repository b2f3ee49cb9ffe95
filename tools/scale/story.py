"""What happens, in order. It runs as the first process of the first host; see `supervisor`."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from helpers.serving.lifetime import free_port
from tools.scale.cluster import APPLICATION, PORTS, Cluster, ClusterError
from tools.scale.contract import ContractError, check_contract
from tools.scale.load import PLAIN, RETRIED, Load, Questions
from tools.scale.model_files import ANSWERS
from tools.scale.namespaces import ADDRESSES, SHARED_MEMORY, prepare_first_host
from tools.scale.watch import Watch

URL = f"http://127.0.0.1:{PORTS['the model']}/v1/models/{APPLICATION}:predict"
ROOT = Path(__file__).resolve().parents[2]
FOLDER = Path(SHARED_MEMORY)
MODULE_TIMEOUT_S = 120
CLIENTS_AT_A_TIME = 8


@dataclass(frozen=True)
class Phase:
    """One part of the story.

    Attributes:
        name: what happened.
        client: which kind asked.
        start_s: when the event was, by `time.monotonic`.
        whole_s: seconds until all was well again; None where nothing was broken.
    """

    name: str
    client: str
    start_s: float
    whole_s: float | None


@dataclass
class Story:
    """One run.

    Args:
        binaries: the folder of the Ray environment's programs.
        short: clients with retry only, without the way back to version 1, and fewer blocks.

    Attributes:
        phases: in order.
        events: what happened when, by `time.monotonic`.
        loads: all clients.
    """

    binaries: Path
    short: bool
    start_s: float = field(default_factory=time.monotonic)
    phases: list[Phase] = field(default_factory=list)
    events: list[tuple[float, str]] = field(default_factory=list)
    loads: list[Load] = field(default_factory=list)

    @property
    def spans(self) -> list[tuple[float, float]]:
        """From when to when clients asked."""
        return [load.span for load in self.loads]

    def tell(self, text: str) -> None:
        """Print a line of progress."""
        print(f"{time.monotonic() - self.start_s:5.0f} s  {text}", flush=True)

    def run(self) -> dict[str, Any]:
        """Tell the story; return what was measured, as `report.build_report` takes it."""
        self._run_module(self.binaries / "python", "tools.scale.manifests")
        self.tell("both deployment files fit the schemas of Ray Serve and KServe")
        self.tell("training the model of the lessons, writing two versions of it")
        self._run_module(sys.executable, "tools.scale.model_files", str(FOLDER))
        questions = Questions(FOLDER / ANSWERS)
        cluster = Cluster(self.binaries, ROOT, FOLDER)
        with Watch(cluster.replicas) as watch:
            self.tell("starting Ray Serve on two hosts")
            cluster.start()
            cluster.deploy(version=1)
            cluster.wait_until(cluster.is_whole, "the model is not served by both hosts")
            self.tell("the model is served; asking it as lesson 2 does, with mistakes too")
            check_contract(URL, questions)
            clients = [RETRIED] if self.short else [PLAIN, RETRIED]
            for client in clients:
                self._tell_of_faults(cluster, questions, client)
            self._scale(cluster, questions)
            watch.look()
            cluster.stop()
            self.tell("scoring the test set many times with Dask, and killing a worker")
            scored = self._score()
        return {"story": self, "watch": watch, "scored": scored}

    def _run_module(self, python: str | Path, module: str, *arguments: str) -> str:
        """Run a module of this folder in one of the two environments; return its last line."""
        result = subprocess.run(
            [str(python), "-m", module, *arguments], cwd=ROOT, check=True, text=True,
            capture_output=True, timeout=MODULE_TIMEOUT_S,
        )  # fmt: skip
        return (result.stdout.splitlines() or [""])[-1]

    def _tell_of_faults(self, cluster: Cluster, questions: Questions, client: str) -> None:
        """Update and kill, while clients of one kind ask."""
        with Load(URL, questions, client, clients=CLIENTS_AT_A_TIME) as load:
            self.loads.append(load)
            with self._phase("nothing happens", client):
                time.sleep(2 if self.short else 6)
            self._update(cluster, client, "rolling update to version 2", 2)
            if not self.short:
                self._update(cluster, client, "and back to version 1", 1)
            with self._phase("a replica killed", client, cluster) as recovered:
                before = cluster.replica_names()
                cluster.kill_replica()
                # The engine calls itself whole until it has noticed.
                recovered(lambda: cluster.replica_names() != before and cluster.is_whole())
            if not self.short:
                self._silence_host(cluster, client)
            with self._phase("a host killed", client, cluster) as recovered:
                cluster.kill_host()
                recovered(lambda: cluster.hosts() == {ADDRESSES[0]})
        self._start_host_again(cluster)

    def _silence_host(self, cluster: Cluster, client: str) -> None:
        """Pull the cable. A killed host closes its connections; this one leaves clients waiting."""
        with self._phase("a host falls silent", client, cluster) as recovered:
            cluster.silence_host()
            recovered(lambda: cluster.hosts() == {ADDRESSES[0]})
        cluster.kill_host()  # the engine has given it up, and so it would not come back
        self._start_host_again(cluster)

    def _start_host_again(self, cluster: Cluster) -> None:
        self.tell("starting the second host again")
        cluster.start_second_host()
        cluster.wait_until(cluster.is_whole, "the second host is not back", 90.0)

    def _update(self, cluster: Cluster, client: str, name: str, version: int) -> None:
        load = self.loads[-1]
        with self._phase(name, client, cluster) as recovered:
            cluster.deploy(version)
            # Both: the engine calls itself whole until it has begun, and a replica that is killed
            # before the last one has started makes the whole update fail.
            recovered(
                lambda: (
                    {each.version for each in load.answers[-40:]} == {str(version)}
                    and cluster.is_whole()
                )
            )

    @contextmanager
    def _phase(
        self, name: str, client: str, cluster: Cluster | None = None
    ) -> Iterator[Callable[[Callable[[], bool]], None]]:
        """Note a phase; with a cluster, wait at its end until all is well again."""
        self.tell(f"{name}, clients {client}")
        start = time.monotonic()
        self.events.append((start, name))
        conditions: list[Callable[[], bool]] = []
        yield conditions.append
        whole = None
        if cluster is not None:
            condition = conditions[0] if conditions else cluster.is_whole
            cluster.wait_until(condition, f"{name}: not whole again")
            whole = time.monotonic() - start
            time.sleep(1.0 if self.short else 2.0)
        self.phases.append(Phase(name, client, start, whole))

    def _scale(self, cluster: Cluster, questions: Questions) -> None:
        """Let the engine choose the number of replicas: few clients, many, few."""
        cluster.deploy(version=1, autoscaling=True)
        cluster.wait_until(lambda: len(cluster.replicas()) == 1, "not scaled in to one replica")
        with Load(URL, questions, RETRIED, clients=1, period_s=0.1) as quiet:
            self.loads.append(quiet)
            with (
                self._phase("load rises, replicas are added", RETRIED),
                Load(URL, questions, RETRIED, clients=12, period_s=0.0) as busy,
            ):
                self.loads.append(busy)
                cluster.wait_until(lambda: len(cluster.replicas()) >= 3, "not scaled out")
            with self._phase("load falls, replicas go", RETRIED):
                cluster.wait_until(lambda: len(cluster.replicas()) == 1, "not scaled in again")

    def _score(self) -> dict[str, float]:
        blocks = "60" if self.short else "300"
        python = self.binaries / "python"
        return json.loads(self._run_module(python, "tools.scale.scoring", str(FOLDER), blocks))


def end_with_the_supervisor(life_s: float) -> None:
    """End this process, and with it both hosts, when the pipe to it closes or its time is over."""

    def wait() -> None:
        while os.read(0, 1):
            pass
        os._exit(1)

    def time_over() -> None:
        print(f"the run took longer than {life_s:g} s and was ended", file=sys.stderr, flush=True)
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()
    timer = threading.Timer(life_s, time_over)
    timer.daemon = True
    timer.start()


def main() -> None:
    """Run in the first host and write the report."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--binaries", type=Path, required=True)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--machine-network", required=True)
    parser.add_argument("--life-s", type=float, required=True)
    parser.add_argument("--short", action="store_true")
    given = parser.parse_args()
    end_with_the_supervisor(given.life_s)
    try:
        prepare_first_host()
        for port in PORTS.values():
            free_port(port, "127.0.0.1")
        # Ray writes commands as text and parts them at spaces: the path to it must hold none.
        environment = FOLDER / "environment"
        environment.symlink_to(given.binaries.parent)
        found = Story(environment / "bin", given.short).run()
    except subprocess.CalledProcessError as error:
        said = [str(text) for text in (error.stdout, error.stderr) if text]
        last = " ".join(said).splitlines()[-1:] or ["no message"]
        sys.exit(f"'{' '.join(error.cmd)}' ended with exit code {error.returncode}: {last[0]}")
    except (ClusterError, ContractError, OSError, subprocess.TimeoutExpired) as error:
        sys.exit(f"the run was ended: {error}")
    from tools.scale.report import (
        finish,  # pandas and Matplotlib, when nothing is measured any more
    )

    sys.exit(finish(found, given.output, given.machine_network))


if __name__ == "__main__":
    main()

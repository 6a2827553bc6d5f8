#!/usr/bin/env python3
"""What a call costs: microseconds per status call, and per warm run of a module that does nothing.

    SHOAL_BIN=target/release python3 python/bench.py [--calls N] [--json]

Starts two peers on loopback. Client, daemons and this program share the machine's cores.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import random
import sys
import time
from pathlib import Path
from typing import Any, Callable, Dict, List

sys.path.insert(0, str(Path(__file__).parent))

import shoal
from shoal.compat import LeptonAI

#: Calls before the first that counts: connections are made, modules compiled.
WARM_UP = 50


def timed(calls: int, call: Callable[[], Any]) -> Dict[str, float]:
    """Microseconds of one call: median, 99th percentile, mean."""
    for _ in range(WARM_UP):
        call()
    times: List[float] = []
    for _ in range(calls):
        began = time.perf_counter()
        call()
        times.append((time.perf_counter() - began) * 1e6)
    times.sort()
    return {"p50_us": times[calls // 2], "p99_us": times[calls * 99 // 100], "mean_us": sum(times) / calls}


async def timed_asynchronously(calls: int, client: shoal.AsyncClient) -> Dict[str, float]:
    """Microseconds of a status call of the asynchronous client."""
    times: List[float] = []
    for number in range(WARM_UP + calls):
        began = time.perf_counter()
        await client.status()
        if number >= WARM_UP:
            times.append((time.perf_counter() - began) * 1e6)
    await client.close()
    times.sort()
    return {"p50_us": times[calls // 2], "p99_us": times[calls * 99 // 100], "mean_us": sum(times) / calls}


def per_second(calls: int, concurrency: int, client: shoal.Client) -> Dict[str, float]:
    """Warm runs that do nothing, a second, with so many in flight."""
    began = time.perf_counter()
    client.map("noop", [None] * calls, concurrency=concurrency, local_only=True)
    return {"per_second": calls / (time.perf_counter() - began)}


def lepton() -> Dict[str, float]:
    """The README's example: until the mesh is up, the first `process_data` (modules are compiled), a later one."""
    chance = random.Random(7)
    data = [[chance.gauss(0, 1) for _ in range(10)] for _ in range(1_000)]
    labels = [chance.randrange(2) for _ in range(1_000)]
    began = time.perf_counter()
    with LeptonAI(num_cloud_nodes=3, num_edge_nodes=2) as mesh:
        times = [time.perf_counter() - began]
        for _ in range(11):
            began = time.perf_counter()
            mesh.process_data(data, labels, [mesh.process, mesh.transfer, mesh.compute])
            times.append(time.perf_counter() - began)
    return {"up_ms": 1e3 * times[0], "first_ms": 1e3 * times[1], "later_ms": 1e3 * sorted(times[2:])[5]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--calls", type=int, default=2_000)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    calls = max(arguments.calls, 100)
    with shoal.Mesh.start(0, 2, loopback=True) as mesh:
        client = mesh.client("edge-1")
        figures = {
            "status": timed(calls, client.status),
            "status, asynchronous": asyncio.run(timed_asynchronously(calls, shoal.AsyncClient(client.socket))),
            "noop, local": timed(calls, lambda: client.run("noop", local_only=True)),
            "noop, at a neighbour": timed(calls, lambda: client.run("noop", peer="edge-2")),
            "noop, map, 16 in flight": per_second(calls, 16, client),
        }
    figures["LeptonAI"] = lepton()
    load = os.getloadavg()[0]
    machine = f"{os.cpu_count()} cores, load {load:.1f}, Python {platform.python_version()}, {platform.machine()}"
    if arguments.json:
        print(json.dumps({"machine": machine, "calls": calls, **figures}, indent=2))
        return
    print(f"{machine}; {calls} calls each")
    for what, each in figures.items():
        print(
            f"{what:<24} "
            + "  ".join(
                f"{name.replace('_us', ' µs').replace('_ms', ' ms')} {value:,.0f}" for name, value in each.items()
            )
        )


if __name__ == "__main__":
    main()

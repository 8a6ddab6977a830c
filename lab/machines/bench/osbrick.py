# Attaches a namespace with os-brick for each line that it reads, and prints
# when connect_volume returned, in nanoseconds of the monotonic clock.
import sys
import time

import os_brick
from oslo_concurrency import lockutils
from oslo_config import cfg
from os_brick import initiator
from os_brick.initiator import connector
from os_brick.initiator.connectors import nvmeof
from os_brick.privileged import default as privileged

lockutils.set_defaults("/run/os-brick")
os_brick.setup(cfg.CONF)
# This is root already: no helper process.
privileged.set_client_mode(False)

# Debian 12's kernel adds a source address to what this version compares as a
# whole: without help it would find no live controller at all.
read_property = nvmeof.sysfs_property


def without_source(name, path):
    value = read_property(name, path)
    return value.split(",src_addr=")[0] if name == "address" and value else value


nvmeof.sysfs_property = without_source

nqn, host_nqn, nguid, *portals = sys.argv[1:]
brick = connector.InitiatorConnector.factory(
    initiator.NVME, None, use_multipath=True, device_scan_attempts=5)
print("ready", flush=True)
for _ in sys.stdin:
    device = brick.connect_volume({
        "target_nqn": nqn,
        "host_nqn": host_nqn,
        "portals": [[address, 4420, "tcp"] for address in portals],
        "volume_nguid": nguid,
        "vol_uuid": None,
    })
    print(time.monotonic_ns(), device["path"], flush=True)

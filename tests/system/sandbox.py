"""What a program may and may not do in the service's sandbox, and the program that tries."""

from __future__ import annotations

FORBIDDEN = {
    "write outside its state": "open('/etc/ecmo-daq/mine', 'w')",
    "write into its own program": "open('/opt/ecmo-daq/bin/mine', 'w')",
    "read the secrets of root": "open('/etc/ecmo-daq/credentials/influx')",
    "open a device that is no serial line": "os.open('/dev/forbidden', os.O_RDWR)",
    "speak AF_PACKET": "socket.socket(socket.AF_PACKET, socket.SOCK_RAW)",
    "speak AF_NETLINK": "socket.socket(socket.AF_NETLINK, socket.SOCK_RAW)",
    "reach an address outside private networks": "udp.sendto(b'x', ('192.0.2.1', 9))",
    "see the processes of others": "open('/proc/1/status')",
    "set the clock": "time.clock_settime(time.CLOCK_REALTIME, time.time())",
    "become another user": "os.setuid(0)",
    "trace": "ctypes.CDLL(None).ptrace(0, 0, 0, 0) == 0 or sys.exit(1)",
    "make memory that can be written and run": "mmap.mmap(-1, 4096, prot=mmap.PROT_WRITE | mmap.PROT_EXEC)",
}
ALLOWED = {
    "write its state": "open('/var/lib/ecmo-daq/mine', 'w')",
    "open a terminal": "os.open('/run/sim/pump', os.O_RDWR | os.O_NOCTTY)",
    "reach a private address": "udp.sendto(b'x', ('127.0.0.1', 9))",
    "use the null device": "os.open('/dev/null', os.O_RDWR)",
}
BEYOND_ROOT = {"become another user", "trace", "set the clock"}
"""What root does without harm to this host may be tried outside the sandbox too; these may not."""
PROBE = """\
import ctypes, json, mmap, os, socket, sys, time
udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
done = {}
for name, attempt in json.load(open("/etc/ecmo-test/attempts.json")).items():
    try:
        eval(attempt)
        done[name] = "done"
    except (OSError, SystemExit) as error:
        done[name] = str(error)
print(json.dumps(done))
"""

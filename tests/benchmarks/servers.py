"""Servers that the benchmarks ask: nginx, and one that answers after a delay."""

import collections
import os
import selectors
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager, suppress
from pathlib import Path

SHORT = (
    '{"id":"$phone","number":"+34911234567","telephony_provider":"netelip",'
    '"status":"assigned"}'
)
"""The least that a phone is; ``$phone`` is nginx's name for the id that was asked."""

FULL = (
    '{"id":"$phone","nickname":"Front desk","number":"+34911234567",'
    '"telephony_provider":"netelip","status":"assigned","released_at":null,'
    '"scheduled_release_at":null,"assigned_at":"2026-03-11T09:30:00.120000Z",'
    '"inbound_agent_id":"00000000-0000-4000-8000-00000000a001",'
    '"outbound_agent_id":"00000000-0000-4000-8000-00000000a002",'
    '"sip_config":null,"checkout_url":null,"reservation_expires_at":null,'
    '"region_codes":["ES"]}'
)
"""All 14 published fields."""

REFUSAL = '{"status":"error","error_code":"TOO_MANY_REQUESTS","message":"slow down"}'


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as listening:
        return listening.getsockname()[1]


def wait_for(port):
    for _ in range(200):
        try:
            socket.create_connection(("127.0.0.1", port)).close()
        except OSError:
            time.sleep(0.02)
        else:
            return
    sys.exit("the server did not start")


def cores():
    """Return one core for the servers and one for the clients; None where unknown."""
    if not hasattr(os, "sched_getaffinity"):
        return None, None
    usable = sorted(os.sched_getaffinity(0))
    return (usable[0], usable[-1]) if len(usable) > 1 else (None, None)


@contextmanager
def on_core(core):
    """Start processes in this block, and they stay on that core."""
    if core is None:
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


NGINX = """
worker_processes 1; pid {folder}/pid; error_log {folder}/error.log; daemon off;
events {{ worker_connections 8192; }}
http {{
  access_log off; keepalive_requests 100000000; keepalive_timeout 3600s;
  client_body_temp_path {folder}/1; proxy_temp_path {folder}/2;
  fastcgi_temp_path {folder}/3; uwsgi_temp_path {folder}/4; scgi_temp_path {folder}/5;
  {zone}
  server {{
    listen 127.0.0.1:{port} backlog=4096; default_type application/json;
    {limit}
    location ~ "^/v1/phone/(?<phone>[0-9a-f-]+)$" {{ try_files /none @phone; }}
    location @phone {{ return 200 '{body}'; }}
  }}
}}
"""
ZONE = "limit_req_zone $server_port zone=all:1m rate={rate}r/s;"
LIMIT = """limit_req zone=all burst={burst} nodelay; limit_req_status 429;
    error_page 429 @refused;
    location @refused {{ {retry_after} return 429 '{refusal}'; }}
"""


def find_nginx():
    """Return where nginx is, or None."""
    return shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")


@contextmanager
def nginx(limit=None, *, body=SHORT, core=None):
    """
    Run nginx; yield its address.

    Args:
        limit: Options of limit_req; None when there is no limit.
        body: What it answers.
        core: Where it runs.
    """
    program = find_nginx()
    if program is None:
        sys.exit("nginx is missing; on Debian: apt-get install nginx-light")
    with tempfile.TemporaryDirectory() as folder:
        port = free_port()
        config = Path(folder, "nginx.conf")
        config.write_text(nginx_config(folder, port, limit, body))
        with on_core(core):
            process = subprocess.Popen([program, "-c", str(config)])
        with process:
            wait_for(port)
            try:
                yield f"http://127.0.0.1:{port}"
            finally:
                process.terminate()


def nginx_config(folder, port, limit, body):
    zone = rules = ""
    if limit is not None:
        header = f'add_header Retry-After "{limit["retry_after"]}" always;'
        zone = ZONE.format_map(limit)
        rules = LIMIT.format(
            burst=limit["burst"],
            retry_after=header if limit["retry_after"] else "",
            refusal=REFUSAL,
        )
    return NGINX.format(folder=folder, port=port, zone=zone, limit=rules, body=body)


# --- a small server

BEFORE, AFTER = FULL.encode().split(b"$phone")
HEAD = (
    b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
)


class Small:
    """
    Answers each request with a phone after a delay exact to microseconds.

    Timers are late by up to a millisecond, and an event loop that is busy with
    answers reads late: at 20 ms these would be the largest errors of all. So this is
    one bare loop, and it spins while something is due, on its own core.
    """

    def __init__(self, delay):
        self.delay = delay
        self.due = collections.deque()
        self.ready = selectors.DefaultSelector()
        self.listening = socket.create_server(("127.0.0.1", 0), backlog=1024)
        self.ready.register(self.listening, selectors.EVENT_READ, self.accept)

    def serve(self):
        while True:
            for key, _ in self.ready.select(0 if self.due else None):
                key.data(key.fileobj)
            while self.due and self.due[0][0] <= time.perf_counter():
                _, connection, answer = self.due.popleft()
                with suppress(OSError):  # it was left
                    connection.send(answer)

    def accept(self, listening):
        connection, _ = listening.accept()
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.ready.register(connection, selectors.EVENT_READ, self.read)

    def read(self, connection):
        due = time.perf_counter() + self.delay
        asked = b""
        with suppress(OSError):  # it was reset
            asked = connection.recv(1 << 16)
        if not asked:
            self.ready.unregister(connection)
            connection.close()
            return
        phone = BEFORE + asked.split(b" ", 2)[1].rsplit(b"/", 1)[-1] + AFTER
        self.due.append((due, connection, HEAD % len(phone) + phone))


@contextmanager
def small(delay=0.0, core=None):
    """Run the small server in another process; yield its address."""
    command = [sys.executable, __file__, str(delay)]
    with on_core(core):
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    with process:
        try:
            yield f"http://127.0.0.1:{process.stdout.readline().strip()}"
        finally:
            process.terminate()


if __name__ == "__main__":
    server = Small(float(sys.argv[1]))
    print(server.listening.getsockname()[1], flush=True)
    server.serve()

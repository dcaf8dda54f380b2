#!/usr/bin/env python3
"""The fleet's page and 200 simulated devices, with MQTT 3.1.1, on three nats-server nodes on loopback, one of which is killed:
prints the results, and fails if the page does not survive it.

    tests/proofs/cluster.py

Needs root; installs Debian's nats-server and chromium, and nodejs and npm if there are none.
"""

import os, shutil, subprocess, sys, tempfile, time

from ports import free_ports

ROOT = os.path.abspath(f"{os.path.dirname(os.path.abspath(__file__))}/../..")


# The page also needs to subscribe to `fleet`, because `fleet/#` includes it, and to $MQTT.sub.
CONFIGURATION = """
server_name: n{at}
listen: 127.0.0.1:{client}
jetstream {{ store_dir: "{directory}/js{at}", max_mem: 128M, max_file: 1G }}
cluster {{ name: fleet, listen: 127.0.0.1:{route}, routes: [{routes}] }}
mqtt {{ listen: 127.0.0.1:{mqtt} }}
websocket {{ listen: 127.0.0.1:{web}, no_tls: true }}
accounts {{
  FLEET {{
    jetstream: enabled
    users: [
      {{ user: sim, password: sim, permissions: {{ publish: ["fleet.>", "$MQTT.>"], subscribe: ["fleet", "fleet.>", "$MQTT.>"] }} }}
      {{ user: page, password: page, permissions: {{ publish: ["$MQTT.>"], subscribe: ["fleet", "fleet.>", "$MQTT.>"] }} }}
    ]
  }}
  SYS {{ users: [ {{ user: admin, password: admin }} ] }}
}}
system_account: SYS
log_file: "{directory}/n{at}.log"
"""


def main():
    missing = ["nats-server", "chromium"] + [{"node": "nodejs"}.get(name, name) for name in ("node", "npm") if not shutil.which(name)]
    subprocess.run([f"{ROOT}/tests/lab/lab.sh", "install", *missing], check=True)
    subprocess.run(["npm", "ci", "--no-audit", "--no-fund", "--ignore-scripts", "--silent"], cwd=f"{ROOT}/deploy/fleet", check=True)
    directory = tempfile.mkdtemp(prefix="alm-cluster-")
    client, route, mqtt, web = (free_ports(3) for _ in range(4))
    nodes, page, code = [], None, 1
    try:
        for at in range(3):
            routes = ", ".join(f"nats://127.0.0.1:{port}" for port in route)
            with open(f"{directory}/n{at}.conf", "w") as file:
                file.write(CONFIGURATION.format(at=at, directory=directory, client=client[at], route=route[at], routes=routes, mqtt=mqtt[at], web=web[at]))
            nodes.append(subprocess.Popen(["nats-server", "-c", f"{directory}/n{at}.conf"]))
        # The nodes must elect a leader first.
        time.sleep(8)
        print(subprocess.run(["nats-server", "--version"], stdout=subprocess.PIPE, text=True, check=True).stdout.strip(), flush=True)
        ports = [",".join(map(str, of)) for of in (mqtt, web)]
        page = subprocess.Popen(["node", f"{ROOT}/tests/page/cluster.mjs", *ports], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for line in page.stdout:
            if line.strip() != "kill":
                print(line, end="", flush=True)
                continue
            nodes[0].kill()
            nodes[0].wait()
            print("kill -9 of the node that the page was on", flush=True)
            page.stdin.write("killed\n")
            page.stdin.flush()
        code = page.wait()
    finally:
        for process in [page, *nodes]:
            if process and process.poll() is None:
                process.kill()
                process.wait()
        shutil.rmtree(directory)
    sys.exit(code)


main()

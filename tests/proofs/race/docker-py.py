"""A pull as it is done with docker's library for Python, every event printed: docker-py.py SOCKET IMAGE"""

import json
import sys

import docker

client = docker.APIClient(base_url="unix://" + sys.argv[1])
for event in client.pull(sys.argv[2], stream=True, decode=True):
    print(json.dumps(event), flush=True)

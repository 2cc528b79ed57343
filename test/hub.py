# SPDX-License-Identifier: Apache-2.0
"""A Hugging Face hub of one repository on this machine, with the faults that a network has."""

import hashlib
import http.server
import json
import re
import threading
from contextlib import contextmanager

COMMIT = '0123456789abcdef0123456789abcdef01234567'


class Hub:
    """What the server serves, how it misbehaves, and what was asked of it."""

    def __init__(self):
        """Serve nothing, faultlessly."""
        self.files = {}  # name -> content
        self.status = None  # answer everything with this code
        self.cuts = []  # close the next downloads after so many bytes
        self.sent_instead = None  # content to send in place of the announced one
        self.stall = None  # (event to set, event to wait for) in the middle of a download
        self.requests = []  # (method, file, range header)
        self.endpoint = ''

    def downloads(self):
        """Return the range header (or None) of every GET of a file so far."""
        return [s for method, name, s in self.requests if method == 'GET' and name in self.files]


class _Handler(http.server.BaseHTTPRequestHandler):
    hub: Hub

    def do_HEAD(self):
        self._answer()

    def do_GET(self):
        self._answer()

    def log_message(self, *_):
        pass

    def _answer(self):
        hub, name = self.hub, self.path.split('?')[0].rpartition('/')[2]
        span = self.headers.get('Range')
        hub.requests.append((self.command, name, span))
        if hub.status:
            return self.send_error(hub.status)
        if '/api/models/' in self.path:
            return self._send_list()
        places = {f'/resolve/{revision}/{name}' for revision in ('main', COMMIT)}
        if not any(place in self.path for place in places) or name not in hub.files:
            self.send_response(404)
            self.send_header('X-Error-Code', 'EntryNotFound')
            self.send_header('Content-Length', '0')
            return self.end_headers()
        content = hub.files[name]
        digest = hashlib.sha256(content).hexdigest()
        if self.command == 'GET' and hub.sent_instead is not None:
            content = hub.sent_instead
        first = int(re.match(r'bytes=(\d+)-', span).group(1)) if span else 0
        self.send_response(206 if span else 200)
        self.send_header('ETag', f'"{digest}"')
        self.send_header('X-Repo-Commit', COMMIT)
        self.send_header('Accept-Ranges', 'bytes')
        self.send_header('Content-Length', str(len(content) - first))
        if span:
            self.send_header('Content-Range', f'bytes {first}-{len(content) - 1}/{len(content)}')
        self.end_headers()
        if self.command == 'GET':
            self._send(content[first:])

    def _send_list(self):
        """Answer what the repository holds, in both ways that are asked for."""
        files = self.hub.files
        if '/tree/' in self.path:
            listed = [
                {'type': 'file', 'path': name, 'size': len(files[name]), 'oid': COMMIT}
                for name in files
            ]
        else:
            siblings = [{'rfilename': name} for name in files]
            listed = {'id': 'a/b', 'sha': COMMIT, 'private': False, 'siblings': siblings}
        body = json.dumps(listed).encode()
        self.send_response(200)
        self.send_header('Content-Type', 'application/json')
        self.send_header('Content-Length', str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _send(self, content):
        if self.hub.stall:
            reached, go_on = self.hub.stall
            self.wfile.write(content[: len(content) // 2])
            reached.set()
            go_on.wait(60)
            self.close_connection = True
        elif self.hub.cuts:
            self.wfile.write(content[: self.hub.cuts.pop(0)])
            self.close_connection = True
        else:
            self.wfile.write(content)


@contextmanager
def running():
    """Run a hub on a free port of this machine; yield it."""
    hub = Hub()
    handler = type('Handler', (_Handler,), {'hub': hub})
    with http.server.ThreadingHTTPServer(('127.0.0.1', 0), handler) as server:
        hub.endpoint = f'http://127.0.0.1:{server.server_port}'
        thread = threading.Thread(target=server.serve_forever, kwargs={'poll_interval': 0.05})
        thread.start()
        try:
            yield hub
        finally:
            server.shutdown()
            thread.join()

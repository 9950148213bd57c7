"""A real HTTP server on loopback that answers as a test tells it to."""

import contextlib
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Endpoint:
    """Serves `/v1/…`; `script(path, body)` gives a JSON value, or `(status, headers, text)`."""

    def __init__(self, script):
        self.script = script
        self.asked, self.answered = [], []
        endpoint = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self):
                self.answer(None)

            def do_POST(self):
                self.answer(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))

            def answer(self, body):
                path = self.path.removeprefix("/v1")
                endpoint.asked.append((path, body, self.headers.get("Authorization")))
                outcome = endpoint.script(path, body)
                status, headers, text = outcome if isinstance(outcome, tuple) else (200, {}, json.dumps(outcome))
                with contextlib.suppress(OSError):  # the client may be gone
                    self.send_response(status)
                    for name, value in {"Content-Type": "application/json", **headers}.items():
                        self.send_header(name, value)
                    self.send_header("Content-Length", str(len(text.encode())))
                    self.end_headers()
                    self.wfile.write(text.encode())
                    endpoint.answered.append((path, body))

            def log_message(self, *args):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_port}/v1"
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()

    def close(self):
        self.server.shutdown()
        self.server.server_close()


def said(*texts, finish="stop", tokens=(10, 5)):
    """A chat reply with these texts."""
    choices = [{"index": i, "message": {"content": text}, "finish_reason": finish} for i, text in enumerate(texts)]
    return {"choices": choices, "usage": {"prompt_tokens": tokens[0], "completion_tokens": tokens[1]}}


def failed(status, text="no", code=None, **headers):
    """An error as OpenAI words it."""
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    return status, names, json.dumps({"error": {"message": text, "code": code, "type": "error"}})

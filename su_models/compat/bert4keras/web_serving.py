"""bert4keras' small web server for functions of text."""

import http.server
import json
import urllib.parse

from su_models.utils.checks import check_choice


class WebServing:
    """Serves functions as addresses that return JSON, for demonstrations.

    It uses Python's own server, and handles one request after the other.

        web = WebServing(port=8864)
        arguments = {"text": (None, True), "n": (int, False)}
        web.route("/similar", similar, arguments)
        web.start()

    Then `http://127.0.0.1:8864/similar?text=...` returns `{"code": 0, "desc":
    "succeeded", "data": similar(text=...)}`. The code is 1 if an argument is
    missing, and 2 if the function raises an error.

    Args:
        host: str. Address to listen on. Defaults to all of the machine.
        port: int. 0 for any free one.
        server: ignored; bert4keras chooses a server of bottle by it.
    """

    def __init__(self, host="0.0.0.0", port=8000, server=None):
        self.routes = {}
        routes = self.routes

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):  # noqa: N802
                address = urllib.parse.urlsplit(self.path)
                self.answer("GET", address.path, address.query)

            def do_POST(self):  # noqa: N802
                size = int(self.headers.get("Content-Length", 0))
                form = self.rfile.read(size).decode("utf-8")
                self.answer("POST", urllib.parse.urlsplit(self.path).path, form)

            def answer(self, method, path, query):
                if (method, path) not in routes:
                    self.send_error(404)
                    return
                fields = dict(urllib.parse.parse_qsl(query))
                body = routes[method, path](fields).encode("utf-8")
                self.send_response(200)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *args):
                pass

        self.httpd = http.server.HTTPServer((host, port), Handler)

    def wraps(self, func, arguments, method="GET"):
        """Returns a function from a dict of str to a JSON text.

        Args:
            func: function whose result can be JSON.
            arguments: dict from names of its arguments to pairs: a function
                that converts the str, or None; and whether it is required.
            method: "GET" or "POST".
        """
        check_choice("method", method, ("GET", "POST"))

        def answer(fields):
            code, desc, data = 0, "succeeded", {}
            try:
                kwargs = {}
                for name, (convert, required) in arguments.items():
                    if name in fields:
                        value = fields[name]
                        kwargs[name] = convert(value) if convert else value
                    elif required:
                        code, desc = 1, f'lack of "{name}" argument'
                if not code:
                    data = func(**kwargs)
                return _json(code, desc, data)
            except Exception as error:  # the user's function may raise any
                return _json(2, str(error), {})

        return answer

    def route(self, path, func, arguments, method="GET"):
        """Serves a function at a path; see `wraps`."""
        self.routes[method, path] = self.wraps(func, arguments, method)

    def start(self):
        """Answers requests until the process ends or `httpd.shutdown()`."""
        self.httpd.serve_forever()


def _json(code, desc, data):
    answer = {"code": code, "desc": desc, "data": data}
    return json.dumps(answer, ensure_ascii=False)

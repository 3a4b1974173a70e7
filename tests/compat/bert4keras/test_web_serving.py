import json
import threading
import urllib.error
import urllib.parse
import urllib.request

import pytest

from su_models.compat.bert4keras.web_serving import WebServing

OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def repeat(text, n=1):
    return [text] * n


@pytest.fixture
def address():
    web = WebServing("127.0.0.1", 0)
    arguments = {"text": (None, True), "n": (int, False)}
    web.route("/get", repeat, arguments)
    web.route("/post", repeat, arguments, method="POST")
    thread = threading.Thread(target=web.start)
    thread.start()
    host, port = web.httpd.server_address
    yield f"http://{host}:{port}"
    web.httpd.shutdown()
    thread.join()
    web.httpd.server_close()


def ask(address, fields, post=False):
    query = urllib.parse.urlencode(fields)
    url, body = (
        (address, query.encode()) if post else (f"{address}?{query}", None)
    )
    with OPENER.open(url, body) as answer:
        return json.load(answer)


def test_answers(address):
    answer = ask(f"{address}/get", {"text": "你好", "n": 2, "other": 3})
    assert answer == {"code": 0, "desc": "succeeded", "data": ["你好"] * 2}
    answer = ask(f"{address}/post", {"text": "你好"}, post=True)
    assert answer["data"] == ["你好"]


def test_errors(address):
    assert ask(f"{address}/get", {"n": 2})["code"] == 1
    answer = ask(f"{address}/get", {"text": "a", "n": "x"})
    assert answer["code"] == 2 and "x" in answer["desc"]
    with pytest.raises(urllib.error.HTTPError, match="404") as error:
        ask(f"{address}/none", {})
    error.value.close()


def test_results_that_are_no_json_are_an_error():
    web = WebServing("127.0.0.1", 0)
    answer = web.wraps(lambda: {1, 2}, {})
    assert json.loads(answer({}))["code"] == 2
    with pytest.raises(ValueError, match="Received: method='PUT'"):
        web.wraps(repeat, {}, method="PUT")
    web.httpd.server_close()

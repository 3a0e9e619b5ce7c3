"""The service around the record: health, request ids, logs, limits, CORS, documentation, a graceful stop."""

import json
import re
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.arrange import BASE, World, fresh, record, refused
from tests.conftest import Service, start_service


@pytest.fixture
def world(service: Service) -> World:
    return World(service)


@pytest.fixture
def own_service(tmp_path: Path) -> Iterator[Service]:
    """A service with settings of its own, on a fresh SQLite file."""
    settings = {
        "MILEPOST_CORS_ORIGINS": "https://app.example, https://admin.example",
        "MILEPOST_MAX_BODY": "2000",
        "MILEPOST_LOG_FORMAT": "json",
    }
    with start_service(f"sqlite:///{tmp_path / 'milepost.db'}", tmp=tmp_path, extra_env=settings) as running:
        yield running


class TestHealth:
    def test_live_and_ready_answer_without_credentials(self, service: Service) -> None:
        with service.client() as client:
            assert client.get("/health/live").json() == {"status": "live"}
            assert client.get("/health/ready").json() == {"status": "ready"}


class TestRequestIds:
    def test_every_answer_has_a_request_id(self, service: Service) -> None:
        with service.client() as client:
            first, second = client.get("/health/live"), client.get("/health/live")

        assert first.headers["x-request-id"] != second.headers["x-request-id"]

    def test_a_request_id_that_was_sent_is_kept(self, service: Service) -> None:
        with service.client() as client:
            answer = client.get(f"{BASE}/nothing", headers={"X-Request-Id": "trace-42"})

        assert answer.headers["x-request-id"] == "trace-42"
        assert answer.json()["requestId"] == "trace-42"

    @pytest.mark.parametrize("sent", ["x" * 129, "with space", "é".encode(), ""])
    def test_a_request_id_that_would_spoil_a_log_is_replaced(self, service: Service, sent: str) -> None:
        with service.client() as client:
            answer = client.get("/health/live", headers={"X-Request-Id": sent})

        assert re.fullmatch(r"[0-9a-f-]{36}", answer.headers["x-request-id"])


class TestErrors:
    def test_a_path_that_is_not_there(self, service: Service) -> None:
        with service.client() as client:
            refused(client.get(f"{BASE}/user/x/properties"), 404, "no_such_path")

    def test_a_method_that_is_not_there_is_refused_with_those_that_are(self, world: World) -> None:
        answer = world.user.post(world.path)

        refused(answer, 405, "method_not_allowed")
        assert {"GET", "PUT", "PATCH", "DELETE"} <= set(answer.headers["allow"].split(", "))

    @pytest.mark.parametrize(
        "body", [b"", b"{", b"[1,]", b'{"a":1,"a":2}', b'"\\ud800"', b'{"a":NaN}', b"\xff", b"[" * 5000, b"null x"]
    )
    def test_a_body_that_is_not_json_is_refused(self, world: World, body: bytes) -> None:
        refused(world.user.put(world.path, content=body), 400, "malformed_json")

    @pytest.mark.parametrize("body", [b"null", b"[]", b"1", b'"text"'])
    def test_a_body_that_is_no_object_is_refused(self, world: World, body: bytes) -> None:
        refused(world.user.put(world.path, content=body), 400, "invalid_body")

    def test_a_body_of_another_media_type_is_refused(self, world: World) -> None:
        answer = world.user.put(world.path, content=b"<a/>", headers={"Content-Type": "application/xml"})

        refused(answer, 415, "unsupported_media_type")

    def test_a_charset_other_than_utf_8_is_refused(self, world: World) -> None:
        headers = {"Content-Type": "application/json; charset=latin-1"}

        refused(world.user.put(world.path, json=None, content=b"{}", headers=headers), 415, "unsupported_media_type")

    def test_a_list_that_is_too_long_is_refused(self, world: World) -> None:
        body = record(world.user_id, guidedChecklist={
            "track": "A", "computedAt": "2026-03-01T10:00:00Z", "productInterests": ["x"] * 501,
        })  # fmt: skip

        problem = refused(world.user.put(world.path, json=body), 400, "invalid_body")

        assert problem["errors"][0]["pointer"] == "/guidedChecklist/productInterests"

    @pytest.mark.parametrize("query", ["orgId=a&orgId=b", "orgId=", "orgId=%FF", "orgid=a", "orgId=a&x=1", "%"])
    def test_a_query_that_is_not_meant_is_refused(self, world: World, query: str) -> None:
        refused(world.user.get(f"{world.path}?{query}"), 400, "invalid_parameter")


class TestLimits:
    def test_a_body_that_is_too_large_is_refused(self, own_service: Service) -> None:
        world = World(own_service)
        body = json.dumps(record(world.user_id, attributes={"text": "x" * 2000})).encode()

        for content in (body, iter([body[:1000], body[1000:]])):
            problem = refused(world.user.put(world.path, content=content), 413, "body_too_large")
            assert "2,000 bytes" in problem["detail"]

    def test_a_body_within_the_limit_is_stored(self, own_service: Service) -> None:
        world = World(own_service)

        assert world.store(attributes={"text": "x" * 1500}).status_code == 200


class TestCors:
    def test_an_origin_from_the_settings_may_call(self, own_service: Service) -> None:
        with own_service.client() as client:
            answer = client.options(
                f"{BASE}/users/x/properties",
                headers={
                    "Origin": "https://app.example",
                    "Access-Control-Request-Method": "PUT",
                    "Access-Control-Request-Headers": "authorization,if-match",
                },
            )

        assert answer.status_code == 204
        assert answer.headers["access-control-allow-origin"] == "https://app.example"
        assert "PUT" in answer.headers["access-control-allow-methods"]

    def test_its_page_can_read_the_etag(self, own_service: Service) -> None:
        world = World(own_service)
        world.store()

        answer = world.read(Origin="https://admin.example")

        assert "ETag" in answer.headers["access-control-expose-headers"]

    def test_another_origin_may_not(self, own_service: Service) -> None:
        with own_service.client() as client:
            answer = client.get("/health/live", headers={"Origin": "https://elsewhere.example"})

        assert answer.headers.get("access-control-allow-origin") != "https://elsewhere.example"

    def test_without_the_setting_nobody_may(self, service: Service) -> None:
        with service.client() as client:
            answer = client.get("/health/live", headers={"Origin": "https://app.example"})

        assert "access-control-allow-origin" not in answer.headers


class TestLogs:
    def test_a_request_is_one_line_that_names_its_route_and_not_the_person(self, own_service: Service) -> None:
        world = World(own_service)
        world.user_id = fresh("jane.doe")
        world.user = world.as_user(world.user_id)
        stored = world.store(attributes={"secret": "hunter2"})

        line = logged(own_service, stored.headers["x-request-id"])

        assert line["event"] == "request"
        assert line["route"] == f"{BASE}/users/{{user_id}}/properties"
        assert (line["method"], line["status"], line["level"]) == ("PUT", 200, "info")

    def test_no_token_and_no_personal_data_is_in_the_log(self, own_service: Service) -> None:
        world = World(own_service)
        world.user_id = fresh("jane.doe")
        token = own_service.token(world.user_id)
        world.user = own_service.client(token)
        world.store(attributes={"secret": "hunter2"})
        world.user.put(world.path, content=b'{"userId": "hunter2"')
        last = own_service.client(token + "x").get(world.path, params={"orgId": "acme-hunter2"})

        logged(own_service, last.headers["x-request-id"])
        log = own_service.log.read_text()

        assert not [secret for secret in (world.user_id, token, "hunter2") if secret in log]


def logged(service: Service, request_id: str) -> dict[str, object]:
    """The line of the log about a request; it is written after the answer, so it is waited for."""
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        for text in service.log.read_text().splitlines():
            line: dict[str, object] = json.loads(text)
            if line.get("request_id") == request_id:
                return line
        time.sleep(0.01)
    pytest.fail(f"request {request_id} is not in the log")


class TestDocumentation:
    def test_the_openapi_document_is_3_1_and_served(self, service: Service) -> None:
        with service.client() as client:
            document = client.get("/openapi.json").json()

        assert document["openapi"].startswith("3.1")
        assert f"{BASE}/users/{{userId}}/properties" in document["paths"]

    def test_docs_loads_nothing_from_elsewhere(self, service: Service) -> None:
        with service.client() as client:
            page = client.get("/docs")
            loaded = re.findall(r'(?:src|href)="([^"]+)"', page.text)

            assert page.status_code == 200
            assert len(loaded) == 4
            assert all(client.get(path).status_code == 200 for path in loaded)


class TestStop:
    def test_a_stop_answers_what_was_accepted(self, tmp_path: Path) -> None:
        service = start_service(f"sqlite:///{tmp_path / 'milepost.db'}", tmp=tmp_path)
        world = World(service)
        body = json.dumps(record(world.user_id)).encode()
        host, port = service.base_url.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port))) as connection:
            head = (
                f"PUT {world.path} HTTP/1.1\r\nHost: {host}\r\nContent-Length: {len(body)}\r\n"
                f"Authorization: {world.user.headers['authorization']}\r\nConnection: close\r\n\r\n"
            )
            connection.sendall(head.encode() + body[:10])
            stopping = threading.Thread(target=service.stop)
            stopping.start()
            wait_until_refused(host, int(port))
            connection.sendall(body[10:])
            answer = b"".join(iter(lambda: connection.recv(65536), b""))
            stopping.join()

        assert answer.startswith(b"HTTP/1.1 200")


def wait_until_refused(host: str, port: int) -> None:
    """Wait until the service takes no new connections: it is stopping."""
    for _ in range(2000):
        try:
            httpx.get(f"http://{host}:{port}/health/live", timeout=0.5, trust_env=False)
        except httpx.TransportError:
            return
    pytest.fail("the service goes on taking connections")

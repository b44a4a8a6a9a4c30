"""JWTs: what is taken, and every forgery that is not."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from dolgo.api.access import keys
from dolgo.api.access.jwts import Jwts, Trust
from dolgo.errors import BadSetting, NotReady, Unauthorized
from dolgo.task.tokens import Scope

pytestmark = pytest.mark.anyio

SECRET = "s" * 64
RSA = [rsa.generate_private_key(65537, 2048) for _ in range(2)]


def claims(**changes: Any) -> dict[str, Any]:
    return {"sub": "ann", "exp": time.time() + 600, "scope": "read submit unheard", **changes}


def jwk(kid: str, key: rsa.RSAPrivateKey) -> dict[str, Any]:
    return {**json.loads(jwt.algorithms.RSAAlgorithm.to_jwk(key.public_key())), "kid": kid, "use": "sig"}


class Issuer:
    """Serves keys, or whatever else a test wants."""

    def __init__(self) -> None:
        self.status, self.body, self.asked = 200, b'{"keys": []}', 0
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.server_port}/keys"

    def give(self, *jwks: dict[str, Any]) -> None:
        self.body = json.dumps({"keys": jwks}).encode()

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def _handler(issuer) -> type[BaseHTTPRequestHandler]:
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                issuer.asked += 1
                self.send_response(issuer.status)
                self.send_header("Location", issuer.url + "2")
                self.end_headers()
                self.wfile.write(issuer.body)

            def log_message(self, *args: Any) -> None:
                pass

        return Handler


@pytest.fixture
def issuer() -> Iterator[Issuer]:
    served = Issuer()
    yield served
    served.close()


async def test_a_jwt_of_the_shared_key_names_its_caller() -> None:
    token = jwt.encode(claims(dolgo_queues=["mail"]), SECRET, "HS256")
    caller = await Jwts(Trust(key=SECRET)).caller(token)
    assert (caller.who, caller.scopes, caller.queues) == ("jwt/ann", {Scope.READ, Scope.SUBMIT}, {"mail"})


@pytest.mark.parametrize(
    "token",
    [
        jwt.encode(claims(), "x" * 40, "HS256"),
        jwt.encode(claims(exp=time.time() - 60), SECRET, "HS256"),
        jwt.encode(claims(nbf=time.time() + 600), SECRET, "HS256"),
        jwt.encode({"sub": "ann"}, SECRET, "HS256"),
        jwt.encode(claims(sub="a\nb"), SECRET, "HS256"),
        jwt.encode(claims(aud="another"), SECRET, "HS256"),
        jwt.encode(claims(scope=["admin"]), SECRET, "HS256"),
        jwt.encode(claims(dolgo_queues="mail"), SECRET, "HS256"),
        jwt.encode(claims(), SECRET, "HS256", headers={"crit": ["exp"], "exp": 1}),
        jwt.encode(claims(), None, "none"),
        jwt.encode(claims(), RSA[0], "RS256", headers={"kid": "a"}),
        "a.b.c",
        "...",
        "",
        "e30.e30.",
    ],
)
async def test_what_is_forged_over_or_malformed_is_refused(token: str) -> None:
    with pytest.raises(Unauthorized) as refused:
        await Jwts(Trust(key=SECRET)).caller(token)
    assert not token or token not in refused.value.detail


async def test_one_that_never_expires_to_speak_of_is_taken() -> None:
    assert (await Jwts(Trust(key=SECRET)).caller(jwt.encode(claims(exp=10**400), SECRET, "HS256"))).name == "ann"


async def test_credentials_of_the_address_of_keys_are_not_logged(issuer: Issuer, caplog: pytest.LogCaptureFixture) -> None:
    issuer.status = 500
    jwts = Jwts(Trust(jwks_url=issuer.url.replace("http://", "http://user:hunter2@") + "?token=hunter2"))
    with pytest.raises(NotReady):
        await jwts.caller(jwt.encode(claims(), RSA[0], "RS256", headers={"kid": "a"}))
    assert "user:***@127.0.0.1" in caplog.text
    assert "hunter2" not in caplog.text


async def test_audience_issuer_and_algorithm_are_minded() -> None:
    jwts = Jwts(Trust(key=SECRET, audience="dolgo", issuer="me", algorithms=("HS256",)))
    good = claims(aud="dolgo", iss="me")
    assert (await jwts.caller(jwt.encode(good, SECRET, "HS256"))).name == "ann"
    for token in (
        jwt.encode(claims(iss="me"), SECRET, "HS256"),
        jwt.encode({**good, "iss": "you"}, SECRET, "HS256"),
        jwt.encode(good, SECRET, "HS384"),
    ):
        with pytest.raises(Unauthorized):
            await jwts.caller(token)


async def test_one_that_was_taken_is_refused_once_it_has_expired() -> None:
    now = [time.time()]
    jwts = Jwts(Trust(key=SECRET), clock=lambda: now[0])
    token = jwt.encode(claims(exp=now[0] - 5), SECRET, "HS256")  # within the leeway
    assert (await jwts.caller(token)).name == "ann"
    with pytest.raises(Unauthorized):
        await Jwts(Trust(key=SECRET)).caller(jwt.encode(claims(exp=now[0] - 11), SECRET, "HS256"))


async def test_keys_are_rotated_and_an_unknown_one_is_asked_for_now_and_then(issuer: Issuer) -> None:
    now = [0.0]
    jwts = Jwts(Trust(jwks_url=issuer.url), monotonic=lambda: now[0])
    old, new = (jwt.encode(claims(), key, "RS256", headers={"kid": kid}) for kid, key in zip("ab", RSA, strict=True))
    issuer.give(jwk("a", RSA[0]))
    assert (await jwts.caller(old)).name == "ann"
    for _ in range(5):
        with pytest.raises(Unauthorized):
            await jwts.caller(new)
    assert issuer.asked == 1
    issuer.give(jwk("b", RSA[1]))
    now[0] += keys.PAUSE
    assert (await jwts.caller(new)).name == "ann"
    assert issuer.asked == 2
    with pytest.raises(Unauthorized):
        await jwts.caller(old)


async def test_a_public_key_is_no_shared_secret(issuer: Issuer) -> None:
    """An HS256 signature made with the bytes of the public key, which everybody knows."""
    issuer.give(jwk("a", RSA[0]))
    pem = RSA[0].public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    parts = (b'{"alg":"HS256","kid":"a"}', json.dumps(claims()).encode())
    head = b".".join(map(jwt.utils.base64url_encode, parts))
    signature = jwt.algorithms.HMACAlgorithm(jwt.algorithms.HMACAlgorithm.SHA256).sign(head, pem)
    token = (head + b"." + jwt.utils.base64url_encode(signature)).decode()
    for kid in ("a", "../../dev/null", "/etc/passwd", "http://evil.example/k"):
        other = jwt.encode(claims(), SECRET, "HS256", headers={"kid": kid})
        for sent in (token, other):
            with pytest.raises(Unauthorized):
                await Jwts(Trust(jwks_url=issuer.url)).caller(sent)
    with pytest.raises(BadSetting):
        Jwts(Trust(key=pem.decode()))


@pytest.mark.parametrize(("status", "body"), [(302, b""), (500, b""), (200, b"x" * (keys.MOST_BYTES + 1)), (200, b"{}")])
async def test_an_issuer_that_answers_nonsense_is_not_waited_for_nor_followed(issuer: Issuer, status: int, body: bytes) -> None:
    issuer.status, issuer.body = status, body
    token = jwt.encode(claims(), RSA[0], "RS256", headers={"kid": "a"})
    with pytest.raises(NotReady):
        await Jwts(Trust(jwks_url=issuer.url)).caller(token)
    assert issuer.asked == 1


@pytest.mark.parametrize("url", ["http://id.example.org/keys", "http://10.0.0.1/keys"])
def test_keys_are_not_fetched_in_the_clear(url: str) -> None:
    with pytest.raises(BadSetting):
        Jwts(Trust(jwks_url=url))

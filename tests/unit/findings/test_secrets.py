"""What looks like a secret: names and values, also some that no user reported."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from buildlib.findings.secrets import has_credentials, is_token, looks_secret, tokens_in

# Written in halves: whoever looks for secrets in this repository should find none.
GITHUB = "ghp_" + "a1b2c3" * 7
AWS = "AKIA" + "ABCDEFGH12345678"
FINGERPRINT = "7169605F62C751356D054A26A821E680E5FA6305"
HARMLESS = [
    f"GPG_KEY={FINGERPRINT}",
    f"GPG_KEYS=0x{FINGERPRINT} {FINGERPRINT[:16]}",
    f"RELEASE_SIGNING_KEYS={FINGERPRINT},{FINGERPRINT}",
    "GPG_KEYS=SHA256:uNiVztksCsDhcc0u9e8BrrQXVUpWQ4zR",
    *("MAX_TOKENS=4096", "TOKENS=3", "TOKEN_TTL=5m", "TOKEN_LIFETIME=1h30m", "TOKENS_PER_USER=10k"),
    *("POSTGRES_PASSWORD_FILE=/run/secrets/db", "PGPASSWORD_FILE=/x", "SSL_PRIVATE_KEY=/etc/ssl/k"),
    *("AUTH_URL=https://idp.example", "AUTH_ENABLED=true", "AUTH=basic", "SMTP_AUTH=cram-md5"),
    *("PASSWORD_MIN_LENGTH=8", "NPM_TOKEN_PATH=/x", "NEXT_PUBLIC_API_KEY=pk", "VITE_API_KEY=pk"),
    *("SSH_AUTH_SOCK=/run/agent", "AWS_ACCESS_KEY_ID=id", "SECRET_NAME=db", "TOKEN_HEADER=X-Token"),
    *("PASSWORD=$DB_PASSWORD", "TOKEN=${TOKEN}", "API_KEY={{ .Values.key }}", "API_KEY=<your-key>"),
    *("TOKEN=", "USE_AUTH=no", "PASSWORD_HASH_ROUNDS=12", "PASSWORD_POLICY=strict"),
    *("AUTHOR=me", "COMPASS=north", "TOKENIZER=bpe", "CACHE_KEY=v1", "KEYCLOAK_VERSION=1"),
    *("SECRET_KEY_BASE_DUMMY=1", "PASSWORDS=0", "SECRET_MANAGER=vault", "AUTH_SCOPES=a b"),
    *("PASSWORD_COMPLEXITY=high", "PASSWORD_ENCRYPTION=scram-sha-256", "PASSWORD_HASHERS=argon2"),
    *("GITHUB_TOKEN_PERMISSIONS=read", "TOKEN_REGEX=[a-z]+", "AUTHORIZATION=rbac"),
    *("SECRETS_NAMESPACE=prod", "SECRET_MANAGER_PROJECT=p", "TOKEN_REGION=eu-west-1"),
    "SSH_KEY=ssh-ed25519 AAAAC3NzaC1lZDI1NTE5 me@home",
]
SECRET = [
    *("TOKEN=abc", "API_KEY=abcd", "NPM_AUTH=dXNlcjpwYXNz", "GITHUB_TOKEN=x", "DEPLOY_KEY=y"),
    *("DB_PASSWORD=1234", "PGPASSWORD=hunter2", "MYSQLPASSWORD=root", "PASSPHRASE=correct horse"),
    *("dbPassword=x", "apiKey=xyz", "access-key=xyz", "client.secret=xyz", "clientSecret=true-ish"),
    *(f"API_KEY={FINGERPRINT}", "SECRET_KEY_BASE=0f3a", "ENCRYPTION_KEY=abc", "AUTH=me:hunter2"),
    *("HTTP_AUTHORIZATION=Bearer mF_9.B5f-4.1JqM", "PASSWORD_HASH=x9", "ENCRYPTION_KEY=x9"),
    *("AUTH_URL=https://me:hunter2@idp.example", "DATABASE=postgres://me:hunter2@db/x"),
    *("CACHE=redis://:hunter2@cache:6379", "PIP_INDEX_URL=https://t0ken:hunter2@pypi.example"),
    *(f"GREETING={GITHUB}", f"NAME={AWS}", f"MAX_TOKENS={GITHUB}", f"X=a {GITHUB} b"),
    "CERT=" + "-----BEGIN " + "EC PRIVATE KEY-----",
]


@pytest.mark.parametrize("text", HARMLESS)
def test_what_only_sounds_secret_is_none(text: str) -> None:
    name, _, value = text.partition("=")
    assert not looks_secret(name, value)


@pytest.mark.parametrize("text", SECRET)
def test_a_secret_is_seen_by_its_name_or_by_its_value(text: str) -> None:
    name, _, value = text.partition("=")
    assert looks_secret(name, value)


@given(st.sampled_from(SECRET))
def test_a_name_that_is_allowed_is_none_whatever_it_holds(text: str) -> None:
    name, _, value = text.partition("=")
    assert not looks_secret(name, value, (name,))
    assert not looks_secret(name, value, (f"{name[:2]}*",))
    assert looks_secret(name, value, ("OTHER",))


WORDS = st.sampled_from(["APP", "DB", "NPM", "MY", "SERVICE", "X2"])
ABOUT = st.sampled_from(["FILE", "PATH", "URL", "VERSION", "TTL", "MIN_LENGTH", "ENABLED", "ID"])
KINDS = st.sampled_from(["TOKEN", "PASSWORD", "SECRET", "API_KEY", "AUTH", "CREDENTIALS"])
VALUES = st.text("bcdxyz0123456789", min_size=8, max_size=30).map(lambda text: f"bQ7{text}Z!")


@given(WORDS, KINDS, VALUES)
def test_any_project_s_secret_is_seen_whatever_its_prefix(word: str, kind: str, value: str) -> None:
    assert looks_secret(f"{word}_{kind}", value)
    assert looks_secret(f"{word}_{kind}".lower(), value)
    assert looks_secret(f"{kind}_{word}", value)


@given(WORDS, KINDS, ABOUT)
def test_what_is_about_a_secret_is_none(word: str, kind: str, about: str) -> None:
    assert not looks_secret(f"{word}_{kind}_{about}", "anything")
    assert not looks_secret(f"MAX_{word}_{kind}", "anything")


@given(KINDS, st.integers(0, 999_999_999))
def test_a_number_is_no_secret_but_may_be_a_password(kind: str, number: int) -> None:
    assert looks_secret(kind, str(number)) == (kind in {"PASSWORD", "SECRET"} and number > 1)


@given(st.sampled_from(["http", "postgres", "amqp+ssl"]), VALUES.map(lambda v: v.strip("!")))
def test_an_address_has_credentials_where_it_has_a_password(scheme: str, value: str) -> None:
    assert has_credentials(f"x {scheme}://me:{value}@host/path")
    assert not has_credentials(f"{scheme}://me@host/{value}")
    assert not has_credentials(f"{scheme}://host:80/me:{value}")
    assert not has_credentials(f"{scheme}://me:${{{value}}}@host")


# Each in halves, as above.
TOKENS = [
    *(GITHUB, AWS, AWS.replace("AKIA", "ASIA"), "github_" + "pat_" + "a1" * 15),
    *(f"gh{letter}_" + "a1b2c3" * 7 for letter in "ousr"),
    *(f"gl{kind}-" + "a1B2" * 6 for kind in ("pat", "dt", "rt", "cbt", "ptt", "ft", "soat")),
    *("xox" + "b-1234567890-abcdef", "dckr_" + "pat_" + "a1B2" * 6, "dckr_" + "oat_" + "a1B2" * 6),
    *(
        "npm_" + "a1B2c3" * 6,
        "pypi-" + "AgE" + "a1B2" * 15,
        "AIza" + "a1B2c" * 7,
        "ya29." + "a" * 25,
    ),
    *("sk_" + "live_" + "a1B2" * 5, "rk_" + "live_" + "a1B2" * 5, "hvs." + "a1B2" * 7),
    *("SG." + "a" * 22 + "." + "b" * 43, "sk-" + "ant-" + "a1" * 15, "sk-" + "proj-" + "a1" * 15),
    *("dop_" + "v1_" + "0f" * 32, "hf_" + "a1" * 17, "AGE-SECRET-" + "KEY-1" + "A2" * 30),
    *(f"shp{kind}_" + "a1B2" * 8 for kind in ("at", "ca", "pa", "ss")),
    *(
        "Account" + "Key=" + "a1B/" * 21 + "a1==",
        "hooks.slack.com/" + "services/T0A1B2C3/B0A1B2C3/" + "a1" * 12,
    ),
    "eyJ" + "a1" * 10 + ".eyJ" + "b2" * 10 + ".c3",
    *("-----BEGIN " + f"{kind}PRIVATE KEY-----" for kind in ("", "RSA ", "OPENSSH ", "ENCRYPTED ")),
    "-----BEGIN " + "PGP PRIVATE KEY BLOCK-----",
]


@pytest.mark.parametrize("token", TOKENS)
def test_a_token_is_found_in_a_text_and_in_a_file(token: str) -> None:
    assert is_token(f'x="{token}";')
    assert looks_secret("GREETING", token)
    assert tokens_in(b"\0\xff '" + token.encode() + b"'\n") == [token.encode()]


@given(st.binary())
def test_what_is_none_is_found_nowhere(content: bytes) -> None:
    assert tokens_in(content.replace(b"K", b"k").replace(b"_", b"-")) == []


@pytest.mark.parametrize("text", ["sk-learn", "gho_st", "-----BEGIN PUBLIC KEY-----", "AKIAshort"])
def test_a_text_that_is_like_a_token_is_none(text: str) -> None:
    assert not is_token(text)


@pytest.mark.unmeasured
@pytest.mark.timeout(20)
@pytest.mark.parametrize(
    ("name", "value"),
    [
        pytest.param("PASSWORD", "*" * 60 + "x", id="masked"),
        pytest.param("X", "https://me:" + "*" * 60 + "x@host", id="masked in an address"),
        pytest.param("PASSWORD", "{{}}" * 60 + "x", id="braces"),
        pytest.param("TOKEN", "1" + "kms" * 60 + "x", id="units"),
        pytest.param("GPG_KEY", "SHA256:" + "a,SHA256:" * 60 + " x", id="fingerprints"),
        pytest.param("PASSWORD", "a" * 1_000_000, id="a long word"),
        pytest.param("A_" * 500_000 + "TOKEN", "value", id="a long name"),
        pytest.param("TOKEN", "eyJ-" * 100_000, id="beginnings of tokens"),
    ],
)
def test_no_text_takes_long_to_look_at(name: str, value: str) -> None:
    assert looks_secret(name, value)

"""What SSL_CERT_FILE and SSL_CERT_DIR name, where a certificate is not trusted."""

import pytest
from byte_server import authority

from diga_async import APIConnectionError
from diga_async._cli.certificates import named_certificates, trust_remedy
from diga_async._cli.exit_codes import message_of


def test_without_a_variable_the_remedy_is_to_set_it():
    assert named_certificates({}) is None
    remedy = trust_remedy({})
    assert remedy.endswith(
        "set SSL_CERT_FILE to a file with the authority's certificate"
    )


def test_a_file_that_gives_no_trust_is_named_with_its_fault(tmp_path):
    def state_of(name):
        return named_certificates({"SSL_CERT_FILE": str(name)})

    file = tmp_path / "authority.pem"
    assert state_of(file) == f"SSL_CERT_FILE names {file}: no such file"
    assert state_of(tmp_path).endswith("which is a directory")
    for content in (b"", b"\x30\x82\x01\x00", b"sk-1"):
        file.write_bytes(content)
        assert state_of(file).endswith("which holds no certificate in PEM form")
    authority().cert_pem.write_to_path(file)
    assert state_of(file).endswith("which does not hold it")
    assert state_of("") == "SSL_CERT_FILE is set to nothing"


def test_folders_that_give_no_trust_are_named_with_their_fault(tmp_path):
    def state_of(name):
        return named_certificates({"SSL_CERT_DIR": str(name)})

    assert state_of(tmp_path / "none").endswith("no such directory")
    assert "no certificate under its hash" in state_of(tmp_path)
    (tmp_path / "0123abcd.0").touch()
    assert state_of(tmp_path).endswith("which does not hold it")


def test_the_message_of_an_untrusted_certificate_looks_at_the_variable(monkeypatch):
    monkeypatch.setenv("SSL_CERT_FILE", "nowhere.pem")
    reason = "self-signed certificate; trust its authority with ssl="
    message = message_of(APIConnectionError(reason, phase="tls"))
    assert message.endswith(
        "certificate: SSL_CERT_FILE names nowhere.pem: no such file"
    )


@pytest.mark.parametrize("command", [["check"], ["phone", "list"]])
@pytest.mark.usefixtures("sandbox")
def test_a_proxy_that_speaks_plain_http_is_told_apart_from_the_server(
    diga, sandbox, command
):
    """The key would go over plain http, were the base URL changed instead."""
    proxy = sandbox.url.replace("http:", "https:")
    server = "https://api.diga.example"
    code, out, words = diga(*command, "--proxy", proxy, "--base-url", server)
    assert code == 4
    assert "write http:// in HTTPS_PROXY or --proxy" in out + words
    assert "base URL" not in out + words

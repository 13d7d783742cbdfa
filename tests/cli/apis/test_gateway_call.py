"""Credentials of a call to the gateway, from the local document of its API."""

from __future__ import annotations

from pathlib import Path

import pytest

from iogate.auth.model import TokenAuth
from iogate.cli.apis.gateway_call import local_auth
from tests.store.builders import api

DOCUMENT = "module: shop\nauth: {token: {env: SHOP_TOKEN}}\nmethods: "


def test_a_local_document_has_the_credentials_of_its_api(tmp_path: Path) -> None:
    (tmp_path / "shop.yaml").write_text(DOCUMENT + "{buy: {workflow: shop/buy}}\n")
    assert isinstance(local_auth(tmp_path, api("shop/buy", source="shop.yaml")), TokenAuth)


@pytest.mark.parametrize("methods", ["[buy]", "buy", "7", "null"])
def test_a_local_document_whose_methods_are_no_map_has_none(tmp_path: Path, methods: str) -> None:
    """It may be edited at the moment, while `iogate serve` runs its APIs."""
    (tmp_path / "shop.yaml").write_text(f"{DOCUMENT}{methods}\n")
    assert local_auth(tmp_path, api("shop/buy", source="shop.yaml")) is None

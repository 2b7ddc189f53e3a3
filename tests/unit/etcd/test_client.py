"""The client of etcd, with endpoints that send nonsense."""

from __future__ import annotations

import pytest

from lb.etcd.client import EtcdClient
from lb.etcd.errors import EtcdError
from lb.etcd.gateway import LONGEST_REASON, decoded
from lb.etcd.messages import RangeRequest, range_answer
from lb.model import EtcdSpec

ONE, TWO = "http://10.0.0.1:2379", "http://10.0.0.2:2379"


async def test_an_endpoint_that_sends_too_much_is_left(monkeypatch):
    client = EtcdClient(EtcdSpec((ONE, TWO), "/x/"))

    async def post(endpoint, *_):
        if endpoint == ONE:
            raise EtcdError({endpoint: "sends more than 16 MiB at a time"}, is_too_large=True)
        return "an answer"

    monkeypatch.setattr(client._gateway, "post", post)
    with pytest.raises(EtcdError) as failure:
        await client.range(RangeRequest(b"/x/"))
    assert failure.value.is_too_large, "fewer keys may be asked for"
    assert await client.range(RangeRequest(b"/x/")) == "an answer"


async def test_an_error_that_is_a_novel_is_cut():
    content = b'{"error": "%s", "code": 2}' % (b"x" * 100_000)
    with pytest.raises(EtcdError) as failure:
        await decoded(ONE, content, range_answer)
    assert len(failure.value.causes[ONE]) == LONGEST_REASON

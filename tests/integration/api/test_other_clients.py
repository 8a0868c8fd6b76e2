"""Clients that are not ours: the aws cli and PynamoDB."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pynamodb.attributes import ListAttribute, MapAttribute, NumberAttribute, UnicodeAttribute, UnicodeSetAttribute
from pynamodb.exceptions import DoesNotExist, PutError
from pynamodb.models import Model

from tests.api_server import REGION, ApiServer


@pytest.fixture(scope="module")
def server() -> Iterator[ApiServer]:
    with ApiServer() as started:
        yield started
        assert started.unexpected == []


def aws(server: ApiServer, *arguments: str, ok: bool = True) -> Any:
    """Run `aws dynamodb …` and return its JSON, or its error text."""
    environment = {
        "PATH": os.environ.get("PATH", ""),
        "HOME": os.environ.get("HOME", "/"),
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": REGION,
        "AWS_PAGER": "",
        "AWS_MAX_ATTEMPTS": "1",
    }
    command = [str(Path(sys.executable).with_name("aws")), "dynamodb", *arguments, "--endpoint-url", server.url, "--output", "json"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode == 0) == ok, done.stderr
    return (json.loads(done.stdout) if done.stdout.strip() else None) if ok else done.stderr


def test_the_aws_cli(server: ApiServer) -> None:
    aws(
        server,
        "create-table",
        "--table-name=cli",
        "--attribute-definitions=AttributeName=pk,AttributeType=S",
        "--key-schema=AttributeName=pk,KeyType=HASH",
        "--billing-mode=PAY_PER_REQUEST",
    )
    item = '{"pk": {"S": "a"}, "raw": {"B": "aGVsbG8="}, "n": {"N": "1.50"}}'
    aws(server, "put-item", "--table-name=cli", f"--item={item}")
    assert aws(server, "get-item", "--table-name=cli", '--key={"pk": {"S": "a"}}')["Item"] == {
        "pk": {"S": "a"},
        # version 1 of the cli takes a blob as text and encodes it
        "raw": {"B": "YUdWc2JHOD0="},
        "n": {"N": "1.5"},
    }
    assert aws(server, "scan", "--table-name=cli")["Count"] == 1
    refused = aws(server, "put-item", "--table-name=cli", f"--item={item}", "--condition-expression=attribute_not_exists(pk)", ok=False)
    assert "ConditionalCheckFailedException" in refused


class City(Model):
    class Meta:
        table_name = "pynamodb-cities"
        region = REGION
        host = ""
        aws_access_key_id = "test"
        aws_secret_access_key = "test"
        billing_mode = "PAY_PER_REQUEST"

    country = UnicodeAttribute(hash_key=True)
    name = UnicodeAttribute(range_key=True)
    population: Any = NumberAttribute(default=0)
    aliases: Any = UnicodeSetAttribute(null=True)
    history: Any = ListAttribute(default=list)
    place: Any = MapAttribute(default=dict)


def test_pynamodb(server: ApiServer) -> None:
    City.Meta.host = server.url
    City.create_table(wait=True)
    assert City.exists()
    with City.batch_write() as batch:
        for index in range(30):
            batch.save(City("nl", f"city-{index:02}", population=index * 1000))
    city = City("nl", "amsterdam", population=900_000, aliases={"mokum", "020"}, history=[1275, "founded"], place={"lat": 52.37})
    city.save(condition=City.country.does_not_exist())
    with pytest.raises(PutError):
        city.save(condition=City.country.does_not_exist())
    city.update(actions=[City.population.add(1), City.aliases.delete({"020"}), City.history.set(City.history.append([1300]))])
    got = City.get("nl", "amsterdam", consistent_read=True)
    assert (got.population, got.aliases, got.history, got.place["lat"]) == (900_001, {"mokum"}, [1275, "founded", 1300], 52.37)
    found = City.query("nl", City.name.startswith("city-1"), filter_condition=City.population > 14_000, limit=3)
    assert [one.name for one in found] == ["city-15", "city-16", "city-17"]
    assert City.count("nl") == 31
    assert len(list(City.scan(page_size=4))) == 31
    got.delete()
    with pytest.raises(DoesNotExist):
        City.get("nl", "amsterdam")
    City.delete_table()

"""GraphQL as GitHub serves it: executed on GitHub's own schema, priced, bounded, refused and partly answered.

What the schema has and the double does not tell, a query that is invalid, and a field that is read as GitHub
warns not to, are violations: they are answered as well as may be, and whoever asked fails the test.
"""

from __future__ import annotations

import gzip
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from graphql import (
    DocumentNode,
    ExecutionResult,
    FieldNode,
    FragmentSpreadNode,
    GraphQLError,
    GraphQLInt,
    GraphQLNonNull,
    GraphQLObjectType,
    GraphQLResolveInfo,
    GraphQLScalarType,
    GraphQLSchema,
    OperationDefinitionNode,
    OperationType,
    SelectionSetNode,
    build_schema,
    get_named_type,
    parse,
    validate,
)
from graphql import execute as run

from github_double import rules
from github_double import state as records
from github_double.graphql_cost import MOST_NODES, Cost, cost, is_connection
from github_double.graphql_mutations import Mutation
from github_double.graphql_objects import ACTORS, Request, StatusCheckRollupContextConnection
from github_double.graphql_pages import Bounds, Connection, refused
from github_double.graphql_pulls import PullRequestTimelineItemsConnection
from github_double.moves import RefusedError

SCHEMA = Path(__file__).parent / "schema.graphql.gz"
_BOUNDS = ("first", "last", "after", "before")
_CONNECTIONS: dict[str, type[Connection]] = {
    "StatusCheckRollupContextConnection": StatusCheckRollupContextConnection,
    "PullRequestTimelineItemsConnection": PullRequestTimelineItemsConnection,
}
Answer = tuple[int, dict[str, Any]]
if TYPE_CHECKING:
    Info = GraphQLResolveInfo[Request]


@cache
def schema() -> GraphQLSchema:
    """Return GitHub's schema, built once a process; its Int holds 64 bits in answers, as GitHub's do."""
    built = build_schema(gzip.decompress(SCHEMA.read_bytes()).decode(), assume_valid=True)
    long = GraphQLScalarType("Int64", serialize=int)
    for kind in built.type_map.values():
        for field in kind.fields.values() if isinstance(kind, GraphQLObjectType) else ():
            if field.type is GraphQLInt:
                field.type = long
            elif isinstance(field.type, GraphQLNonNull) and field.type.of_type is GraphQLInt:
                field.type = GraphQLNonNull(long)
    return built


def operation_name(payload: Mapping[str, Any]) -> str:
    """Return the name of the operation that a request asks for, "" for one without or for no GraphQL at all."""
    operation = _operation(payload)
    return operation.name.value if operation is not None and operation.name else ""


def root_fields(payload: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the fields at the top of the request's operation, such as the mutations it is made of."""
    operation = _operation(payload)
    selections = operation.selection_set.selections if operation is not None else ()
    return tuple(node.name.value for node in selections if isinstance(node, FieldNode))


def is_write(payload: Mapping[str, Any]) -> bool:
    """Tell whether the request changes anything."""
    operation = _operation(payload)
    return operation is not None and operation.operation is OperationType.MUTATION


def execute(state: records.State, token: records.Token | None, payload: Mapping[str, Any]) -> Answer:
    """Answer one request, `{query, variables, operationName}`, as the holder of the token is answered."""
    if token is None:
        return 401, {"message": "This endpoint requires you to be authenticated."}
    if not isinstance(payload.get("query"), str):
        return 200, {"errors": [{"message": "A query attribute must be specified and must be a string."}]}
    with state.lock:
        return 200, _executed(state, token, payload)


def _executed(state: records.State, token: records.Token, payload: Mapping[str, Any]) -> dict[str, Any]:
    document, errors = _parsed(payload["query"])
    operation = _operation(payload)
    if document is None or operation is None or errors:
        wrong = errors or (GraphQLError("No operation of that name is in the document."),)
        state.violations.extend(f"GraphQL: {error.message}" for error in wrong)
        return {"errors": [_plain(error) for error in wrong]}
    variables = payload.get("variables") or {}
    price = cost(schema(), document, operation, variables)
    if refusal := _charged(state, token, price):
        return {"errors": [refusal]}
    request = Request(state, token)
    result = _run(request, price, document, operation, variables)
    _note(state, request, operation, variables, result)
    answer: dict[str, Any] = {"data": result.data}
    if result.errors:
        answer["errors"] = [_plain(error) for error in result.errors]
    return answer


@lru_cache(maxsize=256)
def _parsed(text: str) -> tuple[DocumentNode | None, tuple[GraphQLError, ...]]:
    """Return the document and what is wrong with it; every request of a client has the same few texts."""
    try:
        document = parse(text)
    except GraphQLError as error:
        return None, (error,)
    return document, tuple(validate(schema(), document))


def _operation(payload: Mapping[str, Any]) -> OperationDefinitionNode | None:
    text = payload.get("query")
    document, _ = _parsed(text) if isinstance(text, str) else (None, ())
    parts = document.definitions if document is not None else ()
    operations = [part for part in parts if isinstance(part, OperationDefinitionNode)]
    asked = payload.get("operationName")
    if asked:
        return next((one for one in operations if one.name and one.name.value == asked), None)
    return operations[0] if len(operations) == 1 else None


def _charged(state: records.State, token: records.Token, price: Cost) -> dict[str, Any] | None:
    """Take the price from the account's hour; return the error where it is more than it has, or than anybody may."""
    if price.nodes > MOST_NODES:
        said = f"This query requests up to {price.nodes:,} possible nodes which exceeds the maximum limit of 500,000."
        return {"type": "MAX_NODE_LIMIT_EXCEEDED", "message": said}
    quota = state.quota(token.login, "graphql")
    if quota.remaining < price.points:
        known = state.account(token.login).id
        return {"type": "RATE_LIMITED", "message": f"API rate limit exceeded for user ID {known}."}
    quota.used += price.points
    return None


def _run(
    request: Request,
    price: Cost,
    document: DocumentNode,
    operation: OperationDefinitionNode,
    variables: Mapping[str, Any],
) -> ExecutionResult:
    writes = operation.operation is OperationType.MUTATION
    result = run(
        schema(),
        document,
        Mutation(request) if writes else Query(request, price),
        request,
        dict(variables),
        operation.name.value if operation.name else None,
        _resolve,
        lambda value, *_: type(value).__name__,
    )
    assert isinstance(result, ExecutionResult)
    return result


def _note(
    state: records.State,
    request: Request,
    operation: OperationDefinitionNode,
    variables: Mapping[str, Any],
    result: ExecutionResult,
) -> None:
    """Keep what the client, or the double, must not do."""
    declared = {one.variable.name.value for one in operation.variable_definitions or ()}
    found = [f"variable ${name} is not declared" for name in variables if name not in declared]
    found += request.violations
    found += [error.message for error in result.errors or () if not isinstance(error.original_error, RefusedError)]
    name = operation.name.value if operation.name else operation.operation.value
    state.violations.extend(f"GraphQL {name}: {one}" for one in found)


def _plain(error: GraphQLError) -> dict[str, Any]:
    """Return the error as GitHub writes it."""
    cause = error.original_error
    told: dict[str, Any] = {}
    if isinstance(cause, RefusedError):
        told["type"] = cause.kind
    if error.path is not None:
        told["path"] = list(error.path)
    if isinstance(cause, RefusedError) and cause.kind == "FORBIDDEN":
        told["extensions"] = {"saml_failure": False}
    if error.locations:
        told["locations"] = [{"line": at.line, "column": at.column} for at in error.locations]
    return told | {"message": _sentence(cause) if isinstance(cause, RefusedError) else error.message}


def _sentence(refusal: RefusedError) -> str:
    """Return the refusal in one sentence: REST has the reasons apart, GraphQL has nothing else."""
    reasons = [one.get("message") if isinstance(one, dict) else str(one) for one in refusal.errors or ()]
    return ", ".join(reason for reason in reasons if reason) or refusal.message


# Fields


def _resolve(source: Any, info: Info, **arguments: Any) -> Any:
    name = _snake(info.field_name)
    field = info.parent_type.fields[info.field_name]
    if info.parent_type.name == "Mutation":
        return _mutate(source, name, info, arguments["input"])
    if not is_connection(field):
        return _value(source, name, info, arguments)
    bounds = Bounds(**{one: arguments.pop(one, None) for one in _BOUNDS})
    bounds.check(info.field_name, read=_reads(info))
    items = _value(source, name, info, arguments)
    kind = _CONNECTIONS.get(get_named_type(field.type).name, Connection)
    return None if items is None else kind(info.field_name, items, bounds)


def _value(source: Any, name: str, info: Info, arguments: dict[str, Any]) -> Any:
    if isinstance(source, Mapping):
        return source.get(name)
    if not hasattr(type(source), name) and name not in getattr(source, "__dict__", {}):
        raise NotToldError(f"the double does not tell {info.parent_type.name}.{info.field_name}")
    value = getattr(source, name)
    return value(**_snaked(arguments)) if callable(value) else value


def _mutate(source: Mutation, name: str, info: Info, given: Mapping[str, Any]) -> Any:
    arguments = dict(given)
    known = arguments.pop("clientMutationId", None)
    move = getattr(source, name, None)
    if move is None:
        raise NotToldError(f"the double does not do Mutation.{info.field_name}")
    return {**move(**_snaked(arguments)), "client_mutation_id": known}


class NotToldError(Exception):
    """The schema has it and the double does not: it is to be added to the double, or not to be asked for."""


@cache
def _snake(name: str) -> str:
    """Return `head_ref_oid` for headRefOid, and `commit_oid` for commitOID."""
    return re.sub(r"(?<=[a-z0-9])[A-Z]+", lambda capitals: f"_{capitals[0]}", name).lower()


def _snaked(arguments: Mapping[str, Any]) -> dict[str, Any]:
    return {_snake(name): value for name, value in arguments.items()}


def _reads(info: Info) -> bool:
    """Tell whether items of the list are selected, not only how many there are."""
    selected = (node.selection_set for node in info.field_nodes)
    return any({"nodes", "edges", "pageInfo"} & {*_names(one, info)} for one in selected if one is not None)


def _names(selections: SelectionSetNode, info: Info) -> Iterator[str]:
    for node in selections.selections:
        if isinstance(node, FieldNode):
            yield node.name.value
        elif isinstance(node, FragmentSpreadNode):
            yield from _names(info.fragments[node.name.value].selection_set, info)
        else:
            yield from _names(node.selection_set, info)  # type: ignore[attr-defined]


@dataclass(frozen=True, slots=True)
class RateLimit:
    """What this request cost and what it leaves."""

    cost: int
    limit: int
    node_count: int
    remaining: int
    reset_at: str
    used: int


class Query:
    """Where every read begins."""

    def __init__(self, request: Request, price: Cost) -> None:
        self._request = request
        self._price = price
        self.viewer = ACTORS[request.viewer.type](request, request.viewer)

    def repository(self, owner: str, name: str, *, follow_renames: bool = True) -> Any:
        found = self._request.repository(f"{owner}/{name}")
        if found is None:
            raise refused("NOT_FOUND", f"Could not resolve to a Repository with the name '{owner}/{name}'.")
        return found if follow_renames or found.name_with_owner == f"{owner}/{name}" else None

    def user(self, login: str) -> Any:
        account = self._request.state.accounts.get(login.casefold())
        if account is None or account.type != "User":
            raise refused("NOT_FOUND", f"Could not resolve to a User with the login of '{login}'.")
        return self._request.view(account)

    def node(self, id: str) -> Any:  # noqa: A002 - the argument is named so
        record = self._request.state.nodes.get(id)
        if record is None or not self._sees(record):
            raise refused("NOT_FOUND", f"Could not resolve to a node with the global id of '{id}'.")
        return self._request.view(record)

    def nodes(self, ids: Iterable[str]) -> list[Any]:
        return [self._node_or_refusal(one) for one in ids]

    def _node_or_refusal(self, node_id: str) -> Any:
        try:
            return self.node(node_id)
        except RefusedError as refusal:
            return refusal

    def _sees(self, record: Any) -> bool:
        if isinstance(record, records.Account):
            return True
        return rules.sees(self._request.token, self._request.state.repository_of(record))

    def rate_limit(self, *, dry_run: bool = False) -> RateLimit:
        quota = self._request.state.quota(self._request.token.login, "graphql")
        if dry_run:
            quota.used -= self._price.points
        reset = datetime.fromtimestamp(quota.resets_at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        return RateLimit(self._price.points, quota.limit, self._price.nodes, quota.remaining, reset, quota.used)

"""What a GraphQL request costs, by GitHub's documented formula, from its text and its variables alone.

A connection costs one request for each parent that may hold it, and every page is taken to be full; the requests
are added up, divided by a hundred and rounded, and one point is the least. Its nodes are counted likewise.
https://docs.github.com/en/graphql/overview/rate-limits-and-node-limits-for-the-graphql-api
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from graphql import (
    DocumentNode,
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    GraphQLField,
    GraphQLNamedType,
    GraphQLSchema,
    InlineFragmentNode,
    OperationDefinitionNode,
    SelectionSetNode,
    get_named_type,
    value_from_ast_untyped,
)

MOST_NODES = 500_000


@dataclass(frozen=True, slots=True)
class Cost:
    """Points of the hour's 5,000, the requests they were made of, and the nodes that the answer may hold at most."""

    points: int
    requests: int
    nodes: int


def cost(
    schema: GraphQLSchema, document: DocumentNode, operation: OperationDefinitionNode, variables: Mapping[str, Any]
) -> Cost:
    """Return what `operation` of `document` costs with these variables. The document must be a valid one."""
    walk = _Walk(schema, _fragments(document), _values(operation, variables))
    root = schema.get_root_type(operation.operation)
    if root is not None:
        walk.weigh(root, operation.selection_set, 1)
    return Cost(max(1, round(walk.requests / 100)), walk.requests, walk.nodes)


def is_connection(field: GraphQLField) -> bool:
    """Tell whether this is a list that is read page by page."""
    return "first" in field.args and get_named_type(field.type).name.endswith("Connection")


def _fragments(document: DocumentNode) -> dict[str, FragmentDefinitionNode]:
    return {part.name.value: part for part in document.definitions if isinstance(part, FragmentDefinitionNode)}


def _values(operation: OperationDefinitionNode, given: Mapping[str, Any]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for variable in operation.variable_definitions or ():
        name = variable.variable.name.value
        if variable.default_value is not None:
            values[name] = value_from_ast_untyped(variable.default_value)
        if name in given:
            values[name] = given[name]
    return values


class _Walk:
    """One way through a document, adding up."""

    def __init__(
        self, schema: GraphQLSchema, fragments: dict[str, FragmentDefinitionNode], variables: dict[str, Any]
    ) -> None:
        self.requests = 0
        self.nodes = 0
        self._schema = schema
        self._fragments = fragments
        self._variables = variables

    def weigh(self, kind: GraphQLNamedType, selections: SelectionSetNode, parents: int) -> None:
        for within, node in self._fields(kind, selections):
            field = getattr(within, "fields", {}).get(node.name.value)
            if field is None:  # __typename
                continue
            inner = parents * self._many(within, field, node, parents)
            if node.selection_set is not None:
                self.weigh(get_named_type(field.type), node.selection_set, inner)

    def _many(self, within: GraphQLNamedType, field: GraphQLField, node: FieldNode, parents: int) -> int:
        """Return how many objects the field has for each parent, and count the requests that get them."""
        arguments = {
            one.name.value: value_from_ast_untyped(one.value, self._variables) for one in node.arguments or ()
        }
        if within.name == "Query" and node.name.value == "nodes":
            ids = arguments.get("ids") or ()
            self.nodes += len(ids)
            return max(1, len(ids))
        if not is_connection(field):
            return 1
        size = arguments.get("first") or arguments.get("last") or 0
        self.requests += parents
        self.nodes += parents * size
        return max(1, size)

    def _fields(
        self, kind: GraphQLNamedType, selections: SelectionSetNode
    ) -> Iterator[tuple[GraphQLNamedType, FieldNode]]:
        for node in selections.selections:
            if not self._wanted(node):
                continue
            if isinstance(node, FieldNode):
                yield kind, node
            elif isinstance(node, FragmentSpreadNode):
                fragment = self._fragments[node.name.value]
                yield from self._fields(self._type(fragment.type_condition.name.value), fragment.selection_set)
            elif isinstance(node, InlineFragmentNode):
                narrowed = self._type(node.type_condition.name.value) if node.type_condition else kind
                yield from self._fields(narrowed, node.selection_set)

    def _type(self, name: str) -> GraphQLNamedType:
        return self._schema.type_map[name]

    def _wanted(self, node: Any) -> bool:
        for directive in node.directives or ():
            (condition,) = directive.arguments
            asked = bool(value_from_ast_untyped(condition.value, self._variables))
            if asked != (directive.name.value == "include"):
                return False
        return True

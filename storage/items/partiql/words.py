"""The words of a statement: which are keywords, which may not be a name unless quoted, and which name a type behind IS."""

from __future__ import annotations

_KEYWORDS = (
    "select from where insert into value update set remove delete returning order by asc desc limit group having as "
    "and or not between in is like missing null true false exists all"
)
KEYWORDS = frozenset(_KEYWORDS.split())
"""Each is a terminal of the grammar by its upper-case name."""

SOFT = frozenset(("modified", "old", "new"))
"""Keywords behind RETURNING alone, and names everywhere else."""

_SQL = (
    "absolute action add allocate alter any are assertion at authorization avg begin bit bit_length both cascade cascaded case "
    "cast catalog char character character_length char_length check close coalesce collate collation column commit connect "
    "connection constraint constraints continue convert corresponding count create cross current current_date current_time "
    "current_timestamp current_user cursor date deallocate dec decimal declare default deferrable deferred describe descriptor "
    "diagnostics disconnect distinct domain double drop else end escape except exception exec execute external extract fetch first "
    "float for foreign found full get global go goto grant identity immediate indicator initially inner input insensitive int "
    "integer intersect interval isolation join key language last left level local lower match max min module names national "
    "natural nchar next no nullif numeric octet_length of on only open option outer output overlaps pad partial position precision "
    "prepare preserve primary prior privileges procedure public read real references relative restrict revoke right rollback rows "
    "schema scroll section session session_user size smallint some space sql sqlcode sqlerror sqlstate substring sum system_user "
    "table temporary then time timestamp to transaction translate translation trim union unique unknown upper usage user using "
    "values varchar varying view when whenever with work write zone"
)
RESERVED = KEYWORDS | frozenset(_SQL.split())
"""Those of SQL-92 without its parts of dates, as the service's parser has them: a name that is one of them must be in double quotes."""

OPERATORS = frozenset(("AND", "OR", "BETWEEN", "IN", "IS", "LIKE", "COMPARE", "PLUS", "MINUS", "STAR"))
"""Terminals that stand between two operands."""

TYPES = {
    "missing": "MISSING",
    "null": "NULL",
    "bool": "BOOL",
    "boolean": "BOOL",
    "blob": "B",
    "string": "S",
    "numeric": "N",
    "struct": "M",
    "tuple": "M",
    "list": "L",
}
"""Types behind IS, and what they are of an attribute."""

_TYPES = (
    "smallint int2 int4 int8 integer2 integer4 integer8 int integer bigint float real double decimal dec varchar char character symbol "
    "clob bag sexp timestamp date time any"
)
OTHER_TYPES = frozenset(_TYPES.split())
"""Types that SQL has and attributes have not; DOUBLE may go on with PRECISION, CHARACTER with VARYING."""

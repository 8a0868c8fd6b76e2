"""Cases of PartiQL: what is refused, in whose words. The statements stand on tables of `error_cases.TABLE_KEYS`: and on "num" (pk:N).

Most of these texts are what public conformance suites recorded of AWS in October 2026; those under OURS nobody recorded.
"""

from __future__ import annotations

NOT_WELL_FORMED = "Statement wasn't well formed, can't be processed: "
LEFTOVER = NOT_WELL_FORMED + "Unexpected token after expression"
NO_KEY = "Where clause does not contain a mandatory equality on all key attributes"
ALIASING = "Aliasing is not supported"
OVERLAP = "Overlapping conditions with range keys are not supported in where clause"
OVERFLOW = "Number overflow. Attempting to store a number with magnitude larger than supported range"
UNDERFLOW = "Number underflow. Attempting to store a number with magnitude smaller than supported range"
DIGITS = "Attempting to store more than 38 significant digits in a Number"
PARAMETERS = "Number of parameters in request and statement don't match."
PATH_NEEDED = "Operator or function requires a document path; operator or function: attribute_exists"
COUNT = "Incorrect number of operands for operator or function; operator or function: attribute_exists, number of operands: "
WRONG_TYPE = "An operand in the update expression has an incorrect data type"
NEEDS_SET = "The second argument to SET_ADD must be a value with type SET at "

SYNTAX = [
    ('SELECT * FROM "num" WHERE pk = 1 foo', LEFTOVER),
    ('SELECT * FROM "num" WHERE pk = 1 e5', LEFTOVER),
    ("INSERT INTO \"num\" VALUE {'pk': 970001} foo", LEFTOVER),
    ('UPDATE "num" SET a = 9 WHERE pk = 970002 foo', LEFTOVER),
    ('DELETE FROM "num" WHERE pk = 970003 foo', LEFTOVER),
    ('SELECT * FROM "num" WHERE pk = 1)', LEFTOVER),
    ('DELETE FROM "num" WHERE pk = 970004 ORDER BY pk', LEFTOVER),
    ('SELECT * FROM "num" ORDER BY pk WHERE pk = 1', LEFTOVER),
    ("INSERT INTO \"hash\" t VALUE {'pk': 'x'}", LEFTOVER),
    ("FROM \"hash\" SET c = 1 WHERE pk = 'x'", LEFTOVER),
    ("FROM \"hash\" SET c = 1 WHERE pk = 'x' SET d = 2", LEFTOVER),
    ('SELECTT * FROMM "hash"', LEFTOVER),
    ('SELECT * FROM "num" WHERE pk = 1e2147483648', NOT_WELL_FORMED),
    ('SELECT * FROM "num" WHERE pk = 1e99999999999', NOT_WELL_FORMED),
    ('SELECT * FROM "num" WHERE pk = 1.5e-2147483647', NOT_WELL_FORMED),
    ('SELECT * FROM "num" WHERE pk = 1 # note', NOT_WELL_FORMED),
    ('SELECT * FROM "num" WHERE pk = 1 /* note', NOT_WELL_FORMED),
    ('SELECT * FROM "hash', NOT_WELL_FORMED),
    ("SELECT * FROM \"hash\" t WHERE pk = 'x'", ALIASING),
    ("SELECT * FROM \"hash\" AS t WHERE pk = 'x'", ALIASING),
    ("UPDATE \"hash\" t SET a = 3 WHERE pk = 'x'", ALIASING),
    ("DELETE FROM \"hash\" t WHERE pk = 'x'", ALIASING),
    ("SELECT a AS b FROM \"hash\" WHERE pk = 'x'", ALIASING),
    ('SELECT * FROM "hash" WHERE', NOT_WELL_FORMED + "Unexpected term"),
    ('SELECT * FROM "hash" WHERE;', NOT_WELL_FORMED + "Unexpected term"),
    ('SELECT * FROM "hash" WHERE   ', NOT_WELL_FORMED + "Unexpected term"),
    ('SELECT pk FROM "hash" WHERE', NOT_WELL_FORMED + "Unexpected term"),
    ('UPDATE "hash" SET a = 1 WHERE', NOT_WELL_FORMED + "Unexpected term"),
    ('DELETE FROM "hash" WHERE', NOT_WELL_FORMED + "Unexpected term"),
    ('SELECT * FROM "hash" WHERE NOT', NOT_WELL_FORMED + "Unexpected term"),
    ('SELECT * FROM "hash" WHERE (', NOT_WELL_FORMED + "Unexpected term"),
    ('SELECT * FROM "absent" WHERE', NOT_WELL_FORMED + "Unexpected term"),
    ("SELECT * FROM", NOT_WELL_FORMED + "Unexpected term"),
    ("SELECT * FROM \"hash\" WHERE pk = 'p1' AND", NOT_WELL_FORMED + "Missing right-hand side expression of infix operator"),
    ("SELECT * FROM \"hash\" WHERE pk = 'p1' OR", NOT_WELL_FORMED + "Missing right-hand side expression of infix operator"),
    ('SELECT * FROM "hash" WHERE ORDER BY pk', NOT_WELL_FORMED + "Unexpected keyword"),
    ("SELECT * FROM \"hash\" WHERE pk = 'a' AND x IS FOO", NOT_WELL_FORMED + "Expected type name"),
    ('SELECT * FROM "hash" WHERE IS NULL', NOT_WELL_FORMED + "Unexpected operator"),
    ('SELECT * FROM "hash" WHERE pk = LIKE', NOT_WELL_FORMED + "Unexpected operator"),
    ("x IS INT4", "Unsupported operation: IsType"),
    ("x IS INT8", "Unsupported operation: IsType"),
    ("x IS DOUBLE PRECISION", "Unsupported operation: IsType"),
    ("x IS CHARACTER VARYING", "Unsupported operation: IsType"),
    ("DELETE FROM", NOT_WELL_FORMED + "Expected identifier for simple path"),
    ("DELETE FROM   ", NOT_WELL_FORMED + "Expected identifier for simple path"),
    ("DELETE FROM;", NOT_WELL_FORMED + "Expected identifier for simple path"),
    ("DELETE FROM WHERE pk = 'a'", NOT_WELL_FORMED + "Expected identifier for simple path"),
    ("SLECT * FROM \"hash\" WHERE pk = 'x'", NOT_WELL_FORMED + "Expected data manipulation"),
    ("SELECT * FROM \"hash\" WHERE pk = 'x' AND attribute_exists(m.inner)", NOT_WELL_FORMED + "Invalid path dot component"),
    ("UPDATE \"hash\" SET m.inner = set_add(m.inner, <<'y'>>) WHERE pk = 'x'", NOT_WELL_FORMED + "Invalid path dot component"),
]

MEANING = [
    ('FROM "hash" SET c = 1', NO_KEY),
    ('FROM "hash" REMOVE a', NO_KEY),
    ('FROM "hash" WHERE a = 1 SET c = 1', NO_KEY),
    ('DELETE FROM "hash" WHERE "name" = \'alpha\'', NO_KEY),
    ('DELETE FROM "hash"', NO_KEY),
    ("UPDATE \"hash\" SET a = 1 WHERE pk = 'x' OR pk = 'y'", NO_KEY),
    ("UPDATE \"composite\" SET a = 1 WHERE pk = 'x'", NO_KEY),
    ("SELECT * FROM \"\" WHERE pk = 'x'", "Path component cannot be an empty string"),
    ('SELECT * FROM "hash"."" WHERE pk = \'x\'', "Path component cannot be an empty string"),
    ('SELECT * FROM "hash"."i"."extra" WHERE pk = \'x\'', "A path may contain at most 2 components in the FROM clause"),
    ('SELECT * FROM "hash"."no-such-index" WHERE pk = \'x\'', "The table does not have the specified index"),
    ('SELECT * FROM "hash"."hash" WHERE pk = \'x\'', "The table does not have the specified index"),
    ('SELECT * FROM "num" WHERE pk = 1e126', OVERFLOW + " under root"),
    ('SELECT * FROM "num" WHERE pk = 1e-131', UNDERFLOW + " under root"),
    ('SELECT * FROM "num" WHERE pk = 123456789012345678901234567890123456789', DIGITS + " under root"),
    ("INSERT INTO \"num\" VALUE {'pk': 1e126}", OVERFLOW + " under root"),
    ('UPDATE "num" SET a = 1e-131 WHERE pk = 970005', UNDERFLOW + " under root"),
    ("INSERT INTO \"num\" VALUE {'pk': 970006, 'm': {'x': 1e126}}", OVERFLOW + " under root.x"),
    ("INSERT INTO \"num\" VALUE {'pk': 970007, 'l': [1, 1e126]}", OVERFLOW + " under root[1]"),
    ("SELECT * FROM \"composite\" WHERE pk = 'a' AND x = '1' OR pk = 'a' AND sk = '2'", OVERLAP),
    ("SELECT * FROM \"composite\" WHERE pk = 'a' AND x <> '1' OR pk = 'a' AND sk = '2'", OVERLAP),
    ("SELECT * FROM \"hash\" WHERE pk IN ['a', 'a']", OVERLAP),
    ("SELECT * FROM \"composite\" WHERE pk = 'a' AND (sk > '0' OR sk < '5')", OVERLAP),
    ('SELECT COUNT(*) FROM "hash"', "Unexpected path component at 1:8:5"),
    ("SELECT attribute_exists(ss) FROM \"hash\" WHERE pk = 'x'", "Unexpected path component at 1:8:16"),
    ("SELECT * FROM \"hash\" WHERE pk = 'x' AND EXISTS(ss)", "Unrecognized function: exists at 1:41:6"),
    ("SELECT * FROM \"hash\" WHERE pk = 'x' AND set_add(ss, <<'x'>>) = ss", "Unrecognized function: set_add at 1:41:7"),
    ("SELECT * FROM \"hash\" WHERE pk = 'x' AND attribute_exists('ss')", PATH_NEEDED),
    ("SELECT * FROM \"hash\" WHERE pk = 'x' AND attribute_exists()", COUNT + "0"),
    ("SELECT * FROM \"hash\" WHERE pk = 'x' AND attribute_exists(ss, ns)", COUNT + "2"),
    (
        "UPDATE \"hash\" SET t = set_add(ss, <<'x'>>) WHERE pk = 'x'",
        "The first argument to SET_ADD must equal the assignment value at 1:23:7",
    ),
    (
        "UPDATE \"hash\" SET ss = set_add(<<'a'>>, <<'b'>>) WHERE pk = 'x'",
        "The first argument to SET_ADD must equal the assignment value at 1:24:7",
    ),
    ("UPDATE \"hash\" SET ss = set_add(ss, 'x') WHERE pk = 'x'", NEEDS_SET + "1:32:2"),
    ("UPDATE \"hash\" SET ss = set_add(ss, ['x']) WHERE pk = 'x'", NEEDS_SET + "1:32:2"),
    ("UPDATE \"hash\" SET ss = set_add(ss) WHERE pk = 'x'", "SET_ADD must have exactly two arguments at 1:24:7"),
    ("UPDATE \"hash\" SET ss = set_add(ss, <<'x'>>, <<'y'>>) WHERE pk = 'x'", "SET_ADD must have exactly two arguments at 1:24:7"),
    (
        "UPDATE \"hash\" SET ss = set_add(ss, <<'x', 'x'>>) WHERE pk = 'x'",
        "One or more parameter values were invalid: Input collection [x, x] contains duplicates.",
    ),
    ("UPDATE \"hash\" SET ss = set_add(ss, <<>>) WHERE pk = 'x'", "Empty bags are not supported"),
    (
        "INSERT INTO \"hash\" VALUE {'pk': 'x', 'ss': set_add(<<'a'>>, <<'b'>>)}",
        "Unsupported data type: set_add under key root at 1:44:7",
    ),
    (
        "UPDATE \"hash\" SET t = set_delete(ss, <<'a'>>) WHERE pk = 'x'",
        "The first argument to SET_DELETE must equal the assignment value at 1:23:10",
    ),
    (
        "UPDATE \"hash\" SET ss = set_delete(ss, 'a') WHERE pk = 'x'",
        "The second argument to SET_DELETE must be a value with type SET at 1:35:2",
    ),
    (
        "DELETE FROM \"hash\" WHERE pk = 'x' RETURNING MODIFIED OLD *",
        "Invalid returning clause: RETURNING MODIFIED OLD *. Only RETURNING ALL OLD * is allowed in DELETE statements.",
    ),
    (
        "DELETE FROM \"hash\" WHERE pk = 'x' RETURNING ALL NEW *",
        "Invalid returning clause: RETURNING ALL NEW *. Only RETURNING ALL OLD * is allowed in DELETE statements.",
    ),
    ("SELECT id FROM hash LIMIT 5", "Unsupported clause: LIMIT at 1:27:1"),
    ("SELECT s, s FROM hash WHERE pk = 't1'", "Duplicate identifiers in select clause: s"),
    ('SELECT * FROM "hash" WHERE pk = ?', PARAMETERS),
    ('SELECT * FROM "hash" WHERE pk = 1', "Key attribute's data type should match its data type in table's schema: Key pk"),
    ('SELECT * FROM "hash" WHERE pk = true', "Key value must be of type S, N, or B. Key name: pk, Key type: BOOL"),
    ("INSERT INTO \"composite\" VALUE {'pk': 'x'}", "Key attribute should be present in the item: Key sk"),
    ("INSERT INTO \"hash\" VALUE {'pk': 1}", "Key attribute's data type should match its data type in table's schema: Key pk"),
    (
        "UPDATE \"hash\" SET pk = 'y' WHERE pk = 'x'",
        "One or more parameter values were invalid: Cannot update attribute pk. This attribute is part of the key",
    ),
    (
        "SELECT * FROM \"composite\" WHERE pk = 'o' ORDER BY Total DESC",
        "Variable reference Total in ORDER BY clause must be part of the primary key",
    ),
    (
        "SELECT * FROM \"composite\" WHERE pk > 'a' ORDER BY sk",
        "Must have at least one non-optional hash key condition in WHERE clause when using ORDER BY clause.",
    ),
    ('SELECT * FROM "composite" ORDER BY sk', "Must have WHERE clause in the statement when using ORDER BY clause."),
    (
        "SELECT * FROM \"composite\" WHERE pk IN ['o', 'p'] ORDER BY sk DESC",
        "Must have hash key in ORDER BY clause when more than one hash key condition specified in WHERE clause.",
    ),
    (
        "SELECT * FROM \"x\" WHERE pk = 'a'",
        "Table name should be within the length [3, 255] and only contain 'a-z', 'A-Z', '0-9', '-', '_', '.'.",
    ),
]

OURS = [
    ("EXISTS(SELECT * FROM \"hash\" WHERE pk = 'x')", "Unsupported operation: Exists"),
    ("SELECT * FROM \"hash\" WHERE pk = 'x' AND a LIKE 'b'", "Unsupported operator in Condition Expression. Operator: LIKE"),
    ("SELECT * FROM \"hash\" WHERE pk = 'x' AND a = b + 1", "Unsupported operator in Condition Expression. Operator: +"),
    ("SELECT * FROM \"hash\" WHERE pk = 'x' AND a", "Unsupported token in expression: Id at 1:41:1"),
    ('SELECT * FROM "hash" WHERE a = MISSING', "Unsupported token in expression: Missing at 1:32:7"),
    ("INSERT INTO \"hash\" VALUE {'pk': 'x'} RETURNING ALL OLD *", "RETURNING is not supported in INSERT"),
    (
        "INSERT INTO \"hash\" VALUE ['x']",
        "Unsupported format in item expression. Please use struct format {...} to express item values for insert statement.",
    ),
    ("INSERT INTO \"hash\" VALUE {'pk': 'x', 'pk': 'y'}", "Duplicate keys in tuple. Key: pk under root"),
    ("INSERT INTO \"hash\".\"i\" VALUE {'pk': 'x'}", "This operation is not supported on an index"),
    ('SELECT *, a FROM "hash"', "Other attributes should not be present in the projection when '*' is used."),
    ("UPDATE \"hash\" SET a = now() WHERE pk = 'x'", "Unrecognized function: now at 1:23:3"),
    (
        "UPDATE \"hash\" SET a = <<1, 'x'>> WHERE pk = 'x'",
        "Unsupported data type in Bag. DynamoDB only supports either numbers or strings in bags",
    ),
    (
        'SELECT * FROM "hash" WHERE ' + " OR ".join([f"pk = '{number}'" for number in range(51)]),
        "Too many decomposed read operations for a given query.",
    ),
    ('SELECT * FROM "hash" WHERE ' + "NOT " * 200 + "a = 1", NOT_WELL_FORMED + "Expression is nested too deeply"),
    (
        'UPDATE "hash" SET a = ' + "[" * 40 + "]" * 40 + " WHERE pk = 'x'",
        "Nesting Levels have exceeded supported limits: Attributes in the item have nested levels beyond supported limit",
    ),
]

"""The grammar, for Lark's LALR(1): no backtracking, no recursion, time linear in the statement. Words become keywords in `parse`, so that `selected` is a name.

Conditions and operands are one kind of expression here, as they are for the service: what may stand where is told afterwards, with the better words.
"""

from __future__ import annotations

GRAMMAR = r"""
start: _statement ";"?

_statement: select | insert | update | from_first | delete | exists | bare

select: SELECT columns FROM source [where] [order] [limit]
columns: column ("," column)*
column: STAR -> all_columns
      | _expr [alias]
alias: AS? _name
source: path [alias]
where: WHERE _expr
order: ORDER BY order_term ("," order_term)*
order_term: _expr [ASC | DESC]
limit: LIMIT _expr | GROUP BY _expr | HAVING _expr

insert: INSERT INTO path VALUE _expr [returning]
update: UPDATE source _action+ [where] [returning]
from_first: FROM source [where] _action+ [returning]
delete: DELETE FROM source [where] [returning]
_action: set | remove
set: SET assign ("," assign)*
assign: path EQUALS _expr
remove: REMOVE path ("," path)*
returning: RETURNING (ALL | MODIFIED) (OLD | NEW) STAR
exists: EXISTS "(" select ")"
bare: _expr

_expr: or_
?or_: and_ (OR and_)*
?and_: not_ (AND not_)*
?not_: NOT not_ -> negated
     | predicate
?predicate: sum
          | sum (COMPARE | EQUALS) sum -> comparison
          | sum BETWEEN sum AND sum -> between
          | sum NOT BETWEEN sum AND sum -> not_between
          | sum IN sum -> in_
          | sum NOT IN sum -> not_in
          | sum LIKE sum -> like
          | sum IS TYPE -> is_
          | sum IS NOT TYPE -> is_not
?sum: term
    | sum (PLUS | MINUS) term
?term: primary
     | (PLUS | MINUS) NUMBER -> signed
?primary: NUMBER -> number
        | STRING -> string
        | TRUE -> true
        | FALSE -> false
        | NULL -> null
        | MISSING -> missing
        | PARAMETER -> parameter
        | path
        | call
        | "[" [_expr ("," _expr)*] "]" -> list_
        | BAG [_expr ("," _expr)*] END_BAG -> bag_
        | "{" [member ("," member)*] "}" -> struct_
        | "(" _expr ")" -> group
        | "(" _expr ("," _expr)+ ")" -> tuple_
member: STRING ":" _expr
call: (IDENT | EXISTS | RESERVED) "(" [_expr ("," _expr)*] ")"
    | RESERVED "(" STAR ")"
path: _name _step*
_step: "." _name
     | "[" NUMBER "]"
     | "[" STRING "]"
_name: IDENT | QUOTED | MODIFIED | OLD | NEW

IDENT: /[A-Za-z_$][A-Za-z0-9_$]*/
QUOTED: /"(?:[^"]|"")*"/
STRING: /'(?:[^']|'')*'/
NUMBER: /(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?/
PARAMETER: "?"
EQUALS: "="
COMPARE: "<>" | "!=" | "<=" | ">=" | "<" | ">"
BAG.2: "<<"
END_BAG.2: ">>"
STAR: "*"
PLUS: "+"
MINUS: "-"
COMMENT: /--[^\r\n]*/ | /\/\*(?:[^*]|\*(?!\/))*\*\//
SPACE: /[ \t\r\n\f\v]+/
%ignore SPACE
%ignore COMMENT
%declare SELECT FROM WHERE INSERT INTO VALUE UPDATE SET REMOVE DELETE RETURNING ORDER BY ASC DESC LIMIT GROUP HAVING AS
%declare AND OR NOT BETWEEN IN IS LIKE MISSING NULL TRUE FALSE EXISTS ALL MODIFIED OLD NEW RESERVED TYPE
"""

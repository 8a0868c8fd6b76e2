"""PartiQL as DynamoDB has it: text to a statement (parse), parameters and values put in (values, bind), and which keys it reads or writes (reach).

What comes out are the trees of `storage.items.expressions` and nothing that evaluates by itself: a statement means what the same request means. Pure.
"""

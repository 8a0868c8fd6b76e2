"""What the objects of an archive are (docs/formats/): bytes to values and back, and every check that one object alone allows. Pure; imports no store, no other
room of the archive.

`layout` names (object keys) · `canonical`, `fields` the JSON form · `segment`, `manifest`, `base`, `closed`, `expired`, `identity` the objects · `records` the records in
a segment against its manifest · `fault` what is wrong with an object, as a value.
"""

"""Resource policies: what one is (`document`), and what one says of a request (`rules`). Pure."""

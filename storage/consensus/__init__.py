"""Sequence Paxos with leases of node-pair grants: a pure, synchronous core (DESIGN section 5, docs/adr/0004-consensus.md). `group.Group` is the state machine of one replica."""

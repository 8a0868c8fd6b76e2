"""The replication group of a partition as a pure state machine, and the grants between nodes under its leases. No I/O, no clock of its own, no coroutine.

`group.Group` is the face: it wires the roles below to one `group_state.GroupState` and is driven by a shell (`storage/node/turn.py`). From the top down:

    group        events in, `Ready` out; which role a message is for
    leading      a leader: proposes, counts a quorum, keeps its table of followers     replication, handover: what it sends, how it goes
    campaign     a candidate: the question before, phase 1, adoption of the best log
    acceptor     a member: promises, accepts, takes an adopted log, says where it stands
    resignation  giving a ballot up, and telling everybody
    election     whether (`Election.may_campaign`) and when a member campaigns
    allegiance   to whom a member is bound                                             closed: which stamps are closed
    lease        whether the leader's lease is held (`Lease.held`)                     adoption: how a log changes hands, and where it is cut
    group_state  what the roles share: ballots, log, campaign, leadership
    membership   who is a member and what a quorum is; liveness: grants between nodes; follower: one, as its leader sees it; group_log; outbox: what waits for a sync
    group_config, options, ready, messages: what is given to a group, and what passes between groups and shells
"""

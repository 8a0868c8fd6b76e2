"""Connections between the processes of a cluster, as `/metrics` and the durability process are told of them."""

from __future__ import annotations

from scrubjay.base.real.peer_net import PeerNet
from scrubjay.server.process_talk import LinkDown
from scrubjay.serving.families import Exposition


def links_down(net: PeerNet) -> tuple[LinkDown, ...]:
    """Those that this process dials and that are not up."""
    return tuple(LinkDown(one.name, one.channel, one.since_s, one.error) for one in net.links() if one.outward and not one.up)


def tell_links(out: Exposition, net: PeerNet) -> None:
    """Of those that this process dials: what others dial they tell themselves."""
    for one in net.links():
        if not one.outward:
            continue
        labels = (one.name, one.channel)
        out.tell("scrubjay_link_up", int(one.up), *labels)
        out.tell("scrubjay_link_down_seconds", 0.0 if one.up else one.since_s, *labels)
        out.tell("scrubjay_link_queued_bytes", one.queued_bytes, *labels)
        out.tell("scrubjay_link_connections", one.made, *labels)
        out.tell("scrubjay_link_dropped", one.dropped, *labels)
    out.tell("scrubjay_link_refused", net.counts.refused)
    out.tell("scrubjay_link_broken", net.counts.broken)

"""Throughput as requests ask for it, of tables and of indexes: provisioned, on-demand ceilings, and what is to be warm. Checked and kept; nothing here is enforced."""

from __future__ import annotations

from scrubjay.storage.api import errors, limits
from scrubjay.storage.api.call import Body
from scrubjay.storage.catalogue import Throughput

_INVALID = "One or more parameter values were invalid: "
_ON_DEMAND = ("MaxReadRequestUnits", "MaxWriteRequestUnits")
_WARM = ("ReadUnitsPerSecond", "WriteUnitsPerSecond")
_INITIAL = "https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/on-demand-capacity-mode.html#on-demand-capacity-mode-initial"


def check_capacity(throughput: Body, *, index: str | None = None) -> Throughput:
    """The units asked for. index: whose they are, if not the table's. Raises if they are out of bounds."""
    whose = "" if index is None else f" for index {index}"
    for name in ("ReadCapacityUnits", "WriteCapacityUnits"):
        if throughput[name] > limits.CAPACITY_UNITS_MAX:
            raise errors.validation(f"Given value {throughput[name]} for {name} is out of bounds{whose}")
    return Throughput(throughput["ReadCapacityUnits"], throughput["WriteCapacityUnits"])


def on_demand_of(
    asked: Body | None, billing: str, *, index: str | None = None, now: Throughput | None = None, may_clear: bool = False
) -> Throughput | None:
    """The on-demand ceilings asked for; -1 is none. index: whose they are, if not the table's. now: as they were, which what is not asked for stays. may_clear: -1 may be asked for, as of what is
    there already. Raises ApiError."""
    if asked is None:
        return None
    whose = "" if index is None else f" for index{' ' if may_clear else ''}: {index}"
    when = "the table BillingMode is PROVISIONED" if may_clear else "table BillingMode is PROVISIONED."
    for member in _ON_DEMAND:
        if member in asked and billing != "PAY_PER_REQUEST":
            raise errors.validation(f"{_INVALID}{member} for OnDemandThroughput{whose} cannot be specified when {when}")
    before = (-1, -1) if now is None else (now.read, now.write)
    result = Throughput(*[asked.get(member, old) for member, old in zip(_ON_DEMAND, before, strict=True)])
    for member, value in zip(_ON_DEMAND, (result.read, result.write), strict=True):
        if member in asked and value < 1 and not (may_clear and value == -1):
            raise errors.validation(
                f"{_INVALID}Requested {member} for OnDemandThroughput for {'table' if index is None else f'index : {index}'} is outside of valid range"
            )
    return result


def check_quotas(
    region: str,
    throughput: Throughput,
    on_demand: Throughput | None,
    warm: Throughput | None,
    *,
    index: str | None = None,
) -> None:
    """No table, and no index, has more than the quota of an account that nobody raised. index: whose it is, if not the table's. Raises LimitExceededException, which the service does after all else."""
    most = limits.TABLE_CAPACITY_UNITS_MAX
    whose, of = ("", "table") if index is None else (f" for index {index}", "index")
    for name, value in (("ReadCapacityUnits", throughput.read), ("WriteCapacityUnits", throughput.write)):
        if value > most:
            raise errors.limit_exceeded(
                f"The requested {name}{whose}, {value}, is above the per {of} maximum for the account in {region}. Per {of} maximum: {most}. "
                "Refer to the Amazon DynamoDB Developer Guide for current limits and how to request higher limits."
            )
    for members, asked, kind, colon in ((_ON_DEMAND, on_demand, "OnDemandThroughput", " :"), (_WARM, warm, "WarmThroughput", "")):
        for name, value, quota in () if asked is None else zip(members, (asked.read, asked.write), ("Read", "Write"), strict=True):
            if value > most:
                raise errors.limit_exceeded(
                    f"Subscriber limit exceeded: Requested {name} for {kind} for {'table' if index is None else f'index{colon} {index}'} "
                    f"exceeds TableMax{quota}CapacityUnits of the account in region {region}"
                )


def least_warm(billing: str, throughput: Throughput) -> Throughput:
    """What a table or index is warm to that was asked for nothing."""
    if billing == "PAY_PER_REQUEST":
        return Throughput(limits.WARM_READ_UNITS, limits.WARM_WRITE_UNITS)
    return throughput


def warm_units(billing: str, throughput: Throughput, kept: Throughput | None) -> Throughput:
    """What a table or index is warm to. kept: the most that was asked for, or that it was provisioned with; None: no more than it has anyway."""
    least = least_warm(billing, throughput)
    return least if kept is None else Throughput(max(kept.read, least.read), max(kept.write, least.write))


def warm_after(units: Throughput, billing: str, throughput: Throughput) -> Throughput | None:
    """What is kept of it that a table or index is warm to `units`, once it is billed and provisioned so: it gets no colder."""
    most = warm_units(billing, throughput, units)
    return None if most == least_warm(billing, throughput) else most


def warm_of(
    asked: Body | None, billing: str, throughput: Throughput, now: Throughput | None, *, index: str | None = None, made: bool = True
) -> Throughput | None:
    """What is to be warm; None: nothing was asked for that is not so anyway. throughput: as provisioned. now: as it was kept before. made: it is of something new. Raises ApiError: it would
    be less than there is."""
    if not asked:
        return now
    least = warm_units(billing, throughput, now)
    result = Throughput(asked.get(_WARM[0], least.read), asked.get(_WARM[1], least.write))
    for member, value, floor in ((_WARM[0], result.read, least.read), (_WARM[1], result.write, least.write)):
        if value >= floor:
            continue
        of = "table" if index is None else f"index {index}"
        if not made:
            why = "current WarmThroughput, decreasing WarmThroughput is not supported"
        elif billing == "PAY_PER_REQUEST":
            why = f"initial throughput for OnDemand. See: {_INITIAL}"
        else:
            why = f"{'Read' if member == _WARM[0] else 'Write'}CapacityUnits of ProvisionedThroughput"
        raise errors.validation(f"{_INVALID}Requested {member} for WarmThroughput for {of} is lower than {why}")
    return None if result == least_warm(billing, throughput) else result


def changed_at(before: Throughput, at: tuple[int | None, int | None], after: Throughput, now_us: int) -> tuple[int | None, int | None]:
    """When throughput was last increased and decreased, once `after` holds. at: the same of `before`."""
    increased, decreased = at
    if after.read > before.read or after.write > before.write:
        increased = now_us
    if after.read < before.read or after.write < before.write:
        decreased = now_us
    return increased, decreased


DAY_US = 86_400_000_000


def decreases_today(count: int, at: tuple[int | None, int | None], now_us: int) -> int:
    """How often it was decreased since midnight, UTC. count: on the day of the last time, which `at` has."""
    return count if at[1] is not None and at[1] // DAY_US == now_us // DAY_US else 0


def decreases_after(before: Throughput, count: int, at: tuple[int | None, int | None], after: Throughput, now_us: int) -> int:
    """What is kept of that once `after` holds. count, at: the same of `before`."""
    if after.read < before.read or after.write < before.write:
        return decreases_today(count, at, now_us) + 1
    return count

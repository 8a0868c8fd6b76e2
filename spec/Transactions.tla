--------------------------- MODULE Transactions ---------------------------
(***************************************************************************)
(* Transactions over several partitions. Every partition has one item that *)
(* every transaction writes. A log here is what was chosen: SeqLease has   *)
(* how, and a new leader reads what is pending from the log. A PREPARE     *)
(* locks the item; the decision is one conditional write of the ledger;    *)
(* COMMIT or ABORT ends it. COMMIT goes by the greatest stamp of the       *)
(* PREPAREs. A coordinator may die at any moment: whoever finds a PREPARE  *)
(* pending asks the ledger, and writes ABORT there if nothing is decided.  *)
(*                                                                         *)
(* A restore to T reads a partition's log to a SEAL that is closed at T,   *)
(* or to what was published as closed at T, and takes what is effective    *)
(* by T. A copy that is healed begins behind a SEAL: what it knows to be   *)
(* pending stands behind the last one.                                     *)
(*                                                                         *)
(* Each switch turns one rule off. All FALSE: the design.                  *)
(***************************************************************************)
EXTENDS Integers, Sequences, FiniteSets, TLC
CONSTANTS Part, Tx, None, MaxClock, MaxWrites, MaxSeals, WithReader,
          AbortUnasked, BlindDecision, OwnEffective, EffectiveFirst, ClosedOverPending, ReleasedEarly, WriteOverPending, SealOverPending,
          ForgetEarly, AnswerEarly, CommitUnmerged, PrepareFirst, ReadOnce, ReadOverPending
VARIABLES log, clock,          \* of each partition: its records, the last stamp it gave
          closed,              \* of each partition: the newest closed point outside the log, c(lock) and l(ast LSN that it needs: of content by then, or the last SEAL)
          ledger,              \* of each transaction: st n(othing yet), b(egun), c(ommit), g(one: it never commits, or is done); e: what COMMIT goes by
          answers, tells,      \* of each transaction: stamps of its PREPAREs; what the client was told: n(othing), y(es), d: nobody tells it any more, the coordinator is dead
          first, second        \* a reader of all items: the version it read of each, -1 none; whether it read that again
vars == <<log, clock, closed, ledger, answers, tells, first, second>>

Max2(a, b) == IF a > b THEN a ELSE b
Largest(S) == CHOOSE x \in S : \A y \in S : y <= x
Rec(k, t, s, e, c) == [k |-> k, t |-> t, s |-> s, e |-> e, c |-> c]
At(p, k, t) == {i \in 1..Len(log[p]) : log[p][i].k = k /\ log[p][i].t = t}
Ended(p, t) == At(p, "C", t) \cup At(p, "A", t)
Seals(p) == {i \in 1..Len(log[p]) : log[p][i].k = "S"}
Behind(p) == Largest(Seals(p) \cup {0})
Pending(p) == {t \in Tx : Ended(p, t) = {} /\ \E i \in At(p, "P", t) : i > Behind(p)}
Effects(p) == {i \in 1..Len(log[p]) : log[p][i].k \in {"C", "W"}}
Version(p) == Largest(Effects(p) \cup {0})

Init == /\ log = [p \in Part |-> <<>>] /\ clock = [p \in Part |-> 0] /\ closed = [p \in Part |-> [c |-> 0, l |-> 0]]
        /\ ledger = [t \in Tx |-> [st |-> "n", e |-> 0]] /\ answers = [t \in Tx |-> [p \in Part |-> 0]] /\ tells = [t \in Tx |-> "n"]
        /\ first = [p \in Part |-> -1] /\ second = [p \in Part |-> FALSE]

\* A record with the next stamp; after: what the command carried of the clock
Put(p, k, t, after, e, c) == LET s == Max2(clock[p], after) + 1 IN
    /\ s <= MaxClock /\ clock' = [clock EXCEPT ![p] = s]
    /\ log' = [log EXCEPT ![p] = Append(@, Rec(k, t, s, IF e = 0 THEN s ELSE e, c))]

(* --- the coordinator --- *)
Begin(t) == /\ ledger[t].st = "n" /\ tells[t] = "n"
            /\ ledger' = [ledger EXCEPT ![t].st = "b"] /\ UNCHANGED <<log, clock, closed, answers, tells, first, second>>
Prepare(t, p) ==    \* a command may come late: also when its coordinator is dead and all is decided
    /\ At(p, "P", t) = {} /\ Pending(p) = {} /\ (ledger[t].st # "n" \/ PrepareFirst)
    /\ Put(p, "P", t, 0, 0, 0) /\ answers' = [answers EXCEPT ![t][p] = clock'[p]]
    /\ UNCHANGED <<closed, ledger, tells, first, second>>
Stamps(t) == {answers[t][p] : p \in Part}
Commit(t) == /\ tells[t] = "n" /\ 0 \notin Stamps(t) /\ (ledger[t].st = "b" \/ (BlindDecision /\ ledger[t].st = "g"))
             /\ ledger' = [ledger EXCEPT ![t] = [st |-> "c", e |-> IF EffectiveFirst THEN CHOOSE x \in Stamps(t) : \A y \in Stamps(t) : x <= y ELSE Largest(Stamps(t))]]
             /\ UNCHANGED <<log, clock, closed, answers, tells, first, second>>
Abort(t) ==         \* the coordinator, or whoever has a PREPARE pending
    /\ ledger[t].st = "b" /\ (tells[t] = "n" \/ \E p \in Part : t \in Pending(p))
    /\ ledger' = [ledger EXCEPT ![t].st = "g"] /\ UNCHANGED <<log, clock, closed, answers, tells, first, second>>
Die(t) == tells[t] = "n" /\ tells' = [tells EXCEPT ![t] = "d"] /\ UNCHANGED <<log, clock, closed, ledger, answers, first, second>>
Tell(t) == /\ tells[t] = "n" /\ ledger[t].st = "c" /\ (AnswerEarly \/ \A p \in Part : At(p, "C", t) # {})
           /\ tells' = [tells EXCEPT ![t] = "y"] /\ UNCHANGED <<log, clock, closed, ledger, answers, first, second>>
Forget(t) == /\ ledger[t].st = "c" /\ tells[t] # "n" /\ (ForgetEarly \/ \A p \in Part : At(p, "C", t) # {})
             /\ ledger' = [ledger EXCEPT ![t].st = "g"] /\ UNCHANGED <<log, clock, closed, answers, tells, first, second>>

(* --- the end of a transaction at a partition: by the coordinator, or by whoever asked the ledger --- *)
CommitAt(t, p) == /\ t \in Pending(p) /\ ledger[t].st = "c"
                   /\ Put(p, "C", t, IF CommitUnmerged THEN 0 ELSE ledger[t].e, IF OwnEffective THEN 0 ELSE ledger[t].e, 0)
                   /\ UNCHANGED <<closed, ledger, answers, tells, first, second>>
AbortAt(t, p) == /\ t \in Pending(p) /\ (ledger[t].st = "g" \/ (PrepareFirst /\ ledger[t].st = "n") \/ (AbortUnasked /\ tells[t] = "d")) /\ Put(p, "A", t, 0, 0, 0)
                 /\ UNCHANGED <<closed, ledger, answers, tells, first, second>>

(* --- all else that a leader does --- *)
Write(p) == /\ (Pending(p) = {} \/ WriteOverPending) /\ Cardinality({i \in 1..Len(log[p]) : log[p][i].k = "W"}) < MaxWrites /\ Put(p, "W", None, 0, 0, 0)
            /\ UNCHANGED <<closed, ledger, answers, tells, first, second>>
Tick(p) == clock[p] < MaxClock /\ clock' = [clock EXCEPT ![p] = @ + 1] /\ UNCHANGED <<log, closed, ledger, answers, tells, first, second>>   \* other items are written
\* A transaction holds what is closed below its PREPARE, and until it is closed above its COMMIT, or that is sealed: a COMMIT may be effective long before its own stamp
Held(p, c) == \E t \in Tx : \E i \in At(p, "P", t) :
    /\ c >= log[p][i].s /\ ~ClosedOverPending
    /\ i > Behind(p)
    /\ Ended(p, t) = {} \/ (~ReleasedEarly /\ \E j \in Ended(p, t) : c < log[p][j].s)
Seal(p) == /\ (Pending(p) = {} \/ SealOverPending) /\ Cardinality(Seals(p)) < MaxSeals /\ log[p] # <<>> /\ log[p][Len(log[p])].k # "S"
           /\ LET c == Largest({x \in 0..clock[p] : ~Held(p, x)}) IN Put(p, "S", None, 0, 0, c)
           /\ UNCHANGED <<closed, ledger, answers, tells, first, second>>
Close(p, c) == /\ c > closed[p].c /\ c <= clock[p] /\ ~Held(p, c)
               /\ closed' = [closed EXCEPT ![p] = [c |-> c, l |-> Largest({i \in 1..Len(log[p]) : log[p][i].s <= c} \cup {Behind(p)})]]
               /\ UNCHANGED <<log, clock, ledger, answers, tells, first, second>>

(* --- a reader of all items --- *)
Read(p) == /\ WithReader /\ first[p] < 0 /\ first' = [first EXCEPT ![p] = Version(p)]
           /\ UNCHANGED <<log, clock, closed, ledger, answers, tells, second>>
Again(p) == /\ \A q \in Part : first[q] >= 0
            /\ ~second[p] /\ (first[p] = Version(p) \/ ReadOnce) /\ (Pending(p) = {} \/ ReadOverPending)
            /\ second' = [second EXCEPT ![p] = TRUE] /\ UNCHANGED <<log, clock, closed, ledger, answers, tells, first>>

Next == \/ \E t \in Tx : Begin(t) \/ Commit(t) \/ Abort(t) \/ Die(t) \/ Tell(t) \/ Forget(t) \/ \E p \in Part : Prepare(t, p) \/ CommitAt(t, p) \/ AbortAt(t, p)
        \/ \E p \in Part : Write(p) \/ Tick(p) \/ Seal(p) \/ Read(p) \/ Again(p) \/ \E c \in 1..clock[p] : Close(p, c)
Spec == Init /\ [][Next]_vars

\* A transaction has one end
OneEnd == \A t \in Tx, p, q \in Part : At(p, "C", t) = {} \/ At(q, "A", t) = {}
\* The versions of an item are effective in the order of the log: the last record wins at every cut
Rising == \A p \in Part : \A i, j \in Effects(p) : i < j => log[p][i].e < log[p][j].e
\* How far a restore to c reads, as far as that is provable: by any of the two ways
Reach(p, c) == (IF closed[p].c >= c THEN {closed[p].l} ELSE {}) \cup {i \in Seals(p) : log[p][i].c >= c}
Shown(p, c, l) == {log[p][i].t : i \in {x \in Effects(p) : x <= l /\ log[p][x].e <= c}} \ {None}
\* A restore shows all of a transaction, or nothing; and the same whichever way it reads
Whole == \A c \in 1..MaxClock : \A p, q \in Part : \A i \in Reach(p, c), j \in Reach(q, c) : Shown(p, c, i) = Shown(q, c, j)
\* What is closed is never added to
Closed == \A p \in Part : \A c \in 1..MaxClock : \A l \in Reach(p, c) : \A i \in Effects(p) : log[p][i].e <= c => i <= l
\* Who was told reads it everywhere
Visible == \A t \in Tx : tells[t] = "y" => \A p \in Part : At(p, "C", t) # {}
\* A reader sees all of a transaction, or nothing
Snapshot == (\A p \in Part : second[p]) => \A t \in Tx : \A p, q \in Part : (\E i \in At(p, "C", t) : i <= first[p]) = (\E i \in At(q, "C", t) : i <= first[q])
Alike == Permutations(Part) \cup Permutations(Tx)
=============================================================================

------------------------------- MODULE Split -------------------------------
(***************************************************************************)
(* A partition (the parent) becomes two (the children). Every key is in    *)
(* one child of a pair. A log here is what was chosen: SeqLease has how.   *)
(* The catalogue notes the intent, which names the pair. SPLIT names it    *)
(* again and ends the parent's log. A member whose copy has applied SPLIT  *)
(* makes the children's trees of it, mostly of a copy that it took before. *)
(* A child's log begins where such a tree is. The parent's copies go when  *)
(* all of its log is archived; its archive, when the children have bases   *)
(* of their own.                                                           *)
(*                                                                         *)
(* A restore to T goes by the catalogue as of T and by the logs alone: by  *)
(* the parent's as far as that is not split at or before T, else by the    *)
(* children's. Whoever follows changes reads the parent to its end first.  *)
(*                                                                         *)
(* Not here: how a member of a child gets what it lacks of the child's own *)
(* log, closed timestamps (SeqClock), the archive's own rules (Archive).   *)
(*                                                                         *)
(* Each switch turns one rule off. All FALSE: the design.                  *)
(***************************************************************************)
EXTENDS Integers, Sequences, FiniteSets, TLC
CONSTANTS Member, Key, MaxIntents, MaxClock, MaxWrites, MaxPrepares, MaxLost, WithFeed,
          WriteBehind, SplitOverPending, BuildShort, BeginUnsplit, ChildClock, IntentUnclocked, WithdrawUnasked,
          ReadAtParent, FeedBoth, ForgetAtFlip, ExpireUnbased
VARIABLES log, child,          \* the parent's records; of each pair and key the child's
          cat, flipped,        \* the catalogue: which pair is meant (0: none), stamp of that; the map names the children
          asked,               \* pairs for which somebody was asked to split: a command may come late
          held, copy, tree,    \* of each member: how much of the parent's log its copy has (-1: no copy any more); how much of it was copied before, and made into the children's trees (0: nothing)
          arch, base, gone,    \* how much of the parent's log is archived; the children have bases of their own; the parent's archive has expired
          lost, stale,         \* members that lost all they had; somebody read what was not the newest
          fed, seen, ordered   \* who follows changes: how much of the parent's log, and of each child's, was taken; stamp of the newest change of each key; none came too late
vars == <<log, child, cat, flipped, asked, held, copy, tree, arch, base, gone, lost, stale, fed, seen, ordered>>

Pair == 1..MaxIntents
Rec(k, x, s) == [k |-> k, x |-> x, s |-> s]
None == CHOOSE x \in Key : TRUE     \* of a record that is of no key
Splits == {n \in 1..Len(log) : log[n].k = "X"}
IsSplit == Splits # {}
End == CHOOSE n \in Splits : TRUE
Last(l) == IF l = <<>> THEN 0 ELSE l[Len(l)].s
Writes(l) == {n \in 1..Len(l) : l[n].k = "W"}
Pending == Cardinality({n \in 1..Len(log) : log[n].k = "P"}) > Cardinality({n \in 1..Len(log) : log[n].k = "E"})
AllWrites == {log[n] : n \in Writes(log)} \cup UNION {{child[i][x][n] : n \in Writes(child[i][x])} : i \in Pair, x \in Key}

Init == /\ log = <<>> /\ child = [i \in Pair |-> [x \in Key |-> <<>>]]
        /\ cat = [i |-> 0, s |-> 0] /\ flipped = FALSE /\ asked = {}
        /\ held = [m \in Member |-> 0] /\ copy = [m \in Member |-> 0] /\ tree = [m \in Member |-> 0]
        /\ arch = 0 /\ base = FALSE /\ gone = FALSE /\ lost = 0 /\ stale = FALSE
        /\ fed = [p |-> 0, c |-> [x \in Key |-> 0]] /\ seen = [x \in Key |-> 0] /\ ordered = TRUE

(* --- the parent's log --- *)
\* A record that a quorum holds, with one of them that had all before it. after: what the command carried of the clock
Put(k, x, after) == \E s \in 1..MaxClock, Q \in SUBSET Member :
    /\ s > Last(log) /\ s > after /\ 2 * Cardinality(Q) > Cardinality(Member)
    /\ \A m \in Q : held[m] >= 0
    /\ \E m \in Q : held[m] = Len(log)
    /\ log' = Append(log, Rec(k, x, s)) /\ held' = [m \in Member |-> IF m \in Q THEN Len(log) + 1 ELSE held[m]]
Write(x) == /\ (~IsSplit \/ WriteBehind) /\ Cardinality(AllWrites) < MaxWrites /\ Put("W", x, 0)
            /\ UNCHANGED <<child, cat, flipped, asked, copy, tree, arch, base, gone, lost, stale, fed, seen, ordered>>
Prepare == /\ ~IsSplit /\ ~Pending /\ Cardinality({n \in 1..Len(log) : log[n].k = "P"}) < MaxPrepares /\ Put("P", None, 0)
           /\ UNCHANGED <<child, cat, flipped, asked, copy, tree, arch, base, gone, lost, stale, fed, seen, ordered>>
EndPending == /\ ~IsSplit /\ Pending /\ Put("E", None, 0)
              /\ UNCHANGED <<child, cat, flipped, asked, copy, tree, arch, base, gone, lost, stale, fed, seen, ordered>>

(* --- the split --- *)
Intend == /\ cat.i = 0 /\ \E i \in Pair, s \in 1..MaxClock : /\ i \notin asked /\ s > cat.s /\ cat' = [i |-> i, s |-> s] /\ asked' = asked \cup {i}
          /\ UNCHANGED <<log, child, flipped, held, copy, tree, arch, base, gone, lost, stale, fed, seen, ordered>>
Withdraw == /\ WithdrawUnasked /\ cat.i # 0 /\ ~IsSplit /\ cat' = [cat EXCEPT !.i = 0]
            /\ UNCHANGED <<log, child, flipped, asked, held, copy, tree, arch, base, gone, lost, stale, fed, seen, ordered>>
Split(i) == /\ i \in asked /\ ~IsSplit /\ (~Pending \/ SplitOverPending)
            /\ Put("X", None, IF IntentUnclocked THEN 0 ELSE cat.s)
            /\ asked' = {i}        \* which pair SPLIT names
            /\ UNCHANGED <<child, cat, flipped, copy, tree, arch, base, gone, lost, stale, fed, seen, ordered>>
Named == IF IsSplit THEN asked ELSE {}
Flip == /\ IsSplit /\ ~flipped /\ \E i \in Named : cat.i = i /\ \A x \in Key : child[i][x] # <<>>
        /\ flipped' = TRUE /\ UNCHANGED <<log, child, cat, asked, held, copy, tree, arch, base, gone, lost, stale, fed, seen, ordered>>

(* --- the members --- *)
CatchUp(m) == /\ held[m] >= 0 /\ held[m] < Len(log) /\ \E o \in Member : held[o] = Len(log)
              /\ held' = [held EXCEPT ![m] = Len(log)]
              /\ UNCHANGED <<log, child, cat, flipped, asked, copy, tree, arch, base, gone, lost, stale, fed, seen, ordered>>
Copy(m) == /\ BuildShort /\ cat.i # 0 /\ copy[m] = 0 /\ held[m] > 0 /\ copy' = [copy EXCEPT ![m] = held[m]]
           /\ UNCHANGED <<log, child, cat, flipped, asked, held, tree, arch, base, gone, lost, stale, fed, seen, ordered>>     \* with the rule it makes no difference
Build(m) == /\ IsSplit /\ tree[m] = 0 /\ held[m] >= End
            /\ tree' = [tree EXCEPT ![m] = IF BuildShort /\ copy[m] > 0 THEN copy[m] ELSE End]   \* else the log behind the copy is applied to it, up to SPLIT
            /\ UNCHANGED <<log, child, cat, flipped, asked, held, copy, arch, base, gone, lost, stale, fed, seen, ordered>>
Whole == IsSplit /\ arch >= End /\ ~gone          \* all of the parent's log can be read in the archive
Heal(m) == /\ IsSplit /\ tree[m] = 0 /\ (Whole \/ base \/ \E o \in Member : tree[o] = End)
           /\ tree' = [tree EXCEPT ![m] = End]
           /\ UNCHANGED <<log, child, cat, flipped, asked, held, copy, arch, base, gone, lost, stale, fed, seen, ordered>>
Lose(m) == /\ lost < MaxLost /\ lost' = lost + 1
           /\ held' = [held EXCEPT ![m] = IF @ < 0 THEN @ ELSE 0] /\ copy' = [copy EXCEPT ![m] = 0] /\ tree' = [tree EXCEPT ![m] = 0]
           /\ UNCHANGED <<log, child, cat, flipped, asked, arch, base, gone, stale, fed, seen, ordered>>
Forget(m) == /\ flipped /\ held[m] >= 0 /\ (Whole \/ ForgetAtFlip) /\ held' = [held EXCEPT ![m] = -1]
             /\ UNCHANGED <<log, child, cat, flipped, asked, copy, tree, arch, base, gone, lost, stale, fed, seen, ordered>>

(* --- a child's log --- *)
Behind == IF ChildClock \/ ~IsSplit THEN 0 ELSE log[End].s
Begin(i, x) == /\ child[i][x] = <<>>
               /\ IF BeginUnsplit THEN cat.i = i ELSE i \in Named /\ \E m \in Member : tree[m] # 0
               /\ \E s \in 1..MaxClock : s > Behind /\ child' = [child EXCEPT ![i][x] = <<Rec("B", x, s)>>]
               /\ UNCHANGED <<log, cat, flipped, asked, held, copy, tree, arch, base, gone, lost, stale, fed, seen, ordered>>
WriteChild(i, x) == /\ child[i][x] # <<>> /\ Cardinality(AllWrites) < MaxWrites
                    /\ \E s \in 1..MaxClock : s > Last(child[i][x]) /\ child' = [child EXCEPT ![i][x] = Append(@, Rec("W", x, s))]
                    /\ UNCHANGED <<log, cat, flipped, asked, held, copy, tree, arch, base, gone, lost, stale, fed, seen, ordered>>

(* --- the archive --- *)
Archive == /\ arch < Len(log) /\ \E m \in Member : held[m] > arch
           /\ arch' = arch + 1 /\ UNCHANGED <<log, child, cat, flipped, asked, held, copy, tree, base, gone, lost, stale, fed, seen, ordered>>
Base == /\ Whole /\ ~base /\ base' = TRUE
        /\ UNCHANGED <<log, child, cat, flipped, asked, held, copy, tree, arch, gone, lost, stale, fed, seen, ordered>>
Expire == /\ Whole /\ (base \/ ExpireUnbased) /\ gone' = TRUE
          /\ UNCHANGED <<log, child, cat, flipped, asked, held, copy, tree, arch, base, lost, stale, fed, seen, ordered>>

(* --- who reads, and who follows --- *)
Read(x) == /\ IsSplit /\ ReadAtParent      \* strongly, of the parent's leader: nothing is newer as long as that is not split
           /\ stale' = (stale \/ \E i \in Pair : Writes(child[i][x]) # {})
           /\ UNCHANGED <<log, child, cat, flipped, asked, held, copy, tree, arch, base, gone, lost, fed, seen, ordered>>
Take(r) == IF r.k = "W" THEN seen' = [seen EXCEPT ![r.x] = r.s] /\ ordered' = (ordered /\ r.s > seen[r.x]) ELSE UNCHANGED <<seen, ordered>>
FeedParent == /\ WithFeed /\ fed.p < Len(log) /\ Take(log[fed.p + 1]) /\ fed' = [fed EXCEPT !.p = @ + 1]
              /\ UNCHANGED <<log, child, cat, flipped, asked, held, copy, tree, arch, base, gone, lost, stale>>
FeedChild(i, x) == /\ WithFeed /\ i \in Named /\ (FeedBoth \/ fed.p >= End) /\ fed.c[x] < Len(child[i][x])
                   /\ Take(child[i][x][fed.c[x] + 1]) /\ fed' = [fed EXCEPT !.c[x] = @ + 1]
                   /\ UNCHANGED <<log, child, cat, flipped, asked, held, copy, tree, arch, base, gone, lost, stale>>

Next == \/ Prepare \/ EndPending \/ Intend \/ Withdraw \/ Flip \/ Archive \/ Base \/ Expire \/ FeedParent
        \/ \E x \in Key : Write(x) \/ Read(x)
        \/ \E m \in Member : CatchUp(m) \/ Copy(m) \/ Build(m) \/ Heal(m) \/ Lose(m) \/ Forget(m)
        \/ \E i \in Pair : Split(i) \/ \E x \in Key : Begin(i, x) \/ WriteChild(i, x) \/ FeedChild(i, x)
Spec == Init /\ [][Next]_vars

(* --- what must hold --- *)
\* Children take over when the parent has ended, and only those of one pair
OneOwner == \A i \in Pair, x \in Key : child[i][x] # <<>> => Named = {i}
\* The catalogue leads to those whom the log names
Found == \A i \in Named : cat.i = i
\* What a child's tree begins with is all that the parent's log says, on every member alike
SameState == \A m \in Member : tree[m] # 0 => IsSplit /\ tree[m] = End /\ \A n \in Writes(log) : n < End
\* A restore to T shows what was written by T, all of it
Shown(t) == LET ended == IsSplit /\ cat.i # 0 /\ cat.s <= t /\ log[End].s <= t
                old == {log[n] : n \in {y \in Writes(log) : log[y].s <= t /\ (~ended \/ y < End)}}
                new == IF ended THEN UNION {{child[cat.i][x][n] : n \in {y \in Writes(child[cat.i][x]) : child[cat.i][x][y].s <= t}} : x \in Key} ELSE {}
            IN old \cup new
Cut == \A t \in 1..MaxClock : Shown(t) = {w \in AllWrites : w.s <= t}
\* What the children begin with can be had, though another member loses all it has
Buildable == IsSplit => base \/ Whole \/ \E m \in Member : tree[m] = End \/ held[m] >= End
\* A transaction that is pending can end
Endable == Pending => ~IsSplit
Fresh == ~stale
InOrder == ordered
Alike == Permutations(Member)
=============================================================================

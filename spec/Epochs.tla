------------------------------ MODULE Epochs ------------------------------
(***************************************************************************)
(* Who writes to an archive. A cluster, and a copy of its folder that is   *)
(* made at any moment, also while it runs, share one identity and one      *)
(* prefix. A start meets the archive (is its history mine?), writes a      *)
(* random owner into its own metadata log, claims the next epoch by a      *)
(* create-once object that names the owner, notes the claim, and puts.     *)
(* It may die between any two steps, and finds out late about the other:   *)
(* what it puts until then lies there as a branch.                         *)
(* Left out: a confirmed takeover, and that it takes two members to put.   *)
(* Switches turn a rule off; all FALSE is the design.                      *)
(***************************************************************************)
EXTENDS Integers, FiniteSets, TLC
CONSTANTS MaxEpoch, MaxOwner, MaxPos,
          OwnerUnwritten, ClaimOver, NumberAlone, SkipMeeting, ExistsMeansMine, UnknownIsOurs
VARIABLES state, known, noted, owner, epoch, seen, met, pos, done, claims, store, split, minted, mints
vars == <<state, known, noted, owner, epoch, seen, met, pos, done, claims, store, split, minted, mints>>
Clusters == {"a", "b"}
Content(c, p) == IF p <= split THEN "both" ELSE c
Top == LET E == {e \in 1..MaxEpoch : claims[e] # 0} IN IF E = {} THEN 0 ELSE CHOOSE e \in E : \A f \in E : f <= e
Strange(c, above) == \E e \in 1..MaxEpoch : e > above /\ claims[e] # 0 /\ (NumberAlone \/ claims[e] \notin known[c])

Init == /\ state = [c \in Clusters |-> IF c = "a" THEN "off" ELSE "absent"]
        /\ known = [c \in Clusters |-> {}] /\ noted = [c \in Clusters |-> 0]
        /\ owner = [c \in Clusters |-> 0] /\ epoch = [c \in Clusters |-> 0] /\ seen = [c \in Clusters |-> 0] /\ met = [c \in Clusters |-> {}]
        /\ pos = [c \in Clusters |-> 0] /\ done = [c \in Clusters |-> 0]
        /\ claims = [e \in 1..MaxEpoch |-> 0] /\ store = {} /\ split = MaxPos
        /\ minted = [o \in 1..MaxOwner |-> "nobody"] /\ mints = 0

Copy == /\ state["b"] = "absent" /\ state' = [state EXCEPT !["b"] = "off"]
        /\ known' = [known EXCEPT !["b"] = known["a"]] /\ noted' = [noted EXCEPT !["b"] = noted["a"]]
        /\ pos' = [pos EXCEPT !["b"] = pos["a"]] /\ done' = [done EXCEPT !["b"] = done["a"]] /\ split' = pos["a"]
        /\ UNCHANGED <<owner, epoch, seen, met, claims, store, minted, mints>>
Write(c) == /\ state[c] = "works" /\ pos[c] < MaxPos /\ pos' = [pos EXCEPT ![c] = @ + 1]
            /\ UNCHANGED <<state, known, noted, owner, epoch, seen, met, done, claims, store, split, minted, mints>>
Mine(c) == \A x \in store : x.p <= pos[c] /\ x.c = Content(c, x.p)
Meet(c) == /\ state[c] = "off" /\ met' = [met EXCEPT ![c] = store]
           /\ state' = [state EXCEPT ![c] = IF Mine(c) \/ SkipMeeting THEN "met" ELSE "diverged"]
           /\ UNCHANGED <<known, noted, owner, epoch, seen, pos, done, claims, store, split, minted, mints>>
Mint(c) == /\ state[c] = "met" /\ mints < MaxOwner /\ mints' = mints + 1
           /\ owner' = [owner EXCEPT ![c] = mints + 1] /\ minted' = [minted EXCEPT ![mints + 1] = c]
           /\ known' = [known EXCEPT ![c] = IF OwnerUnwritten THEN @ ELSE @ \cup {mints + 1}]
           /\ seen' = [seen EXCEPT ![c] = Top]
           /\ state' = [state EXCEPT ![c] = IF Strange(c, noted[c]) THEN "fenced" ELSE "claims"]
           /\ UNCHANGED <<noted, epoch, met, pos, done, claims, store, split>>
Claim(c) == LET e == seen[c] + 1 IN
            /\ state[c] = "claims" /\ e <= MaxEpoch
            /\ IF claims[e] = 0 \/ ClaimOver
               THEN /\ claims' = [claims EXCEPT ![e] = owner[c]] /\ epoch' = [epoch EXCEPT ![c] = e]
                    /\ state' = [state EXCEPT ![c] = "claimed"] /\ UNCHANGED seen
               ELSE /\ seen' = [seen EXCEPT ![c] = Top] /\ UNCHANGED <<claims, epoch>>
                    /\ state' = [state EXCEPT ![c] = IF Strange(c, noted[c]) THEN "fenced" ELSE @]
            /\ UNCHANGED <<known, noted, owner, met, pos, done, store, split, minted, mints>>
Assume(c) == /\ UnknownIsOurs /\ state[c] = "claims" /\ noted[c] < MaxEpoch     \* the store does not answer, and it is taken for ours
             /\ epoch' = [epoch EXCEPT ![c] = noted[c] + 1] /\ state' = [state EXCEPT ![c] = "works"]
             /\ UNCHANGED <<known, noted, owner, seen, met, pos, done, claims, store, split, minted, mints>>
Note(c) == /\ state[c] = "claimed" /\ noted' = [noted EXCEPT ![c] = epoch[c]] /\ state' = [state EXCEPT ![c] = "works"]
           /\ known' = [known EXCEPT ![c] = @ \cup {owner[c]}]
           /\ UNCHANGED <<owner, epoch, seen, met, pos, done, claims, store, split, minted, mints>>
Put(c) == LET p == done[c] + 1 IN
          /\ state[c] = "works" /\ p <= pos[c] /\ done' = [done EXCEPT ![c] = p]
          /\ store' = IF ExistsMeansMine /\ (\E x \in store : x.p = p) THEN store
                      ELSE store \cup {[p |-> p, c |-> Content(c, p), e |-> epoch[c]]}
          /\ UNCHANGED <<state, known, noted, owner, epoch, seen, met, pos, claims, split, minted, mints>>
Watch(c) == /\ state[c] = "works" /\ Strange(c, epoch[c]) /\ state' = [state EXCEPT ![c] = "fenced"]
            /\ UNCHANGED <<known, noted, owner, epoch, seen, met, pos, done, claims, store, split, minted, mints>>
Die(c) == /\ state[c] \in {"met", "claims", "claimed", "works"} /\ state' = [state EXCEPT ![c] = "off"]
          /\ owner' = [owner EXCEPT ![c] = 0] /\ epoch' = [epoch EXCEPT ![c] = 0] /\ seen' = [seen EXCEPT ![c] = 0]
          /\ UNCHANGED <<known, noted, met, pos, done, claims, store, split, minted, mints>>
Next == Copy \/ \E c \in Clusters : Write(c) \/ Meet(c) \/ Mint(c) \/ Claim(c) \/ Assume(c) \/ Note(c) \/ Put(c) \/ Watch(c) \/ Die(c)
Spec == Init /\ [][Next]_vars
(* --- what must hold --- *)
\* What a cluster believes archived is there as it wrote it: as the truth, or as a branch that a reader sees beside the other.
Visible == \A c \in Clusters : \A p \in 1..done[c] : \E x \in store : x.p = p /\ x.c = Content(c, p)
\* An epoch has one owner.
OneOwner == ~(\A c \in Clusters : state[c] \in {"claimed", "works"} /\ epoch[c] = epoch["a"])
\* Nobody is fenced for good by a claim of its own.
FencedRightly == \A c \in Clusters : state[c] = "fenced" => \E e \in 1..MaxEpoch : claims[e] # 0 /\ minted[claims[e]] # c
\* Whoever claims found nothing in the archive, when it began, that is not its own history: a stale copy never fences the live cluster.
StaleNeverClaims == \A c \in Clusters : state[c] \in {"claimed", "works"} => \A x \in met[c] : x.p <= pos[c] /\ x.c = Content(c, x.p)
=============================================================================

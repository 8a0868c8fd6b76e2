--------------------------- MODULE SeqMembers ---------------------------
(***************************************************************************)
(* Membership of one partition. Members are (node, incarnation); whoever   *)
(* has lost its disk is another member afterwards. A CONFIG record in the  *)
(* log names voters and learners. Quorums are read from the log: a leader  *)
(* counts by the last CONFIG of its own log, chosen or not; a candidate by *)
(* the last CONFIG of the log that it is about to adopt. Log replicas vote *)
(* and never lead. A member that learns of its removal gives its ballots   *)
(* up.                                                                     *)
(*                                                                         *)
(* Messages are never lost from the model, only never taken: what a ballot *)
(* sent (sent) and what it was answered (answers, acked) stay for ever.    *)
(* Support is what SeqLease makes of grants and epochs: a credit of the    *)
(* leader that ends no later than the support under it. Here both are one  *)
(* fact (support), which is the worst case for the lease.                  *)
(*                                                                         *)
(* Each switch turns one rule off. All FALSE: the design.                  *)
(***************************************************************************)
EXTENDS Integers, Sequences, FiniteSets
CONSTANTS Member, MaxBallot, MaxLog, MaxConfigs, MaxLost,
          Voters, Learners, LogOnly, Owners, Begun, WithLease,
          EarlyConfig, ManyPending, TwoAtOnce, OwnConfig, AmnesiacVotes, LearnersCount, RemovedLeads, LeaseAsElected, LogLeads, NoResign
VARIABLES promised, accepted, log,      \* durable, of each member
          lost, out,                    \* members whose disk lost synced bytes; members that know of their removal
          role, answers, sent, own, acked,    \* of each ballot: f, c(andidate), l(eads), g(one); promises; the leader's log; its first own LSN; accepted up to
          support,                      \* of each member: the ballot whose owner its node supports, 0: none
          chosen                        \* the longest log that a leader could count as chosen; Broken: two that disagree
vars == <<promised, accepted, log, lost, out, role, answers, sent, own, acked, support, chosen>>
Ballots == 1..MaxBallot
Owner(b) == Owners[b]
\* Who owns which ballot, for the runs
Owners12 == <<1, 2>>
Owners121 == <<1, 2, 1>>
Owners123 == <<1, 2, 3>>
Owners13 == <<1, 3>>

Max2(a, b) == IF a > b THEN a ELSE b
IsPrefix(s, t) == Len(s) <= Len(t) /\ SubSeq(t, 1, Len(s)) = s
Majority(S, V) == V # {} /\ 2 * Cardinality(S \cap V) > Cardinality(V)
None == [v |-> {}, l |-> {}]                                   \* a record that is no CONFIG
First == [v |-> Voters, l |-> Learners]
Configs(l) == {i \in 1..Len(l) : l[i].c # None}
LastConfig(l) == IF Configs(l) = {} THEN 0 ELSE CHOOSE i \in Configs(l) : \A j \in Configs(l) : j <= i
Config(l) == IF LastConfig(l) = 0 THEN First ELSE l[LastConfig(l)].c
Named(l, i) == IF i = 0 THEN Voters \cup Learners ELSE l[i].c.v \cup l[i].c.l
\* These are a quorum of c: most of its voters. LearnersCount: whoever answers is counted. RemovedLeads: so is a leader that is no voter
Enough(S, c, who) == c.v # {} /\ 2 * (Cardinality(S \cap (IF LearnersCount THEN c.v \cup c.l ELSE c.v)) + (IF RemovedLeads /\ who \notin c.v THEN 1 ELSE 0)) > Cardinality(c.v)
Broken == <<[b |-> 0, c |-> None]>>

\* Begun: the first ballot leads already, and every voter has its first record. Else nothing has happened
Led == <<[b |-> 1, c |-> None]>>
Init == /\ promised = [m \in Member |-> IF Begun /\ m \in Voters THEN 1 ELSE 0] /\ accepted = promised
        /\ log = [m \in Member |-> IF Begun /\ m \in Voters THEN Led ELSE <<>>]
        /\ lost = {} /\ out = {}
        /\ role = [b \in Ballots |-> IF Begun /\ b = 1 THEN "l" ELSE "f"] /\ answers = [b \in Ballots |-> {}]
        /\ sent = [b \in Ballots |-> IF Begun /\ b = 1 THEN Led ELSE <<>>] /\ own = [b \in Ballots |-> IF Begun /\ b = 1 THEN 1 ELSE 0]
        /\ acked = [b \in Ballots |-> [m \in Member |-> IF Begun /\ b = 1 /\ m \in Voters THEN 1 ELSE -1]]
        /\ support = [m \in Member |-> 0] /\ chosen = IF Begun THEN Led ELSE <<>>

MayVote(m) == (m \notin lost \/ AmnesiacVotes) /\ m \notin out
Bound(m, b) == support[m] # 0 /\ Owner(support[m]) # Owner(b)
Acts(b) == role[b] = "l" /\ promised[Owner(b)] = b /\ Owner(b) \notin lost

(* --- what is chosen, once a leader's log or its answers have changed --- *)
ChosenEnd(l, a, who) == LET ends == {k \in 0..Len(l) : Enough({m \in Member : a[m] >= k}, Config(l), who)}
                        IN IF ends = {} THEN 0 ELSE CHOOSE k \in ends : \A j \in ends : j <= k
Count(b, l, a) == LET s == SubSeq(l, 1, ChosenEnd(l, a, Owner(b))) IN
                  chosen' = IF chosen = Broken THEN Broken ELSE IF IsPrefix(s, chosen) THEN chosen ELSE IF IsPrefix(chosen, s) THEN s ELSE Broken

(* --- votes --- *)
Standing(m) == [m |-> m, a |-> accepted[m], l |-> log[m]]
Gone(m, b) == [x \in Ballots |-> IF Owner(x) = m /\ x < b /\ role[x] \in {"c", "l"} THEN "g" ELSE role[x]]   \* a higher ballot is promised: it acts under the lower ones no more
Unsupport(m, b) == IF support[m] # 0 /\ support[m] # b THEN [support EXCEPT ![m] = 0] ELSE support
Campaign(b) == LET n == Owner(b) IN
    /\ role[b] = "f" /\ b > promised[n] /\ MayVote(n) /\ ~Bound(n, b)
    /\ n \in Config(log[n]).v /\ (n \notin LogOnly \/ LogLeads)
    /\ promised' = [promised EXCEPT ![n] = b] /\ role' = [Gone(n, b) EXCEPT ![b] = "c"] /\ answers' = [answers EXCEPT ![b] = {Standing(n)}]
    /\ support' = Unsupport(n, b)
    /\ UNCHANGED <<accepted, log, lost, out, sent, own, acked, chosen>>
Promise(m, b) ==
    /\ role[b] \in {"c", "g"} /\ answers[b] # {} /\ b > promised[m] /\ m # Owner(b) /\ MayVote(m) /\ ~Bound(m, b)
    /\ promised' = [promised EXCEPT ![m] = b] /\ answers' = [answers EXCEPT ![b] = @ \cup {Standing(m)}] /\ role' = Gone(m, b)
    /\ support' = Unsupport(m, b)
    /\ UNCHANGED <<accepted, log, lost, out, sent, own, acked, chosen>>
Better(x, y) == x.a > y.a \/ (x.a = y.a /\ Len(x.l) >= Len(y.l))
Lead(b, S) == LET n == Owner(b)
                  best == CHOOSE x \in S : \A y \in S : Better(x, y)
                  c == IF OwnConfig THEN Config(log[n]) ELSE Config(best.l)
                  voted == {x.m : x \in S} IN
    /\ role[b] = "c" /\ promised[n] = b /\ n \in voted /\ (n \notin lost \/ AmnesiacVotes)
    /\ Enough(voted, c, n) /\ (n \in c.v \/ RemovedLeads)
    /\ role' = [role EXCEPT ![b] = "l"] /\ accepted' = [accepted EXCEPT ![n] = b] /\ log' = [log EXCEPT ![n] = best.l]
    /\ sent' = [sent EXCEPT ![b] = best.l] /\ own' = [own EXCEPT ![b] = Len(best.l) + 1]
    /\ LET a == [acked[b] EXCEPT ![n] = Len(best.l)] IN acked' = [acked EXCEPT ![b] = a] /\ Count(b, best.l, a)
    /\ UNCHANGED <<promised, lost, out, answers, support>>

(* --- records --- *)
Append1(b, r) == LET n == Owner(b)  l == Append(sent[b], r)  a == [acked[b] EXCEPT ![n] = Len(l)] IN
    /\ sent' = [sent EXCEPT ![b] = l] /\ log' = [log EXCEPT ![n] = l] /\ acked' = [acked EXCEPT ![b] = a] /\ Count(b, l, a)
    /\ UNCHANGED <<promised, accepted, lost, out, role, answers, own, support>>
Propose(b) == /\ Acts(b) /\ Len(sent[b]) < MaxLog /\ Append1(b, [b |-> b, c |-> None])
Steps(c, n, a, last) ==
    {[v |-> c.v, l |-> c.l \cup {m}] : m \in Member \ (c.v \cup c.l)}                        \* add a learner
    \cup {[v |-> c.v \cup {m}, l |-> c.l \ {m}] : m \in {x \in c.l : a[x] >= last}}          \* let it vote: it holds the log through its own CONFIG
    \cup {[v |-> c.v \ {m}, l |-> c.l \cup {m}] : m \in c.v \ {n}}                           \* let it rest: it votes no more, keeps what it has, and learns
    \cup {[v |-> c.v \ {m}, l |-> c.l] : m \in c.v \ {n}}                                    \* remove; never itself
    \cup {[v |-> c.v \ {m}, l |-> c.l \cup {x}] : m \in c.v \ {n}, x \in Member \ (c.v \cup c.l)}   \* remove, and a fresh one learns in its place
    \cup (IF TwoAtOnce THEN {[v |-> (c.v \ {m}) \cup {x}, l |-> c.l] : m \in c.v \ {n}, x \in Member \ (c.v \cup c.l)} ELSE {})
    \cup (IF RemovedLeads THEN {[v |-> c.v \ {n}, l |-> c.l]} ELSE {})
Change(b) == LET n == Owner(b)  c == Config(sent[b])  end == ChosenEnd(sent[b], acked[b], n) IN
    /\ Acts(b) /\ Len(sent[b]) < MaxLog /\ Cardinality(Configs(sent[b])) < MaxConfigs
    /\ (end >= own[b] \/ EarlyConfig)                        \* a record of its own ballot is chosen
    /\ (end >= LastConfig(sent[b]) \/ ManyPending)           \* one pending at a time
    /\ \E d \in Steps(c, n, acked[b], LastConfig(sent[b])) :
         /\ d.v # {}
         /\ ~(\E i \in Configs(sent[b]) \cup {0}, m \in (d.v \cup d.l) \ (c.v \cup c.l) : m \in Named(sent[b], i))   \* nobody comes back under its id
         /\ Append1(b, [b |-> b, c |-> d])
Accept(m, b, k) == LET l == SubSeq(sent[b], 1, k) IN
    /\ role[b] \in {"l", "g"} /\ own[b] > 0 /\ m # Owner(b) /\ MayVote(m) /\ b >= promised[m] /\ k >= own[b] - 1 /\ k <= Len(sent[b])
    /\ ~(accepted[m] = b /\ k <= Len(log[m])) /\ (b > promised[m] => ~Bound(m, b))
    /\ promised' = [promised EXCEPT ![m] = b] /\ accepted' = [accepted EXCEPT ![m] = b] /\ log' = [log EXCEPT ![m] = l]
    /\ role' = Gone(m, b) /\ support' = Unsupport(m, b)
    /\ LET a == [acked[b] EXCEPT ![m] = Max2(@, k)] IN
         /\ acked' = [acked EXCEPT ![b] = a] /\ IF Acts(b) THEN Count(b, sent[b], a) ELSE UNCHANGED chosen
    /\ UNCHANGED <<lost, out, answers, sent, own>>

(* --- a disk that lost what it had synced, or an empty one in its place --- *)
Lose(m) == /\ Cardinality(lost) < MaxLost /\ m \notin lost /\ accepted[m] > 0
           /\ lost' = lost \cup {m} /\ promised' = [promised EXCEPT ![m] = 0] /\ accepted' = [accepted EXCEPT ![m] = 0] /\ log' = [log EXCEPT ![m] = <<>>]
           /\ role' = [b \in Ballots |-> IF Owner(b) = m /\ role[b] \in {"c", "l"} THEN "g" ELSE role[b]] /\ support' = [support EXCEPT ![m] = 0]
           /\ UNCHANGED <<out, answers, sent, own, acked, chosen>>
(* --- removal: what is chosen says that m is no member; it gives its ballots up, and whoever is bound to it is free --- *)
Learn(m) == /\ m \notin out /\ chosen # Broken /\ LastConfig(chosen) > 0 /\ m \notin (Config(chosen).v \cup Config(chosen).l)
            /\ \E i \in Configs(chosen) \cup {0} : m \in Named(chosen, i)
            /\ out' = out \cup {m}
            /\ IF NoResign THEN UNCHANGED <<role, support>>
               ELSE /\ role' = [b \in Ballots |-> IF Owner(b) = m /\ role[b] \in {"c", "l"} THEN "g" ELSE role[b]]
                    /\ support' = [x \in Member |-> IF support[x] # 0 /\ Owner(support[x]) = m THEN 0 ELSE support[x]]
            /\ UNCHANGED <<promised, accepted, log, lost, answers, sent, own, acked, chosen>>
(* --- support --- *)
Grant(m, b) == /\ WithLease /\ Acts(b) /\ m # Owner(b) /\ MayVote(m) /\ promised[m] = b /\ support[m] = 0 /\ support' = [support EXCEPT ![m] = b]
               /\ UNCHANGED <<promised, accepted, log, lost, out, role, answers, sent, own, acked, chosen>>
Lapse(m) == /\ WithLease /\ support[m] # 0 /\ support' = [support EXCEPT ![m] = 0]
            /\ UNCHANGED <<promised, accepted, log, lost, out, role, answers, sent, own, acked, chosen>>

Next == \/ \E b \in Ballots : Campaign(b) \/ Propose(b) \/ Change(b) \/ (\E S \in SUBSET answers[b] : S # {} /\ Lead(b, S))
        \/ \E m \in Member : Lose(m) \/ Learn(m) \/ Lapse(m) \/ \E b \in Ballots : Promise(m, b) \/ Grant(m, b) \/ \E k \in 0..MaxLog : Accept(m, b, k)
Spec == Init /\ [][Next]_vars

LeaseConfig(b) == IF LeaseAsElected THEN Config(SubSeq(sent[b], 1, own[b] - 1)) ELSE Config(sent[b])
HasLease(b) == Acts(b) /\ Majority({Owner(b)} \cup {m \in Member : support[m] = b}, LeaseConfig(b).v)
Agreement == chosen # Broken
OneLease == \A b, d \in Ballots : HasLease(b) /\ HasLease(d) => b = d
Fresh == \A b \in Ballots : HasLease(b) => IsPrefix(chosen, sent[b])
StorageLeads == \A b \in Ballots : role[b] = "l" => Owner(b) \notin LogOnly
Unowned == \A b \in Ballots : Owner(b) \in out => role[b] \notin {"c", "l"} /\ \A m \in Member : support[m] # b
\* For the runs with four voters
Few == \A b \in Ballots : Cardinality(answers[b]) <= 3
=============================================================================

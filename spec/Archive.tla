----------------------------- MODULE Archive -----------------------------
(***************************************************************************)
(* One partition's way into the archive and out again: segments are put,   *)
(* get a manifest, are attested by members, count as archived, the WAL     *)
(* lets go of them, a base is made, retention takes them away.             *)
(* Faults: a member's copy of a segment rots (each rot is other bytes), an *)
(* upload lies as other bytes than were sent, any process dies between any *)
(* two steps (steps are atomic, nothing else is).                          *)
(* Left out on purpose, so that nothing here rests on it: that a member    *)
(* proves its own bytes before it uploads or judges. It may rot in between.*)
(* Not here: who writes (Epochs.tla), loss of what was read back.          *)
(* Switches turn a rule off; all FALSE is the design.                      *)
(***************************************************************************)
EXTENDS Integers, FiniteSets, TLC
CONSTANTS Member, Nobody, MaxSeg, MaxGen, MaxRot, MaxLie,
          OneAttests, NobodyReads, OneMemberTwice, CutAtManifest, Overwrite, ReadHighest,
          SegmentFirst, DeleteUnsaid, BaseUnproven
VARIABLES wal, seg, man, by, att, refuted, archived, rots, lies, base, sound, said
vars == <<wal, seg, man, by, att, refuted, archived, rots, lies, base, sound, said>>
Segs == 1..MaxSeg
Gens == 1..MaxGen
None == <<"none", Nobody>>
Gone == <<"gone", Nobody>>
Good == <<"good", Nobody>>
RotOf(m) == <<"rot", m>>
Lie == <<"lie", Nobody>>

Init == /\ wal = [m \in Member |-> [s \in Segs |-> None]]
        /\ seg = [s \in Segs |-> [g \in Gens |-> None]] \* what lies in the store
        /\ man = [s \in Segs |-> [g \in Gens |-> None]] \* the bytes that the manifest speaks of
        /\ by = [s \in Segs |-> [g \in Gens |-> Nobody]] \* who put the segment
        /\ att = [s \in Segs |-> [g \in Gens |-> {}]] /\ refuted = [s \in Segs |-> [g \in Gens |-> FALSE]]
        /\ archived = {} /\ rots = 0 /\ lies = 0 /\ base = 0 /\ sound = TRUE /\ said = 0

Has(m, s) == wal[m][s] \notin {None, Gone}
Chosen(s) == 2 * Cardinality({m \in Member : wal[m][s] # None}) > Cardinality(Member)

(* --- the members' logs --- *)
Take(m, s) == /\ wal[m][s] = None /\ (IF s = 1 THEN TRUE ELSE wal[m][s - 1] # None)
              /\ wal' = [wal EXCEPT ![m][s] = Good]
              /\ UNCHANGED <<seg, man, by, att, refuted, archived, rots, lies, base, sound, said>>
Rot(m, s) == /\ wal[m][s] = Good /\ rots < MaxRot /\ rots' = rots + 1
             /\ \E o \in Member \ {m} : wal[o][s] = Good \/ s \in archived     \* a copy more than is lost: two faults, one after the other with healing between
             /\ wal' = [wal EXCEPT ![m][s] = RotOf(m)]
             /\ UNCHANGED <<seg, man, by, att, refuted, archived, lies, base, sound, said>>
Repair(m, s) == /\ Has(m, s) /\ wal[m][s] # Good /\ \E o \in Member \ {m} : wal[o][s] = Good
                /\ wal' = [wal EXCEPT ![m][s] = Good]
                /\ UNCHANGED <<seg, man, by, att, refuted, archived, rots, lies, base, sound, said>>
Cut(m, s) == /\ Has(m, s)
             /\ s \in archived \/ (CutAtManifest /\ \E g \in Gens : man[s][g] # None)
             /\ wal' = [wal EXCEPT ![m][s] = Gone]
             /\ UNCHANGED <<seg, man, by, att, refuted, archived, rots, lies, base, sound, said>>
(* --- into the archive --- *)
Due(s, g) == s > said /\ (IF g = 1 THEN TRUE ELSE refuted[s][g - 1])
Upload(m, s, g) == /\ Chosen(s) /\ Has(m, s) /\ Due(s, g)
                   /\ seg[s][g] = None \/ Overwrite
                   /\ \E stored \in {wal[m][s], Lie} :
                      /\ stored = Lie => lies < MaxLie
                      /\ lies' = IF stored = Lie THEN lies + 1 ELSE lies
                      /\ seg' = [seg EXCEPT ![s][g] = stored]
                   /\ by' = [by EXCEPT ![s][g] = m]
                   /\ UNCHANGED <<wal, man, att, refuted, archived, rots, base, sound, said>>
Manifest(s, g) == LET m == by[s][g] IN \* of the bytes that were sent, by whoever sent them
                  /\ seg[s][g] # None /\ man[s][g] = None /\ m # Nobody /\ Has(m, s) /\ s > said
                  /\ man' = [man EXCEPT ![s][g] = wal[m][s]]
                  /\ UNCHANGED <<wal, seg, by, att, refuted, archived, rots, lies, base, sound, said>>
Attest(m, s, g) == \* by the manifest alone: my bytes are those of which it speaks
                   /\ man[s][g] # None /\ Has(m, s) /\ man[s][g] = wal[m][s]
                   /\ att' = [att EXCEPT ![s][g] = @ \cup {<<m, "told">>}]
                   /\ UNCHANGED <<wal, seg, man, by, refuted, archived, rots, lies, base, sound, said>>
ReadBack(m, s, g) == /\ man[s][g] # None /\ seg[s][g] # None /\ Has(m, s)
                     /\ IF seg[s][g] = wal[m][s]
                        THEN att' = [att EXCEPT ![s][g] = @ \cup {<<m, "read">>}] /\ UNCHANGED refuted
                        ELSE refuted' = [refuted EXCEPT ![s][g] = TRUE] /\ UNCHANGED att
                     /\ UNCHANGED <<wal, seg, man, by, archived, rots, lies, base, sound, said>>
Enough(s, g) == LET who == {a[1] : a \in att[s][g]}  read == {a \in att[s][g] : a[2] = "read"} IN
                /\ \/ Cardinality(who) >= 2
                   \/ OneAttests /\ who # {}
                   \/ OneMemberTwice /\ Cardinality(att[s][g]) >= 2
                /\ NobodyReads \/ OneAttests \/ read # {}
Archived(s) == /\ s \notin archived /\ \E g \in Gens : ~refuted[s][g] /\ Enough(s, g)
               /\ archived' = archived \cup {s}
               /\ UNCHANGED <<wal, seg, man, by, att, refuted, rots, lies, base, sound, said>>
(* --- what a reader finds: from the highest generation down to one whose content is what was agreed on --- *)
Seen(s) == {g \in Gens : man[s][g] # None}
Top(s) == CHOOSE g \in Seen(s) : \A h \in Seen(s) : h <= g
Readable(s) == IF ReadHighest THEN Seen(s) # {} /\ seg[s][Top(s)] = Good
               ELSE \E g \in Seen(s) : seg[s][g] = Good
(* --- and out of it --- *)
Base(s) == /\ s > base /\ s > said /\ \A r \in base + 1..s : r \in archived
           /\ \A r \in base + 1..s : IF BaseUnproven THEN Seen(r) # {} ELSE Readable(r)
           /\ base' = s /\ sound' = (sound /\ \A r \in base + 1..s : IF BaseUnproven THEN seg[r][Top(r)] = Good ELSE Readable(r))
           /\ UNCHANGED <<wal, seg, man, by, att, refuted, archived, rots, lies, said>>
Say(s) == /\ s > said /\ s <= base /\ \A m \in Member : wal[m][s] \in {Gone, None} /\ said' = s
          /\ UNCHANGED <<wal, seg, man, by, att, refuted, archived, rots, lies, base, sound>>
MayGo(s) == IF DeleteUnsaid THEN s <= base ELSE s <= said
DropManifest(s, g) == /\ MayGo(s) /\ man[s][g] # None
                      /\ SegmentFirst => seg[s][g] = None
                      /\ man' = [man EXCEPT ![s][g] = None]
                      /\ UNCHANGED <<wal, seg, by, att, refuted, archived, rots, lies, base, sound, said>>
DropSegment(s, g) == /\ MayGo(s) /\ seg[s][g] # None
                     /\ SegmentFirst \/ man[s][g] = None
                     /\ seg' = [seg EXCEPT ![s][g] = None]
                     /\ UNCHANGED <<wal, man, by, att, refuted, archived, rots, lies, base, sound, said>>
Next == \E s \in Segs :
        \/ Archived(s) \/ Base(s) \/ Say(s)
        \/ \E m \in Member : Take(m, s) \/ Rot(m, s) \/ Repair(m, s) \/ Cut(m, s)
        \/ \E g \in Gens : Manifest(s, g) \/ DropManifest(s, g) \/ DropSegment(s, g)
                           \/ \E m \in Member : Upload(m, s, g) \/ Attest(m, s, g) \/ ReadBack(m, s, g)
Spec == Init /\ [][Next]_vars
(* --- what must hold --- *)
Explained(s) == s <= base /\ s <= said
\* What counts as archived is read as it was agreed on, or a base stands for it and it is said that it was taken away.
Proven == \A s \in archived : Readable(s) \/ Explained(s)
\* What is chosen is somewhere: in a log, in the archive, or in a base.
Kept == \A s \in Segs : Chosen(s) => \/ \E m \in Member : wal[m][s] = Good
                                     \/ Readable(s) \/ s <= base
\* A base is what was agreed on.
BaseSound == sound
\* Nobody is told of bytes that are not there.
NoOrphan == \A s \in Segs, g \in Gens : man[s][g] # None => seg[s][g] # None
Symmetric == Permutations(Member)
=============================================================================

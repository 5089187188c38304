// Package mvba is validated agreement on one of many proposed values, without any assumption on time: sMVBA of
// Guo, Lu, Lu, Tang, Xu and Zhang (Speeding Dumbo, eprint 2022/027, section 5), as a pure state machine for one
// replica and one instance.
//
// # Guarantees
//
// With at most f = ⌊(n-1)/3⌋ Byzantine replicas of n, links that eventually deliver, and a scheduler that sees all
// and knows the coin as soon as f+1 shares of it exist:
//   - Agreement: no two honest replicas decide different values, across any crash.
//   - External validity: a decided value satisfies Config.Valid.
//   - Termination: if every honest replica proposes, each decides; with probability at least (n-f)/n in each round,
//     so after 1.5 rounds on average. Decisions do not wait for slow replicas.
//   - No honest replica is blamed by another, and none signs two different things in one place.
//
// # A round
//
//	Proposal  every replica broadcasts a value; round 1 carries it, later rounds its digest and why it is allowed
//	Echo      first-phase signature, one value a broadcaster
//	Lock      n-f echoes: the first-phase proof; no other value of that broadcast can have one
//	Accept    second-phase signature, on a first-phase proof
//	Finish    n-f accepts: the broadcast is complete
//	Release   upon n-f complete broadcasts: the share of the coin
//	Relay     upon f+1 shares: the coin is known and elects a leader; if its broadcast is complete, decide
//	PreVote   at once: the leader's first-phase proof, or a signed no
//	Vote      upon a yes pre-vote: the proof and an accept; upon n-f no: their certificate and a signed no
//	Decision  upon n-f yes-votes: a certificate for everyone
//
// Else, upon n-f votes, the next round begins. An undisturbed instance decides after six delays. Want and Value
// fetch a value by digest; Again asks for what was refused as too far ahead.
//
// # Why the thresholds suffice
//
// Two quorums of n-f share n-2f ≥ f+1 replicas, so an honest one, and the honest replicas alone make a quorum.
//
// One proof a broadcast: an honest replica echoes one value per broadcaster, so two first-phase proofs of different
// values would share an honest signer.
//
// The elected value is hard to miss: a share is released only by who holds n-f complete broadcasts, so when the
// first f+1 shares exist, one honest, n-f broadcasts are complete; they were chosen before anyone could know the
// coin, which elects one of them with probability (n-f)/n. Then n-2f honest replicas accepted it before they knew
// the coin and so pre-vote yes. At most 2f < n-f replicas are left to pre-vote no: no no-vote can be cast, no
// justification of the next round exists, and everyone in the round decides.
//
// What one decides, all do. Let D be n-f accepts of the value v that round k elected; f+1 of their signers are
// honest. (1) None of these votes no in k: who accepted in the second phase held the proof when the coin came, for
// nobody signs a round's broadcasts once it knows its coin, and who voted yes has voted. So n-f no-votes of k do not
// exist. (2) Whatever justifies a round r > k is for v, and who enters r with it holds a key of k or later: for
// r = k+1 it can only be k's key. For later r, a key of r-1 was echoed by honest replicas in r-1 and is for v by
// induction; and n-f no-votes of r-1 include one of those f+1, who claims a key of k or later, so the highest claim
// is for v, too.
//
// # Where this differs from the paper
//
//   - No-votes claim their sender's highest key, and the next round must carry on the highest key claimed. A
//     justification that looks at the preceding round alone, as the usual implementations have it, is not safe: one
//     replica may decide in round k while others see one no-vote and go to k+1; if k+1 then elects a replica that
//     has halted, all vote no there, and k+2 could propose anything. TestDecisionOutlivesARoundOfNoVotes plays it.
//   - The elected value's first-phase proof justifies the next round only together with n-f no-pre-votes, as every
//     no-vote has them. With the proof alone, one Byzantine replica could drag all others out of every round that is
//     about to decide, for ever. TestDragging does.
//   - A valid justification moves a replica that is behind to its round, whatever it still waits for.
//   - Second-phase signatures and yes-votes are one statement, so a decision certificate has one form; it carries
//     f+1 coin shares, since n-f accepts of a broadcast that was not elected mean nothing. It is checked on its own.
//   - No Done messages: who learns the coin relays it, signs nothing more in that round's broadcasts and pre-votes at
//     once, whatever it completed itself.
//   - Signature lists in place of threshold signatures.
//
// # What is on disk
//
// A [Step] persists each own message with what justifies it, before it is sent: values with the first signature for
// them (so n-f echoes vouch that f+1 honest replicas can serve the value), an accept with its first-phase proof, a
// vote with its certificate, a change of round with its justification and the highest key, the decision. Messages of
// a round that was left are overwritten: nothing is signed there again. [Restore] goes on from there; what peers had
// sent comes again when they reconnect and call [Machine.Resend].
//
// # Bounds
//
// One message of each kind per peer and round, in the current round and the [Window] after it; one value per
// broadcaster and round; a peer gets each value and the decision once a connection, and everything again once for
// each round there was. Own messages are kept for the current round only: its proposal brings laggards along.
//
// # Checked by
//
// The tests simulate instances with crashes, broken connections and Byzantine replicas, under schedules that know
// the coin when it is out. A long run, and its outcome on two cores in three minutes:
//
//	go test ./protocols/mvba -run TestSweep -v -mvba.seeds 10000 -timeout 30m
//	n=4:  10000 instances, 1.196 rounds on average, at most 7
//	n=7:  10000 instances, 1.225 rounds on average, at most 8
//	n=16: 10000 instances, 1.269 rounds on average, at most 7
//
// The tests themselves are checked with a list of deliberate faults, each of which has to make them fail:
//
//	go test ./protocols/mvba -run TestMutants -v -mvba.mutants -timeout 30m
package mvba

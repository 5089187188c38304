// Package mvba is multi-valued validated Byzantine agreement: replicas agree on one of the values that they propose,
// without any assumption on time. It is sMVBA of Guo, Lu, Lu, Tang, Xu and Zhang (Speeding Dumbo, eprint 2022/027,
// section 5), as a pure state machine for one replica and one instance.
//
// # Guarantees
//
// The assumptions are: at most f = ⌊(n-1)/3⌋ of n replicas are Byzantine, and links eventually deliver. The scheduler may
// see all messages, and may know the coin of a round as soon as f+1 shares of it exist.
//   - Agreement: no two honest replicas decide different values, also across crashes.
//   - External validity: a decided value satisfies Config.Valid.
//   - Termination: if every honest replica proposes, each one decides. A round decides with probability at least (n-f)/n,
//     so 1.5 rounds are needed on average. A decision does not wait for slow replicas.
//   - No honest replica reports a fault of another honest replica, and none signs two different statements where one is
//     allowed.
//
// # A round
//
//	Proposal  every replica broadcasts a value; in round 1 the value itself, later its digest and the justification
//	Echo      first-phase signature, at most one value for each broadcaster
//	Lock      n-f echoes: the first-phase proof; no other value of that broadcast can have one
//	Accept    second-phase signature, upon a first-phase proof
//	Finish    n-f accepts: the broadcast is complete
//	Release   upon n-f complete broadcasts: the share of the coin
//	Relay     upon f+1 shares: the coin is known and elects a leader; if its broadcast is complete, decide
//	PreVote   at once: the first-phase proof of the leader's broadcast, or a signed no
//	Vote      upon a yes pre-vote: the proof and an accept; upon n-f no: their certificate and a signed no
//	Decision  upon n-f yes-votes: a certificate for all
//
// If there is no decision, the next round begins upon n-f votes. Without faults and with equal delays an instance
// decides after six delays. FetchValue and Value fetch a value by its digest. ResendRequest requests messages that were
// refused because they were of a round too far ahead.
//
// # Why the thresholds suffice
//
// Two quorums of n-f share n-2f ≥ f+1 replicas, so at least one honest replica. The honest replicas alone are a quorum.
//
// One proof for each broadcast: an honest replica echoes one value for each broadcaster. Two first-phase proofs of different
// values would share an honest signer.
//
// A complete broadcast is elected with probability at least (n-f)/n. An honest replica releases its share only when it holds
// n-f complete broadcasts. When the first f+1 shares exist, one of them is of an honest replica, so n-f broadcasts are
// complete. They were complete before anyone could know the coin, so the coin elects one of them with probability (n-f)/n.
// If it does, n-2f honest replicas accepted the elected broadcast before they knew the coin, and so they pre-vote yes. At
// most 2f < n-f replicas are left to pre-vote no. So no no-vote can be cast, no justification of the next round exists, and
// every replica in the round decides.
//
// All honest replicas decide the same value. Suppose that n-f accepts exist of the value v that round k elected. At least f+1
// of their signers are honest; call these H. (1) No replica in H votes no in round k. If it accepted in the second phase, it
// held the first-phase proof when it learned the coin, since no honest replica signs the broadcasts of a round after it
// knows the coin. If it voted yes, it has cast its vote. So n-f no-votes of round k do not exist. (2) Every justification of
// a round r > k is for v, and a replica that enters r with it holds a key of round k or later. For r = k+1 it can only be
// the key of k. For a later r there are two cases. The value of a key of r-1 was echoed by honest replicas in r-1, so it is
// v by induction. And n-f no-votes of r-1 include one of a replica in H, which claims a key of k or later, so the highest
// claimed key is for v, too.
//
// # Differences from the paper
//
//   - A no-vote claims the highest key of its sender, and the next round must continue with the highest claimed key. The
//     usual implementations justify a round only by the round before it, which is not safe: one replica may decide in
//     round k, while the others see one no-vote and go to k+1. If k+1 then elects a replica that has halted, all others vote
//     no there, and k+2 could propose any value. TestDecisionOutlivesARoundOfNoVotes runs this schedule.
//   - The first-phase proof of the elected value justifies the next round only together with n-f no-pre-votes, which every
//     no-vote has. With the proof alone, one Byzantine replica could move all others, for ever, out of every round that is
//     about to decide. TestRoundSkipping runs this schedule.
//   - A valid justification moves a replica that is behind to its round at once.
//   - Second-phase signatures and yes-votes sign the same statement, so a decision certificate has one form. It contains f+1
//     coin shares, since n-f accepts of a broadcast that was not elected prove nothing. It is checked without other messages.
//   - There are no Done messages. A replica that learns the coin relays it, signs nothing more in the broadcasts of that
//     round, and pre-votes at once, also if its own broadcast is not complete.
//   - Lists of signatures replace threshold signatures.
//
// # Records on disk
//
// A [Step] persists each own message together with its reason before it is sent: a value with the first signature for it (so
// n-f echoes prove that f+1 honest replicas can serve the value), an accept with its first-phase proof, a vote with its
// certificate, a change of round with its justification and the highest key, and the decision. Messages of a round that was
// left are overwritten, since nothing is signed there again. [Restore] continues from these records. Peers send their
// messages again when they reconnect and call [Machine.Resend].
//
// # Bounds
//
// A replica keeps one message of each kind for each peer and round, in the current round and the [Window] rounds after it,
// and one value for each broadcaster and round. A peer gets each value and the decision once for each connection, and all
// messages again at most once for each round. Own messages are kept for the current round only: its proposal moves replicas
// that are behind to the round.
//
// # Parts
//
// A [Machine] has the rounds and applies the rules of the current one in the order of the paper. A round consists of its
// broadcasts (broadcast.go), the election of one of them by the coin (election.go), and the ballot on it (ballot.go). All
// rounds share the values (values.go) and the own messages (outbox.go). The outcome (decision.go) ends the instance. Each
// part owns its fields. Its handlers count messages, and its rules, the methods without a message, choose the messages to send.
//
// # Tests
//
// The tests simulate instances with crashes, broken connections and Byzantine replicas, under schedules that use the coin as
// soon as f+1 shares of it exist. A long run, and its result on two cores in three minutes:
//
//	go test ./protocols/mvba -run TestSweep -v -mvba.seeds 10000 -timeout 30m
//	n=4:  10000 instances, 1.196 rounds on average, at most 7
//	n=7:  10000 instances, 1.225 rounds on average, at most 8
//	n=16: 10000 instances, 1.269 rounds on average, at most 7
//
// The tests themselves are checked with a list of deliberate faults. The tests must fail with each of them:
//
//	go test ./protocols/mvba -run TestMutants -v -mvba.mutants -timeout 30m
package mvba

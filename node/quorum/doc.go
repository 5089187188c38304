// Package quorum controls a question to the replicas of a shard, none of which is trusted. It decides which replicas to
// ask, when to ask one more, when enough of them gave equal answers, when to ask all again, and when the question ends
// without a decision. It handles keys of answers only; its driver sends requests, waits and decodes.
//
// Guarantee: with Need = f+1, an honest replica gave the decided answer at some time between the question and the
// decision, since at most f replicas of the shard are Byzantine and each counts once for a key. The answer need not be
// the newest, because an honest replica may be behind.
//
// Progress: while at least n-f replicas of a shard answer and the answer does not change, the question is decided. Each
// silent replica among the f+1 asked first is replaced after Silence. So f silent replicas delay the decision by f
// times Silence and not until the deadline. If answers change during the question, all are asked again, in at most
// Rounds rounds.
package quorum

// Package quorum decides how a question is put to the replicas of a shard none of which is trusted: which are asked,
// when a further one is, when enough of them gave equal answers, when all are asked again, and when the question ends
// without a decision. It sees keys of answers only; its driver sends, waits and decodes.
//
// Guarantee: with Need = f+1, what is decided was said by an honest replica at some time between the question and the
// decision, since at most f of the shard are Byzantine and each is counted once for a key. It is not guaranteed to be
// the newest: an honest replica may be behind.
//
// Progress: while a shard has at least n-f replicas that answer and the answer does not change, the question is
// decided. The f+1 asked first answer, or each silent one among them is replaced after Silence; so f silent ones cost f
// times Silence and not the deadline. What changes meanwhile is asked for in further rounds, at most Rounds.
package quorum

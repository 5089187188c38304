package protocols

// Relevance says whether a replica can use a message. It is decided before anything in the message is verified.
type Relevance uint8

// The relevances of a message.
const (
	Useful  Relevance = iota
	Useless           // the replica cannot use the message now or later
	Ahead             // the replica can use it later: then it must ask the sender for it again
)

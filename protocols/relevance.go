package protocols

// Relevance is whether a replica can use a message, judged before anything of it is verified.
type Relevance uint8

// The relevances of a message.
const (
	Useful  Relevance = iota
	Useless           // now and for ever
	Ahead             // later: who sent it must be asked for it again
)

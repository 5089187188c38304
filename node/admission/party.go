package admission

import (
	"fmt"

	"bdtnode/internal/origin"
	"bdtnode/protocols"
)

// Party is a source of transactions and requests to which limits apply: a client address, or a replica of another
// shard. The zero Party is this replica.
type Party string

// ClientParty returns the party of a client's host and port, see [origin.Of].
func ClientParty(hostPort string) Party { return Party("client " + origin.Of(hostPort).String()) }

// PeerParty returns the party of a replica of another shard.
func PeerParty(shard uint16, replica protocols.Index) Party {
	return Party(fmt.Sprintf("replica %d/%d", shard, replica))
}

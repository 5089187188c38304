package node

import (
	"context"
	"os"
	"path/filepath"
	"time"

	"bdtnode/node/driver"
	"bdtnode/node/record"
	"bdtnode/node/replica"
)

// recording is the recording of this life of the replica, if its home is armed. Without one all fields are zero.
type recording struct {
	dir      string
	limits   record.Limits
	recorder *record.Recorder
}

// prepare copies the stores, which are not open yet. A recording that cannot begin does not prevent the start.
func (r *recording) prepare(n *Node) {
	data := n.home.DataDir()
	var err error
	r.dir, r.limits, err = record.Prepare(n.home.Dir, n.home.GenesisPath(), []string{filepath.Join(data, consensusDir), filepath.Join(data, ledgerDir)}, time.Now())
	if err != nil {
		logger.Warnw("the recording did not begin", "error", err)
	}
}

// begin begins the recording of a driver with this configuration.
func (r *recording) begin(n *Node, cfg *driver.Config, begun *replica.Begun) {
	if r.dir == "" {
		return
	}
	if n.log != nil {
		logger.Warnw("the recording did not begin", "error", "a replica that orders opaque payloads cannot be recorded")
		return
	}
	file, err := os.OpenFile(filepath.Join(r.dir, record.InputsFile), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err == nil {
		r.recorder, err = record.New(file, record.Header{
			Program: n.version, Network: n.network.ID(), Shard: n.home.Shard, Replica: n.home.Replica, Began: time.Now().UTC(),
			Limits: cfg.Limits, Begun: begun, For: r.limits.For, Bytes: r.limits.Bytes,
		})
	}
	if err != nil {
		logger.Warnw("the recording did not begin", "error", err)
		return
	}
	cfg.Recorder, cfg.Signer, cfg.Shares = r.recorder, r.recorder.Signer(cfg.Signer), r.recorder.Holder(cfg.Shares)
	logger.Infow("recording", "directory", r.dir, "for", r.limits.For.String(), "bytes", r.limits.Bytes)
}

// run writes the recording until ctx ends.
func (r *recording) run(ctx context.Context) error {
	if r.recorder != nil {
		r.recorder.Run(ctx)
	}
	return nil
}

// end ends the recording. The engine has ended, with err.
func (r *recording) end(err error) {
	if r.recorder == nil {
		return
	}
	why := "the replica stopped"
	if err != nil {
		why += ": " + err.Error()
	}
	r.recorder.Close(why)
}

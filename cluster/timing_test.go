package cluster_test

import (
	"testing"
	"time"

	"github.com/muster-hq/muster/cluster"
)

func TestTheMultiplierIsOfTheDefaults(t *testing.T) {
	for _, c := range []struct {
		timing           cluster.Timing
		heartbeat, lease time.Duration
	}{
		{cluster.Timing{}, 250 * time.Millisecond, 125 * time.Millisecond},
		{cluster.Timing{Multiplier: 10}, 2500 * time.Millisecond, 1250 * time.Millisecond},
		{cluster.Timing{Multiplier: 10, Heartbeat: time.Second}, time.Second, 1250 * time.Millisecond},
	} {
		got := c.timing.RaftConfig("n1")
		if got.HeartbeatTimeout != c.heartbeat || got.ElectionTimeout != c.heartbeat || got.LeaderLeaseTimeout != c.lease {
			t.Errorf("%+v: %v, %v, %v", c.timing, got.HeartbeatTimeout, got.ElectionTimeout, got.LeaderLeaseTimeout)
		}
	}
}

package cluster

import (
	"testing"
	"testing/synctest"
	"time"
)

// TestTimeThatIsAheadIsCaughtUpWith: a leader whose clock is an hour behind what was stamped lets time pass, slower by a tenth,
// until its clock is there; then it goes by its clock. Time never goes back, however often it is asked.
func TestTimeThatIsAheadIsCaughtUpWith(t *testing.T) {
	for name, often := range map[string]bool{"asked now and then": false, "told to itself with each read": true} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := &clock{wall: time.Now}
				stamped := time.Now().Add(time.Hour)
				c.hear(stamped.UnixNano())
				latest := stamped
				pass := func(d time.Duration) time.Time {
					for end := time.Now().Add(d); time.Now().Before(end); {
						<-time.After(time.Minute)
						now := c.now(true, stamped)
						if now.Before(latest) || now.Before(time.Now()) {
							t.Fatalf("after %s comes %s, by the clock it is %s", latest, now, time.Now())
						}
						if latest = now; often {
							c.hear(now.UnixNano())
						}
					}
					return latest
				}
				if at := pass(100 * time.Minute); at.Sub(stamped) != 90*time.Minute {
					t.Errorf("in 100 minutes %s have passed", at.Sub(stamped))
				}
				if at := pass(9 * time.Hour); !at.Equal(time.Now()) {
					t.Errorf("after ten hours it is %s, by the clock %s", at, time.Now())
				}
				if at := pass(time.Hour); !at.Equal(time.Now()) {
					t.Errorf("later it is %s, by the clock %s", at, time.Now())
				}
			})
		})
	}
}

// TestFollowersGoByTheLeadersTime: neither an own clock that is ahead nor one that is behind counts, nor one that is set.
func TestFollowersGoByTheLeadersTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, skew := range []time.Duration{-5 * time.Hour, 0, 5 * time.Hour} {
			c := &clock{wall: func() time.Time { return time.Now().Add(skew) }}
			told := time.Now().Add(-time.Minute)
			c.hear(told.UnixNano())
			<-time.After(time.Hour)
			if at := c.now(false, time.Time{}); !at.Equal(told.Add(time.Hour)) {
				t.Errorf("with an own clock that is %s off, an hour after %s it is %s", skew, told, at)
			}
		}
	})
}

package free_test

import (
	"testing"

	"github.com/muster-hq/muster/drivers"
	"github.com/muster-hq/muster/drivers/drivertest"
	"github.com/muster-hq/muster/drivers/free"
)

func TestFree(t *testing.T) {
	drivertest.Run(t, drivertest.Subject{
		Driver: free.Driver{}, Keeps: true,
		Spec: func(host string) drivers.Spec { return drivers.Spec{Host: host, Token: "secret"} },
	})
	if d := (free.Driver{}).Describe(); d.EnrolWithin != 0 {
		t.Errorf("a machine that is made by hand gets %s only", d.EnrolWithin)
	}
}

// Package drivertest is the suite that every driver passes. It asks a driver what provisioning relies on: that a call which is
// made again is the same call, that what is destroyed is gone and stays so, and that the power actions lead where they should.
package drivertest

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/muster-hq/muster/drivers"
)

// Subject is a driver with what it needs to make machines.
type Subject struct {
	Driver drivers.Driver
	// Spec makes what the machine of a host is to become.
	Spec func(host string) drivers.Spec
	// Call completes a call, with the settings of a platform for example; nil leaves it as it is.
	Call func(c drivers.Call) drivers.Call
	// Patience bounds how long a machine takes into a state; 0 is a minute.
	Patience time.Duration
	// Keeps says that machines outlive Destroy: they belong to somebody else.
	Keeps bool
}

func (s Subject) call(key, handle string) drivers.Call {
	c := drivers.Call{Key: key, Handle: handle, Epoch: 1, Term: 1}
	if s.Call != nil {
		c = s.Call(c)
	}
	return c
}

// Run runs the suite.
func Run(t *testing.T, s Subject) {
	if s.Patience == 0 {
		s.Patience = time.Minute
	}
	if d := s.Driver.Describe(); d.Name == "" || d.Text == "" || d.EnrolWithin < 0 || d.StopWithin < 0 {
		t.Errorf("it describes itself as %+v", d)
	}
	t.Run("create", s.create)
	t.Run("destroy", s.destroy)
	if p, ok := s.Driver.(drivers.Power); ok {
		t.Run("power", func(t *testing.T) { s.power(t, p) })
	}
	if im, ok := s.Driver.(drivers.Imager); ok {
		t.Run("images", func(t *testing.T) { s.images(t, im) })
	}
	t.Run("refuse", s.refuse)
}

// made makes a machine that runs.
func (s Subject) made(t *testing.T, key, host string) drivers.Machine {
	t.Helper()
	m, err := s.Driver.Create(t.Context(), s.call(key, ""), s.Spec(host))
	if err != nil {
		t.Fatalf("create %s: %v", key, err)
	}
	t.Cleanup(func() {
		if err := s.Driver.Destroy(t.Context(), s.call(key, m.Handle)); err != nil && t.Context().Err() == nil {
			t.Errorf("destroy %s: %v", key, err)
		}
	})
	s.becomes(t, key, m.Handle, drivers.Running)
	return m
}

// becomes waits for a state of a machine.
func (s Subject) becomes(t *testing.T, key, handle string, want drivers.State) {
	t.Helper()
	limit, tick := time.After(s.Patience), time.NewTicker(20*time.Millisecond)
	defer tick.Stop()
	for {
		m, err := s.Driver.Status(t.Context(), s.call(key, handle))
		if err == nil && m.State == want {
			return
		}
		select {
		case <-tick.C:
		case <-limit:
			t.Fatalf("machine %s is %s (%v) after %s, not %s", key, m.State, err, s.Patience, want)
		}
	}
}

func (s Subject) create(t *testing.T) {
	first := s.made(t, "dt-create", "h1")
	if first.Handle == "" || len(first.Handle) > 4096 {
		t.Errorf("the driver calls the machine %q", first.Handle)
	}
	// The answer was lost, and another leader asks again, with and without what the first one heard.
	for _, handle := range []string{"", first.Handle} {
		again, err := s.Driver.Create(t.Context(), s.call("dt-create", handle), s.Spec("h1"))
		if err != nil || again.Handle != first.Handle {
			t.Errorf("create again: %+v, %v; the first time it was %s", again, err, first.Handle)
		}
	}
	other := s.made(t, "dt-other", "h2")
	if other.Handle == first.Handle {
		t.Errorf("two machines are called %s", first.Handle)
	}
	if f, ok := s.Driver.(drivers.Discoverer); ok {
		all, err := f.Discover(t.Context(), s.call("", ""))
		n := 0
		for _, found := range all {
			if found.Handle == first.Handle {
				n++
			}
		}
		if err != nil || n != 1 {
			t.Errorf("of the machine that was asked for three times there are %d: %v", n, err)
		}
	}
}

func (s Subject) destroy(t *testing.T) {
	for name, call := range map[string]drivers.Call{"never made": s.call("dt-never", ""), "with a handle": s.call("dt-never-2", "nothing")} {
		if err := s.Driver.Destroy(t.Context(), call); err != nil {
			t.Errorf("destroy a machine that was %s: %v", name, err)
		}
	}
	m, err := s.Driver.Create(t.Context(), s.call("dt-gone", ""), s.Spec("h"))
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := s.Driver.Destroy(t.Context(), s.call("dt-gone", m.Handle)); err != nil {
			t.Fatalf("destroy: %v", err)
		}
	}
	if s.Keeps {
		return
	}
	s.becomes(t, "dt-gone", m.Handle, drivers.Gone)
	// The call of a leader that was slow must not bring it back.
	if again, err := s.Driver.Create(t.Context(), s.call("dt-gone", ""), s.Spec("h")); err == nil || !drivers.IsFinal(err) {
		t.Errorf("a late creation of what was destroyed: %+v, %v", again, err)
	}
}

func (s Subject) power(t *testing.T, p drivers.Power) {
	m := s.made(t, "dt-power", "h")
	for _, step := range []struct {
		a    drivers.Action
		want drivers.State
	}{
		{drivers.Pause, drivers.Paused}, {drivers.Resume, drivers.Running}, {drivers.Stop, drivers.Stopped},
		{drivers.Start, drivers.Running}, {drivers.Off, drivers.Stopped}, {drivers.Start, drivers.Running},
	} {
		for range 2 { // the answer to the first was lost
			if err := p.Power(t.Context(), s.call("dt-power", m.Handle), step.a); err != nil {
				t.Fatalf("%s: %v", step.a, err)
			}
		}
		s.becomes(t, "dt-power", m.Handle, step.want)
	}
	if c, ok := s.Driver.(drivers.Consoler); ok {
		if screen, err := c.Console(t.Context(), s.call("dt-power", m.Handle)); err != nil || (screen.Host == "") != (screen.Port == "") {
			t.Errorf("the console: %+v, %v", screen, err)
		}
	}
	if err := p.Power(t.Context(), s.call("dt-power", m.Handle), "dance"); !drivers.IsFinal(err) {
		t.Errorf("an action that there is not: %v", err)
	}
	if err := p.Power(t.Context(), s.call("dt-none", ""), drivers.Start); !drivers.IsFinal(err) {
		t.Errorf("a machine that there is not is started: %v", err)
	}
}

func (s Subject) images(t *testing.T, im drivers.Imager) {
	m := s.made(t, "dt-image", "h")
	image := imageOf("gold")
	for range 2 {
		if err := im.CreateImage(t.Context(), s.call("dt-image", m.Handle), image); err != nil {
			t.Fatalf("make an image: %v", err)
		}
	}
	all, err := im.Images(t.Context(), s.call("", ""))
	n := 0
	for _, i := range all {
		if i.Name == image.Name && i.ID != "" {
			n++
		}
	}
	if err != nil || n != 1 {
		t.Errorf("of the image that was asked for twice there are %d: %v", n, err)
	}
	for _, p := range im.ImageParameters() {
		if p.Name == "" || p.Key == "" {
			t.Errorf("an image parameter without name or key: %+v", p)
		}
	}
}

// refuse: what cannot be done says so for good, and without the secrets that it was given.
func (s Subject) refuse(t *testing.T) {
	spec := s.Spec("h")
	_, err := s.Driver.Create(t.Context(), s.call("", ""), spec)
	if err == nil {
		return // it needs no key, as it makes nothing
	}
	if !drivers.IsFinal(err) || spec.Token != "" && strings.Contains(err.Error(), spec.Token) {
		t.Errorf("a creation without a key: %v", err)
	}
	if drivers.IsFinal(errors.Unwrap(err)) {
		t.Errorf("final twice: %v", err)
	}
}

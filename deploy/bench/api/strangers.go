package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/muster-hq/muster/api/client"
	"github.com/muster-hq/muster/deploy/bench/report"
)

// strangeAsks are what an administrator of another organization asks, for what exists and for what does not. The names are
// of the same length.
func strangeAsks() []struct{ row, method, there, absent, body string } {
	const acme, nope = "/api/organizations/acme", "/api/organizations/nope"
	const own = "/api/organizations/rival"
	env := "/environments/" + benchEnv
	return []struct{ row, method, there, absent, body string }{
		{"GET of another organization against an absent one, us", "GET", acme, nope, ""},
		{"GET of a host there, us", "GET", acme + env + "/hosts/host007", nope + env + "/hosts/host007", ""},
		{"PUT of a host there, us", "PUT", acme + env + "/hosts/host007", nope + env + "/hosts/host007", `{"description": "x"}`},
		{"DELETE of a host there, us", "DELETE", acme + env + "/hosts/host007", nope + env + "/hosts/host007", ""},
		{"POST of a setting there, us", "POST", acme + "/settings/", nope + "/settings/", `{"key": "k", "value": 1}`},
		{"GET of another's environment in the own organization, us", "GET", own + "/environments/Lab", own + "/environments/zzz", ""},
		{"GET of another's application in the own organization, us", "GET", own + "/applications/web", own + "/applications/zzz", ""},
	}
}

const strangeBar = 1.05

// strangersSection measures whether the time of an answer tells what another organization has. The slower side is
// compared with the faster one.
func strangersSection() section {
	s := section{name: "strangers", baseline: "the faster side", run: runStrangers}
	for _, a := range strangeAsks() {
		s.rows = append(s.rows, want{a.row, report.AtMost(strangeBar)})
	}
	for _, l := range strangeLogins() {
		s.rows = append(s.rows, want{l.row, report.AtMost(strangeBar)})
	}
	return s
}

func runStrangers(ctx context.Context, r *run) (err error) {
	rounds, times := 5, 1000
	if r.quick {
		rounds, times = 1, 20
	}
	dir, err := os.MkdirTemp("", "bench-strangers-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	b, err := startBenchSite(ctx, r.bin, dir, 1, "--trusted-proxies", "127.0.0.1")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, b.Stop()) }()
	key := ""
	for _, org := range []string{"acme", "rival"} {
		if key, err = b.organization(ctx, org); err != nil {
			return err
		}
	}
	if err := b.hosts(ctx, "acme", 200); err != nil {
		return err
	}
	for row, name := range map[string]string{"applications": "web", "environments": "Lab"} {
		op := client.Op{Name: row + ".create", Params: map[string]string{"org": "acme"}, Body: map[string]string{"name": name}}
		if err := b.admin.Call(ctx, op, nil); err != nil {
			return fmt.Errorf("making %s: %w", name, err)
		}
	}
	w, err := dial(ctx, b.Nodes[0].HTTP)
	if err != nil {
		return err
	}
	defer w.conn.Close() //nolint:errcheck // all was read
	for _, a := range strangeAsks() {
		there, absent := newAsked(a.method, a.there, a.body, 404, appKey(key)), newAsked(a.method, a.absent, a.body, 404, appKey(key))
		err := r.bothInTurns(ctx, w, a.row, rounds, times, always(there), always(absent))
		if err != nil {
			return err
		}
	}
	return r.logins(ctx, b, w, rounds, min(times, 60))
}

// always is the same request at each try.
func always(a asked) func(int) asked { return func(int) asked { return a } }

// strangeLogins are failing logins, by what is sent at the try i. The accounts user0000, user0001 and so on exist.
func strangeLogins() []struct {
	row        string
	one, other func(i int) (user, password string)
} {
	known := func(i int) string { return fmt.Sprintf("user%04d", i) }
	return []struct {
		row        string
		one, other func(i int) (user, password string)
	}{
		{"login as a user against as nobody, us", func(i int) (string, string) { return known(i), "wrong-password" },
			func(i int) (string, string) { return fmt.Sprintf("none%04d", i), "wrong-password" }},
		{"login with a wrong password against one that nobody can have, us", func(i int) (string, string) { return known(i), "wrong-password" },
			func(i int) (string, string) { return known(i), "x" }},
	}
}

// logins measures failing logins, each from an address of its own, which the site takes from X-Forwarded-For. Three fail for an
// account: more than five would have to wait.
func (r *run) logins(ctx context.Context, b *benchSite, w *wire, rounds, times int) error {
	all := strangeLogins()
	tries := times + times/10
	for i := range rounds * tries {
		body := map[string]string{"username": fmt.Sprintf("user%04d", i), "password": "a right password"}
		if err := b.admin.Call(ctx, client.Op{Name: "users.create", Body: body}, nil); err != nil {
			return fmt.Errorf("making a user: %w", err)
		}
	}
	address := 0
	for k, l := range all {
		sent := func(of func(int) (string, string)) func(int) asked {
			n := 0 // over all rounds, so that no account is tried too often
			return func(int) asked {
				user, password := of(n)
				n++
				address++
				from := fmt.Sprintf("X-Forwarded-For: 10.%d.%d.%d", k, address/250, 1+address%250)
				return newAsked("GET", "/api/organizations/", "", 401, basic(user, password), from)
			}
		}
		if err := r.bothInTurns(ctx, w, l.row, rounds, times, sent(l.one), sent(l.other)); err != nil {
			return err
		}
	}
	return nil
}

// bothInTurns adds a row that compares the slower one of two with the faster one.
func (r *run) bothInTurns(ctx context.Context, w *wire, row string, rounds, times int, one, other func(i int) asked) error {
	var is, isNot []float64
	for range rounds {
		m, n, err := inTurns(ctx, w, one, other, times)
		if err != nil {
			return fmt.Errorf("%s: %w", row, err)
		}
		is, isNot = append(is, m), append(isNot, n)
	}
	slower, faster := is, isNot
	if report.Median(is) < report.Median(isNot) {
		slower, faster = isNot, is
	}
	r.add(report.Compare(row, slower, faster, report.AtMost(strangeBar)))
	return nil
}

// inTurns asks for both, one after the other and the first of them in turns, and gives the medians in microseconds.
func inTurns(ctx context.Context, w *wire, there, absent func(i int) asked, times int) (is, isNot float64, err error) {
	var a, b []float64
	one := func(q asked) (float64, error) {
		began := time.Now()
		_, err := w.ask(q)
		return float64(time.Since(began).Nanoseconds()) / 1000, err
	}
	for i := range times + times/10 {
		first, second := there(i), absent(i)
		if i%2 == 1 {
			first, second = second, first
		}
		x, err := one(first)
		if err != nil {
			return 0, 0, err
		}
		y, err := one(second)
		if err != nil {
			return 0, 0, err
		}
		if i%2 == 1 {
			x, y = y, x
		}
		if i >= times/10 { // before, the way is warmed up
			a, b = append(a, x), append(b, y)
		}
		if ctx.Err() != nil {
			return 0, 0, ctx.Err()
		}
	}
	return report.Median(a), report.Median(b), nil
}

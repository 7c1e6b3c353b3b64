package client_test

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/muster-hq/muster/api"
	"github.com/muster-hq/muster/api/auth"
	"github.com/muster-hq/muster/api/client"
	"github.com/muster-hq/muster/fsm/model"
	"github.com/muster-hq/muster/fsm/orchestrate"
	"github.com/muster-hq/muster/fsm/state"
	"github.com/muster-hq/muster/fsm/state/statetest"
)

// installation is a server for the examples: the real API over a store in memory.
func installation() (url string, stop func()) {
	db := statetest.New(fatal{}, orchestrate.Tables()...)
	a, err := api.New(api.Config{Store: db, Log: slog.New(slog.DiscardHandler), EnrolToken: noAgents})
	if err == nil {
		hash := auth.HashPassword("the-password")
		err = db.Update(context.Background(), func(tx *state.Tx) error {
			_, err := orchestrate.FirstStart(tx, "admin", hash)
			return err
		})
	}
	if err != nil {
		panic(err)
	}
	server := httptest.NewServer(a.Handler())
	return server.URL + "/api", server.Close
}

func noAgents(tx *state.Tx, _, envID string, uses int, expires time.Time) (string, string, error) {
	public, _, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return "", "", err
	}
	id := rand.Text()
	_, err = orchestrate.CreateEnrolToken(tx, envID, id, public, uses, expires, tx.Actor())
	return id, id, err
}

// fatal lets an example, which is given no test, use what tests use.
type fatal struct{ testing.TB }

func (fatal) Helper()                        {}
func (fatal) Cleanup(func())                 {}
func (fatal) Fatalf(text string, arg ...any) { panic(fmt.Sprintf(text, arg...)) }

// begin is a client of a new installation.
func begin() (*client.Client, func()) {
	url, stop := installation()
	c, err := client.New(client.Config{URL: url, User: "admin", Password: "the-password"})
	if err != nil {
		panic(err)
	}
	return c, stop
}

// An operation is named as the table of routes names it (docs/reference/api.md), and its parameters as in the path.
func ExampleClient_Call() {
	c, stop := begin()
	defer stop()
	ctx := context.Background()

	op := client.Op{Name: "organizations.create", Body: model.Organization{Name: "acme", Description: "makes everything"}}
	if err := c.Call(ctx, op, nil); err != nil {
		fmt.Println(err)
		return
	}
	acme := map[string]string{"org": "acme"}
	for _, name := range []string{"Test", "Live"} {
		op = client.Op{Name: "environments.create", Params: acme, Body: map[string]string{"name": name}}
		if err := c.Call(ctx, op, nil); err != nil {
			fmt.Println(err)
			return
		}
	}
	envs, err := client.List[model.Environment](ctx, c, client.Op{Name: "environments.list", Params: acme})
	for _, e := range envs {
		fmt.Println(e.Name)
	}
	fmt.Println(err)
	// Output:
	// Live
	// Test
	// <nil>
}

// What went wrong has a code to decide by, and texts for people.
func ExampleClient_Call_errors() {
	c, stop := begin()
	defer stop()
	err := c.Call(context.Background(), client.Op{Name: "organizations.show", Params: map[string]string{"org": "nobody"}}, nil)
	fmt.Println(model.CodeOf(err) == model.NotFound)

	nowhere, err := client.New(client.Config{URL: "http://127.0.0.1:1/api", User: "admin", Password: "the-password"})
	if err != nil {
		fmt.Println(err)
		return
	}
	err = nowhere.Call(context.Background(), client.Op{Name: "organizations.list"}, nil)
	fmt.Println(client.IsUnreachable(err))
	// Output:
	// true
	// true
}

// A tag keeps two who change the same thing from writing over one another.
func ExampleClient_CallTagged() {
	c, stop := begin()
	defer stop()
	ctx := context.Background()
	if err := c.Call(ctx, client.Op{Name: "organizations.create", Body: map[string]string{"name": "acme"}}, nil); err != nil {
		fmt.Println(err)
		return
	}
	acme := map[string]string{"org": "acme"}
	var was model.Organization
	tag, err := c.CallTagged(ctx, client.Op{Name: "organizations.show", Params: acme}, &was)
	if err != nil {
		fmt.Println(err)
		return
	}
	update := func(text string) error {
		body := map[string]string{"description": text}
		return c.Call(ctx, client.Op{Name: "organizations.update", Params: acme, Body: body, IfMatch: tag}, nil)
	}
	fmt.Println(update("mine"))
	fmt.Println(model.CodeOf(update("written without having read mine")))
	// Output:
	// <nil>
	// conflict
}

// A dry run of a write tells what it would do, and does nothing.
func ExampleConfig_dryRun() {
	url, stop := installation()
	defer stop()
	c, err := client.New(client.Config{URL: url, User: "admin", Password: "the-password", DryRun: true})
	if err != nil {
		fmt.Println(err)
		return
	}
	ctx := context.Background()
	err = c.Call(ctx, client.Op{Name: "organizations.create", Body: map[string]string{"name": "acme"}}, nil)
	var plan *client.PlanError
	fmt.Println(errors.As(err, &plan))
	err = c.Call(ctx, client.Op{Name: "organizations.show", Params: map[string]string{"org": "acme"}}, nil)
	fmt.Println(model.CodeOf(err))
	// Output:
	// true
	// not_found
}

// Events are read from where the last answer ended, on any node.
func ExampleClient_Events() {
	c, stop := begin()
	defer stop()
	ctx := context.Background()
	now, err := c.Events(ctx, "", "now", 0)
	if err != nil {
		fmt.Println(err)
		return
	}
	if err := c.Call(ctx, client.Op{Name: "organizations.create", Body: map[string]string{"name": "acme"}}, nil); err != nil {
		fmt.Println(err)
		return
	}
	next, err := c.Events(ctx, "", now.Cursor, time.Minute)
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, e := range next.Items { // its groups are among them
		if e.Kind == "organization.created" {
			fmt.Println(e.Kind, e.Actor)
		}
	}
	// Output: organization.created admin
}

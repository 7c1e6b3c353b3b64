// Command load is one load generator for two kinds of servers: Muster's REST API and etcd. Both are driven by the
// same loop, so that a comparison compares the servers. It is a module of its own, because the etcd client is of no
// use to Muster itself.
//
// Each client is one goroutine with a connection of its own that stays open; clients are spread over the nodes in
// turn. Each client works through keys of its own. Every reply is checked: a put must tell a version later than the
// one before, a get must give the value that was put. At the end all that was acknowledged is read back.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"
)

// config is what the flags say.
type config struct {
	target  string
	nodes   []string
	op      string
	clients int
	keys    int
	size    int
	warm    time.Duration
	run     time.Duration
	org     string
	keyFile string
	pids    []string
}

func main() {
	var c config
	var nodes, pids string
	flag.StringVar(&c.target, "target", "rest", "rest or etcd")
	flag.StringVar(&nodes, "nodes", "", "host:port of each node, with commas between them")
	flag.StringVar(&c.op, "op", "put", "put, bulk (all keys of a client in one transaction), get, stale (a get that may be old), or probe (puts until the input ends, each told)")
	flag.IntVar(&c.clients, "clients", 64, "clients at a time")
	flag.IntVar(&c.keys, "keys", 16, "keys of each client")
	flag.IntVar(&c.size, "size", 1024, "bytes of a value")
	flag.DurationVar(&c.warm, "warm", time.Second, "time before what counts")
	flag.DurationVar(&c.run, "time", 4*time.Second, "time that counts")
	flag.StringVar(&c.org, "org", "load", "organization of the settings (rest)")
	flag.StringVar(&c.keyFile, "key-file", "", "file with the application key (rest)")
	flag.StringVar(&pids, "pids", "", "process ids of the nodes, with commas between them: what they spend is told")
	flag.Parse()
	c.nodes = strings.Split(nodes, ",")
	if pids != "" {
		c.pids = strings.Split(pids, ",")
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := start(ctx, c); err != nil {
		fmt.Fprintln(os.Stderr, "load:", err)
		os.Exit(1)
	}
}

func start(ctx context.Context, c config) error {
	if nodes := c.nodes; len(nodes) == 0 || nodes[0] == "" || c.clients < 1 || c.keys < 1 || c.size < minSize {
		return fmt.Errorf("give the nodes, at least a client and a key, and values of at least %d bytes", minSize)
	}
	open, err := opener(c)
	if err != nil {
		return err
	}
	if c.op == "probe" {
		return probe(ctx, c, open)
	}
	res, err := measure(ctx, c, open)
	if err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(res)
}

// store is one client's connection to one node.
type store interface {
	// create writes a value under a key that is not there yet; put writes one that is.
	create(ctx context.Context, key, value string) (version int64, err error)
	// put gives the version that the reply tells.
	put(ctx context.Context, key, value string) (version int64, err error)
	// begin makes a place of the client's own for what bulk writes.
	begin(ctx context.Context, place string) error
	// bulk writes all values in one transaction, and gives a version that the reply tells.
	bulk(ctx context.Context, keys, values []string) (version int64, err error)
	// get reads a value; stale allows an old one.
	get(ctx context.Context, key string, stale bool) (value string, err error)
	close() error
}

// opener gives what connects to a node.
func opener(c config) (func(node string) (store, error), error) {
	switch c.target {
	case "etcd":
		return openEtcd, nil
	case "rest":
		b, err := os.ReadFile(c.keyFile)
		if err != nil {
			return nil, fmt.Errorf("reading the application key: %w", err)
		}
		token := strings.TrimSpace(string(b))
		return func(node string) (store, error) { return openREST(node, c.org, token), nil }, nil
	}
	return nil, errors.New("the target is rest or etcd")
}

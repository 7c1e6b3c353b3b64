package main

import (
	"strings"
	"testing"
	"time"

	"github.com/spf13/cobra"

	"github.com/muster-hq/muster/fsm/model"
)

// loaded is the configuration that flags, environment and file give.
func loaded(t *testing.T, file string, args ...string) (serverConfig, error) {
	t.Helper()
	var c serverConfig
	cmd := &cobra.Command{Use: "server"}
	c.flags(cmd.Flags())
	if err := cmd.ParseFlags(args); err != nil {
		t.Fatal(err)
	}
	if file != "" {
		file = textFile(t, "muster.yaml", file)
	}
	return c, c.load(cmd, file)
}

func TestFlagsOverEnvironmentOverFileOverDefaults(t *testing.T) {
	t.Setenv("MUSTER_HTTP", ":2")
	t.Setenv("MUSTER_GOSSIP", ":22")
	t.Setenv("MUSTER_BOOTSTRAP_EXPECT", "1")
	c, err := loaded(t, "name: n7\nhttp: ':3'\ngossip: ':33'\ncluster: ':333'\nbootstrap-expect: 5\n", "--http", ":1")
	if err != nil {
		t.Fatal(err)
	}
	for what, v := range map[string][2]any{
		"flag":                {c.HTTP, ":1"},
		"environment":         {c.Gossip, ":22"},
		"number there":        {c.BootstrapExpect, 1},
		"file":                {c.Cluster, ":333"},
		"another of file":     {c.Name, "n7"},
		"default":             {c.BusListen, ":5671"},
		"default log level":   {c.LogLevel, "info"},
		"default data":        {c.Data, "/var/lib/muster"},
		"nothing":             {c.Join, ""},
		"no broker by itself": {c.Bus, ""},
	} {
		if v[0] != v[1] {
			t.Errorf("%s: %v, expected %v", what, v[0], v[1])
		}
	}
}

func TestPublicURL(t *testing.T) {
	for text, ok := range map[string]bool{
		"https://muster.example.org/api": true, "http://h:8000/api/": true, "muster.example.org": false, "ftp://h/api": false, "https://u:p@h/api": false, "https://h/api?x": false,
	} {
		if c, err := loaded(t, "name: n1\ndrain: 4s\npublic-url: '"+text+"'\n"); (err == nil) != ok || err == nil && (c.PublicURL != text || c.Drain != 4*time.Second) {
			t.Errorf("%s: %v", text, err)
		}
	}
}

func TestTheLogStoreIsNamedInAnyOfTheWays(t *testing.T) {
	for file, want := range map[string]string{
		"": "boltdb", "raft:\n  store: wal\n": "wal", "raft.store: wal\n": "wal", "raft-store: wal\n": "wal",
	} {
		c, err := loaded(t, "name: n1\n"+file)
		if err != nil || c.RaftStore != want {
			t.Errorf("%q gives %q, %v", file, c.RaftStore, err)
		}
	}
	if c, err := loaded(t, "name: n1\nraft.store: wal\n", "--raft-store", "boltdb"); err != nil || c.RaftStore != "boltdb" {
		t.Errorf("the flag over the file: %q, %v", c.RaftStore, err)
	}
}

func TestTheMultiplierIsNamedInAnyOfTheWays(t *testing.T) {
	for file, want := range map[string]int{
		"": 1, "raft:\n  multiplier: 3\n": 3, "raft.multiplier: 4\n": 4, "raft-multiplier: 5\n": 5,
	} {
		c, err := loaded(t, "name: n1\n"+file)
		if err != nil || c.RaftMultiplier != want {
			t.Errorf("%q gives %d, %v", file, c.RaftMultiplier, err)
		}
	}
	if c, err := loaded(t, "name: n1\nraft.multiplier: 4\n", "--raft-multiplier", "2"); err != nil || c.RaftMultiplier != 2 {
		t.Errorf("the flag over the file: %d, %v", c.RaftMultiplier, err)
	}
}

func TestConfigurationThatIsRefused(t *testing.T) {
	for name, c := range map[string]struct {
		file string
		args []string
		want []string
	}{
		"unknown key":              {file: "name: n1\nhtpt: ':1'\n", want: []string{`there is no setting "htpt"`, "line 2", "names of the flags"}},
		"no YAML":                  {file: "name: [n1\n", want: []string{"muster.yaml", "line 1"}},
		"a word for a number":      {file: "bootstrap-expect: many\n", want: []string{"line 1", "many"}},
		"no address":               {args: []string{"--http", "8000"}, want: []string{"--http", `"8000"`, ":8000"}},
		"no such port":             {args: []string{"--gossip", ":70000"}, want: []string{"--gossip", "70000"}},
		"a name with blanks":       {args: []string{"--name", "node 1"}, want: []string{"--name", "node 1", "lower-case"}},
		"a name in capitals":       {args: []string{"--name", "N1"}, want: []string{"--name", "N1", "lower-case"}},
		"no data":                  {args: []string{"--data", ""}, want: []string{"--data is empty"}},
		"an even number":           {args: []string{"--bootstrap-expect", "2"}, want: []string{"1, 3, 5 or 7"}},
		"four":                     {args: []string{"--bootstrap-expect", "4"}, want: []string{"1, 3, 5 or 7"}},
		"expecting whom":           {args: []string{"--bootstrap-expect", "3"}, want: []string{"--bootstrap-expect needs --join", "--token-file"}},
		"expecting by what":        {args: []string{"--bootstrap-expect", "3", "--join", "a:1,b:1"}, want: []string{"--token-file with a secret"}},
		"join without token":       {args: []string{"--join", "a:1"}, want: []string{"--join needs --token-file", "muster cluster token"}},
		"join where":               {args: []string{"--join", "a", "--token-file", "f"}, want: []string{`--join "a"`, "n1:8001"}},
		"join one of two where":    {args: []string{"--join", "a:1,b", "--token-file", "f"}, want: []string{`--join "b"`}},
		"no broker":                {args: []string{"--bus", "http://x"}, want: []string{"--bus is not a broker's address"}},
		"a certificate of an hour": {args: []string{"--certificate-life", "1h"}, want: []string{"--certificate-life 1h0m0s", "24h to 43800h"}},
		"a gossip key for ever":    {file: "gossip-key-life: 100000h\n", want: []string{"--gossip-key-life 100000h0m0s", "1h to 8760h"}},
		"a multiplier of 0":        {args: []string{"--raft-multiplier", "0"}, want: []string{"--raft-multiplier 0", "1 to 10"}},
		"a large multiplier":       {file: "raft.multiplier: 11\n", want: []string{"--raft-multiplier 11", "1 to 10"}},
		"no such log store":        {args: []string{"--raft-store", "lmdb"}, want: []string{`--raft-store "lmdb"`, "boltdb or wal"}},
		"two faults":               {args: []string{"--bus", "x", "--name", "-"}, want: []string{"--bus", "--name"}},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := loaded(t, c.file, append([]string{"--name", "n1"}, c.args...)...)
			if err == nil {
				t.Fatal("it was taken")
			}
			for _, w := range c.want {
				if !strings.Contains(err.Error(), w) {
					t.Errorf("the error is %q, expected %q in it", err, w)
				}
			}
		})
	}
}

func TestFaultInTheEnvironmentIsNamed(t *testing.T) {
	t.Setenv("MUSTER_BOOTSTRAP_EXPECT", "many")
	if _, err := loaded(t, "", "--name", "n1"); err == nil || !strings.Contains(err.Error(), "MUSTER_BOOTSTRAP_EXPECT") {
		t.Errorf("the error is %v; it should name the variable", err)
	}
}

// The name's rule here and in the cluster are one.
func TestNodeNames(t *testing.T) {
	for name, good := range map[string]bool{
		"n1": true, "a": true, "node-1.example.com": true, strings.Repeat("a", 63): true,
		"": false, "-": false, "a-": false, "A": false, "a b": false, "a/b": false, strings.Repeat("a", 64): false,
	} {
		if nodeName().MatchString(name) != good {
			t.Errorf("%q: good is %v, expected %v", name, !good, good)
		}
	}
}

func TestCommandLineOfServerAndDev(t *testing.T) {
	data := t.TempDir()
	for name, c := range map[string]struct {
		args []string
		code int
		want string
	}{
		"help":              {[]string{"--help"}, 0, "muster dev"},
		"nothing":           {nil, 0, "muster server --help"},
		"version":           {[]string{"--version"}, 0, "muster dev\n"},
		"unknown":           {[]string{"serve"}, exitUsage, `unknown command "serve"`},
		"server help":       {[]string{"server", "--help"}, 0, "--bootstrap-expect 3 --join"},
		"server argument":   {[]string{"server", "now"}, exitUsage, "now"},
		"server flag":       {[]string{"server", "--fast"}, exitUsage, "--fast"},
		"server level":      {[]string{"server", "--name", "n1", "--log-level", "loud"}, exitUsage, `--log-level "loud"`},
		"server config":     {[]string{"server", "--config", data + "/absent"}, exitUsage, "absent"},
		"dev help":          {[]string{"dev", "--help"}, 0, "dev.json"},
		"dev nodes":         {[]string{"dev", "--nodes", "2", "--data", data}, exitUsage, "give 1 or 3"},
		"dev address":       {[]string{"dev", "--http", "8000", "--data", data}, exitUsage, "127.0.0.1:8000"},
		"dev level":         {[]string{"dev", "--log-level", "loud", "--data", data}, exitUsage, "debug, info"},
		"join needs a file": {[]string{"cluster", "join", "a:1", "--user", "u", "--password-file", textFile(t, "pw", "x")}, exitUsage, "--token-file"},
	} {
		t.Run(name, func(t *testing.T) {
			out, errs, code := muster(t, c.args...)
			if code != c.code || !strings.Contains(out+errs, c.want) {
				t.Errorf("status %d, expected %d; expected %q in\n%s%s", code, c.code, c.want, out, errs)
			}
		})
	}
}

// TestLivesOfKeys: what the file says of certificates comes to the node's own.
func TestLivesOfKeys(t *testing.T) {
	t.Parallel()
	c, err := loaded(t, "name: n1\ncertificate-life: 48h\n", "--gossip-key-life", "2h")
	if err != nil || c.Lives.Certificate != 48*time.Hour || c.Lives.GossipKey != 2*time.Hour {
		t.Fatalf("%+v, %v", c.Lives, err)
	}
	n := startNode(t, "n1", "--certificate-life", "48h")
	m := n.status(n.passwordFile()).Members[0]
	ends, err := model.ParseTime("certificateExpires", m.CertExpires)
	if left := time.Until(ends); err != nil || left > 48*time.Hour || left < 47*time.Hour {
		t.Errorf("the certificate ends at %s (%v)", m.CertExpires, err)
	}
}

package main

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha1"
	"encoding/base32"
	"encoding/binary"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// oneTimeCode is the code of RFC 6238 for a secret in base 32, so many steps from a time.
func oneTimeCode(t *testing.T, secret string, at time.Time, steps int64) string {
	t.Helper()
	key, err := base32.StdEncoding.DecodeString(secret)
	if err != nil {
		t.Fatalf("the secret %q: %v", secret, err)
	}
	mac := hmac.New(sha1.New, key)
	_, _ = mac.Write(binary.BigEndian.AppendUint64(nil, uint64(at.Unix()/30+steps)))
	sum := mac.Sum(nil)
	return fmt.Sprintf("%06d", binary.BigEndian.Uint32(sum[sum[19]&0xf:])&0x7fffffff%1_000_000)
}

// One-time codes are turned on, used and turned off by commands that ask for them.
func TestCodesFromTheCommandLine(t *testing.T) {
	sh, now := newShell(t), time.Now()
	sh.db.SetClock(func() time.Time { return now }) // no code grows old between two commands
	api, password := sh.env["MUSTER_API"], filepath.Join(sh.dir, "pw")
	sh.env = map[string]string{"XDG_CONFIG_HOME": filepath.Join(sh.dir, "config"), "MUSTER_API": api}
	typed := func(in string, args ...string) error {
		root := rootCommand(func(k string) string { return sh.env[k] })
		root.SetIn(strings.NewReader(in))
		root.SetOut(new(bytes.Buffer))
		root.SetErr(new(bytes.Buffer))
		root.SetArgs(args)
		return root.ExecuteContext(t.Context())
	}
	login := "login --user admin --password-file " + password
	sh.ok(login)
	secret := strings.TrimSpace(sh.ok("account codes begin -o jsonpath={.secret}"))
	if err := typed(oneTimeCode(t, secret, now, -1)+"\n", "account", "codes", "confirm"); err != nil {
		t.Fatalf("confirm: %v", err)
	}
	if _, errs, code := sh.run(login); code != exitNotAllowed || !strings.Contains(errs, "--code") {
		t.Errorf("without a code: %d %s", code, errs)
	}
	sh.ok(login + " --code " + oneTimeCode(t, secret, now, 0))
	if err := typed("", "account", "codes", "off"); exitCode(err) != exitUsage {
		t.Errorf("off without a code: %v", err)
	}
	if err := typed(oneTimeCode(t, secret, now, 1), "account", "codes", "off"); err != nil {
		t.Errorf("off: %v", err)
	}
	if out := sh.ok("account show -o jsonpath={.totp}"); strings.TrimSpace(out) != "false" {
		t.Errorf("codes are on: %s", out)
	}
	sh.ok(login)
}

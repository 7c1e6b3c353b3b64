package main

import (
	"strings"
	"testing"
	"time"
)

func TestChangesConfig(t *testing.T) {
	c, err := loaded(t, "name: n1\nchange-age: 48h\nchange-most: 50\n", "--change-expiry", "2h")
	if err != nil || c.Changes != (changesConfig{2 * time.Hour, 48 * time.Hour, 50}) {
		t.Errorf("%+v, %v", c.Changes, err)
	}
	for _, bad := range [][2]string{{"--change-expiry", "1s"}, {"--change-age", "1h"}, {"--change-most", "5"}} {
		if _, err := loaded(t, "name: n1\n", bad[0], bad[1]); err == nil || !strings.Contains(err.Error(), bad[0]) {
			t.Errorf("%v: %v", bad, err)
		}
	}
}

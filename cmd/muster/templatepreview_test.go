package main

import (
	"strings"
	"testing"
)

func TestTemplatePreview(t *testing.T) {
	sh := newShell(t).furnish()
	good := sh.file("good.tpl", "host ${_host.name}\n")
	bad := sh.file("bad.tpl", "a\n${nope}\n")
	marked := sh.file("marked.tpl", "##_host.name## ${HOME}")
	where := " -E Dev --host web1 --template "
	if got := sh.ok("template preview" + where + good); got != "host web1\n" {
		t.Errorf("got %q", got)
	}
	if got := sh.ok("template preview" + where + marked + " --start ## --end ##"); got != "web1 ${HOME}" {
		t.Errorf("with marks: %q", got)
	}
	if out, errs, code := sh.run("template preview" + where + bad); code == 0 || out != "" || !strings.Contains(errs, "line 2, column 3") {
		t.Errorf("a template that fails: %d %q %q", code, out, errs)
	}
	for _, line := range []string{"template preview -E Dev --host web1", "template preview -E Dev --template " + good} {
		if _, errs, code := sh.run(line); code != 64 {
			t.Errorf("%s: %d %q", line, code, errs)
		}
	}
}

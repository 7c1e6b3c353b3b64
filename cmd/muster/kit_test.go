package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestEntitiesFromTheCommandLine runs each verb of the nouns for platforms, distributions and stored definitions.
func TestEntitiesFromTheCommandLine(t *testing.T) {
	t.Parallel()
	sh := newShell(t).furnish()
	ks := sh.file("ks", "lang ${lang!} zone ${zone!}\n")
	picture := filepath.Join(sh.dir, "picture.out")
	for _, c := range []struct{ line, want string }{
		{"flavor list -o name", "centos\ndebian\nfedora\nopensuse\nubuntu\n"},
		{"flavor show debian -o json", `"key": "kickstartName"`},
		{"platform create -f " + sh.file("cloud.yaml", "name: cloud\ndriver: {className: x.CloudDriver}\nsettings: [{key: zone, value: eu}]\nfiles: [{name: boot}]\n") + " --test -o name", "cloud\n"},
		{"platform list -o name", "cloud\n"},
		{"platform update cloud --description d -o json", `"description": "d"`},
		{"platform clone cloud copy -o name", "copy\n"},
		{"platform images cloud", ""},
		{"platform delete copy", ""},
		{"distribution create os --flavor debian -o json", `"key": "vmlinuzPath"`},
		{"file create ks --distribution os -o name", "ks\n"},
		{"file upload ks " + ks + " --distribution os", ""},
		{"file download ks - --distribution os", "lang ${lang!} zone ${zone!}\n"},
		{"file upload boot " + ks + " --platform cloud", ""},
		{"file list --platform cloud -o name", "boot\n"},
		{"parameter create Language --key lang --distribution os -o name", "Language\n"},
		{"parameter list --distribution os -o name", "Language\n"},
		{"distribution lock os", ""},
		{"distribution unlock os", ""},
		{"distribution clone os os2 -o name", "os2\n"},
		{"distribution thumb upload os " + ks, ""},
		{"distribution thumb download os " + picture, ""},
		{"host platform set web1 cloud -E Dev -f " + sh.file("ctx.yaml", "settings: [{key: size, value: big}]\n") + " -o json", `"platform": "cloud"`},
		{"host platform show web1 -E Dev", "cloud"},
		{"host distribution set web1 os -E Dev", "os"},
		{"setting set lang de --host web1 --distribution os -E Dev", ""},
		{"setting list --host web1 --distribution os -E Dev -o name", "lang\n"},
		{"setting set zone us --platform cloud", ""},
		{"setting show zone --platform cloud -o json", `"value": "us"`},
		{"setting list --host web1 --platform cloud -E Dev -o name", "size\n"},
		{"host distribution render web1 ks -E Dev", "lang de zone \n"},
		{"host platform render web1 boot -E Dev", "lang  zone us\n"},
		{"host distribution link web1 ks --short -E Dev -o json", `/api/links/`},
		{"host create web3 --platform cloud --distribution os -E Dev -o json", `"distribution": "os"`},
		{"host distribution delete web3 -E Dev", ""},
		{"host platform delete web3 -E Dev", ""},
		{"hostgroup create G -f " + sh.file("g.yaml", "hosts: [{environment: Dev, host: web1}]\n") + " -o json", `"canonicalName": "Dev/web1"`},
		{"setting set greeting hi --hostgroup G", ""},
		{"setting list --hostgroup G -o name", "greeting\n"},
		{"orchestration create roll -f " + sh.file("o.yaml", "applicationsOperations: [{application: web, handler: again}]\norderedHostGroup: [{hostGroup: {name: G}}]\n") + " -o name", "roll\n"},
		{"orchestration clone roll roll2 -o name", "roll2\n"},
		{"orchestration handler create on --trigger port --orchestration roll -o name", "on\n"},
		{"orchestration handler list --orchestration roll -o json", `"port"`},
		{"webhook create hook -f " + sh.file("w.yaml", "serverName: example.org\n") + " -o name", "hook\n"},
		{"notification create chat --channel chat -o name", "chat\n"},
		{"application module create nodejs --stream 20 --application web -o name", "nodejs\n"},
		{"application git create site --endpoint https://example.org/x --application web -o name", "site\n"},
		{"application git list --application web", "site"},
		{"organization create full --populate -o name", "full\n"},
		{"platform list -O full -o name", "Demo Platform\n"},
	} {
		if got := sh.ok(c.line); !strings.Contains(got, c.want) {
			t.Errorf("muster %s:\n%s\nwant %s", c.line, got, c.want)
		}
	}
	if b, err := os.ReadFile(picture); err != nil || !strings.HasPrefix(string(b), "lang") {
		t.Errorf("the picture: %q %v", b, err)
	}
	for _, c := range []struct {
		line, want string
		code       int
	}{
		{"platform delete cloud", "Dev/web1", exitConflict},
		{"environment delete Dev", "Dev/web1", exitConflict},
		{"file list", "give one of --application, --platform and --distribution", exitUsage},
		{"file list --application web --platform cloud", "give one of", exitUsage},
		{"setting list --platform cloud --distribution os", "give one of", exitUsage},
		{"orchestration handler list", "which orchestration?", exitUsage},
		{"application module list", "which application?", exitUsage},
		{"distribution create x --flavor beos", "choose one of centos", exitFailed},
	} {
		if _, errs, code := sh.run(c.line); code != c.code || !strings.Contains(errs, c.want) {
			t.Errorf("muster %s: exit %d, %s; want %d with %s", c.line, code, errs, c.code, c.want)
		}
	}
}

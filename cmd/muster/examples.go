package main

import (
	"strings"

	"github.com/spf13/cobra"
)

// sampleArgs are what stands in examples for the arguments that usage lines name.
var sampleArgs = map[string]string{
	"ADDRESS": "n1:8001", "APPLICATION": "web", "CHANNEL": "ops", "DATA": "/var/lib/muster", "DISTRIBUTION": "debian", "ENVIRONMENT": "Prod",
	"FILE": "site", "FLAVOR": "debian", "GROUP": "users", "HANDLER": "moved", "HOST": "web1", "HOSTGROUP": "frontends", "ID": "4F1A", "JOB": "nightly",
	"KEY": "port", "MODULE": "nodejs", "NAME": "anna", "NEW-NAME": "another", "NUMBER": "7", "ORCHESTRATION": "roll", "ORGANIZATION": "acme",
	"PACKAGE": "nginx", "PARAMETER": "Port", "PATH": "./site.ftl", "PLATFORM": "cloud", "REPOSITORY": "code", "SERVICE": "nginx",
	"USER": "anna", "VALUE": "8080", "WEBHOOK": "chat",
}

// samplePlaces say where the objects of a noun are, by the first words of the command.
var samplePlaces = map[string]string{
	"application git": "--application web", "application module": "--application web", "change": "--host web1", "compliance": "--host web1",
	"environment": "-O acme", "file": "--application web", "orchestration handler": "--orchestration roll", "parameter": "--application web",
	"setting": "-E Prod", "setting origin": "--host web1 --application web", "setting properties": "-E Prod", "setting tree": "-O acme",
}

// samples are the examples of commands that need more than their arguments, or whose arguments are others than usual.
var samples = map[string]string{
	"account register":             "account register anna --email anna@example.org --new-password-file anna.pw",
	"application thumb download":   "application thumb download web picture.png",
	"application thumb upload":     "application thumb upload web picture.png",
	"audit export":                 "audit export -O acme --since 24h > audit.jsonl",
	"change clear":                 "change clear --host web1",
	"change list":                  "change list --host web1 --all",
	"change retry":                 "change retry 7 --host web1 --wait",
	"change wait":                  "change wait --host web1 --timeout 5m",
	"cluster join":                 "cluster join n1:8001 --token-file join-token --api http://n2:8000/api",
	"cluster leave":                "cluster leave --api http://n3:8000/api",
	"cluster remove":               "cluster remove n3",
	"cluster token create":         "cluster token create --uses 2 > join-token",
	"cluster transfer-leadership":  "cluster transfer-leadership n2",
	"compliance delete":            "compliance delete --all --host web1",
	"compliance rebuild":           "compliance rebuild --host web1 --wait",
	"completion bash":              "completion bash > /etc/bash_completion.d/muster",
	"completion fish":              "completion fish > ~/.config/fish/completions/muster.fish",
	"completion powershell":        "completion powershell > muster.ps1",
	"completion zsh":               "completion zsh > ~/.zfunc/_muster",
	"context delete":               "context delete production",
	"context list":                 "context list -o name",
	"context set":                  "context set --organization acme --environment Prod",
	"context show":                 "context show -o jsonpath='{.organization}'",
	"context use":                  "context use production",
	"debug log":                    "debug log /var/lib/muster --from 1200",
	"debug state":                  "debug state /var/lib/muster host",
	"dev":                          "dev --simulate",
	"distribution create":          "distribution create debian --flavor debian",
	"distribution thumb download":  "distribution thumb download debian picture.png",
	"distribution thumb upload":    "distribution thumb upload debian picture.png",
	"enrol-token create":           "enrol-token create -E Prod --uses 10 --expires 24h > enrol-token",
	"environment create":           "environment create Prod --description production -O acme",
	"environment clone":            "environment clone Prod Staging -O acme",
	"file create":                  "file create site --path /etc/nginx/site.conf --mode 644 --application web",
	"file download":                "file download site ./site.ftl --application web",
	"flavor list":                  "flavor list",
	"flavor show":                  "flavor show debian",
	"host configure":               "host configure web1 web -f settings.yaml --wait",
	"host create":                  "host create web1 --platform cloud --distribution debian -E Prod",
	"host distribution link":       "host distribution link web1 kickstart",
	"host distribution render":     "host distribution render web1 kickstart",
	"host distribution set":        "host distribution set web1 debian",
	"host image":                   "host image web1 web-2026 --wait",
	"host install-package":         "host install-package web1 web nginx --release 1.26 --wait",
	"host platform link":           "host platform link web1 boot",
	"host platform render":         "host platform render web1 boot",
	"host platform set":            "host platform set web1 cloud",
	"host update-package":          "host update-package web1 web nginx --wait",
	"job create":                   "job create nightly --action RUN_HANDLER --cron '0 3 * * *' --input organizations/acme/environments/Prod/hosts/web1/applications/web/handlers/moved",
	"key create":                   "key create deploy --group users --method TOKEN -O acme",
	"key delete":                   "key delete deploy -O acme",
	"key edit":                     "key edit deploy -O acme",
	"key reset":                    "key reset deploy -O acme",
	"key show":                     "key show deploy -O acme",
	"key update":                   "key update deploy --expires 2027-01-31T00:00:00.000+0000 -O acme",
	"log agent":                    "log agent --host web1",
	"log notification":             "log notification -O acme",
	"log other":                    "log other -O acme",
	"organization create":          "organization create acme --populate",
	"organization update":          "organization update acme --description 'all that acme runs'",
	"parameter create":             "parameter create Port --key port -f port.yaml --application web",
	"platform create":              "platform create -f cloud.yaml",
	"quota delete":                 "quota delete acme",
	"quota show":                   "quota show acme",
	"quota update":                 "quota update acme -f quota.yaml",
	"server":                       "server --config /etc/muster.yaml",
	"setting create":               "setting create -f port.yaml -E Prod",
	"setting set":                  "setting set port 8080 --host web1 -E Prod --wait",
	"setting explain":              "setting explain port --host web1 --application web -E Prod",
	"snapshot inspect":             "snapshot inspect muster.snapshot",
	"snapshot restore":             "snapshot restore muster.snapshot",
	"snapshot save":                "snapshot save muster.snapshot",
	"snapshot verify":              "snapshot verify muster.snapshot --key-file /media/safe/muster.keys",
	"template render":              "template render --template site.ftl --data data.yaml",
	"user create":                  "user create anna --new-password-file anna.pw --email anna@example.org",
	"user link":                    "user link anna --issuer https://login.example.org --subject 4711",
	"user password":                "user password anna --new-password-file anna.pw",
	"user update":                  "user update anna --email anna@example.org",
	"webhook create":               "webhook create chat --server hooks.example.org --path /in --event 'host.*' -O acme",
	"webhook update":               "webhook update chat --path /other -O acme",
	"orchestration handler create": "orchestration handler create moved -f handler.yaml --orchestration roll",
	"application git create":       "application git create code --endpoint https://git.example.org/code --branch main --application web",
	"application module create":    "application module create nodejs --stream 22 --application web",
	"application git update":       "application git update code --branch next --application web",
	"application module update":    "application module update nodejs --stream 24 --application web",
	"notification create":          "notification create ops -f ops.yaml -O acme",
	"machine delete":               "machine delete 4F1A -O acme",
	"machine list":                 "machine list -O acme",
	"machine retry":                "machine retry 4F1A -O acme",
	"orchestration handler update": "orchestration handler update moved -f handler.yaml --orchestration roll",
	"orchestration handler delete": "orchestration handler delete moved --orchestration roll",
}

// addExamples gives every command that has none an example of how it is typed.
func addExamples(cmd *cobra.Command) {
	for _, sub := range cmd.Commands() {
		addExamples(sub)
	}
	if cmd.Example != "" || !cmd.Runnable() || cmd.HasSubCommands() || !cmd.HasParent() || cmd.Name() == "help" {
		return
	}
	path := strings.TrimPrefix(cmd.CommandPath(), "muster ")
	line, ok := samples[path]
	if !ok {
		line = sampleOf(cmd, path)
	}
	cmd.Example = "  muster " + line
}

// sampleOf makes an example of a usage line.
func sampleOf(cmd *cobra.Command, path string) string {
	words := []string{path}
	_, args, _ := strings.Cut(cmd.Use, " ")
	for _, word := range strings.Fields(args) {
		name := strings.Trim(word, "[]")
		if value, ok := sampleArgs[name]; ok {
			name = value
		}
		words = append(words, name)
	}
	if cmd.Name() == "create" || cmd.Name() == "update" {
		words = append(words, "-f "+cmd.Parent().Name()+".yaml")
	}
	if cmd.Flags().Lookup("wait") != nil {
		words = append(words, "--wait")
	}
	for at := path; at != ""; at = at[:max(strings.LastIndexByte(at, ' '), 0)] {
		if place, ok := samplePlaces[at]; ok {
			return strings.Join(append(words, place), " ")
		}
	}
	return strings.Join(words, " ")
}

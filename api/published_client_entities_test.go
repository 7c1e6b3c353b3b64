package api_test

import (
	"os"
	"path/filepath"
	"testing"
)

// TestPublishedClientEntities runs the commands of the published client for platforms, distributions, flavors, contexts
// and what is stored as it was given; see TestPublishedClient.
func TestPublishedClientEntities(t *testing.T) {
	dir := os.Getenv("COMODIT_CLIENT")
	if dir == "" {
		t.Log("COMODIT_CLIENT is not set: the recorded exchanges stand in for the client")
		return
	}
	c := newComodit(t, dir, newSite(t).furnish())
	for name, text := range map[string]string{"cloud.json": cloudPlatform, "os.json": osDistribution, "ks": "lang ${lang};\n", "thumb": "a picture\n"} {
		if err := os.WriteFile(filepath.Join(c.home, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	c.play(clientPlatforms())
	c.play(clientContexts())
	c.play(clientDefinitions())
}

func clientPlatforms() [][2]string {
	return [][2]string{
		{"flavors|list", "centos\ndebian\nfedora\nopensuse\nubuntu\n"},
		{"flavors|show|debian", "Key: kickstartName"},
		{"platforms|add|acme|-f|cloud.json", "Driver class: com.guardis.cortex.server.driver.LibvirtDriver"},
		{"platforms|add|acme|--default|--test|-j|{\"name\": \"P 2\", \"driver\": {\"className\": \"x\"}}", " Name: P 2\n"},
		{"platforms|list|acme", "P 2\ncloud\n"},
		{"platforms|show|acme|cloud", "boot [1].ipxe"},
		{"platforms|update|acme|P 2|-j|{\"name\": \"P (3)\", \"description\": \"new\", \"driver\": {\"className\": \"y\"}}", " Name: P (3)\n Description: new\n"},
		{"platforms|clone|acme|P (3)|P4", ""},
		{"platforms|images|acme|cloud", ""},
		{"platforms|delete|acme|P4|--force", ""},
		{"platforms|settings|add|acme|cloud|-j|{\"key\": \"k k\", \"value\": [1]}", " Value: [1]\n"},
		{"platforms|settings|list|acme|cloud", "k k\n"},
		{"platforms|settings|update|acme|cloud|k k|-j|{\"key\": \"k k\", \"value\": \"z\"}", " Value: z\n"},
		{"platforms|settings|delete|acme|cloud|k k|--force", ""},
		{"platforms|parameters|list|acme|cloud", "The size\n"},
		{"platforms|parameters|show|acme|cloud|The size", " Key: size\n"},
		{"platforms|files|list|acme|cloud", "boot [1].ipxe\n"},
		{"platforms|files|set-content|acme|cloud|boot [1].ipxe|ks", ""},
		{"platforms|files|show-content|acme|cloud|boot [1].ipxe", "lang ${lang};\n"},
		{"platforms|files|show|acme|cloud|boot [1].ipxe", "Start: ##"},
		{"platforms|export|acme|cloud|cloud-exported", "exporting cloud"},
		{"platforms|delete|acme|cloud|--force", ""},
		{"platforms|import|acme|cloud-exported", ""},
		{"platforms|show|acme|cloud", "boot [1].ipxe"},

		{"distributions|add|acme|-f|os.json", " Name: os\n"},
		{"distributions|add|acme|--flavor|fedora|-j|{\"name\": \"f\"}", "vmlinuzPath"},
		{"distributions|lock|acme|os", ""},
		{"distributions|update|acme|os|-j|{\"name\": \"os\", \"description\": \"x\"}", "error 409: [distribution \"os\" is locked"},
		{"distributions|unlock|acme|os|--force", ""},
		{"distributions|clone|acme|os|os2", ""},
		{"distributions|files|set-content|acme|os|ks|ks", ""},
		{"distributions|files|show-content|acme|os|ks", "lang ${lang};\n"},
		{"distributions|files|add|acme|os|-j|{\"name\": \"more\"}", " Name: more\n"},
		{"distributions|files|delete|acme|os|more|--force", ""},
		{"distributions|parameters|add|acme|os|-j|{\"name\": \"P\", \"key\": \"p\"}", " Key: p\n"},
		{"distributions|settings|list|acme|os", "kickstartName\n"},
		{"distributions|export|acme|os|os-exported", "exporting os"},
		{"distributions|import|acme|os-exported", "conflict"},
		{"distributions|delete|acme|os|--force", ""},
		{"distributions|import|acme|os-exported", ""},
		{"distributions|list|acme", "f\nos\nos2\n"},
	}
}

func clientContexts() [][2]string {
	h := "acme|Dev|web1"
	return [][2]string{
		{"hosts|platform|add|" + h + "|-j|{\"platform\": \"cloud\", \"settings\": [{\"key\": \"size\", \"value\": \"big\"}]}", "cloud"},
		{"hosts|distribution|add|" + h + "|-j|{\"distribution\": \"os\"}", "os"},
		{"hosts|platform|show|" + h, "Key: size"},
		{"hosts|distribution|show|" + h, "os"},
		{"hosts|platform|settings|list|" + h, "size\n"},
		{"hosts|distribution|settings|add|" + h + "|-j|{\"key\": \"lang\", \"value\": \"de\"}", " Value: de\n"},
		{"hosts|distribution|render-file|" + h + "|ks", "lang de;\n"},
		{"hosts|distribution|link|" + h + "|ks", "/api/links/"},
		{"hosts|platform|link|" + h + "|boot [1].ipxe", "/api/links/"},
		{"hosts|show|" + h, "Platform: cloud"},
		{"platforms|delete|acme|cloud|--force", "Dev/web1"},
		{"organizations|export|acme|acme-exported", "exporting os"},
		{"organizations|settings|tree|acme", "cloud"},
		{"hosts|platform|delete|" + h + "|--force", "has an instance"},
	}
}

func clientDefinitions() [][2]string {
	return [][2]string{
		{"organizations|hostgroups|add|acme|-j|{\"name\": \"G\", \"hosts\": [{\"position\": 0, \"organization\": \"acme\", \"environment\": \"Dev\", \"host\": \"web1\"}]}", "Dev/web1"},
		{"organizations|hostgroups|list|acme", "G\n"},
		{"organizations|hostgroups|show|acme|G", "Dev/web1"},
		{"organizations|hostgroups|settings|add|acme|G|-j|{\"key\": \"k\", \"value\": \"v\"}", " Value: v\n"},
		{"organizations|hostgroups|settings|list|acme|G", "k\n"},
		{"organizations|orchestrations|add|acme|-j|{\"name\": \"O\", \"applicationsOperations\": [{\"application\": \"web\", \"handler\": \"reload\", \"position\": 0}]," +
			" \"orderedHostGroup\": [{\"position\": 0, \"hostGroup\": {\"name\": \"G\"}}]}", "web"},
		{"organizations|orchestrations|list|acme", "O\n"},
		{"organizations|orchestrations|show|acme|O", "Dev/web1"},
		{"organizations|orchestrations|clone|acme|O|O2", ""},
		{"organizations|orchestrations|handlers|add|acme|O|-j|{\"name\": \"h\", \"triggers\": [\"port\"]}", "port"},
		{"organizations|orchestrations|handlers|list|acme|O", "h\n"},
		{"organizations|orchestrations|delete|acme|O2|--force", ""},
		{"organizations|webhooks|add|acme|-j|{\"name\": \"W\", \"serverName\": \"example.org\", \"path\": \"/\"}", "example.org"},
		{"organizations|webhooks|list|acme", "W\n"},
		{"organizations|webhooks|show|acme|W", "example.org"},
		{"organizations|webhooks|delete|acme|W|--force", ""},
		{"organizations|notification-channels|add|acme|-j|{\"channel\": \"C\", \"value\": \"{}\"}", "C"},
		{"organizations|notification-channels|list|acme", "C\n"},
		{"applications|rpm-module|add|acme|web|-j|{\"name\": \"nodejs\", \"stream\": \"20\", \"profile\": \"common\", \"enabled\": true}", "nodejs"},
		{"applications|gits|add|acme|web|-j|{\"name\": \"site\", \"endpoint\": \"https://example.org/x.git\", \"branch\": \"main\", \"authenticationMethod\": \"HTTPS\"}", "site"},
		{"applications|gits|list|acme|web", "site\n"},
		{"applications|export|acme|web|web-exported", "web"},
		{"organizations|export|acme|acme-exported-2", "exporting G"},
		{"environments|delete|acme|Dev|--force", "Dev/web1"},
	}
}

package model

import (
	"encoding/json"
	"strings"
)

// Flavor is a kind of distribution: the settings that its installer needs (contract section 3.4). The set is fixed.
type Flavor struct {
	UUID        string      `json:"uuid"`
	Version     int         `json:"version"`
	Name        string      `json:"name"`
	Description string      `json:"description"`
	Parameters  []Parameter `json:"parameters"`
}

// The settings that each flavor has, in their order.
const (
	FlavorConfig = "kickstartName" // file of the distribution with the answers for the installer
	FlavorKernel = "vmlinuzPath"   // kernel of the installer, a path on the mirror
	FlavorInitrd = "initrdPath"    // its initial RAM disk, likewise
	FlavorMirror = "mirror"        // where packages and installer come from
	FlavorArgs   = "kernelParams"  // what the kernel of the installer is told
)

// Flavors are all flavors by name.
func Flavors() []Flavor {
	return []Flavor{
		flavor("centos", "CentOS Stream, installed by Anaconda with a kickstart file", "kickstart",
			"/images/pxeboot/vmlinuz", "/images/pxeboot/initrd.img", "http://mirror.stream.centos.org/9-stream/BaseOS/x86_64/os", "inst.text"),
		flavor("debian", "Debian, installed by its installer with a preseed file", "preseed.cfg",
			"/main/installer-amd64/current/images/netboot/debian-installer/amd64/linux",
			"/main/installer-amd64/current/images/netboot/debian-installer/amd64/initrd.gz", "http://deb.debian.org/debian/dists/stable", "auto=true priority=critical"),
		flavor("fedora", "Fedora, installed by Anaconda with a kickstart file", "kickstart",
			"/images/pxeboot/vmlinuz", "/images/pxeboot/initrd.img", "http://download.fedoraproject.org/pub/fedora/linux/releases/43/Server/x86_64/os", "inst.text"),
		flavor("opensuse", "openSUSE, installed by AutoYaST", "autoinst.xml",
			"/boot/x86_64/loader/linux", "/boot/x86_64/loader/initrd", "http://download.opensuse.org/distribution/leap/15.6/repo/oss", "textmode=1"),
		flavor("ubuntu", "Ubuntu, installed by its server installer with autoinstall", "user-data",
			"/casper/vmlinuz", "/casper/initrd", "http://releases.ubuntu.com/24.04", "autoinstall"),
	}
}

func flavor(name, description, config, kernel, initrd, mirror, args string) Flavor {
	f := Flavor{UUID: flavorID(name), Version: 1, Name: name, Description: description}
	for _, p := range [][3]string{
		{FlavorConfig, "Answer file", config}, {FlavorKernel, "Path of the kernel", kernel}, {FlavorInitrd, "Path of the initial RAM disk", initrd},
		{FlavorMirror, "Mirror", mirror}, {FlavorArgs, "Kernel parameters", args},
	} {
		value, _ := json.Marshal(p[2]) // a text always can be
		f.Parameters = append(f.Parameters, Parameter{
			UUID: flavorID(name + " " + p[0]), Version: 1, Name: p[1], Key: p[0], Value: value, Schema: json.RawMessage(`{"type":"string"}`),
		})
	}
	return f
}

// flavorID is the same on every node and for ever.
func flavorID(of string) string { return GroupUUID("flavor", of) }

// FlavorNamed finds a flavor.
func FlavorNamed(name string) (Flavor, bool) {
	for _, f := range Flavors() {
		if f.Name == name {
			return f, true
		}
	}
	return Flavor{}, false
}

// FlavorNames lists them for people: "centos, debian, ...".
func FlavorNames() string {
	var names []string
	for _, f := range Flavors() {
		names = append(names, f.Name)
	}
	return strings.Join(names, ", ")
}

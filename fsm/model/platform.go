package model

import "encoding/json"

// Driver says how a platform makes machines. Any class name is stored; whether there is a driver for it shows when
// a host is provisioned.
type Driver struct {
	ClassName   string `json:"className"`
	Name        string `json:"name"`        // set by the server
	Description string `json:"description"` // set by the server
}

// FreeDriver is the class for machines that somebody else made.
const FreeDriver = "com.guardis.cortex.server.driver.FreeDriver"

// Platform is the document of contract section 3.4: where machines can be made.
type Platform struct {
	UUID         string      `json:"uuid"`
	Version      int         `json:"version"`
	Name         string      `json:"name"`
	Description  string      `json:"description"`
	Organization string      `json:"organization"`
	Driver       Driver      `json:"driver"`
	Settings     []Setting   `json:"settings"`
	Parameters   []Parameter `json:"parameters"`
	Files        []File      `json:"files"`

	carried carried
}

type platformFields Platform

// UnmarshalJSON reads the document and carries the rest along.
func (p *Platform) UnmarshalJSON(data []byte) error {
	var f platformFields
	rest, err := readCarried(data, &f)
	f.carried = rest
	*p = Platform(f)
	return err
}

// MarshalJSON writes the document with what it carries. The fields of every platform are always there.
func (p Platform) MarshalJSON() ([]byte, error) {
	f := platformFields(p)
	return writeCarried(&f, always(p.carried, kitLists(), nil))
}

// ClearServerFields drops what only the server sets (contract section 1.6).
func (p *Platform) ClearServerFields() {
	p.UUID, p.Version, p.Organization = "", 0, ""
	p.Driver.Name, p.Driver.Description = "", ""
	p.carried.drop("uuid", "version", "organization")
	clearParts(p.Files, p.Parameters)
}

// Validate refuses a platform without a name or a driver's class. Every fault is one message of the error, which
// is Invalid.
func (p *Platform) Validate() error {
	var c checker
	c.check(CheckName("platform", p.Name))
	switch {
	case p.Driver.ClassName == "":
		c.fail("driver: className is missing: give the class of the driver, such as %s", FreeDriver)
	case CheckName("driver class", p.Driver.ClassName) != nil:
		c.check(CheckName("driver class", p.Driver.ClassName))
	}
	c.checkLists(p.Files, p.Parameters)
	return c.err()
}

// PlatformRow is what is kept of a platform. Its settings are rows of their own.
type PlatformRow struct {
	Kit
	Document Platform `json:"document"`
}

// Table names the table of platforms.
func (*PlatformRow) Table() string { return "platform" }

// FileList is the list of files of the document.
func (p *PlatformRow) FileList() *[]File { return &p.Document.Files }

// ParameterList is the list of parameters of the document.
func (p *PlatformRow) ParameterList() *[]Parameter { return &p.Document.Parameters }

// Check validates the document.
func (p *PlatformRow) Check() error { return p.Document.Validate() }

// Distribution is the document of contract section 3.4: an operating system.
type Distribution struct {
	UUID         string      `json:"uuid"`
	Version      int         `json:"version"`
	Name         string      `json:"name"`
	Description  string      `json:"description"`
	Organization string      `json:"organization"`
	Locked       bool        `json:"locked"`
	Settings     []Setting   `json:"settings"`
	Parameters   []Parameter `json:"parameters"`
	Files        []File      `json:"files"`

	carried carried // url, documentation, license, price and whatever else was given
}

type distributionFields Distribution

// UnmarshalJSON reads the document and carries the rest along.
func (d *Distribution) UnmarshalJSON(data []byte) error {
	var f distributionFields
	rest, err := readCarried(data, &f)
	f.carried = rest
	*d = Distribution(f)
	return err
}

// MarshalJSON writes the document with what it carries. The fields of every distribution are always there.
func (d Distribution) MarshalJSON() ([]byte, error) {
	f := distributionFields(d)
	return writeCarried(&f, always(d.carried, kitLists(), []string{"locked", "canPull", "canPush"}))
}

// ClearServerFields drops what only the server sets (contract section 1.6).
func (d *Distribution) ClearServerFields() {
	d.UUID, d.Version, d.Organization, d.Locked = "", 0, "", false
	d.carried.drop("uuid", "version", "organization", "locked", "canPull", "canPush", "publishedAs", "purchasedAs")
	clearParts(d.Files, d.Parameters)
}

// Validate refuses a distribution that is wrong. Every fault is one message of the error, which is Invalid.
func (d *Distribution) Validate() error {
	var c checker
	c.check(CheckName("distribution", d.Name))
	c.checkLists(d.Files, d.Parameters)
	return c.err()
}

// DistributionRow is what is kept of a distribution. Its settings are rows of their own.
type DistributionRow struct {
	Kit
	Document Distribution `json:"document"`
}

// Table names the table of distributions.
func (*DistributionRow) Table() string { return "distribution" }

// FileList is the list of files of the document.
func (d *DistributionRow) FileList() *[]File { return &d.Document.Files }

// ParameterList is the list of parameters of the document.
func (d *DistributionRow) ParameterList() *[]Parameter { return &d.Document.Parameters }

// Check validates the document.
func (d *DistributionRow) Check() error { return d.Document.Validate() }

func kitLists() []string { return []string{"settings", "parameters", "files"} }

// always is what a document carries, with lists, flags and the description that are never left out.
func always(c carried, lists, flags []string) carried {
	out := carried{"description": json.RawMessage(`""`)}
	for _, name := range lists {
		out[name] = json.RawMessage("[]")
	}
	for _, name := range flags {
		out[name] = json.RawMessage("false")
	}
	for name, value := range c {
		if _, fixed := out[name]; !fixed {
			out[name] = value
		}
	}
	return out
}

// drop forgets fields.
func (c carried) drop(names ...string) {
	for _, name := range names {
		delete(c, name)
	}
}

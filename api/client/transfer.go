package client

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"

	"github.com/muster-hq/muster/api/spec"
)

// ExportOrganization writes an organization as one file to w (docs/organization-file.md), secrets as seal says. After an
// error part of it may be written; a file that is not whole is told when it is read. Errors are those of Call.
func (c *Client) ExportOrganization(ctx context.Context, org string, seal spec.ExportRequest, w io.Writer) error {
	body, err := json.Marshal(seal)
	if err != nil {
		return fmt.Errorf("encoding the body of the export: %w", err)
	}
	op := Op{Name: "organizations.export", Params: map[string]string{"org": org}, header: http.Header{"Content-Type": {"application/json"}}, harmless: true}
	return c.Stream(ctx, op, bytes.NewReader(body), int64(len(body)), w)
}

// ImportOrganization makes an organization of a file of size bytes. name is that of the new one, "" that of the file; key
// opens its secrets: a passphrase or a key of age, "" leaves them out. Errors are those of Call.
func (c *Client) ImportOrganization(ctx context.Context, name, key string, file io.Reader, size int64) (spec.ImportResult, error) {
	op := Op{Name: "organizations.import", Query: url.Values{}, header: http.Header{}}
	if name != "" {
		op.Query.Set("name", name)
	}
	if key != "" {
		op.header.Set(spec.HeaderUnseal, base64.StdEncoding.EncodeToString([]byte(key)))
	}
	var answer bytes.Buffer
	var result spec.ImportResult
	if err := c.Stream(ctx, op, file, size, &answer); err != nil {
		return result, err
	}
	return result, op.decode(answer.Bytes(), &result)
}

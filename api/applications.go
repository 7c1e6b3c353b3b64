package api

import (
	"context"
	"fmt"

	"github.com/muster-hq/muster/api/auth"
	"github.com/muster-hq/muster/fsm/model"
	"github.com/muster-hq/muster/fsm/orchestrate"
	"github.com/muster-hq/muster/fsm/state"
)

// application finds the application that the path names.
func (c *call) application(r state.Reader, at scope) (*model.ApplicationRow, error) {
	return orchestrate.ApplicationByName(r, at.org.ID, c.params["app"])
}

// changingApp changes something of an application.
func changingApp(body bodyKind, f func(c *call, tx *state.Tx, orgID, appID string) (any, error)) endpoint {
	return endpoint{need: auth.Design, body: body, write: func(c *call, tx *state.Tx, at scope) (any, error) {
		app, err := c.application(tx, at)
		if err != nil {
			return nil, err
		}
		return f(c, tx, at.org.ID, app.ID)
	}}
}

func applicationAnswer(c *call, r state.Reader, at scope, row *model.ApplicationRow, err error) (any, error) {
	if err != nil {
		return nil, err
	}
	return orchestrate.ApplicationDoc(r, row, c.show(at.role)), nil
}

func applicationEndpoints() map[string]endpoint {
	lock := func(locked bool) endpoint {
		return changingApp(noBody, func(_ *call, tx *state.Tx, orgID, appID string) (any, error) {
			return nil, orchestrate.LockApplication(tx, orgID, appID, locked)
		})
	}
	return map[string]endpoint{
		"applications.list": reading(auth.Read, func(c *call, r state.Reader, at scope) (any, error) {
			docs := []model.Application{}
			for _, row := range orchestrate.Applications(r, at.org.ID) {
				docs = append(docs, orchestrate.ApplicationDoc(r, row, c.show(at.role)))
			}
			return list(docs), nil
		}),
		"applications.create": changing(auth.Design, func(c *call, tx *state.Tx, at scope) (any, error) {
			doc, err := model.Decode[model.Application](c.body)
			if err != nil {
				return nil, err
			}
			row, err := orchestrate.CreateApplication(tx, at.org.ID, doc)
			return applicationAnswer(c, tx, at, row, err)
		}),
		"applications.show": reading(auth.Read, func(c *call, r state.Reader, at scope) (any, error) {
			row, err := c.application(r, at)
			return applicationAnswer(c, r, at, row, err)
		}),
		"applications.update": changing(auth.Design, func(c *call, tx *state.Tx, at scope) (any, error) {
			app, err := c.application(tx, at)
			if err != nil {
				return nil, err
			}
			row, err := orchestrate.UpdateApplication(tx, at.org.ID, app.ID, c.body, c.trigger())
			return applicationAnswer(c, tx, at, row, err)
		}),
		"applications.delete": changingApp(noBody, func(_ *call, tx *state.Tx, orgID, appID string) (any, error) {
			return nil, orchestrate.DeleteApplication(tx, orgID, appID)
		}),
		"applications.clone": acting(auth.Design, func(c *call, tx *state.Tx, at scope) (any, error) {
			app, err := c.application(tx, at)
			if err != nil {
				return nil, err
			}
			name, err := c.cloneName()
			if err != nil {
				return nil, err
			}
			row, err := orchestrate.CloneApplication(tx, at.org.ID, app.ID, name)
			return applicationAnswer(c, tx, at, row, err)
		}),
		"applications.lock":   lock(true),
		"applications.unlock": lock(false),
	}
}

// stageAbove is the size in bytes above which a content goes ahead of its transaction, in pieces.
const stageAbove = 200 << 10

// stageContent puts a large content into the store before a row names it.
func stageContent(c *call) error {
	if len(c.body) <= stageAbove || c.charged == "" { // without one it was done already, under its key
		return nil
	}
	if _, err := state.StageContent(c.req.Context(), withinQuota{c.srv.cfg.Store}, c.charged, c.body); err != nil {
		return fmt.Errorf("storing a content of %d bytes: %w", len(c.body), err)
	}
	return nil
}

// withinQuota is a store that refuses each commit of what would go beyond a quota.
type withinQuota struct{ state.Updater }

// Update is the store's.
func (s withinQuota) Update(ctx context.Context, fn func(tx *state.Tx) error) error {
	return s.Updater.Update(ctx, func(tx *state.Tx) error {
		if err := fn(tx); err != nil {
			return err
		}
		return orchestrate.WithinQuota(tx)
	})
}

func fileEndpoints() map[string]endpoint {
	upload := changingKit(uploadBody, func(c *call, tx *state.Tx, orgID, ofID string) (any, error) {
		return nil, orchestrate.PutFileContent(tx, orgID, ofID, c.params["file"], c.body)
	})
	upload.stage = stageContent
	thumb := changingKit(uploadBody, func(c *call, tx *state.Tx, orgID, ofID string) (any, error) {
		return nil, orchestrate.PutThumb(tx, orgID, ofID, c.body)
	})
	thumb.stage = stageContent
	return map[string]endpoint{
		"files.list": readingKit(func(_ *call, r state.Reader, orgID, ofID string) (any, error) {
			files, err := orchestrate.Files(r, orgID, ofID)
			return list(files), err
		}),
		"files.create": changingKit(objectBody, func(c *call, tx *state.Tx, orgID, ofID string) (any, error) {
			doc, err := model.Decode[model.File](c.body)
			if err != nil {
				return nil, err
			}
			return orchestrate.CreateFile(tx, orgID, ofID, doc)
		}),
		"files.show": readingKit(func(c *call, r state.Reader, orgID, ofID string) (any, error) {
			return orchestrate.GetFile(r, orgID, ofID, c.params["file"])
		}),
		"files.update": changingKit(objectBody, func(c *call, tx *state.Tx, orgID, ofID string) (any, error) {
			return orchestrate.UpdateFile(tx, orgID, ofID, c.params["file"], c.body)
		}),
		"files.delete": changingKit(noBody, func(c *call, tx *state.Tx, orgID, ofID string) (any, error) {
			return nil, orchestrate.DeleteFile(tx, orgID, ofID, c.params["file"])
		}),
		"files.content.show": readingKit(func(c *call, r state.Reader, orgID, ofID string) (any, error) {
			b, err := orchestrate.FileContent(r, orgID, ofID, c.params["file"])
			return raw(b), err
		}),
		"files.content.set": upload,
		"thumb.show": readingKit(func(_ *call, r state.Reader, orgID, ofID string) (any, error) {
			b, err := orchestrate.Thumb(r, orgID, ofID)
			return raw(b), err
		}),
		"thumb.set": thumb,
	}
}

func parameterEndpoints() map[string]endpoint {
	return map[string]endpoint{
		"parameters.list": readingKitAs(func(_ *call, r state.Reader, orgID, ofID string, show orchestrate.Show) (any, error) {
			params, err := orchestrate.Parameters(r, orgID, ofID, show)
			return list(params), err
		}),
		"parameters.create": changingKit(objectBody, func(c *call, tx *state.Tx, orgID, ofID string) (any, error) {
			doc, err := model.Decode[model.Parameter](c.body)
			if err != nil {
				return nil, err
			}
			return orchestrate.CreateParameter(tx, orgID, ofID, doc)
		}),
		"parameters.show": readingKitAs(func(c *call, r state.Reader, orgID, ofID string, show orchestrate.Show) (any, error) {
			return orchestrate.GetParameter(r, orgID, ofID, c.params["param"], show)
		}),
		"parameters.update": changingKitAs(objectBody, func(c *call, tx *state.Tx, orgID, ofID string, show orchestrate.Show) (any, error) {
			doc, err := orchestrate.UpdateParameter(tx, orgID, ofID, c.params["param"], c.body)
			if err != nil {
				return nil, err
			}
			return orchestrate.GetParameter(tx, orgID, ofID, doc.Name, show)
		}),
		"parameters.delete": changingKit(noBody, func(c *call, tx *state.Tx, orgID, ofID string) (any, error) {
			return nil, orchestrate.DeleteParameter(tx, orgID, ofID, c.params["param"])
		}),
	}
}

package api

import (
	"context"
	"slices"

	"github.com/muster-hq/muster/api/auth"
	"github.com/muster-hq/muster/fsm/model"
	"github.com/muster-hq/muster/fsm/orchestrate"
	"github.com/muster-hq/muster/fsm/state"
)

// kit finds what the path names: an application, a platform or a distribution, by the route's level.
func (c *call) kit(r state.Reader, at scope) (model.Furnished, error) {
	switch c.route.Level {
	case "platform":
		return orchestrate.PlatformByName(r, at.org.ID, c.params["plat"])
	case "distribution":
		return orchestrate.DistributionByName(r, at.org.ID, c.params["dist"])
	}
	return c.application(r, at)
}

// readingKit reads something of an application, a platform or a distribution.
func readingKit(f func(c *call, r state.Reader, orgID, ofID string) (any, error)) endpoint {
	return readingKitAs(func(c *call, r state.Reader, orgID, ofID string, _ orchestrate.Show) (any, error) {
		return f(c, r, orgID, ofID)
	})
}

// readingKitAs does so where secrets are shown as the caller may see them.
func readingKitAs(f func(c *call, r state.Reader, orgID, ofID string, show orchestrate.Show) (any, error)) endpoint {
	return reading(auth.Read, func(c *call, r state.Reader, at scope) (any, error) {
		k, err := c.kit(r, at)
		if err != nil {
			return nil, err
		}
		return f(c, r, at.org.ID, k.Base().ID, c.show(at.role))
	})
}

// changingKit changes something of an application, a platform or a distribution.
func changingKit(body bodyKind, f func(c *call, tx *state.Tx, orgID, ofID string) (any, error)) endpoint {
	return changingKitAs(body, func(c *call, tx *state.Tx, orgID, ofID string, _ orchestrate.Show) (any, error) {
		return f(c, tx, orgID, ofID)
	})
}

// changingKitAs does so where the answer shows secrets as the caller may see them.
func changingKitAs(body bodyKind, f func(c *call, tx *state.Tx, orgID, ofID string, show orchestrate.Show) (any, error)) endpoint {
	return endpoint{need: auth.Design, body: body, write: func(c *call, tx *state.Tx, at scope) (any, error) {
		k, err := c.kit(tx, at)
		if err != nil {
			return nil, err
		}
		return f(c, tx, at.org.ID, k.Base().ID, c.show(at.role))
	}}
}

func platformEndpoints() map[string]endpoint {
	answer := func(c *call, r state.Reader, at scope, row *model.PlatformRow, err error) (any, error) {
		if err != nil {
			return nil, err
		}
		return c.platform(r, at, row), nil
	}
	find := namedPlatform
	return map[string]endpoint{
		"platforms.list": reading(auth.Read, func(c *call, r state.Reader, at scope) (any, error) {
			docs := []model.Platform{}
			for _, row := range orchestrate.Platforms(r, at.org.ID) {
				docs = append(docs, c.platform(r, at, row))
			}
			return list(docs), nil
		}),
		// default and test ask the driver; a class without one is stored as it is.
		"platforms.create": {need: auth.Design, body: objectBody, stage: testPlatform, write: func(c *call, tx *state.Tx, at scope) (any, error) {
			doc, err := model.Decode[model.Platform](c.body)
			if err != nil {
				return nil, err
			}
			if c.flag("default", false) {
				doc = withDefaults(doc, c.srv.cfg.Machines)
			}
			row, err := orchestrate.CreatePlatform(tx, at.org.ID, doc)
			return answer(c, tx, at, row, err)
		}},
		"platforms.show": reading(auth.Read, func(c *call, r state.Reader, at scope) (any, error) {
			row, err := find(c, r, at)
			return answer(c, r, at, row, err)
		}),
		"platforms.update": changing(auth.Design, func(c *call, tx *state.Tx, at scope) (any, error) {
			row, err := find(c, tx, at)
			if err != nil {
				return nil, err
			}
			row, err = orchestrate.UpdatePlatform(tx, at.org.ID, row.ID, c.body)
			return answer(c, tx, at, row, err)
		}),
		"platforms.delete": acting(auth.Design, func(c *call, tx *state.Tx, at scope) (any, error) {
			row, err := find(c, tx, at)
			if err != nil {
				return nil, err
			}
			return nil, orchestrate.DeletePlatform(tx, at.org.ID, row.ID)
		}),
		// A clone has the secret settings too.
		"platforms.clone": acting(auth.ReadSecret, func(c *call, tx *state.Tx, at scope) (any, error) {
			row, err := find(c, tx, at)
			if err != nil {
				return nil, err
			}
			name, err := c.cloneName()
			if err != nil {
				return nil, err
			}
			row, err = orchestrate.ClonePlatform(tx, at.org.ID, row.ID, name)
			return answer(c, tx, at, row, err)
		}),
	}
}

// namedPlatform is the platform that the path names. Error: NotFound.
func namedPlatform(c *call, r state.Reader, at scope) (*model.PlatformRow, error) {
	return orchestrate.PlatformByName(r, at.org.ID, c.params["plat"])
}

// imageEndpoints ask the driver of a platform about images.
func imageEndpoints() map[string]endpoint {
	return map[string]endpoint{
		"platforms.images.show": reading(auth.Read, func(c *call, r state.Reader, at scope) (any, error) {
			row, err := namedPlatform(c, r, at)
			if err != nil {
				return nil, err
			}
			ctx, cancel := context.WithTimeout(c.req.Context(), driverTimeout)
			defer cancel()
			images, err := c.srv.cfg.Machines.Images(ctx, r, row)
			if err != nil {
				return nil, &model.Error{Code: model.Unavailable, Messages: []string{"the platform does not tell its images: " + err.Error()}}
			}
			return list(images), nil
		}),
		"platforms.driver.image_parameters.show": reading(auth.Read, func(c *call, r state.Reader, at scope) (any, error) {
			row, err := namedPlatform(c, r, at)
			if err != nil {
				return nil, err
			}
			return list(c.srv.cfg.Machines.ImageParameters(row.Document.Driver.ClassName)), nil
		}),
	}
}

// platform is the document of a platform, with what its driver says of itself.
func (c *call) platform(r state.Reader, at scope, row *model.PlatformRow) model.Platform {
	doc := orchestrate.PlatformDoc(r, row, c.show(at.role))
	if info, ok := c.srv.cfg.Machines.Driver(doc.Driver.ClassName); ok {
		doc.Driver.Name, doc.Driver.Description = info.Name, info.Text
	}
	return doc
}

// testPlatform lets the driver try the settings of a platform that is to be stored, when that is asked for.
func testPlatform(c *call) error {
	if !c.flag("test", false) {
		return nil
	}
	doc, err := model.Decode[model.Platform](c.body)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(c.req.Context(), driverTimeout)
	defer cancel()
	return c.srv.cfg.Machines.Test(ctx, doc.Driver.ClassName, doc.Settings)
}

// withDefaults adds to a platform what its driver needs and it does not have.
func withDefaults(doc model.Platform, m Machines) model.Platform {
	settings, parameters := m.Defaults(doc.Driver.ClassName)
	for _, s := range settings {
		if !slices.ContainsFunc(doc.Settings, func(o model.Setting) bool { return o.Key == s.Key }) {
			doc.Settings = append(doc.Settings, s)
		}
	}
	for _, p := range parameters {
		if !slices.ContainsFunc(doc.Parameters, func(o model.Parameter) bool { return o.Key == p.Key || o.Name == p.Name }) {
			doc.Parameters = append(doc.Parameters, p)
		}
	}
	return doc
}

func distributionEndpoints() map[string]endpoint {
	answer := func(c *call, r state.Reader, at scope, row *model.DistributionRow, err error) (any, error) {
		if err != nil {
			return nil, err
		}
		return orchestrate.DistributionDoc(r, row, c.show(at.role)), nil
	}
	find := func(c *call, r state.Reader, at scope) (*model.DistributionRow, error) {
		return orchestrate.DistributionByName(r, at.org.ID, c.params["dist"])
	}
	lock := func(locked bool) endpoint {
		return acting(auth.Design, func(c *call, tx *state.Tx, at scope) (any, error) {
			row, err := find(c, tx, at)
			if err != nil {
				return nil, err
			}
			return nil, orchestrate.LockDistribution(tx, at.org.ID, row.ID, locked)
		})
	}
	return map[string]endpoint{
		"distributions.list": reading(auth.Read, func(c *call, r state.Reader, at scope) (any, error) {
			docs := []model.Distribution{}
			for _, row := range orchestrate.Distributions(r, at.org.ID) {
				docs = append(docs, orchestrate.DistributionDoc(r, row, c.show(at.role)))
			}
			return list(docs), nil
		}),
		"distributions.create": changing(auth.Design, func(c *call, tx *state.Tx, at scope) (any, error) {
			doc, err := model.Decode[model.Distribution](c.body)
			if err != nil {
				return nil, err
			}
			row, err := orchestrate.CreateDistribution(tx, at.org.ID, doc, c.query.Get("flavor"))
			return answer(c, tx, at, row, err)
		}),
		"distributions.show": reading(auth.Read, func(c *call, r state.Reader, at scope) (any, error) {
			row, err := find(c, r, at)
			return answer(c, r, at, row, err)
		}),
		"distributions.update": changing(auth.Design, func(c *call, tx *state.Tx, at scope) (any, error) {
			row, err := find(c, tx, at)
			if err != nil {
				return nil, err
			}
			row, err = orchestrate.UpdateDistribution(tx, at.org.ID, row.ID, c.body)
			return answer(c, tx, at, row, err)
		}),
		"distributions.delete": acting(auth.Design, func(c *call, tx *state.Tx, at scope) (any, error) {
			row, err := find(c, tx, at)
			if err != nil {
				return nil, err
			}
			return nil, orchestrate.DeleteDistribution(tx, at.org.ID, row.ID)
		}),
		"distributions.clone": acting(auth.ReadSecret, func(c *call, tx *state.Tx, at scope) (any, error) {
			row, err := find(c, tx, at)
			if err != nil {
				return nil, err
			}
			name, err := c.cloneName()
			if err != nil {
				return nil, err
			}
			row, err = orchestrate.CloneDistribution(tx, at.org.ID, row.ID, name)
			return answer(c, tx, at, row, err)
		}),
		"distributions.lock":   lock(true),
		"distributions.unlock": lock(false),
		"flavors.list": {read: func(*call, state.Reader, scope) (any, error) {
			return list(model.Flavors()), nil
		}},
		"flavors.show": {read: func(c *call, _ state.Reader, _ scope) (any, error) {
			f, ok := model.FlavorNamed(c.params["flavor"])
			if !ok {
				return nil, model.Errorf(model.NotFound, "there is no flavor %q: choose one of %s", c.params["flavor"], model.FlavorNames())
			}
			return f, nil
		}},
	}
}

// attachmentEndpoints are the platform and the distribution of a host.
func attachmentEndpoints() map[string]endpoint {
	platform := func(c *call, r state.Reader, at scope, row *model.PlatformContextRow, err error) (any, error) {
		if err != nil {
			return nil, err
		}
		return orchestrate.PlatformContextDoc(r, row, c.show(at.role)), nil
	}
	distribution := func(c *call, r state.Reader, at scope, row *model.DistributionContextRow, err error) (any, error) {
		if err != nil {
			return nil, err
		}
		return orchestrate.DistributionContextDoc(r, row, c.show(at.role)), nil
	}
	return map[string]endpoint{
		"host.platform.show": reading(auth.Read, func(c *call, r state.Reader, at scope) (any, error) {
			row, _, err := orchestrate.PlatformOf(r, at.org.ID, at.host.ID)
			return platform(c, r, at, row, err)
		}),
		"host.platform.set": changing(auth.Operate, func(c *call, tx *state.Tx, at scope) (any, error) {
			doc, err := model.Decode[model.PlatformContext](c.body)
			if err != nil {
				return nil, err
			}
			row, err := orchestrate.SetPlatform(tx, at.org.ID, at.host.ID, doc)
			return platform(c, tx, at, row, err)
		}),
		"host.platform.delete": acting(auth.Operate, func(_ *call, tx *state.Tx, at scope) (any, error) {
			return nil, orchestrate.DetachPlatform(tx, at.org.ID, at.host.ID)
		}),
		"host.distribution.show": reading(auth.Read, func(c *call, r state.Reader, at scope) (any, error) {
			row, _, err := orchestrate.DistributionOf(r, at.org.ID, at.host.ID)
			return distribution(c, r, at, row, err)
		}),
		"host.distribution.set": changing(auth.Operate, func(c *call, tx *state.Tx, at scope) (any, error) {
			doc, err := model.Decode[model.DistributionContext](c.body)
			if err != nil {
				return nil, err
			}
			row, err := orchestrate.SetDistribution(tx, at.org.ID, at.host.ID, doc)
			return distribution(c, tx, at, row, err)
		}),
		"host.distribution.delete": acting(auth.Operate, func(_ *call, tx *state.Tx, at scope) (any, error) {
			return nil, orchestrate.DetachDistribution(tx, at.org.ID, at.host.ID)
		}),
		"host.platform.files.show": reading(auth.ReadSecret, func(c *call, r state.Reader, at scope) (any, error) {
			b, err := orchestrate.RenderPlatformFile(r, at.org.ID, at.host.ID, c.params["file"])
			c.clear = true
			return raw(b), err
		}),
		"host.distribution.files.show": reading(auth.ReadSecret, func(c *call, r state.Reader, at scope) (any, error) {
			b, err := orchestrate.RenderDistributionFile(r, at.org.ID, at.host.ID, c.params["file"])
			c.clear = true
			return raw(b), err
		}),
	}
}

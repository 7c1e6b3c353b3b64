package drivertest

import "github.com/muster-hq/muster/fsm/model"

func imageOf(name string) model.Image {
	return model.Image{Name: name, Settings: []model.Setting{}}
}

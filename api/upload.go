package api

import (
	"errors"
	"io"
	"net/http"

	"github.com/muster-hq/muster/fsm/model"
)

// readUpload reads the content of the form's part named file (contract section 1.3). Other parts are
// skipped.
func readUpload(r *http.Request, limit int64) ([]byte, error) {
	form, err := r.MultipartReader()
	if err != nil {
		return nil, model.Errorf(model.Invalid, "an upload must be multipart/form-data with one part named file")
	}
	for {
		part, err := form.NextRawPart()
		if errors.Is(err, io.EOF) {
			return nil, model.Errorf(model.Invalid, "the form has no part named file")
		}
		if err != nil {
			return nil, formError(err, limit)
		}
		if part.FormName() != "file" {
			continue
		}
		b, err := io.ReadAll(io.LimitReader(part, limit+1))
		if err != nil {
			return nil, formError(err, limit)
		}
		if int64(len(b)) > limit {
			return nil, model.Errorf(model.TooLarge, "the file is larger than %d bytes", limit)
		}
		return b, nil
	}
}

func formError(err error, limit int64) error {
	var large *http.MaxBytesError
	var told *model.Error
	if errors.As(err, &told) {
		return told
	}
	if errors.As(err, &large) {
		return model.Errorf(model.TooLarge, "the file is larger than %d bytes", limit)
	}
	return &model.Error{Code: model.Invalid, Messages: []string{"the form is broken: it ends too early, or a part's header is wrong"}, Err: err}
}

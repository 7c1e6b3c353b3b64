package model

// SettingBulk is the body of a bulk change. A missing list is told apart from an empty one, which deletes.
type SettingBulk struct {
	Settings *[]Setting `json:"newOrUpdatedSettings"`
}

// DecodeBulk is Decode for a bulk change: the same result, at once where the body is plain but for values and schemas. These
// are parts of data then, which nobody may change from then on. Data must be valid JSON.
func DecodeBulk(data []byte) (SettingBulk, error) {
	if list, ok := plainBulk(data); ok {
		return SettingBulk{&list}, nil
	}
	return Decode[SettingBulk](data)
}

func plainBulk(data []byte) ([]Setting, bool) {
	i := plainSpace(data, 0)
	if i >= len(data) || data[i] != '{' {
		return nil, false
	}
	i = plainSpace(data, i+1)
	n := plainEnd(data[min(i, len(data)):])
	if n == 0 || string(data[i:i+n]) != `"newOrUpdatedSettings"` {
		return nil, false
	}
	if i = plainSpace(data, i+n); i >= len(data) || data[i] != ':' {
		return nil, false
	}
	if i = plainSpace(data, i+1); i >= len(data) || data[i] != '[' {
		return nil, false
	}
	list, end, ok := plainSettings(data, plainSpace(data, i+1))
	if end = plainSpace(data, end); !ok || end >= len(data) || data[end] != '}' {
		return nil, false
	}
	return list, plainSpace(data, end+1) == len(data)
}

// plainSettings reads the settings of a list whose first is at i, and gives the place after the list.
func plainSettings(data []byte, i int) (list []Setting, end int, ok bool) {
	list = make([]Setting, 0, 8)
	if i < len(data) && data[i] == ']' {
		return list, i + 1, true
	}
	for {
		var s Setting
		if i, ok = plainObject(data, i, anySettingJSON, nil, s.take); !ok {
			return nil, 0, false
		}
		list = append(list, s)
		if i = plainSpace(data, i); i >= len(data) {
			return nil, 0, false
		}
		switch data[i] {
		case ',':
			i = plainSpace(data, i+1)
		case ']':
			return list, i + 1, true
		default:
			return nil, 0, false
		}
	}
}

// take sets a field to a plain value, of which the setting's own is a part; false for what encoding/json reads otherwise.
func (s *Setting) take(name, value []byte) bool {
	switch string(name) {
	case "uuid":
		return plainInto(&s.UUID, value)
	case "version":
		return plainInt(&s.Version, value)
	case "key":
		return plainInto(&s.Key, value)
	case "value":
		s.Value = value[:len(value):len(value)]
		return true
	case "link":
		return plainInto(&s.Link, value)
	case "property":
		return plainInto(&s.Property, value)
	case "schema":
		s.Schema = value[:len(value):len(value)]
		return true
	}
	return false
}

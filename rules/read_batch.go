package rules

import "errors"

// locateItems notes where the items of a batch stand, as many as the batch takes, and counts them all.
func (rd *reading) locateItems(text []byte) error {
	in := rd.in
	in.items = 0
	dec := in.decode(text)
	if err := open(dec, '['); err != nil {
		return err
	}
	for dec.PeekKind() != ']' {
		raw, err := nextValue(dec, text)
		if err != nil {
			return err
		}
		if in.items++; rd.rule.Batch.MaxItems == 0 || in.items <= rd.rule.Batch.MaxItems {
			in.Items = append(in.Items, Item{Raw: raw})
		}
	}
	return end(dec)
}

// readItems reads the items, each on its own: what is wrong with one is noted there and hurts no other.
func (rd *reading) readItems() {
	params := rd.rule.Batch.Item
	arguments := make([]Argument, len(rd.in.Items)*len(params))
	found := make([]given, len(params))
	for i := range rd.in.Items {
		item := &rd.in.Items[i]
		item.Arguments, arguments = arguments[:len(params):len(params)], arguments[len(params):]
		clear(found)
		if err := rd.in.locateFields(item.Raw, params, found); err != nil {
			item.Err = &InputError{Status: 422, Detail: "the item must be an object, not " + shownJSON(item.Raw)}
			if !errors.Is(err, errKind) {
				item.Err.Detail = jsonFault(err)
			}
			continue
		}
		item.Err = rd.readItem(params, item.Arguments, found)
		if item.Err == nil {
			item.Body = rd.appendBody(params, item.Arguments, found)
		}
	}
}

func (rd *reading) readItem(params []Param, arguments []Argument, found []given) *InputError {
	var err *InputError
	for i := range params {
		if f := rd.readField(&params[i], &found[i], &arguments[i]); f != nil {
			if err == nil {
				err = &InputError{Status: 422}
			}
			err.add(&params[i], f)
		}
	}
	if err != nil {
		err.summarise()
	}
	return err
}

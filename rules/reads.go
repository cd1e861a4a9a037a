package rules

import "go.yaml.in/yaml/v4"

func (e *readsEntry) decodeNode(d *decoder, path string, n *yaml.Node) {
	text, ok := d.text(path, n, "true or primary")
	if !ok {
		return
	}
	switch text {
	case "true", "primary":
		*e = readsEntry(text)
	case "false":
		*e = ""
	default:
		d.mistake(path, "%q is no way to read; write true for a POST that only reads, or primary for what must read the primary", text)
	}
}

package rules

import (
	"fmt"
	"strings"

	"go.yaml.in/yaml/v4"
)

// Dump returns the configuration as YAML with everything that is in effect: defaults, variables, lifetimes by
// kind. It reads back as the same configuration, but for the secrets, which show as <redacted>.
func (c *Config) Dump() ([]byte, error) {
	var root yaml.Node
	if err := root.Encode(c.file); err != nil {
		return nil, fmt.Errorf("write the configuration as YAML: %w", err)
	}
	escapeVariables(&root)
	text, err := yaml.Dump(&root, yaml.WithIndent(2), yaml.WithLineWidth(-1))
	if err != nil {
		return nil, fmt.Errorf("write the configuration as YAML: %w", err)
	}
	return text, nil
}

// escapeVariables keeps a ${ that is part of a value from being replaced when the text is read again.
func escapeVariables(n *yaml.Node) {
	if n.Kind == yaml.ScalarNode {
		n.Value = strings.ReplaceAll(n.Value, "${", "$${")
	}
	for _, child := range n.Content {
		escapeVariables(child)
	}
}

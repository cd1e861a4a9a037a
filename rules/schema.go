package rules

import (
	"fmt"

	"forebay/configs"
)

// The schema is made from the types of file.go and entry.go and the comments in them; a test writes it and sees
// that it is current. So the package that makes it does not become a part of the program.
//
//go:generate go test -run TestTheSchemaOfTheTypesIsTheOneInConfigs -update .

// Schema returns the JSON Schema of configuration files, by which editors complete and explain their keys.
func Schema() ([]byte, error) {
	text, err := configs.Files.ReadFile("schema.json")
	if err != nil {
		return nil, fmt.Errorf("read the schema: %w", err)
	}
	return text, nil
}

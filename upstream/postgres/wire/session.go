package wire

// SessionSettings returns the settings that a session needs for its values to be written as this
// package promises. The map is the caller's own. They belong into the startup packet, so that
// RESET ALL and DISCARD ALL return to them.
func SessionSettings() map[string]string {
	return map[string]string{
		"client_encoding":    "UTF8",
		"DateStyle":          "ISO, MDY",
		"IntervalStyle":      "postgres",
		"TimeZone":           "UTC",
		"bytea_output":       "hex",
		"extra_float_digits": "1",
	}
}
